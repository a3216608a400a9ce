"""posed_fusion: streaming equals the batch, order does not matter, poses are used rightly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.posed_fusion.config import PosedFusionConfig
from recon3d_core.models.posed_fusion.encoder import HALF_DEPTH, sight_geometry
from recon3d_core.models.posed_fusion.fusion import cube_points, resample
from recon3d_core.models.posed_fusion.model import PosedFusion
from scipy.spatial.transform import Rotation
import torch


def cameras(batch: int, views: int, seed: int = 0, distance: float = 2.0) -> ViewCameras:
    T = np.tile(np.eye(4, dtype=np.float32), (batch, views, 1, 1))
    rotations = Rotation.random(batch * views, rng=np.random.default_rng(seed)).as_matrix()
    T[..., :3, :3] = rotations.reshape(batch, views, 3, 3)
    T[..., 2, 3] = distance
    K = torch.tensor([[1.5, 0, 0.5], [0, 1.5, 0.5], [0, 0, 1]]).repeat(batch, views, 1, 1)
    return ViewCameras(K, torch.from_numpy(T))


def small(**options: object) -> PosedFusion:
    torch.manual_seed(0)
    sizes = {'image_size': 64, 'resolution': 16, 'width': 8, 'depth_bins': 16, **options}
    config = PosedFusionConfig(**sizes)
    return PosedFusion(config).eval()


@pytest.fixture
def batch() -> tuple[torch.Tensor, ViewCameras]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 4, 3, 64, 64, generator=generator)
    masks = (torch.rand(2, 4, 1, 64, 64, generator=generator) > 0.5).float()
    return small().preprocess(images, masks), cameras(2, 4)


@pytest.mark.parametrize('fusion', ['softmax', 'lstm'])
def test_stream_equals_batch(fusion, batch):
    model, (views, cams) = small(fusion=fusion), batch
    with torch.no_grad():
        whole = model(views, cams)
        state = model.start(2)
        assert float((model.probabilities(state) - 0.5).abs().max()) == 0
        for index in range(4):
            state = model.observe(state, views[:, index], cams.view(index))
        torch.testing.assert_close(model.probabilities(state), whole, atol=1e-5, rtol=0)
    assert whole.shape == (2, 16, 16, 16)


def test_order_of_views_does_not_matter(batch):
    model, (views, cams) = small(), batch
    with torch.no_grad():
        first = model(views, cams)
        for order in itertools.islice(itertools.permutations(range(4)), 1, 24, 5):
            index = list(order)
            turned = ViewCameras(cams.K[:, index], cams.T_camera_cube[:, index])
            torch.testing.assert_close(model(views[:, index], turned), first, atol=1e-5, rtol=0)


def test_state_does_not_grow(batch):
    model, (views, cams) = small(), batch
    with torch.no_grad():
        state, sizes = model.start(2), []
        for _ in range(5):
            state = model.observe(state, views[:, 0], cams.view(0))
            tensors = (state.fused, state.cell, state.peak, state.hull, state.coverage)
            sizes.append(sum(tensor.numel() for tensor in tensors))
    assert len(set(sizes)) == 1


def test_a_blob_along_the_line_of_sight_lands_where_its_pixel_and_depth_say():
    """Resampling against a plain computation of one voxel's pixel and depth."""
    cams, N = cameras(1, 1, seed=3), 16
    volumes = torch.zeros(1, 1, 1, 8, 12, 10)  # not cubic, not square
    volumes[0, 0, 0, 5, 6, 5] = 1
    masks = torch.ones(1, 1, 1, 24, 20)
    features, coverage = resample(volumes, masks, cams, N)
    # The centre of that cell, back through the camera into the cube.
    u, v = (5 + 0.5) / 10, (6 + 0.5) / 12
    K, T = cams.K[0, 0].numpy(), cams.T_camera_cube[0, 0].numpy()
    z = T[2, 3] + HALF_DEPTH * (2 * (5 + 0.5) / 8 - 1)
    point = np.linalg.inv(T) @ [*(np.linalg.inv(K) @ (u * z, v * z, z)), 1]
    weights = features[0, 0, 0].reshape(-1).numpy()
    found = (weights[:, None] * cube_points(N, torch.device('cpu')).numpy()).sum(0) / weights.sum()
    assert np.linalg.norm(found - point[:3]) < 1.5 / N
    assert float(coverage.max()) == 1


def test_sight_geometry_against_single_rays():
    cams, size = cameras(1, 2, seed=5), 8
    got = sight_geometry(cams, size)[0]
    for view, row, column in itertools.product(range(2), (1, 4, 6), (2, 4, 7)):
        K, T = cams.K[0, view].numpy(), cams.T_camera_cube[0, view].numpy()
        ray = np.linalg.inv(K) @ ((column + 0.5) / size, (row + 0.5) / size, 1)
        depths = np.linspace(0.5, 3.5, 6001)
        points = (depths[:, None] * ray - T[:3, 3]) @ T[:3, :3]
        inside = depths[(np.abs(points) <= 0.5).all(1)]
        enter, leave = got[view, :2, row, column].numpy()
        if len(inside) == 0:
            assert abs(enter) + abs(leave) < 1e-3 or leave - enter < 2e-3
        else:
            np.testing.assert_allclose((enter, leave), inside[[0, -1]] - T[2, 3], atol=2e-3)
        np.testing.assert_allclose(got[view, 2:, row, column], T[:3, 2], atol=1e-6)


def test_every_parameter_learns(batch):
    model, (views, cams) = small().train(), batch
    occupancy = (
        torch.rand(2, 16, 16, 16, generator=torch.Generator().manual_seed(2)) > 0.7
    ).float()
    model.loss(views, occupancy, cams).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(float(part.weight.grad.abs().sum()) > 0 for part in (model.encoder.slices,))


def test_it_learns_a_sphere_from_outlines():
    """A few steps on spheres of different size: the size must be read from the images."""
    torch.manual_seed(0)
    model, cams = small(image_size=32).train(), cameras(8, 1)
    radius = torch.linspace(0.15, 0.45, 8)
    axis = (torch.arange(32) + 0.5) / 32 - 0.5
    distance = torch.hypot(*torch.meshgrid(axis, axis, indexing='ij'))
    # A sphere at distance 2 under focal length 1.5 has this outline.
    outline = 1.5 * radius / (4 - radius**2).sqrt()
    masks = (distance < outline[:, None, None]).float()[:, None, None]
    views = model.preprocess(masks.expand(-1, -1, 3, -1, -1), masks)
    grid = cube_points(16, torch.device('cpu')).norm(dim=1).reshape(16, 16, 16)
    occupancy = (grid < radius[:, None, None, None]).float()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        model.loss(views, occupancy, cams).backward()
        optimizer.step()
    with torch.no_grad():
        inside = model.eval()(views, cams) > 0.5
    common = (inside & (occupancy > 0)).sum((1, 2, 3))
    union = (inside | (occupancy > 0)).sum((1, 2, 3))
    assert float((common / union).mean()) > 0.8


def test_missing_poses_and_wrong_sizes_are_refused(batch):
    model, (views, cams) = small(), batch
    with pytest.raises(InputError, match='pose of every view'):
        model(views)
    with pytest.raises(InputError, match='as the cameras'):
        model(views[:, :2], cams)
    with pytest.raises(InputError, match='divisible'):
        PosedFusion(PosedFusionConfig(image_size=100))
    with pytest.raises(InputError, match='images'):
        model.preprocess(torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match='square'):
        model.preprocess(torch.zeros(1, 1, 3, 64, 48))
