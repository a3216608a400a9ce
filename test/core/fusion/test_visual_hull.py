"""The visual hull: holds the object, is close to it, and is not erased by a bad mask."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import open3d as o3d
import pytest
from recon3d_core.errors import FrameError, InputError
from recon3d_core.fusion._hull_reference import carve_reference
from recon3d_core.fusion.visual_hull import (
    initial_grid_from_views,
    VisualHullConfig,
    VisualHullReconstructor,
)
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import grid_around, VoxelGrid
from recon3d_core.geometry.transforms import apply, invert, look_at, make_transform
from recon3d_core.types import Frame, View
from scipy import ndimage
from tabletop import TABLE, tabletop

SMALL = Camera(96, 72, 87.0, 90.0, 45.0, 37.0)


def three_rings(name, camera=None):
    scene = tabletop(name)
    kwargs = {'seed': None} if camera is None else {'seed': None, 'camera': camera}
    return (
        scene.orbit(4, 0.5, 0.15, **kwargs)
        + scene.orbit(4, 0.45, 0.4, start=0.7, **kwargs)
        + scene.orbit(4, 0.2, 0.6, start=1.1, **kwargs)
    )


def carve(views, grid):
    reconstructor = VisualHullReconstructor()
    state = reconstructor.start(grid)
    for view in views:
        state = reconstructor.observe(state, view)
    return reconstructor.shape(state)


def truth(name, grid):
    solid = tabletop(name).solid
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.uint32))
    return scene.compute_occupancy(o3d.core.Tensor(grid.centers_world_m())).numpy() > 0.5


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize('name', ['box', 'cylinder', 'ball'])
def test_twelve_views_of_a_convex_object(name):
    views = three_rings(name)
    grid = initial_grid_from_views(views, 64)
    shape = carve(views, grid)
    assert max(grid.shape) == 64
    solid = truth(name, grid)
    assert overlap(shape.occupancy > 0.5, solid) >= 0.85
    assert ((shape.occupancy > 0.5) & solid).sum() >= 0.98 * solid.sum()
    assert shape.views_used == 12


def test_with_exact_masks_it_is_hard_carving_up_to_the_border():
    views = three_rings('mug', SMALL)[::3]
    grid = VoxelGrid(make_transform(None, (-0.06, -0.07, -0.01)), 0.009, (17, 15, 14))
    soft = carve(views, grid).occupancy > 0.5
    hard = carve_reference(grid, views)
    assert hard.sum() > 100
    assert overlap(soft, hard) > 0.9


def test_one_bad_mask_among_many_erases_nothing_for_long():
    views = three_rings('ball', SMALL) * 3
    grid = initial_grid_from_views(views[:12], 32)
    good = carve(views, grid).occupancy > 0.5
    empty = dataclasses.replace(views[5], mask=np.zeros_like(views[5].mask))
    bad = carve([*views[:5], empty, *views[6:]], grid).occupancy > 0.5
    assert overlap(bad, good) > 0.85


@settings(max_examples=8)
@given(st.permutations(range(6)))
def test_the_order_of_few_views_does_not_matter(order):
    views = three_rings('box', SMALL)[::2]
    grid = VoxelGrid(make_transform(None, (-0.12, -0.12, -0.02)), 0.012, (20, 19, 12))
    first = carve(views, grid).occupancy
    again = carve([views[k] for k in order], grid).occupancy
    # Where the votes reach their bound, the order leaves a trace.
    np.testing.assert_allclose(first, again, atol=1e-3)
    np.testing.assert_array_equal(first > 0.5, again > 0.5)


def test_voxels_that_no_view_saw_are_not_inside():
    view = three_rings('box')[0]
    grid = VoxelGrid(make_transform(None, (5.0, 5.0, 0.0)), 0.01, (8, 9, 10))
    assert carve([view], grid).occupancy.max() == 0


def test_the_first_grid_holds_the_object_and_little_more():
    for name in ('box', 'bottle', 'mug'):
        views = three_rings(name)
        bounds = tabletop(name).solid.bounds
        for support in (None, TABLE):
            grid = initial_grid_from_views(views, 48, support)
            assert grid.contains(tabletop(name).solid.vertices).all()
            assert grid.extent_m.max() < 1.7 * np.ptp(bounds, axis=0).max()
            assert max(grid.shape) == 48


def test_views_from_one_place_need_the_support():
    view = three_rings('box')[0]
    with pytest.raises(InputError, match='several places'):
        initial_grid_from_views([view, view])
    grid = initial_grid_from_views([view, view], 48, TABLE)
    assert grid.contains(tabletop('box').solid.bounds.mean(0))


def test_no_mask_and_masks_of_different_things_are_errors():
    first, second, *_ = three_rings('box', SMALL)
    nothing = dataclasses.replace(second, mask=np.zeros_like(second.mask))
    with pytest.raises(InputError, match='1 views with a mask'):
        initial_grid_from_views([first, nothing])
    corner = np.zeros_like(second.mask)
    corner[:3, :3] = True
    other = np.zeros_like(first.mask)
    other[-3:, -3:] = True
    with pytest.raises(InputError):
        initial_grid_from_views(
            [dataclasses.replace(first, mask=other), dataclasses.replace(second, mask=corner)]
        )


def test_a_view_without_pose_or_with_a_mask_of_another_size_is_named():
    view = three_rings('box', SMALL)[0]
    reconstructor = VisualHullReconstructor()
    state = reconstructor.start(VoxelGrid(np.eye(4), 0.01, (8, 8, 8)))
    lost = dataclasses.replace(view.frame, T_world_camera=None)
    with pytest.raises(FrameError, match='pose'):
        reconstructor.observe(state, dataclasses.replace(view, frame=lost))
    with pytest.raises(FrameError, match='mask'):
        reconstructor.observe(state, dataclasses.replace(view, mask=view.mask[1:]))


def test_what_is_behind_another_object_in_most_views_is_not_inside() -> None:
    """Two balls side by side: the neighbour's place gets no vote, and is not filled."""
    views = [
        dataclasses.replace(view, others=_disc(view, (0.16, 0.0, 0.0), 0.05) & ~view.mask)
        for view in _ball_views(12)
    ]
    grid = grid_around(np.array([[-0.08, -0.08, -0.08], [0.24, 0.08, 0.08]]), 0.01, 0.0)
    inside = carve(views, grid).occupancy > 0.5
    centers = grid.centers_world_m()
    assert inside[np.linalg.norm(centers, axis=-1) < 0.035].all()
    assert not inside[np.linalg.norm(centers - (0.16, 0, 0), axis=-1) < 0.035].any()


