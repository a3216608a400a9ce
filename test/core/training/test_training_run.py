"""A training from its recipe to its weights: what it writes, learns and repeats."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from recon3d_core import registry
from recon3d_core.models import create_model
from recon3d_core.models.weights import read_card
from recon3d_core.training import logs
from recon3d_core.training.run import train
from recon3d_core.training.validation import iou_sums, load_samples, THRESHOLDS
from safetensors.torch import load_file
from small_training import equal_weights, recipe_file
import solids
import torch

pytestmark = pytest.mark.usefixtures('solid_plugins')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Return the folder of a training that ran through."""
    folder = tmp_path_factory.mktemp('finished')
    patch = pytest.MonkeyPatch()
    patch.setenv('RECON3D_PLUGINS', solids.PLUGINS)
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
