"""The object TSDF: exact against its slow twin, robust to bad masks, constant in cost."""

from __future__ import annotations

import dataclasses
import tracemalloc

import cv2
import numpy as np
import open3d as o3d
import pytest
from recon3d_core.errors import FrameError
from recon3d_core.fusion._tsdf_reference import observe_reference
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import make_transform
from tabletop import birth_grid, box_of, tabletop

SMALL = Camera(96, 72, 87.0, 90.0, 45.0, 37.0)


def fuse(views, grid=None, reconstructor=None):
    reconstructor = reconstructor or TsdfObjectReconstructor()
    state = reconstructor.start(grid or birth_grid(views[0]))
    for view in views:
        state = reconstructor.observe(state, view)
    return reconstructor, state


def true_distance(solid, points):
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.uint32))
    return scene.compute_signed_distance(o3d.core.Tensor(points)).numpy()


def tilted_grid(shape):
    angle = 0.3
    rotation = [
        [np.cos(angle), -np.sin(angle), 0],
        [np.sin(angle), np.cos(angle), 0],
        [0, 0, 1],
    ]
    return VoxelGrid(make_transform(rotation, (-0.06, -0.08, -0.02)), 0.009, shape)


def test_equals_the_slow_twin_on_a_non_cubic_grid():
    views = tabletop('mug').orbit(3, camera=SMALL)
    # What the mask shows beyond the grid would make the fast one grow.
    reconstructor = TsdfObjectReconstructor()
    reconstructor.config.max_voxels_per_axis = 16
    grid = tilted_grid((18, 16, 17))
    _, fast = fuse(views, grid, reconstructor)
    slow = reconstructor.start(grid)
    for view in views:
        slow = observe_reference(reconstructor, slow, view)
    assert fast.grid.shape == grid.shape
    assert (slow.weight > 0).sum() > 300
    # A voxel whose centre falls on the border of two pixels may be rounded to either.
    assert (np.abs(fast.weight - slow.weight) > 1e-4).mean() < 0.005
    assert (np.abs(fast.sdf_m - slow.sdf_m) > 1e-5).mean() < 0.005
    assert (np.abs(fast.hits - slow.hits) > 1e-4).mean() < 0.005
    assert (np.abs(fast.free - slow.free) > 1e-4).mean() < 0.005


@pytest.mark.parametrize('name', ['box', 'cylinder', 'bottle', 'ball'])
def test_distances_near_the_surface_are_true(name):
    scene = tabletop(name)
    reconstructor, state = fuse(scene.orbit(12))
    shape = reconstructor.shape(state)
    close = shape.observed & (np.abs(shape.sdf_m) < shape.grid.voxel_size_m)
    truth = true_distance(scene.solid, shape.grid.centers_world_m()[close])
    error = np.abs(shape.sdf_m[close] - truth)
    assert np.median(error) < 0.0015
    assert np.quantile(error, 0.9) < 0.004


def test_shape_is_in_range_and_consistent():
    reconstructor, state = fuse(tabletop('bowl').orbit(6))
    shape = reconstructor.shape(state)
    assert shape.views_used == 6
    for values in (shape.occupancy, shape.sdf_m):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert shape.occupancy.min() >= 0
    assert shape.occupancy.max() <= 1
    assert not (shape.free & (shape.occupancy > 0.5)).any()
    unseen = ~shape.free & ~shape.observed
    assert (shape.occupancy[unseen] == 0.5).all()
    close = shape.observed & (np.abs(shape.sdf_m) < 0.5 * shape.grid.voxel_size_m)
    assert np.median(shape.colors[close], axis=0).tolist() == [200, 40, 40]


def test_inside_of_a_mug_is_free_and_its_wall_is_not():
    scene = tabletop('mug')
    reconstructor, state = fuse(scene.orbit(12))
    shape = reconstructor.shape(state)
    points = np.array([[0, 0, 0.09], [0.01, 0.01, 0.08], [0.039, 0, 0.09], [0, 0.039, 0.06]])
    cavity_top, cavity, rim, wall = shape.grid.indices(points)
    assert shape.free[tuple(cavity_top)]
    assert shape.free[tuple(cavity)]
    assert shape.occupancy[tuple(rim)] > 0.5
    assert shape.occupancy[tuple(wall)] > 0.5


