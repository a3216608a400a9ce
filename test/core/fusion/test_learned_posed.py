"""`posed_fusion`: cameras of crops, thresholds, placing anew, streams, bad input."""

from __future__ import annotations

import dataclasses

import numpy as np
import open3d as o3d
import pytest
from quick_networks import made, weights_of
from recon3d_core import registry
from recon3d_core.errors import FrameError, InputError, PluginError
from recon3d_core.fusion._crops import as_tensors, cameras_of, crop_of, keep_apart
from recon3d_core.fusion._paint import seen_and_colors
from recon3d_core.fusion._replace import replaced
from recon3d_core.fusion._volumes import places_in_cube, recalibrated, sample_cube
from recon3d_core.fusion.posed_fusion import PLACED_ANEW
from recon3d_core.fusion.visual_hull import initial_grid_from_views
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, invert, make_transform
from scipy import ndimage
from tabletop import TABLE, tabletop
import torch


def truth(name, grid):
    solid = tabletop(name).solid
    rays = o3d.t.geometry.RaycastingScene()
    rays.add_triangles(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.uint32))
    return rays.compute_occupancy(o3d.core.Tensor(grid.centers_world_m())).numpy() > 0.5


def fused(reconstructor, grid, views):
    state = reconstructor.start(grid)
    for view in views:
        state = reconstructor.observe(state, view)
    return state


@pytest.fixture(scope='module')
def reconstructor():
    return made('posed_fusion')


@pytest.fixture(scope='module')
def views():
    return tabletop('cylinder').orbit(6, seed=None)


@pytest.fixture(scope='module')
def grid(views):
    return initial_grid_from_views(views, 32, TABLE)


def test_crops_see_points_of_the_cube_where_the_image_shows_them(views, grid):
    view = views[1]
    crop = crop_of(view, 64)
    points = apply(grid.T_world_grid, grid.extent_m * [[0.2, 0.5, 0.6], [0.7, 0.1, 0.9]])
    camera = view.frame.camera
    pixels = camera.project(apply(invert(view.frame.pose), points))
    small = crop.camera.project(apply(invert(crop.T_world_camera), points))
    scale = camera.fx / crop.camera.fx
    # Two crops of one image differ by a scale and a shift.
    np.testing.assert_allclose(np.diff(small, axis=0) * scale, np.diff(pixels, axis=0), atol=1e-3)
    middle = apply(grid.T_world_grid, grid.extent_m / 2)
    cube = (points - middle) @ grid.T_world_grid[:3, :3] / grid.extent_m.max()
    image, depth = cameras_of(crop, grid, 'cpu').project(torch.from_numpy(cube).float())
    np.testing.assert_allclose(image[0, 0] * 64 - 0.5, small, atol=1e-2)
    local = apply(invert(view.frame.pose), points)
    np.testing.assert_allclose(depth[0, 0] * grid.extent_m.max(), local[:, 2], rtol=1e-4)


def test_a_crop_ends_where_the_image_cuts_the_object_off(views):
    view = views[0]
    x0, _, x1, _ = view.box_xyxy
    column = (x0 + x1) // 2
    mask = np.ascontiguousarray(view.mask[:, column:])
    camera = view.frame.camera.cropped(column, 0, mask.shape[1], mask.shape[0])
    frame = dataclasses.replace(
        view.frame, camera=camera, rgb=view.frame.rgb[:, column:], depth_m=None
    )
    cut = crop_of(dataclasses.replace(view, frame=frame, mask=mask), 32)
    assert not cut.whole
    assert crop_of(view, 32).whole
    left_edge = cut.K[0, 2] / cut.K[0, 0]  # slope at the crop's outer edge
    assert left_edge == pytest.approx((camera.cx + 0.5) / camera.fx, rel=1e-5)


def test_the_threshold_becomes_a_half_and_the_order_stays():
    values = torch.tensor([0.0, 0.1, 0.3, 0.31, 0.8, 1.0])
    found = recalibrated(values, 0.3)
    assert found[2] == pytest.approx(0.5, abs=1e-6)
    assert (found.diff() > 0).all()
    assert found.min() >= 0
    assert found.max() <= 1
    torch.testing.assert_close(recalibrated(values, 0.5), values, atol=1e-5, rtol=0)


