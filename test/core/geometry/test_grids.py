"""Voxel grids that are not cubic, placed anywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry.grids import grid_around, VoxelGrid
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion

TURNED = make_transform(rotation_from_quaternion([0.9, 0.1, -0.3, 0.2]), (1.0, -2.0, 0.5))
SHAPES = st.tuples(*[st.integers(1, 7)] * 3)


def test_convention_of_the_first_voxel() -> None:
    grid = VoxelGrid(np.eye(4), 0.1, (3, 4, 5))
    centers = grid.centers_grid_m()
    assert centers.shape == (3, 4, 5, 3)
    np.testing.assert_allclose(centers[0, 0, 0], (0.05, 0.05, 0.05))
    np.testing.assert_allclose(centers[2, 0, 0], (0.25, 0.05, 0.05), rtol=1e-6)
    np.testing.assert_allclose(centers[0, 0, 4], (0.05, 0.05, 0.45), rtol=1e-6)
    np.testing.assert_allclose(grid.extent_m, (0.3, 0.4, 0.5))


@given(SHAPES, st.floats(1e-3, 0.5))
def test_each_centre_lies_in_its_own_voxel(shape: tuple[int, int, int], size_m: float) -> None:
    grid = VoxelGrid(TURNED, size_m, shape)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), -1)
    np.testing.assert_array_equal(grid.indices(grid.centers_world_m()), index)
    assert grid.contains(grid.centers_world_m()).all()


def test_outside_is_outside_at_every_side() -> None:
    grid = VoxelGrid(np.eye(4), 0.1, (3, 4, 5))
    middle = grid.extent_m / 2
    for axis in range(3):
        for place in (-1e-6, grid.extent_m[axis] + 1e-6):
            point = middle.copy()
            point[axis] = place
            assert not grid.contains(point)


@given(SHAPES, *[st.tuples(*[st.integers(0, 3)] * 3)] * 2)
def test_padding_moves_no_voxel(
    shape: tuple[int, int, int], low: tuple[int, int, int], high: tuple[int, int, int]
) -> None:
    grid = VoxelGrid(TURNED, 0.05, shape)
    before = grid.T_world_grid.copy()
    grown = grid.padded(low, high)
    assert grown.shape == tuple(np.add(np.add(shape, low), high))
    inner = tuple(slice(a, a + n) for a, n in zip(low, shape))
    np.testing.assert_allclose(grown.centers_world_m()[inner], grid.centers_world_m(), atol=1e-6)
    np.testing.assert_array_equal(grid.T_world_grid, before)


@given(
    st.lists(st.tuples(*[st.floats(-2, 2)] * 3), min_size=1, max_size=20),
    st.floats(0.01, 0.3),
    st.floats(0, 0.2),
    st.booleans(),
)
def test_grid_around_holds_points_and_margin(
    points: list[tuple[float, float, float]], size_m: float, margin_m: float, turned: bool
) -> None:
    rotation = TURNED[:3, :3] if turned else None
    cloud = np.array(points)
    grid = grid_around(cloud, size_m, margin_m, rotation)
    local = (cloud - grid.T_world_grid[:3, 3]) @ grid.T_world_grid[:3, :3]
    assert (local >= margin_m - 1e-9).all()
    assert (local <= grid.extent_m - margin_m + 1e-9).all()
    # The smallest such grid: one voxel less would not do.
    spread = np.ptp(local, axis=0) + 2 * margin_m
    assert (np.array(grid.shape) <= np.maximum(np.ceil(spread / size_m + 1e-6), 1)).all()


@pytest.mark.parametrize(
    ('pose', 'size_m', 'shape'),
    [
        (np.eye(4), 0.0, (2, 2, 2)),
        (np.eye(4), float('nan'), (2, 2, 2)),
        (np.eye(4), float('inf'), (2, 2, 2)),
        (np.eye(4), 0.1, (2, 0, 2)),
        (np.eye(3), 0.1, (2, 2, 2)),
        (2 * np.eye(4), 0.1, (2, 2, 2)),
    ],
)
def test_impossible_grids(pose: np.ndarray, size_m: float, shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError):
        VoxelGrid(pose, size_m, shape)
