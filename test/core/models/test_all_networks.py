"""Every registered network, run by the same tests: to register is to be tested."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from recon3d_core import registry
from recon3d_core.config import validate
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import invert, look_at
from recon3d_core.models import create_model
from recon3d_core.models.base import ModelConfig, VolumeNetwork
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.r2n2.base import R2N2Network
from recon3d_core.models.weights import save_weights, WeightsCard
from recon3d_core.types import INPUTS
import torch

# Baselines have nothing to train; what they have in common is tested beside them.
NAMES = [entry.name for entry in registry.entries('model') if '.baselines.' not in entry.target]
HUGE = {'pix2vox_a', 'pix2voxpp_a'}  # some 100 million parameters
PUBLISHED = {'pix2vox_a', 'pix2vox_f', 'pix2voxpp_a', 'pix2voxpp_f', 'r2n2_gru', 'r2n2_lstm'}


@pytest.fixture(
    scope='module',
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in HUGE)) for name in NAMES],
)
def model(request):
    """Each network in turn, with weights that no test changes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model(request.param)
        # Normalisations that have seen nothing would let folding them pass without a test.
        for module in model.modules():
            if hasattr(module, 'running_mean'):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def scene(model, count, batch=1, edge=80):
    """Return preprocessed views of drawn images with masks, and their cameras."""
    generator = torch.Generator().manual_seed(count)
    images = torch.rand(batch, count, 3, edge, edge, generator=generator)
    masks = torch.zeros(batch, count, 1, edge, edge)
    masks[..., 15:65, 20:60] = 1
    poses = []
    for turn in np.linspace(0, 5, count):
        eye = 2 * np.array([np.cos(turn), np.sin(turn), 0.4])
        poses.append(invert(look_at(eye, np.zeros(3))))
    T = torch.tensor(np.stack(poses), dtype=torch.float32).expand(batch, -1, -1, -1)
    K = torch.tensor([[1.5, 0, 0.5], [0, 1.5, 0.5], [0, 0, 1]]).expand(batch, count, 3, 3)
    return model.preprocess(images, masks), ViewCameras(K, T)


def stream(model, views, cameras, order=None):
    state = model.start(len(views))
    for index in order if order is not None else range(views.shape[1]):
        state = model.observe(state, views[:, index], cameras.view(index))
    return state


