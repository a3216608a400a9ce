"""`recon3d bench`: run benchmarks by name; without names, say which there are.

Benchmarks are scripts `benchmarks/NAME.py` of a checkout; each prints its table, takes
`--json FILE` and says by its exit status whether it met its bars.
"""

from __future__ import annotations

import ast
from importlib import resources
from pathlib import Path
import subprocess
import sys
import time
from typing import Annotated

from recon3d_core.errors import InputError, RunError
from recon3d_core.registry import closest
from rich.console import Console
from rich.table import Table
import typer


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help='Such as `fusion` or `mapping node`; lists all where absent.'),
    ] = None,
    run_all: Annotated[bool, typer.Option('--all', help='Run every benchmark.')] = False,
    out: Annotated[
        Path, typer.Option('--out', '-o', help='Folder for the results, NAME.json each.')
    ] = Path('out/bench'),
    options: Annotated[
        list[str] | None,
        typer.Option(
            '--option',
            metavar='NAME=VALUE',
            help='An option of the benchmark itself, such as repeats=9; again and again.',
        ),
    ] = None,
) -> None:
    """Run benchmarks and write their results as JSON; exit with 1 where a bar is missed."""
    known = available()
    console = Console()
    if run_all:
        names = list(known)
    if not names:
        console.print(list_table(known))
        return
    for name in names:
        if name not in known:
            every = ', '.join(known)
            hint = closest(name, list(known))
            raise InputError('unknown benchmark', repr(name), f'one of {every}', hint)
    results = {name: run(name, known[name], out, options or []) for name in names}
    console.print(result_table(results, out))
    missed = [name for name, (good, _) in results.items() if not good]
    if missed:
        raise RunError('bars were missed', ', '.join(missed))


def available() -> dict[str, Path]:
    """Return the benchmarks by name.

    Raises:
        InputError: This is no checkout: packages do not hold the benchmarks.
    """
    folder = Path(str(resources.files('recon3d_core'))).parent / 'benchmarks'
    scripts = sorted(folder.glob('[a-z]*.py'))
    if not scripts:
        raise InputError(
            'no benchmarks', f'nothing in {folder}', 'a checkout of the project',
            'Clone it, and install it with `pip install -e .`.',
        )  # fmt: skip
    return {path.stem: path for path in scripts}


def run(name: str, script: Path, out: Path, options: list[str]) -> tuple[bool, float]:
    """Run one benchmark and return whether it met its bars, and its time in seconds.

    Raises:
        InputError: An option has no `=`, or the folder cannot be made.
    """
    arguments = ['--json', str((out / f'{name}.json').resolve())]
    for option in options:
        key, separator, value = option.partition('=')
        if not separator:
            raise InputError('--option', repr(option), 'NAME=VALUE')
        arguments += [f'--{key}', *value.split(',')]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError('--out cannot be made', f'{out}: {error.strerror}', 'a folder') from error
    typer.echo(f'== {name}')
    start = time.monotonic()
    status = subprocess.run([sys.executable, str(script), *arguments], check=False).returncode
    if status == 2:  # argparse has told what
        raise InputError(f'options of the benchmark {name}', ' '.join(options), 'as it says above')
    return status == 0, time.monotonic() - start


def list_table(known: dict[str, Path]) -> Table:
    """Return a table of the benchmarks with the first line of each."""
    table = Table('benchmark', 'what it measures')
    for name, path in known.items():
        text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
        table.add_row(name, text.partition('\n')[0])
    return table


def result_table(results: dict[str, tuple[bool, float]], out: Path) -> Table:
    """Return a table of which benchmarks met their bars."""
    table = Table('benchmark', 'met', 'time', 'result')
    for name, (good, seconds) in results.items():
        file = str(out / f'{name}.json')
        table.add_row(name, 'yes' if good else 'NO', f'{seconds:.0f} s', file)
    return table
