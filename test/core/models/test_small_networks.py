"""The small networks: size, learning, resolutions, the layers that they are made of."""

from __future__ import annotations

import pytest
from recon3d_core.errors import ConfigError
from recon3d_core.models import create_model
from recon3d_core.models.compact import join_voxels, split_cells
from recon3d_core.models.layers import Conv3d
from recon3d_core.models.upsampling import boundary_blocks, BoundaryUpsampler, coarse_occupancy
import torch

SMALL = ('pix2vox_s', 'r2n2_s')
MOST_PARAMETERS = 3_000_000


def ball(n, radius=0.3):
    axis = (torch.arange(n) + 0.5) / n - 0.5
    x, y, z = torch.meshgrid(axis, axis, axis, indexing='ij')
    return radius - (x**2 + y**2 + (z * 1.3) ** 2).sqrt()


@pytest.mark.parametrize('resolution', [32, 64, 128])
@pytest.mark.parametrize('name', SMALL)
def test_sizes(name, resolution):
    model = create_model(name, resolution=resolution)
    count = sum(p.numel() for p in model.parameters())
    assert count <= MOST_PARAMETERS
    state = model.state_dict()
    assert sum(2 * t.numel() for t in state.values() if t.is_floating_point()) <= 8e6  # fp16
    assert model.probabilities(model.start()).shape == (1, *(resolution,) * 3)


def test_budgets_are_comparable():
    counts = [sum(p.numel() for p in create_model(name).parameters()) for name in SMALL]
    assert max(counts) < 1.15 * min(counts)


@pytest.mark.parametrize('name', SMALL)
def test_other_resolutions_are_refused(name):
    with pytest.raises(ConfigError, match='resolution'):
        create_model(name, resolution=48)


@pytest.mark.parametrize('name', SMALL)
def test_they_learn(name):
    torch.manual_seed(0)
    model = create_model(name).train()
    images = torch.rand(4, 2, 3, 128, 128)
    images[:2] *= 0.3  # dark and bright images show different shapes
    images[2:] = 1 - 0.3 * images[2:]
    views = model.preprocess(images)
    shapes = torch.stack([ball(32, 0.2), ball(32, 0.2), ball(32, 0.4), ball(32, 0.4)])
    occupancy = (shapes > 0).float()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = model.loss(views, occupancy)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize('name', SMALL)
def test_128_voxels(name):
    torch.manual_seed(0)
    model = create_model(name, resolution=128).train()
    views = model.preprocess(torch.rand(1, 2, 3, 128, 128))
    loss = model.loss(views, (ball(128) > 0).float()[None])
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert 'upsampler' in model.parts()
    model.eval()
    state = model.start()
    for index in range(2):
        state = model.observe(state, views[:, index])
    with torch.no_grad():
        batch = model(views)
    assert batch.shape == (1, 128, 128, 128)
    torch.testing.assert_close(model.probabilities(state), batch, atol=1e-5, rtol=0)


def test_only_blocks_at_the_surface_are_computed():
    logits = 40 * ball(64)[None]
    chosen = boundary_blocks(logits)
    everything = (64 // 8) ** 3
    assert 0.05 * everything < len(chosen) < 0.5 * everything
    kept = {tuple(index) for index in chosen[:, 1:].tolist()}
    for x in range(8):  # every block that holds both sides is among them
        block = logits[0, 8 * x : 8 * x + 8, 24:32, 24:32]
        assert ((x, 3, 3) in kept) or not (block.min() < 0 < block.max())


def test_upsampling_puts_corrections_in_their_place():
    torch.manual_seed(0)
    upsampler = BoundaryUpsampler()
    for parameter in upsampler.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    logits = torch.stack([40 * ball(16), 40 * ball(16, 0.2)])
    found = upsampler(logits)
    expected = torch.nn.functional.interpolate(logits[:, None], scale_factor=2, mode='trilinear')[
        :, 0
    ]
    padded = torch.nn.functional.pad(logits[:, None], (2,) * 6, mode='replicate')[:, 0]
    for b, i, j, k in boundary_blocks(logits).tolist():
        x, y, z = 8 * i, 8 * j, 8 * k
        crop = padded[b, x : x + 12, y : y + 12, z : z + 12]
        place = expected[b, 2 * x : 2 * x + 16, 2 * y : 2 * y + 16, 2 * z : 2 * z + 16]
        place += upsampler.correct(crop[None])[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_the_upsampler_learns_what_interpolation_cannot():
    torch.manual_seed(0)
    upsampler = BoundaryUpsampler()
    fine = torch.stack([(ball(64, r) > 0).float() for r in (0.25, 0.31, 0.38)])
    coarse = torch.logit(coarse_occupancy(fine), 1e-3)
    optimizer = torch.optim.Adam(upsampler.parameters(), 3e-3)
    first = upsampler.loss(coarse, fine).item()
    for _ in range(15):
        optimizer.zero_grad()
        loss = upsampler.loss(coarse, fine)
        loss.backward()
        optimizer.step()
    assert upsampler.loss(coarse, fine).item() < 0.9 * first


def test_split_and_join_are_inverse_and_local():
    voxels = torch.arange(2 * 3 * 4**3).float().reshape(2, 3, 4, 4, 4)
    cells = join_voxels(voxels)
    assert cells.shape == (2, 24, 2, 2, 2)
    assert torch.equal(split_cells(cells), voxels)
    assert set(cells[0, :8, 1, 0, 1].tolist()) == set(voxels[0, 0, 2:4, 0:2, 2:4].ravel().tolist())


@pytest.mark.parametrize('options', [{'padding': 1}, {'padding': 0, 'stride': 2}, {'bias': False}])
def test_single_volumes_are_convolved_like_many(options):
    torch.manual_seed(0)
    layer = Conv3d(5, 7, 3, **options)
    volume = torch.randn(1, 5, 9, 8, 7, requires_grad=True)
    expected = torch.nn.Conv3d.forward(layer, volume)
    torch.testing.assert_close(layer(volume), expected, atol=1e-5, rtol=1e-4)
    layer(volume).sum().backward()
    assert layer.weight.grad is not None
    assert volume.grad is not None
