"""The command line as a process: speed, exit codes, one-line errors, signals, pipes."""

from __future__ import annotations

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import psutil
import pytest
from recon3d_core.cli import main as cli

ROOT = Path(__file__).resolve().parents[3]

# A verb that does what its argument says, put among the others.
VERB = """
import concurrent.futures, multiprocessing, os, signal, time, typer
from typing import Annotated
from recon3d_core import errors

def command(what: str, number: Annotated[int, typer.Option(min=0)] = 0) -> None:
    '''Do what the argument says.'''
    if what == 'bad_input':
        raise errors.SourceError('the folder is empty', 'no frames', 'frame-*.png', 'Look again.')
    if what == 'failed':
        raise errors.RunError('the disk is full')
    if what == 'bug':
        raise ZeroDivisionError('first line\\nsecond line')
    if what == 'exit':
        raise typer.Exit(number)
    if what == 'sleep':
        print('ready', flush=True)
        time.sleep(60)
    if what == 'pool':
        context = multiprocessing.get_context('spawn')
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            print(pool.submit(os.getpid).result(), flush=True)
            time.sleep(60)
    if what == 'chatter':
        for index in range(200_000):
            print(index)
"""
LAUNCHER = """
import sys
import recon3d_core.cli
recon3d_core.cli.__path__.append(sys.argv.pop(1))
from recon3d_core.cli import main
main.VERBS['probe'] = 'Do what the argument says.'
main.main()
"""


def recon3d(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, '-m', 'recon3d_core', *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


@pytest.fixture
def probe_command(tmp_path: Path) -> list[str]:
    """Return the start of a command line that has the verb `probe`."""
    (tmp_path / 'probe.py').write_text(VERB)
    return [sys.executable, '-c', LAUNCHER, str(tmp_path), 'probe']


def probe(command: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the verb `probe`."""
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100
    )


def test_help_lists_the_verbs_and_imports_nothing_heavy() -> None:
    code = (
        'import sys; from recon3d_core.cli import main; code = main.exit_code(["--help"]);'
        'heavy = {"torch", "open3d", "cv2", "scipy", "rclpy", "numpy"} & set(sys.modules);'
        'assert code == 0 and not heavy, (code, heavy)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for verb in cli.available_verbs():
        assert verb in done.stdout


@pytest.mark.parametrize('verb', sorted(cli.available_verbs()))
def test_every_verb_explains_itself(verb: str) -> None:
    done = recon3d(verb, '--help')
    assert done.returncode == 0, done.stderr
    assert f'recon3d {verb}' in done.stdout
    assert ' . ' not in done.stdout, 'words in square brackets are taken for markup'


@pytest.mark.parametrize(
    ('arguments', 'word'),
    [
        (['rnu'], "'rnu'"),
        (['--nonsense'], '--nonsense'),
        (['doctor', 'superfluous'], 'superfluous'),
        (['plugins', 'detectr'], "Did you mean 'detector'"),
    ],
)
def test_bad_usage_is_one_line_and_2(arguments: list[str], word: str) -> None:
    done = recon3d(*arguments)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith('error: ')
    assert word in line


def test_no_verb_shows_the_help() -> None:
    done = recon3d()
    assert done.returncode == 2
    assert 'doctor' in done.stdout + done.stderr


def test_version() -> None:
    done = recon3d('--version')
    assert done.returncode == 0
    assert done.stdout.startswith('recon3d ')


@pytest.mark.parametrize(
    ('arguments', 'code', 'line'),
    [
        (
            ['bad_input'],
            2,
            'error: the folder is empty, got no frames, expected frame-*.png. Look again.',
        ),
        (['failed'], 1, 'error: the disk is full'),
        (
            ['bug'],
            1,
            'error: ZeroDivisionError: first line second line. '
            'Run with --debug for the traceback.',
        ),
    ],
)
def test_errors_are_one_line(
    probe_command: list[str], arguments: list[str], code: int, line: str
) -> None:
    done = probe(probe_command, *arguments)
    assert (done.returncode, done.stderr, done.stdout) == (code, line + '\n', '')


@pytest.mark.parametrize('place', [0, 1])
def test_debug_adds_the_traceback_wherever_it_stands(probe_command: list[str], place: int) -> None:
    arguments = ['bug']
    arguments.insert(place, '--debug')
    done = probe(probe_command, *arguments)
    assert done.returncode == 1
    assert 'Traceback' in done.stderr
    assert done.stderr.splitlines()[-1].startswith('error: ZeroDivisionError')
    assert 'Run with --debug' not in done.stderr


@pytest.mark.parametrize('code', [0, 1, 3])
def test_exit_code_of_a_verb(probe_command: list[str], code: int) -> None:
    assert probe(probe_command, 'exit', '--number', str(code)).returncode == code


def test_option_out_of_range_is_bad_usage(probe_command: list[str]) -> None:
    done = probe(probe_command, 'exit', '--number', '-1')
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert '--number' in done.stderr


def test_interrupt_ends_quietly_with_130(probe_command: list[str]) -> None:
    process = subprocess.Popen(
        [*probe_command, 'sleep'],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == cli.INTERRUPTED
    assert 'Traceback' not in errors


def test_termination_ends_the_workers_too(probe_command: list[str]) -> None:
    process = subprocess.Popen([*probe_command, 'pool'], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    worker = int(process.stdout.readline())
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == cli.TERMINATED
    assert not psutil.pid_exists(worker)


def test_reader_that_goes_away_is_no_error(probe_command: list[str]) -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        [*probe_command, 'chatter'], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    os.read(read, 10)
    os.close(read)
    start = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert errors == ''
    assert process.returncode != 0
    assert time.monotonic() - start < 30
