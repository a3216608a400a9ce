"""A training that stops goes on from its checkpoint, to the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from recon3d_core.cli.main import exit_code
from recon3d_core.errors import InputError
from recon3d_core.training import logs
from recon3d_core.training.checkpoints import load_checkpoint, save_checkpoint
from recon3d_core.training.run import train
from small_training import equal_weights, recipe_file, wait_for
import solids
import torch

pytestmark = pytest.mark.usefixtures('solid_plugins')


def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    slow = {'model': {'name': 'slow_tiny'}}
    path = recipe_file(tmp_path, **slow, checkpoint_steps=3)
    killed, whole = tmp_path / 'killed', tmp_path / 'whole'
    command = [sys.executable, '-m', 'recon3d_core', 'train', path, '--out', str(killed)]
    command += ['--device', 'cpu', '--set', 'data.workers=1', '--set', 'log_steps=1']
    process = subprocess.Popen(
        command, env=solids.environment(OMP_NUM_THREADS='1'), stderr=subprocess.PIPE
    )
    wait_for(lambda: len(logs.read_table(killed / logs.STEPS)) >= 10, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert load_checkpoint(killed / 'checkpoint.pt')['progress']['step'] in range(3, 20)
    assert not (killed / 'summary.json').exists()
    train(path, killed, {'log_steps': 1}, resume=True, device='cpu')
    train(path, whole, {'log_steps': 1}, device='cpu')
    assert equal_weights(killed, whole)
    steps = [row['step'] for row in logs.read_table(killed / logs.STEPS)]
    assert steps == list(range(1, 21))
    losses = [[row['loss'] for row in logs.read_table(f / logs.STEPS)] for f in (killed, whole)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize('stop_at', [7, 12])
def test_going_on_after_any_step_gives_the_same_weights(tmp_path, monkeypatch, stop_at):
    """Also where one stage ends: the next begins with an optimiser of its own."""
    path = recipe_file(tmp_path)
    train(path, tmp_path / 'whole', device='cpu')
    calls = []

    def stop(trainer, *_):
        calls.append(0)
        return 'time' if len(calls) == stop_at else 'done'

    from recon3d_core.training.trainer import Trainer

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, '_verdict', stop)
        summary = train(path, tmp_path / 'parts', device='cpu')
    assert (summary['stopped'], summary['step']) == ('time', stop_at)
    summary = train(path, tmp_path / 'parts', resume=True, device='cpu')
    assert (summary['stopped'], summary['step']) == ('done', 20)
    assert equal_weights(tmp_path / 'whole', tmp_path / 'parts')


def test_a_finished_training_goes_on_to_nothing(tmp_path):
    path = recipe_file(tmp_path)
    first = train(path, tmp_path / 'out', device='cpu')
    again = train(path, tmp_path / 'out', resume=True, device='cpu')
    assert again['step'] == first['step'] == 20
    assert again['images'] == first['images']


def test_time_that_is_up_ends_with_a_checkpoint(tmp_path):
    summary = train(recipe_file(tmp_path), tmp_path / 'out', device='cpu', max_minutes=0.0)
    assert summary['stopped'] == 'time'
    assert load_checkpoint(tmp_path / 'out' / 'checkpoint.pt')['progress']['step'] == 1


def test_an_interrupted_run_saves_and_says_130(tmp_path):
    path = recipe_file(tmp_path, model={'name': 'slow_tiny'})
    out = tmp_path / 'out'
    command = [sys.executable, '-m', 'recon3d_core', 'train', path, '--out', str(out)]
    command += ['--set', 'log_steps=1', '--set', 'stages.0.steps=10000']
    process = subprocess.Popen(command, env=solids.environment(), stderr=subprocess.PIPE)
    wait_for(lambda: len(logs.read_table(out / logs.STEPS)) >= 2, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b'Traceback' not in said
    done = load_checkpoint(out / 'checkpoint.pt')['progress']['step']
    assert done >= 2
    assert json.loads((out / 'summary.json').read_text())['step'] == done


def test_another_recipe_cannot_go_on(tmp_path):
    path, out = recipe_file(tmp_path), tmp_path / 'out'
    train(path, out, device='cpu', max_minutes=0.0)
    with pytest.raises(InputError, match=r'another recipe.*batch'):
        train(path, out, {'batch': 8}, resume=True, device='cpu')


def bad_checkpoints(folder):
    torch.save({'epoch_idx': 3}, folder / 'foreign.pt')
    torch.save([torch.zeros(3)], folder / 'list.pt')
    save_checkpoint(folder / 'incomplete.pt', {'progress': {}})
    (folder / 'text.pt').write_text('weights')
    (folder / 'empty.pt').write_bytes(b'')
    return ['foreign', 'list', 'incomplete', 'text', 'empty']


def test_what_cannot_be_gone_on_with_is_said_in_a_line(tmp_path, capsys):
    path, out = recipe_file(tmp_path), tmp_path / 'out'
    assert exit_code(['train', path, '--out', str(out), '--resume']) == 2
    assert not out.exists()
    out.mkdir()
    for name in bad_checkpoints(tmp_path):
        (tmp_path / f'{name}.pt').replace(out / 'checkpoint.pt')
        assert exit_code(['train', path, '--out', str(out), '--resume']) == 2, name
        assert [p.name for p in out.iterdir()] == ['checkpoint.pt'], name
    assert exit_code(['train', path, '--out', str(out)]) == 2, 'it holds a training'
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7
    assert all(line.startswith('error: ') for line in lines)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/ran',)

    torch.save({'recon3d_checkpoint': 1, 'network': Evil()}, tmp_path / 'checkpoint.pt')
    with pytest.raises(InputError, match='cannot be read'):
        load_checkpoint(tmp_path / 'checkpoint.pt')
    assert not (tmp_path / 'ran').exists()
