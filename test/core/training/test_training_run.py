"""A training from its recipe to its weights: what it writes, how it stops and goes on."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from recon3d_core import registry
from recon3d_core.cli.main import exit_code
from recon3d_core.errors import InputError, RunError
from recon3d_core.models import create_model
from recon3d_core.models.weights import read_card
from recon3d_core.training import logs
from recon3d_core.training.checkpoints import load_checkpoint, save_checkpoint
from recon3d_core.training.run import train
from recon3d_core.training.validation import iou_sums, load_samples, THRESHOLDS
from safetensors.torch import load_file
import solids
import torch
import yaml

RECIPE = {
    'model': {'name': 'tiny'},
    'data': {'set': 'solids', 'workers': 0},
    'stages': [
        {'steps': 12, 'views': [1, 3], 'lr': 0.004, 'schedule': 'one_cycle'},
        {
            'steps': 8,
            'views': [2, 3],
            'freeze': ['encoder'],
            'lr': 0.002,
            'lr_factors': {'decoder': 0.5},
        },
    ],
    'batch': 4,
    'ema': 0.8,
    'validation': {'every': 10, 'objects': 4, 'views': [1, 3]},
    'checkpoint_steps': 5,
    'log_steps': 5,
    'pictures': 0,
}


@pytest.fixture(autouse=True)
def _plugins(monkeypatch):
    monkeypatch.setenv('RECON3D_PLUGINS', solids.PLUGINS)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recipe_file(folder, **changes):
    path = folder / 'small.yaml'
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return str(path)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Return the folder of a training that ran through."""
    folder = tmp_path_factory.mktemp('finished')
    patch = pytest.MonkeyPatch()
    patch.setenv('RECON3D_PLUGINS', solids.PLUGINS)
    torch.set_num_threads(1)
    stages = [{'steps': 60, 'views': [1, 3], 'lr': 0.004, 'schedule': 'one_cycle'}]
    validation = {'every': 20, 'objects': 6, 'views': [1, 3]}
    path = recipe_file(folder, stages=stages, validation=validation, pictures=2)
    train(path, folder / 'out', device='cpu', command='recon3d train small')
    patch.undo()
    return folder / 'out'


def test_all_results_are_there_and_nothing_else(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        'best.safetensors', 'last.safetensors', 'checkpoint.pt', 'recipe.yaml', 'summary.json',
        'log.csv', 'validation.csv', 'curves.png', 'samples.png', 'tensorboard',
    }  # fmt: skip
    for name in ('curves.png', 'samples.png'):
        assert (finished / name).read_bytes().startswith(b'\x89PNG')
    assert list((finished / 'tensorboard').iterdir())


def test_the_loss_falls_and_the_iou_rises(finished):
    steps, found = (logs.read_table(finished / n) for n in (logs.STEPS, logs.VALIDATIONS))
    assert [row['step'] for row in steps] == list(range(5, 61, 5))
    assert steps[-1]['loss'] < 0.6 * steps[0]['loss']
    assert [row['step'] for row in found] == [20, 40, 60]
    assert found[-1]['mean'] > found[0]['mean']
    assert found[-1]['mean'] == pytest.approx((found[-1]['iou_1'] + found[-1]['iou_3']) / 2, 1e-3)
    summary = json.loads((finished / 'summary.json').read_text())
    assert summary['stopped'] == 'done'
    assert summary['best'] == pytest.approx(max(row['mean'] for row in found), abs=1e-3)
    assert 0 <= summary['wait_share'] <= 1


def test_weights_tell_where_they_come_from(finished):
    card = read_card('tiny', finished / 'best.safetensors')
    assert card.data['set'] == 'solids'
    assert card.data['fingerprint'] == 'solids 32 16'
    assert card.data['objects'] == solids.COUNTS['train']
    assert card.training['command'] == 'recon3d train small'
    assert card.training['recipe']['batch'] == 4
    assert card.threshold in THRESHOLDS
    assert set(card.metrics['val']['iou']) == {'1', '3'}