def _disc(view: View, center_world_m: tuple[float, float, float], radius_m: float) -> np.ndarray:
    """Return the pixels of a ball's silhouette, near enough for one that is far away."""
    camera = view.frame.camera
    local = apply(invert(view.frame.pose), np.array(center_world_m))
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    middle = camera.project(local)
    reach = camera.fx * radius_m / local[2]
    return (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < reach**2


def _ball_views(count: int) -> list[View]:
    """Return views of a ball of 5 cm at the origin, from a ring."""
    views = []
    for turn in np.linspace(0, 2 * np.pi, count, endpoint=False):
        camera = Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
        pose = look_at((0.8 * np.cos(turn), 0.8 * np.sin(turn), 0.4), (0.05, 0, 0))
        frame = Frame(0, camera, T_world_camera=pose)
        empty = np.zeros((120, 160), bool)
        view = View(frame, empty, (0, 0, 159, 119))
        views.append(dataclasses.replace(view, mask=_disc(view, (0.0, 0.0, 0.0), 0.05)))
    return views


def _ring(name, elevation=0.4, count=12):
    return tabletop(name).orbit(count, 0.5, elevation, seed=None)


def _carved(views, grid, **options):
    reconstructor = VisualHullReconstructor(VisualHullConfig(**options))
    state = reconstructor.start(grid)
    for view in views:
        state = reconstructor.observe(state, view)
    return reconstructor.shape(state)


@pytest.mark.parametrize('name', ['box', 'cylinder'])
def test_a_ring_of_views_leaves_no_tent_on_what_ends_level(name):
    views = _ring(name)
    grid = initial_grid_from_views(views, 48)
    solid = truth(name, grid)
    tents = _carved(views, grid, level_ends=False).occupancy > 0.5
    level = _carved(views, grid).occupancy > 0.5
    assert overlap(level, solid) > overlap(tents, solid) + 0.05
    assert overlap(level, solid) >= 0.85
    assert (level & solid).sum() >= 0.95 * solid.sum()


def test_a_ball_keeps_its_top():
    views = _ring('ball')
    grid = initial_grid_from_views(views, 48)
    solid = truth('ball', grid)
    level = _carved(views, grid).occupancy > 0.5
    assert (level & solid).sum() >= 0.97 * solid.sum()
    assert overlap(level, solid) >= 0.85


def test_level_ends_follow_the_grid_and_not_the_world():
    """The same scene in a world that lies on its side, where `up` is known, is the same."""
    turn = make_transform(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float), (0.3, -2.0, 0.7))
    views = _ring('box')
    turned = [
        dataclasses.replace(
            view, frame=dataclasses.replace(view.frame, T_world_camera=turn @ view.frame.pose)
        )
        for view in views
    ]
    first = _carved(views, initial_grid_from_views(views, 40))
    grid = initial_grid_from_views(turned, 40, up=turn[:3, 2])
    np.testing.assert_allclose(grid.T_world_grid[:3, 2], turn[:3, 2], atol=1e-9)
    again = _carved(turned, grid)
    volumes = [
        (shape.occupancy > 0.5).sum() * shape.grid.voxel_size_m**3 for shape in (first, again)
    ]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.1)


