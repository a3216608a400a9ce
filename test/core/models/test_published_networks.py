"""The published networks: sizes, output beside a plain implementation, the authors' checkpoints."""

from __future__ import annotations

import os
import pickle

import numpy as np
import plain_networks
from plain_networks import lively
import pytest
from recon3d_core import registry
from recon3d_core.data.binvox import Binvox, read_binvox, write_binvox
from recon3d_core.errors import InputError
from recon3d_core.models import create_model
from recon3d_core.models.axes import from_published, to_published
import torch

# encoder, decoder, merger, refiner of the paper's tables
PIX2VOX_PARAMETERS = {
    'pix2vox_a': (7_772_480, 71_583_064, 8_571, 34_880_352),
    'pix2vox_f': (4_658_368, 2_769_368, 8_571),
}
TOTAL = {
    'pix2vox_a': 114_244_467,
    'pix2vox_f': 7_436_307,
    'r2n2_gru': 35_968_706,
    'r2n2_lstm': 35_968_706,
}


@pytest.mark.parametrize('name', TOTAL)
def test_numbers_of_parameters(name):
    with torch.device('meta'):
        model = registry.load('model', name)()
    parts = [sum(p.numel() for p in part.parameters()) for part in model.parts().values()]
    assert sum(parts) == TOTAL[name]
    assert sum(parts) == sum(p.numel() for p in model.parameters())
    if name in PIX2VOX_PARAMETERS:
        assert tuple(parts) == PIX2VOX_PARAMETERS[name]


@pytest.mark.parametrize(
    'name',
    [
        pytest.param('pix2vox_a', marks=pytest.mark.slow),
        'pix2vox_f',
        pytest.param('pix2voxpp_a', marks=pytest.mark.slow),
        'pix2voxpp_f',
    ],
)
def test_pix2vox_equals_the_plain_network(name):
    model = lively(create_model(name))
    views = torch.rand(1, 2, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        ours = model(views)
    plain = plain_networks.pix2vox(name, model.state_dict(), views)
    assert plain.std() > 0.01
    torch.testing.assert_close(ours, plain_networks.to_ours(plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize('shallow', [False, True])
@pytest.mark.parametrize('name', ['r2n2_gru', 'r2n2_lstm'])
def test_r2n2_equals_the_plain_network(name, shallow):
    model = create_model(name, shallow=shallow)
    views = torch.rand(1, 2, 3, 127, 127, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = model(views)
    plain = plain_networks.r2n2(name, model.state_dict(), views, shallow)
    assert plain.std() > 0.003
    torch.testing.assert_close(ours, plain_networks.to_ours(plain), atol=1e-5, rtol=0)


def test_axes_are_those_of_binvox_files(tmp_path):
    ours = np.random.default_rng(0).random((6, 6, 6)) > 0.7
    path = tmp_path / 'model.binvox'
    write_binvox(path, Binvox(ours))
    # As the published loaders read: runs to [x, z, y], then z and y change places.
    data = path.read_bytes().partition(b'data\n')[2]
    pairs = np.frombuffer(data, np.uint8).reshape(-1, 2)
    theirs = np.repeat(pairs[:, 0], pairs[:, 1]).reshape(6, 6, 6).transpose(0, 2, 1)
    turned = from_published(torch.tensor(theirs))
    np.testing.assert_array_equal(turned.numpy(), read_binvox(path).occupancy)
    assert torch.equal(to_published(turned), torch.tensor(theirs))


def checkpoint(model, note=0.5):
    """Return what the authors' training saves."""
    content = {'epoch_idx': 249, 'best_iou': note, 'best_epoch': 240}
    for part, module in model.parts().items():
        tensors = {f'module.{key}': value for key, value in module.state_dict().items()}
        content[f'{part}_state_dict'] = tensors
    return content


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('note', [0.661, np.float64(0.661)], ids=['float', 'numpy'])
def test_published_checkpoints_load_by_name(tmp_path, zipped, note):
    model = lively(create_model('pix2voxpp_f'))
    path = tmp_path / 'Pix2Vox++-F.pth'
    torch.save(checkpoint(model, note), path, _use_new_zipfile_serialization=zipped)
    loaded = create_model('pix2voxpp_f', weights=path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key


def test_a_refiner_that_is_not_needed_is_left_out(tmp_path):
    model = create_model('pix2voxpp_f')
    content = checkpoint(model)
    content['refiner_state_dict'] = {'module.layer1.0.weight': torch.ones(1)}
    torch.save(content, tmp_path / 'a.pth')
    loaded = create_model('pix2voxpp_f', weights=tmp_path / 'a.pth').state_dict()
    assert loaded.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(value, loaded[key]), key


def test_a_wrong_checkpoint_names_the_first_difference(tmp_path):
    content = checkpoint(create_model('pix2voxpp_f'))
    content['decoder_state_dict']['module.layer2.0.weight'] = torch.zeros(3, 2)
    path = tmp_path / 'wrong.pth'
    torch.save(content, path)
    with pytest.raises(InputError, match=r'decoder.layer2.0.weight.*\(3, 2\).*128, 64, 4, 4, 4'):
        create_model('pix2voxpp_f', weights=path)
    del content['decoder_state_dict']['module.layer2.0.weight']
    torch.save(content, path)
    with pytest.raises(InputError, match='no decoder.layer2.0.weight'):
        create_model('pix2voxpp_f', weights=path)
    with pytest.raises(InputError, match=r'encoder.vgg.0.weight'):  # of another network
        create_model('pix2vox_f', weights=path)
    torch.save({'weights': torch.ones(3)}, path)
    with pytest.raises(InputError, match='encoder_state_dict'):
        create_model('pix2voxpp_f', weights=path)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize('kind', ['torch', 'legacy', 'pickle', 'numpy'])
def test_code_in_a_checkpoint_is_not_run(tmp_path, kind):
    marker, path = tmp_path / 'was_run', tmp_path / 'evil.pth'
    content = {'encoder_state_dict': Malicious(marker), 'best_iou': 0.7}
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(content))
    elif kind == 'numpy':  # hidden where scalars are accepted
        torch.save({'best_iou': np.array([Malicious(marker)], dtype=object)}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'torch')
    with pytest.raises(InputError, match='cannot be read') as caught:
        create_model('pix2voxpp_f', weights=path)
    assert '\n' not in str(caught.value)
    assert not marker.exists()
    torch.load(path, weights_only=False) if kind != 'pickle' else pickle.loads(path.read_bytes())
    assert marker.exists(), 'the file would have done it'


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 broken', b'\x80\x02}q\x00.', b'\x00' * 64])
def test_broken_files_are_one_line(tmp_path, content):
    for suffix in ('.pth', '.safetensors'):
        path = tmp_path / f'broken{suffix}'
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            create_model('pix2voxpp_f', weights=path)
        assert '\n' not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize('name', ['pix2vox_f', 'r2n2_gru'])
def test_a_gpu_says_the_same(name):
    model = lively(create_model(name))
    generator = torch.Generator().manual_seed(1)
    views = model.preprocess(torch.rand(2, 3, 3, 64, 64, generator=generator))
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.no_grad():
            expected = model(views)
            found = model.cuda().optimize_for_inference()(views.cuda())
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)