def test_the_stored_iou_and_threshold_are_those_of_the_weights(finished):
    model = create_model('tiny', finished / 'best.safetensors')
    data = registry.load('dataset', 'solids')('', solids.SolidsConfig())
    samples = load_samples(data, data.names('val'), 3)
    means = (iou_sums(model, samples, [1, 3]) / len(samples)).numpy()
    best = means.mean(0).argmax()
    card = read_card('tiny', finished / 'best.safetensors')
    assert model.threshold == THRESHOLDS[best]
    stored = [card.metrics['val']['iou'][key] for key in ('1', '3')]
    np.testing.assert_allclose(means[:, best], stored, atol=1e-4)


def equal_weights(one, other):
    first, second = load_file(one / 'last.safetensors'), load_file(other / 'last.safetensors')
    assert set(first) == set(second)
    return all(torch.equal(first[key], second[key]) for key in first)


def test_two_runs_are_equal_and_another_seed_is_not(tmp_path):
    path = recipe_file(tmp_path)
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        train(path, tmp_path / name, {'seed': seed}, device='cpu')
    assert equal_weights(tmp_path / 'a', tmp_path / 'b')
    assert not equal_weights(tmp_path / 'a', tmp_path / 'c')


def test_workers_change_nothing(tmp_path):
    path = recipe_file(tmp_path)
    train(path, tmp_path / 'a', device='cpu')
    train(path, tmp_path / 'b', {'data': {'workers': 2}}, device='cpu')
    assert equal_weights(tmp_path / 'a', tmp_path / 'b')


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


def wait_for(condition, process):
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


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


def test_a_loss_that_is_not_finite_stops_with_the_batch_saved(tmp_path):
    path = recipe_file(tmp_path, model={'name': 'touchy'}, checkpoint_steps=1)
    with pytest.raises(RunError, match='step 2 is not finite') as caught:
        train(path, tmp_path / 'out', device='cpu')
    [saved] = (tmp_path / 'out').glob('bad_batch*.safetensors')
    assert str(saved) in str(caught.value)
    assert '\n' not in str(caught.value)
    batch = load_file(saved)
    assert batch['images'].shape[0] == batch['occupancy'].shape[0] == 4
    # The last good weights are kept.
    stored = load_checkpoint(tmp_path / 'out' / 'checkpoint.pt')
    assert stored['progress']['step'] == 2
    assert all(torch.isfinite(value).all() for value in stored['network'].values())


def test_frozen_parts_stand_still_and_others_move(tmp_path):
    stages = [{'steps': 3, 'lr': 0.01, 'freeze': ['encoder']}]
    train(recipe_file(tmp_path, stages=stages, ema=0.0), tmp_path / 'out', device='cpu')
    torch.manual_seed(0)
    before = create_model('tiny').state_dict()
    after = load_file(tmp_path / 'out' / 'last.safetensors')
    for key, value in after.items():
        assert torch.equal(value, before[key]) == key.startswith('encoder'), key


def test_outlines_alone_teach_a_shape(tmp_path):
    loss = {'volume': 0.0, 'silhouette': 1.0, 'ray': 1.0, 'extra_views': 2}
    stages = [{'steps': 25, 'views': [1, 2], 'lr': 0.01, 'schedule': 'constant'}]
    path = recipe_file(tmp_path, loss=loss, stages=stages, ema=0.0)
    train(path, tmp_path / 'out', device='cpu')
    rows = logs.read_table(tmp_path / 'out' / logs.STEPS)
    assert rows[-1]['loss'] < 0.8 * rows[0]['loss']
    found = logs.read_table(tmp_path / 'out' / logs.VALIDATIONS)
    assert found[-1]['mean'] > 0.15


