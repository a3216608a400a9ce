"""Bad recipes, losses that are not finite and full disks end a training in one line."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from recon3d_core.cli.main import exit_code
from recon3d_core.errors import RunError
from recon3d_core.training.checkpoints import load_checkpoint, save_checkpoint
from recon3d_core.training.run import train
from safetensors.torch import load_file
from small_training import recipe_file
import solids
import torch

pytestmark = pytest.mark.usefixtures('solid_plugins')


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
