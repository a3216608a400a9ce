"""Depth and normal losses against loops over their equations and a tilted plane."""

from __future__ import annotations

from hypothesis import given, strategies
import numpy as np
import pytest
from recon3d_core import losses
from recon3d_core.errors import InputError
import torch
from torch.autograd import gradcheck


def scene(seed=0, shape=(2, 5, 6, 7)):
    generator = torch.Generator().manual_seed(seed)
    volume = torch.rand(shape, generator=generator, dtype=torch.float64)
    depth = 9 * torch.rand(shape[:3], generator=generator, dtype=torch.float64) - 1
    depth[depth > 7.5] = torch.inf
    normals = torch.randn((*shape[:3], 3), generator=generator, dtype=torch.float64)
    return volume, depth, normals


def plain_depth(v, depth):
    costs = []
    for x, y in np.ndindex(*depth.shape):
        at = np.floor(depth[x, y])
        front = sum(v[x, y, z] ** 2 for z in range(v.shape[2]) if z < at)
        costs.append(front + sum((1 - v[x, y, z]) ** 2 for z in range(v.shape[2]) if z == at))
    return np.mean(costs)


def plain_normal(v, depth, normals):
    costs = []
    for x, y in np.ndindex(*depth.shape):
        a, b, c = normals[x, y]
        z = depth[x, y]
        if not 0 <= z < v.shape[2]:
            continue
        near = ((x, y - 1, z + b / c), (x, y + 1, z - b / c),
                (x - 1, y, z + a / c), (x + 1, y, z - a / c))  # fmt: skip
        cells = [tuple(int(np.floor(k)) for k in place) for place in near]
        inside = [cell for cell in cells if all(0 <= k < n for k, n in zip(cell, v.shape))]
        costs.append(sum((1 - v[cell]) ** 2 for cell in inside))
    return np.mean(costs)


def test_both_equal_their_equations():
    volume, depth, normals = scene()
    by_depth = losses.depth_loss(volume, depth, reduction='none')
    by_normal = losses.normal_loss(volume, depth, normals, reduction='none')
    for k in range(2):
        v, d, n = (part[k].numpy() for part in (volume, depth, normals))
        assert float(by_depth[k]) == pytest.approx(plain_depth(v, d), rel=1e-12)
        assert float(by_normal[k]) == pytest.approx(plain_normal(v, d, n), rel=1e-12)
    mean = losses.normal_loss(volume, depth, normals)
    assert float(mean) == pytest.approx(float(by_normal.mean()))


def tilted(slope_x, slope_y, size=12):
    """Return the volume behind a plane, its depth and its normals."""
    x, y, z = np.meshgrid(*[np.arange(size)] * 3, indexing='ij')
    depth = 5.5 + slope_x * (x[..., 0] - size / 2) + slope_y * (y[..., 0] - size / 2)
    volume = (z >= np.floor(depth)[..., None]).astype(float)
    normals = np.broadcast_to((slope_x, slope_y, -1.0), (size, size, 3)).copy()
    return tuple(torch.from_numpy(part)[None] for part in (volume, depth, normals))


@given(strategies.floats(-0.4, 0.4), strategies.floats(-0.4, 0.4), strategies.booleans())
def test_a_plane_costs_nothing_whichever_way_its_normal_points(slope_x, slope_y, flip):
    volume, depth, normals = tilted(slope_x, slope_y)
    assert float(losses.depth_loss(volume, depth)) == 0
    # Half a voxel on, where rounding of the equal sums cannot put a neighbour into another voxel.
    deeper = depth.floor() + 0.5 + 0 * depth if slope_x == slope_y == 0 else depth + 1e-9
    assert float(losses.normal_loss(volume, deeper, -normals if flip else normals)) == 0


def test_wrong_slopes_cost():
    volume, depth, normals = tilted(0.4, 0.0)
    wrong = normals * torch.tensor([-1.0, 1.0, 1.0])
    assert losses.normal_loss(volume, depth, wrong) > 0.3
    turned = normals[..., [1, 0, 2]]
    assert losses.normal_loss(volume, depth, turned) > 0.1
    assert losses.depth_loss(volume, depth + 2) > 1
    assert losses.depth_loss(volume, depth - 2) == 1


def test_rays_that_hit_nothing_should_be_empty():
    depth = torch.full((1, 3, 3), torch.inf)
    assert losses.depth_loss(torch.zeros(1, 3, 3, 4), depth) == 0
    assert losses.depth_loss(torch.ones(1, 3, 3, 4), depth) == 4
    normals = torch.tensor([0.0, 0, 1]).expand(1, 3, 3, 3)
    assert losses.normal_loss(torch.zeros(1, 3, 3, 4), depth, normals) == 0
    # In front of the volume: all of it is behind the surface.
    assert losses.depth_loss(torch.rand(1, 3, 3, 4), -depth) == 0


def test_only_known_pixels_count():
    volume, depth, normals = scene()
    known = torch.zeros(depth.shape, dtype=torch.bool)
    assert losses.depth_loss(volume, depth, known) == 0
    assert losses.normal_loss(volume, depth, normals, known) == 0
    known[:, 2, 3] = True
    for k in range(2):
        wanted = plain_depth(volume[k, 2:3, 3:4].numpy(), depth[k, 2:3, 3:4].numpy())
        found = losses.depth_loss(volume, depth, known, reduction='none')[k]
        assert float(found) == pytest.approx(wanted)


def test_grazing_normals_have_no_neighbours():
    volume, depth, normals = scene()
    normals[..., 2] = 0
    assert losses.normal_loss(volume, depth, normals) == 0


def test_gradients_of_sketches_are_right():
    volume, depth, normals = scene(shape=(1, 3, 3, 3))
    volume.requires_grad_()
    assert gradcheck(lambda v: losses.depth_loss(v, depth), (volume,))
    assert gradcheck(lambda v: losses.normal_loss(v, depth, normals), (volume,))


def test_bad_sketches_are_refused():
    volume, depth, normals = scene()
    with pytest.raises(InputError, match=r'depth has the wrong shape, got \(2, 5, 5\)'):
        losses.depth_loss(volume, depth[:, :, :5])
    with pytest.raises(InputError, match='depth has values that are not numbers, got 60 of 60'):
        losses.depth_loss(volume, depth * torch.nan)
    with pytest.raises(InputError, match='normals has the wrong shape'):
        losses.normal_loss(volume, depth, normals[..., :2])
    with pytest.raises(InputError, match='normals has values that are not finite'):
        losses.normal_loss(volume, depth, normals / 0)
    with pytest.raises(InputError, match='known has the wrong shape'):
        losses.depth_loss(volume, depth, depth[0] > 0)
    with pytest.raises(InputError, match='probabilities are no probabilities'):
        losses.depth_loss(volume * 2, depth)
    with pytest.raises(InputError, match='probabilities is empty'):
        losses.depth_loss(volume[..., :0], depth)