def test_a_full_disk_is_an_error_of_one_line_and_the_old_file_stays(tmp_path):
    path = tmp_path / 'checkpoint.pt'
    save_checkpoint(path, {'step': 1})
    old, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(RunError, match='cannot be written') as caught:
            save_checkpoint(path, {'weights': torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert '\n' not in str(caught.value)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_while_training_ends_it_in_a_line(tmp_path):
    """Files of more than 1 MB cannot be written: the weights can, the checkpoint cannot."""
    command = [sys.executable, '-m', 'recon3d_core', 'train', recipe_file(tmp_path)]
    done = subprocess.run(
        [*command, '--out', str(tmp_path / 'out'), '--device', 'cpu'],
        env=solids.environment(OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=110,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )
    assert done.returncode == 1, done.stderr
    [error] = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert 'cannot be written' in error
    assert 'Traceback' not in done.stderr
    left = {path.name for path in (tmp_path / 'out').iterdir()}
    assert left == {'recipe.yaml', 'log.csv', 'validation.csv', 'tensorboard'}


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


def test_another_recipe_cannot_go_on(tmp_path):
    path, out = recipe_file(tmp_path), tmp_path / 'out'
    train(path, out, device='cpu', max_minutes=0.0)
    with pytest.raises(InputError, match=r'another recipe.*batch'):
        train(path, out, {'batch': 8}, resume=True, device='cpu')


BAD = {
    'no recipe': ['nothing'],
    'unknown model': ['RECIPE', '--set', 'model.name=nothing'],
    'unknown data set': ['RECIPE', '--set', 'data.set=nothing'],
    'unknown option of the data': ['RECIPE', '--set', 'data.options.colour=red'],
    'unknown option of the model': ['RECIPE', '--set', 'model.options.colour=red'],
    'other resolution': ['RECIPE', '--set', 'data.options.resolution=8'],
    'unknown part': ['RECIPE', '--set', 'stages.0.train=[wheels]'],
    'nothing left to train': ['RECIPE', '--set', 'stages.0.freeze=[encoder, decoder]'],
    'factor of a frozen part': ['RECIPE', '--set', 'stages.1.lr_factors={encoder: 2}'],
    'baselines are not trained': ['RECIPE', '--set', 'model.name=mean_shape'],
    'no weights': ['RECIPE', '--set', 'model.weights=nothing.safetensors'],
    'too many views': ['RECIPE', '--set', 'validation.views=[9]'],
    'batches fail': ['RECIPE', '--set', 'data.options.broken=batch'],
    'no assignment': ['RECIPE', '--set', 'batch'],
    'no such device': ['RECIPE', '--device', 'tpu'],
    'no such GPU': ['RECIPE', '--device', 'cuda:99'],
    'negative time': ['RECIPE', '--max-minutes', '-1'],
    'no devices': ['RECIPE', '--devices', '0'],
    'a file as folder': ['RECIPE', '--out', 'FILE'],
    'below a file': ['RECIPE', '--out', 'FILE/out'],
}


@pytest.mark.parametrize('arguments', BAD.values(), ids=BAD)
def test_bad_input_is_an_error_of_one_line(tmp_path, capsys, arguments):
    (tmp_path / 'file').touch()
    names = {'RECIPE': recipe_file(tmp_path), 'FILE': str(tmp_path / 'file')}
    words = [names.get(word, word.replace('FILE/', f'{tmp_path}/file/')) for word in arguments]
    if '--out' not in words:
        words += ['--out', str(tmp_path / 'out')]
    assert exit_code(['train', *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if line.startswith('error: ')]) == 1, said
    assert 'Traceback' not in '\n'.join(said)
    assert not list(tmp_path.glob('out/*.safetensors'))
    assert not list(tmp_path.glob('out/*.pt'))


def test_batches_are_waited_for_and_that_is_measured(tmp_path):
    options = {'options': {'delay_s': 0.05}}
    summary = train(recipe_file(tmp_path), tmp_path / 'out', {'data': options}, device='cpu')
    assert summary['wait_share'] > 0.4
    assert math.isclose(
        summary['images_per_s'], summary['images'] / summary['seconds'], rel_tol=0.02
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_devices_train_as_one_process_with_both_batches(tmp_path):
    """Two processes on the CPU end with equal weights, which one alone cannot have."""
    path, out = recipe_file(tmp_path), tmp_path / 'two'
    command = [sys.executable, '-m', 'recon3d_core', 'train', path, '--out', str(out)]
    done = subprocess.run(
        [*command, '--device', 'cpu', '--devices', '2'],
        env=solids.environment(OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / 'summary.json').read_text())
    rows = logs.read_table(out / logs.STEPS)
    assert summary['step'] == 20
    train(path, tmp_path / 'one', device='cpu')
    one = json.loads((tmp_path / 'one' / 'summary.json').read_text())
    assert summary['images'] == 2 * one['images']
    assert rows[-1]['loss'] < rows[0]['loss']
    assert not equal_weights(out, tmp_path / 'one')