def test_resampling_equals_the_slow_way():
    rng = np.random.default_rng(0)
    volume = rng.random((8, 8, 8)).astype(np.float32)
    grid = VoxelGrid(np.eye(4), 0.02, (7, 10, 5))
    found = sample_cube(torch.from_numpy(volume), places_in_cube(grid, 'cpu'))
    middle = grid.extent_m / 2
    places = (grid.centers_grid_m() - middle) / grid.extent_m.max()
    index = np.moveaxis((places + 0.5) * 8 - 0.5, -1, 0)
    slow = ndimage.map_coordinates(volume, index, order=1, mode='nearest')
    np.testing.assert_allclose(found, slow, atol=1e-5)
    outside = sample_cube(torch.ones(4, 4, 4), torch.tensor([[[[0.51, 0, 0], [0.49, 0, 0]]]]))
    np.testing.assert_array_equal(outside[0, 0], [0, 1])


def test_the_stream_equals_the_batch(reconstructor, views, grid):
    state = fused(reconstructor, grid, views[:4])
    network = reconstructor.network
    crops = [crop_of(view, reconstructor.crop_size) for view in views[:4]]
    pairs = [as_tensors(crop, 'cpu') for crop in crops]
    images, masks = (torch.cat([pair[k] for pair in pairs], 1) for k in range(2))
    each = [cameras_of(crop, grid, 'cpu') for crop in crops]
    cameras = type(each[0])(
        torch.cat([c.K for c in each], 1), torch.cat([c.T_camera_cube for c in each], 1)
    )
    with torch.inference_mode():
        whole = network(network.preprocess(images, masks), cameras)[0]
    expected = sample_cube(recalibrated(whole, network.threshold), places_in_cube(grid, 'cpu'))
    np.testing.assert_allclose(reconstructor.shape(state).occupancy, expected, atol=1e-4)


def test_it_is_near_the_truth_and_its_colour_is_seen(reconstructor, views, grid):
    shape = reconstructor.shape(fused(reconstructor, grid, views))
    inside, solid = shape.occupancy > 0.5, truth('cylinder', shape.grid)
    assert (inside & solid).sum() / (inside | solid).sum() > 0.45
    painted = shape.colors.any(-1)
    np.testing.assert_allclose(np.median(shape.colors[painted], 0), (200, 40, 40), atol=4)
    assert 0.02 < shape.observed[inside].mean() < 1


def test_a_world_on_its_side_gives_the_same_shape(reconstructor, views, grid):
    turn = make_transform(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float), (0.3, -2.0, 0.7))
    first = reconstructor.shape(fused(reconstructor, grid, views[:3]))
    turned = [
        dataclasses.replace(
            view, frame=dataclasses.replace(view.frame, T_world_camera=turn @ view.frame.pose)
        )
        for view in views[:3]
    ]
    there = dataclasses.replace(grid, T_world_grid=turn @ grid.T_world_grid)
    again = reconstructor.shape(fused(reconstructor, there, turned))
    np.testing.assert_allclose(again.occupancy, first.occupancy, atol=1e-3)


@pytest.mark.parametrize('fault', ['small', 'shifted'])
def test_a_grid_that_masks_reach_out_of_is_replaced_from_the_kept_views(
    reconstructor, views, grid, fault
):
    scale, shift = (0.5, 0.0) if fault == 'small' else (1.0, 0.4)
    T = grid.T_world_grid.copy()
    corner = apply(T, grid.extent_m * (1 - scale) / 2)
    T[:3, 3] = corner
    T[0, 3] += shift * grid.extent_m.max()
    bad = VoxelGrid(T, grid.voxel_size_m * scale, grid.shape)
    first = PLACED_ANEW[0]
    state = fused(reconstructor, bad, views[: first - 1])
    assert state.grid is bad
    state = reconstructor.observe(state, views[first - 1])
    assert state.grid is not bad
    assert state.views == first
    assert state.network.views == len(state.kept) == first
    assert state.grid.contains(tabletop('cylinder').solid.vertices).mean() > 0.95
    assert reconstructor.shape(state).occupancy.shape == state.grid.shape


def test_a_grid_much_larger_than_its_solid_shrinks_unless_masks_reach_out(views, grid):
    crops = [crop_of(view, 64) for view in views]
    loose = grid.padded([12, 14, 10], [16, 10, 20])
    solid = truth('cylinder', loose)
    tight = replaced(loose, crops, solid)
    assert tight.contains(tabletop('cylinder').solid.vertices).all()
    height_m = np.ptp(tabletop('cylinder').solid.bounds, axis=0).max()
    assert 1.1 * height_m < tight.extent_m.max() < 1.35 * height_m
    assert max(tight.shape) == max(loose.shape)
    half = solid & (loose.centers_world_m()[..., 2] < 0.5 * height_m)
    assert replaced(loose, crops, half) is None
    assert replaced(tight, crops, truth('cylinder', tight)) is None
    assert replaced(loose, crops, np.zeros_like(solid)) is None