def test_observed_is_what_faces_a_camera():
    """From one side: the near side and the top are seen, the far side and the bottom are not."""
    scene = tabletop('box')
    ring = _ring('box')
    grid = initial_grid_from_views(ring, 40)
    shape = _carved(ring, grid)
    centers = grid.centers_world_m()
    solid = shape.occupancy > 0.5
    edge = solid & ~ndimage.binary_erosion(solid)
    low, high = scene.solid.bounds
    middle = (low + high) / 2
    core = (np.abs(centers - middle) < 0.12 * (high - low))[..., :2].all(-1)
    top = edge & core & (centers[..., 2] > middle[2])
    bottom = edge & core & (centers[..., 2] < middle[2])
    assert shape.observed[top].mean() > 0.9
    assert not shape.observed[bottom].any()
    assert not shape.observed[ndimage.binary_erosion(solid, iterations=3)].any()
    one = VisualHullReconstructor()
    state = one.start(grid)
    for view in ring:
        state = one.observe(state, view)
    state.outlines = state.outlines[:1]
    away = middle - ring[0].frame.pose[:3, 3]
    side = ((centers - middle) @ (away / np.linalg.norm(away)))[edge]
    seen = one.shape(state).observed[edge]
    assert seen[side < np.quantile(side, 0.2)].mean() > 0.8
    assert seen[side > np.quantile(side, 0.8)].mean() < 0.1


def test_outlines_are_bounded_and_stay_apart():
    views = _ring('box', count=40)
    grid = initial_grid_from_views(views[:12], 24)
    reconstructor = VisualHullReconstructor()
    state = reconstructor.start(grid)
    counts = []
    for view in views:
        state = reconstructor.observe(state, view)
        counts.append(len(state.outlines))
    assert counts == [min(k, 16) for k in range(1, 41)]
    places = np.array([outline.T_world_camera[:3, 3] for outline in state.outlines])
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + 10 * np.eye(16)
    assert gaps.min() > 0.05