def truth(model, batch=1):
    n = model.resolution
    occupancy = torch.zeros(batch, n, n, n)
    occupancy[:, n // 4 : 3 * n // 4, n // 3 : n // 2, : n // 2] = 1
    return occupancy


@pytest.mark.parametrize('name', NAMES)
def test_declarations(name):
    kind = registry.load('model', name)
    assert issubclass(kind, VolumeNetwork)
    assert kind.name == name
    assert issubclass(kind.Config, ModelConfig)
    assert {'rgb'} <= kind.needs <= INPUTS
    for field_name, field in kind.Config.model_fields.items():
        assert field.description, field_name


def test_probabilities_are_finite_in_range_and_repeatable(model):
    views, cameras = scene(model, 1)
    size = model.config.image_size
    assert views.shape[:2] == (1, 1)
    assert views.shape[3:] == (size, size)
    assert torch.isfinite(views).all()
    with torch.no_grad():
        found = model(views, cameras)
        assert found.shape == (1, *(model.resolution,) * 3)
        assert torch.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 1
        assert torch.equal(found, model(views, cameras))


def test_all_parameters_have_gradients(model):
    model = copy.deepcopy(model).train()
    views, cameras = scene(model, 2)  # scores of a single view have none
    loss = model.loss(views, truth(model), cameras)
    assert loss.shape == ()
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    used = sum(bool(p.grad.abs().max() > 0) for p in model.parameters())
    # Corrections that begin at zero pass nothing on to what makes them before the first step.
    assert used > 0.6 * len(list(model.parameters()))


def test_parts_cover_all_parameters_once(model):
    held = [id(p) for part in model.parts().values() for p in part.parameters()]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_saved_and_loaded_it_says_the_same(model, tmp_path):
    name = model.name
    card = WeightsCard(name, config=model.config.model_dump(), threshold=0.37)
    path = tmp_path / 'weights.safetensors'
    save_weights(path, model.state_dict(), card)
    loaded = create_model(name, weights=path)
    views, cameras = scene(model, 1)
    assert loaded.threshold == 0.37
    with torch.no_grad():
        assert torch.equal(model(views, cameras), loaded(views, cameras))


def test_a_stream_agrees_with_the_batch(model):
    views, cameras = scene(model, 2)
    with torch.no_grad():
        batch = model(views, cameras)
    state = stream(model, views, cameras)
    torch.testing.assert_close(model.probabilities(state), batch, atol=1e-5, rtol=0)


def test_nothing_seen_is_one_half(model):
    found = model.probabilities(model.start(2))
    assert found.shape == (2, *(model.resolution,) * 3)
    assert (found == 0.5).all()


def test_objects_of_a_batch_do_not_mix(model):
    views, cameras = scene(model, 2, batch=2)
    with torch.no_grad():
        both = model(views, cameras)
        second = model(views[1:], ViewCameras(cameras.K[1:], cameras.T_camera_cube[1:]))
    torch.testing.assert_close(both[1:], second, atol=1e-5, rtol=0)


def test_the_order_of_views_does_not_matter_to_softmax_fusion(model):
    if isinstance(model, R2N2Network):
        pytest.skip(f'{model.name} is recurrent')
    views, cameras = scene(model, 3)
    state = stream(model, views, cameras)
    turned = stream(model, views, cameras, order=[2, 0, 1])
    difference = model.probabilities(state) - model.probabilities(turned)
    assert difference.abs().max() < 1e-5


def held_bytes(state):
    tensors = [value for value in vars(state).values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_the_state_does_not_grow(model):
    views, cameras = scene(model, 3)
    sizes = []
    state = model.start()
    for index in range(3):
        state = model.observe(state, views[:, index], cameras.view(index))
        sizes.append(held_bytes(state))
    assert len(set(sizes)) == 1


def test_made_quick_it_says_the_same(model):
    views, cameras = scene(model, 2)
    quick = copy.deepcopy(model).optimize_for_inference()
    with torch.no_grad():
        expected, found = model(views, cameras), quick(views, cameras)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in quick.modules())


def test_bad_images_are_refused_in_one_line(model):
    good = torch.rand(1, 1, 3, 64, 64)
    for images, masks in (
        (torch.rand(1, 1, 3, 48, 64), None),  # not square
        (torch.rand(1, 3, 64, 64), None),
        (torch.rand(1, 1, 4, 64, 64), None),
        (torch.rand(1, 0, 3, 64, 64), None),
        (good, torch.ones(1, 1, 1, 32, 32)),
        (good, torch.ones(1, 1, 64, 64)),
        ((good * 255).to(torch.uint8), None),
    ):
        with pytest.raises(InputError) as caught:
            model.preprocess(images, masks)
        assert '\n' not in str(caught.value)


def test_views_of_another_size_are_refused(model):
    views, cameras = scene(model, 1)
    with pytest.raises(InputError):
        model(views[..., :-1], cameras)
    with pytest.raises(InputError):
        model.observe(model.start(2), views[:, 0], cameras)


@pytest.mark.parametrize('name', sorted(PUBLISHED))
def test_published_sizes_are_fixed(name):
    config = registry.load('model', name).Config
    with pytest.raises(InputError, match='resolution'):
        validate(config, {'resolution': 64})


def test_what_stands_behind_the_object_does_not_matter_with_a_mask(model):
    images, masks = torch.rand(1, 1, 3, 64, 64), torch.zeros(1, 1, 1, 64, 64)
    masks[..., 20:40, 20:40] = 1
    other = torch.where(masks > 0, images, torch.rand(1, 1, 3, 64, 64))
    torch.testing.assert_close(model.preprocess(images, masks), model.preprocess(other, masks))