def test_memory_of_a_track_does_not_grow(reconstructor, views, grid):
    few = fused(reconstructor, grid, views * 2)
    many = fused(reconstructor, grid, views * 5)

    def held(state):
        tensors = [value for value in vars(state.network).values() if torch.is_tensor(value)]
        crops = sum(crop.image.nbytes + crop.mask.nbytes for crop in state.kept)
        return sum(t.numel() * t.element_size() for t in tensors) + crops

    assert held(few) == held(many)
    assert many.views == 30
    assert len(many.kept) <= reconstructor.config.keep_views


def test_kept_views_are_apart(views, grid):
    crops = [crop_of(view, 16) for view in (*views, *views)]
    places = np.array([c.T_world_camera[:3, 3] for c in keep_apart(crops, 6, grid)])
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + 10 * np.eye(6)
    assert gaps.min() > 0.1


def test_what_is_behind_is_not_seen(views, grid):
    solid = truth('cylinder', grid)
    crop = crop_of(views[0], 128)
    observed, _ = seen_and_colors(solid, grid, [crop])
    away = grid.centers_world_m() - views[0].frame.pose[:3, 3]
    distance = np.linalg.norm(away, axis=-1)
    assert distance[observed].max() < np.quantile(distance[solid], 0.9)
    assert not (observed & ~solid).any()


def test_views_that_say_nothing_are_ignored_and_bad_ones_named(reconstructor, views, grid):
    view = views[0]
    empty = dataclasses.replace(view, mask=np.zeros_like(view.mask))
    inside = view.frame.pose.copy()
    inside[:3, 3] = apply(grid.T_world_grid, grid.extent_m / 2)
    within = dataclasses.replace(
        view, frame=dataclasses.replace(view.frame, T_world_camera=inside)
    )
    assert fused(reconstructor, grid, [empty, within]).views == 0
    for change, what in (({'rgb': None}, 'colour'), ({'T_world_camera': None}, 'pose')):
        frame = dataclasses.replace(view.frame, **change)
        with pytest.raises(FrameError, match=what):
            fused(reconstructor, grid, [dataclasses.replace(view, frame=frame)])


@pytest.mark.parametrize('name', ['posed_fusion', 'pix2vox', 'r2n2'])
def test_bad_weights_are_one_line(name, tmp_path):
    kind = registry.load('reconstructor', name)
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(b'no weights')
    other = 'r2n2_s' if name == 'posed_fusion' else 'posed_fusion'
    for weights in (tmp_path / 'none.safetensors', broken, weights_of(other)):
        if str(weights) == 'default':
            continue
        with pytest.raises(InputError) as caught:
            kind(kind.Config(weights=str(weights)))
        assert '\n' not in str(caught.value)


def test_it_is_of_no_use_after_close(views, grid):
    closed = made('posed_fusion')
    state = closed.start(grid)
    closed.close()
    with pytest.raises(PluginError, match='closed'):
        closed.observe(state, views[0])


def test_a_mask_too_thin_for_the_crop_says_nothing(views):
    view = views[0]
    thin = np.zeros_like(view.mask)
    thin[: 2 * thin.shape[0] // 3, thin.shape[1] // 2] = True
    assert crop_of(dataclasses.replace(view, mask=thin), 32) is None


def beside(view):
    """Return a view with another object's mask along a side of its own."""
    x0, y0, x1, y1 = view.box_xyxy
    others = np.zeros_like(view.mask)
    others[y0 : y1 + 1, (x0 + x1) // 2 :] = True
    mask = view.mask & ~others
    return dataclasses.replace(view, mask=mask, others=others & ~mask)


def test_views_that_others_cut_count_only_as_long_as_there_are_no_better_ones(
    reconstructor, views, grid
):
    apart = [dataclasses.replace(view, others=np.zeros_like(view.mask)) for view in views]
    assert crop_of(beside(views[0]), 64).meets
    assert not crop_of(apart[0], 64).meets
    assert not crop_of(views[0], 64).meets
    poor = fused(reconstructor, grid, [beside(view) for view in views[:2]])
    assert poor.views == 2, 'better than nothing'
    mixed = [beside(views[0]), apart[1], beside(views[2]), apart[3]]
    state = fused(reconstructor, grid, mixed)
    assert state.views == 2
    clean = fused(reconstructor, grid, [apart[1], apart[3]])
    np.testing.assert_array_equal(
        reconstructor.shape(state).occupancy, reconstructor.shape(clean).occupancy
    )