def test_a_mask_that_misses_half_of_the_object_in_one_view_erases_nothing():
    views = tabletop('box').orbit(8)
    grid = birth_grid(views[0])
    reconstructor, state = fuse(views, grid)
    before = reconstructor.shape(state)
    half = views[3].mask.copy()
    half[:, : (views[3].box_xyxy[0] + views[3].box_xyxy[2]) // 2] = False
    broken = [*views[:3], dataclasses.replace(views[3], mask=half), *views[4:]]
    after = reconstructor.shape(fuse(broken, grid)[1])
    assert after.grid.shape == before.grid.shape
    solid = before.occupancy > 0.5
    assert ((after.occupancy > 0.5) & solid).sum() > 0.97 * solid.sum()


def test_a_surface_that_most_masks_give_to_another_object_is_not_this_one():
    views = tabletop('box').orbit(8)
    grid = birth_grid(views[0]).padded(np.full(3, 8), np.full(3, 8))

    def solid(wrong):
        """Fuse masks that hold the ground around the box, or leave it to something else."""
        reconstructor = TsdfObjectReconstructor()
        reconstructor.config.max_voxels_per_axis = 16  # it stays as it is
        seen = []
        for number, view in enumerate(views):
            large = cv2.dilate(view.mask.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
            change = {'mask': large} if number in wrong else {'others': large & ~view.mask}
            seen.append(dataclasses.replace(view, **change))
        state = fuse(seen, grid, reconstructor)[1]
        assert state.grid.shape == grid.shape
        return reconstructor.shape(state).occupancy > 0.5

    right, all_wrong, one_wrong = solid([]), solid(range(8)), solid([0])
    leaked = np.count_nonzero(all_wrong & ~right)
    assert leaked > 0.2 * np.count_nonzero(right)
    assert np.count_nonzero(one_wrong & ~right) < 0.2 * leaked  # .3 where it has no say
    assert np.count_nonzero(one_wrong & right) > 0.97 * np.count_nonzero(right)


def test_pixels_of_others_without_depth_say_nothing():
    view = tabletop('box').orbit(1)[0]
    grid = birth_grid(view)
    blind = dataclasses.replace(
        view.frame, depth_m=np.where(view.mask, view.frame.depth, 0).astype(np.float32)
    )
    view = dataclasses.replace(view, frame=blind)
    _, holes = fuse([view], grid)
    _, silent = fuse([dataclasses.replace(view, others=~view.mask)], grid)
    np.testing.assert_array_equal(holes.weight, silent.weight)
    vote = np.float32(TsdfObjectReconstructor().config.hole_vote)
    assert (holes.free == vote).any()
    assert not (silent.free == vote).any()


def test_the_grid_grows_with_the_object_and_keeps_what_it_knew():
    scene = tabletop('bottle')
    views = scene.orbit(4)
    whole = birth_grid(views[0])
    cut = VoxelGrid(whole.T_world_grid, whole.voxel_size_m, (*whole.shape[:2], 24))
    reconstructor = TsdfObjectReconstructor()
    state = reconstructor.observe(reconstructor.start(cut), views[0])
    assert state.grid.extent_m[2] > 0.18
    top = state.grid.indices(np.array([0.0, 0.0, 0.19]))
    assert ((top >= 0) & (top < state.grid.shape)).all()
    for view in views[1:]:
        state = reconstructor.observe(state, view)
    shape = reconstructor.shape(state)
    assert shape.occupancy[tuple(shape.grid.indices(np.array([0.0, 0.0, 0.19])))] > 0.5


def test_growth_is_bounded():
    view = tabletop('box').orbit(1)[0]
    everything = dataclasses.replace(
        view, mask=np.ones_like(view.mask), box_xyxy=box_of(np.ones_like(view.mask))
    )
    reconstructor, state = fuse([everything] * 6, birth_grid(view))
    assert max(state.grid.shape) <= reconstructor.config.max_voxels_per_axis


def test_the_cost_of_a_view_does_not_grow():
    views = tabletop('cylinder').orbit(20, camera=SMALL)
    reconstructor, state = fuse(views[:2])
    peaks, sizes = [], []
    for view in views[2:]:
        tracemalloc.start()
        state = reconstructor.observe(state, view)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(sum(getattr(state, name).nbytes for name in state.ARRAYS))
    assert len(set(sizes[4:])) == 1
    assert max(peaks[-4:]) < 1.3 * max(peaks[2:8])
    assert state.views == 20


def test_a_camera_that_sees_nothing_changes_nothing():
    scene = tabletop('box')
    view = scene.orbit(1)[0]
    reconstructor, state = fuse([view])
    before = state.weight.copy()
    away = view.frame.T_world_camera @ make_transform(np.diag([-1.0, 1.0, -1.0]))
    frame = dataclasses.replace(view.frame, T_world_camera=away)
    empty = np.zeros_like(view.mask)
    state = reconstructor.observe(
        state, dataclasses.replace(view, frame=frame, mask=empty, box_xyxy=(0, 0, 0, 0))
    )
    assert state.views == 1
    np.testing.assert_array_equal(state.weight, before)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [({'depth_m': None}, 'no_depth'), ({'T_world_camera': None}, 'no_pose')],
)
def test_missing_inputs_are_named(change, reason):
    view = tabletop('box').orbit(1)[0]
    broken = dataclasses.replace(view, frame=dataclasses.replace(view.frame, **change))
    reconstructor = TsdfObjectReconstructor()
    with pytest.raises(FrameError) as error:
        reconstructor.observe(reconstructor.start(birth_grid(view)), broken)
    assert error.value.reason == reason


def test_depth_without_any_valid_pixel_and_with_nan_is_harmless():
    view = tabletop('box').orbit(1)[0]
    reconstructor, state = fuse([view])
    for value in (0.0, np.nan, np.inf):
        depth = np.full_like(view.frame.depth_m, value)
        frame = dataclasses.replace(view.frame, depth_m=depth)
        state = reconstructor.observe(state, dataclasses.replace(view, frame=frame))
    shape = reconstructor.shape(state)
    assert np.isfinite(shape.sdf_m).all()
    assert (shape.occupancy > 0.5).any()
