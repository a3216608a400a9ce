"""The map for navigation on scenes of known layout."""

import time

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import frame_from_normal, invert, make_transform
from recon3d_core.mapping.occupancy import build_occupancy_grid, estimate_floor_height_m
from recon3d_core.mapping.options import OccupancyGridOptions
from recon3d_core.types import Mesh, ObjectEstimate, SelfCheck, Shape

UP = np.array([0.0, 0.0, 1.0])
OPTIONS = OccupancyGridOptions()


def sheet(x, y, z, step=0.02):
    """Points on an axis-aligned sheet; a range of no length is one value."""
    axes = [np.arange(a, b, step) if b > a else np.array([a]) for a, b in (x, y, z)]
    return np.stack(np.meshgrid(*axes), -1).reshape(-1, 3)


FLOOR = sheet((0.01, 4), (0.01, 3), (0, 0))
WALL = sheet((4, 4), (0.01, 3), (0, 2.4))
TABLE = sheet((1, 2), (1, 1.6), (0.74, 0.74))


def box_object(corner, size, voxel_m=0.03):
    shape = tuple(np.ceil(np.array(size) / voxel_m).astype(int).tolist())
    grid = VoxelGrid(make_transform(translation=corner), voxel_m, shape)
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    return ObjectEstimate(
        1,
        'chair',
        1.0,
        empty,
        Shape(grid, np.ones(shape, np.float32)),
        np.eye(4),
        np.array(size),
        5,
        True,
        1.0,
        0.5,
        SelfCheck(1.0, 0.0, True),
        0,
        0,
    )


def cell(grid, point_world):
    local = (invert(grid.T_world_grid) @ [*point_world, 1])[:3]
    return grid.cells[tuple(np.floor(local[:2] / grid.cell_size_m).astype(int))]


def test_room_with_a_table():
    grid = build_occupancy_grid(np.concatenate([FLOOR, WALL, TABLE]), [], UP, OPTIONS)
    assert grid.cells.dtype == np.int8
    np.testing.assert_allclose(grid.T_world_grid[:3, :3], np.eye(3), atol=1e-12)
    assert grid.T_world_grid[2, 3] == pytest.approx(0, abs=0.01)
    assert cell(grid, (0.5, 0.5, 0)) == 0
    assert cell(grid, (1.5, 1.3, 0)) == 100
    assert cell(grid, (4.001, 1.0, 0)) == 100
    assert (grid.cells == 100).sum() * 0.05**2 == pytest.approx(1 * 0.6 + 3 * 0.05, rel=0.1)


def test_unseen_half_of_an_object_is_an_obstacle():
    front = sheet((2.0, 2.0), (1.0, 1.5), (0.0, 0.9))
    seen_floor = FLOOR[FLOOR[:, 0] < 2.0]
    points = np.concatenate([seen_floor, front])
    without = build_occupancy_grid(points, [], UP, OPTIONS)
    chair = box_object((2.0, 1.0, 0.0), (0.45, 0.5, 0.9))
    grid = build_occupancy_grid(points, [chair], UP, OPTIONS)
    assert without.cells.shape[0] < grid.cells.shape[0]
    assert cell(grid, (2.40, 1.45, 0)) == 100
    assert cell(grid, (2.40, 0.5, 0)) == -1
    assert cell(grid, (1.5, 0.5, 0)) == 0


def test_heights_are_bounds():
    low = sheet((0.5, 0.7), (0.5, 0.7), (0.05, 0.05))
    lamp = sheet((2.5, 2.7), (0.5, 0.7), (2.0, 2.0))
    grid = build_occupancy_grid(np.concatenate([FLOOR, low, lamp]), [], UP, OPTIONS)
    assert not (grid.cells == 100).any()
    options = OccupancyGridOptions(min_height_m=0.02, max_height_m=2.2)
    grid = build_occupancy_grid(np.concatenate([FLOOR, low, lamp]), [], UP, options)
    assert cell(grid, (0.6, 0.6, 0)) == 100
    assert cell(grid, (2.6, 0.6, 0)) == 100


def test_lower_ground_is_not_free():
    pit = sheet((4.2, 5), (0, 1), (-0.8, -0.8))
    grid = build_occupancy_grid(np.concatenate([FLOOR, pit]), [], UP, OPTIONS, floor_height_m=0.0)
    assert cell(grid, (4.6, 0.5, 0)) == -1


def test_small_cells_leave_no_gap_in_a_volume():
    options = OccupancyGridOptions(cell_size_m=0.01)
    grid = build_occupancy_grid(
        np.zeros((0, 3)), [box_object((0, 0, 0), (0.3, 0.3, 0.3))], UP, options, 0.0
    )
    assert (grid.cells == 100).mean() == 1.0


def directions():
    axis = st.floats(-1, 1)
    return st.tuples(axis, axis, axis).map(np.array).filter(lambda v: np.linalg.norm(v) > 0.1)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(directions(), st.floats(-3, 3))
def test_any_up(up, angle):
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    T = make_transform(frame_from_normal(up) @ turn, (0.3, -0.2, 0.5))
    points = np.concatenate([FLOOR, TABLE])[::3]
    world = points @ T[:3, :3].T + T[:3, 3]
    grid = build_occupancy_grid(world, [], T[:3, 2], OPTIONS)
    np.testing.assert_allclose(grid.T_world_grid[:3, 2], T[:3, 2], atol=1e-9)
    assert np.linalg.det(grid.T_world_grid[:3, :3]) == pytest.approx(1)
    for point, wanted in (((1.5, 1.3, 0), 100), ((0.5, 0.5, 0), 0)):
        assert cell(grid, T[:3, :3] @ point + T[:3, 3]) == wanted


@pytest.mark.parametrize('extra', ['noise below', 'big table', 'nothing'])
def test_floor_is_found(extra):
    generator = np.random.default_rng(0)
    heights = [generator.normal(0.3, 0.005, 20000)]
    if extra == 'noise below':
        heights.append(generator.uniform(-2.0, 0.3, 300))
    if extra == 'big table':
        heights.append(generator.normal(1.05, 0.005, 60000))
    assert estimate_floor_height_m(np.concatenate(heights)) == pytest.approx(0.3, abs=0.01)


def test_nothing_known_and_not_finite():
    assert build_occupancy_grid(np.zeros((0, 3), np.float32), [], UP, OPTIONS) is None
    bad = np.full((10, 3), np.nan, np.float32)
    assert build_occupancy_grid(bad, [], UP, OPTIONS) is None
    grid = build_occupancy_grid(np.concatenate([FLOOR, bad]), [], UP, OPTIONS)
    assert np.isfinite(grid.T_world_grid).all()


def test_outlier_does_not_make_a_giant_map():
    far = np.concatenate([FLOOR, [[1e6, -1e6, 0]]])
    grid = build_occupancy_grid(far, [], UP, OPTIONS)
    assert max(grid.cells.shape) <= 4000
    assert cell(grid, (0.5, 0.5, 0)) == 0


def test_cost_is_small_beside_a_sort():
    """No absolute time: a sort of as many keys is the yardstick."""
    generator = np.random.default_rng(0)
    points = generator.uniform((0, 0, 0), (8, 6, 2), (500000, 3)).astype(np.float32)
    ours, sort = [], []
    for _ in range(3):
        start = time.process_time()
        build_occupancy_grid(points, [], UP, OPTIONS)
        ours.append(time.process_time() - start)
        start = time.process_time()
        np.lexsort(points[:, :2].T)
        sort.append(time.process_time() - start)
    assert min(ours) < 3 * min(sort)
