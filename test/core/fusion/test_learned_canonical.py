"""Canonical shapes find their place by gravity and masks alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import open3d as o3d
import pytest
from quick_networks import made
from recon3d_core.fusion._crops import crop_of
from recon3d_core.fusion.canonical_pose import match
from recon3d_core.fusion.visual_hull import initial_grid_from_views
from recon3d_core.geometry.transforms import apply, make_transform
from tabletop import TABLE, tabletop


def inside_of(solid, points):
    rays = o3d.t.geometry.RaycastingScene()
    rays.add_triangles(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.uint32))
    return rays.compute_occupancy(o3d.core.Tensor(points.astype(np.float32))).numpy() > 0.5


def canonical(name, n=32):
    """Return a solid (n, n, n) in a cube of its own, turned by an angle that nobody is told."""
    solid = tabletop(name).solid
    low, high = solid.bounds
    edge_m = 1.05 * float((high - low).max())
    axis = (np.arange(n) + 0.5) / n - 0.5
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), -1)
    c, s = np.cos(1.1), np.sin(1.1)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return inside_of(solid, (cube @ turn.T) * edge_m + (low + high) / 2)


def placed_iou(pose, volume, grid, name):
    """Return the IoU of a placed volume and the true solid, on the grid's voxels."""
    centers = grid.centers_grid_m().astype(np.float64)
    longest = grid.extent_m.max()
    local = (centers - grid.extent_m / 2) / longest - pose.center
    c, s = np.cos(pose.yaw), np.sin(pose.yaw)
    cube = local @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) / pose.edge
    index = np.floor((cube + 0.5) * len(volume)).astype(int)
    known = ((index >= 0) & (index < len(volume))).all(-1)
    index = np.clip(index, 0, len(volume) - 1)
    found = known & volume[tuple(np.moveaxis(index, -1, 0))]
    truth = inside_of(tabletop(name).solid, apply(grid.T_world_grid, centers))
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize(('name', 'least'), [('box', 0.8), ('bottle', 0.7)])
def test_the_true_shape_is_put_where_it_stands(name, least):
    views = tabletop(name).orbit(5, seed=None)
    grid = initial_grid_from_views(views, 40, TABLE)
    volume = canonical(name)
    pose = match(volume, [crop_of(view, 128) for view in views], grid)
    assert pose.agreement > 0.8
    assert placed_iou(pose, volume, grid, name) > least


def test_the_handle_tells_the_yaw():
    views = tabletop('mug').orbit(5, seed=None)
    grid = initial_grid_from_views(views, 40, TABLE)
    pose = match(canonical('mug'), [crop_of(view, 128) for view in views], grid)
    c, s = np.cos(1.1), np.sin(1.1)
    x_axis = grid.T_world_grid[:3, :3].T @ (c, s, 0)
    error = np.angle(np.exp(1j * (pose.yaw - np.arctan2(x_axis[1], x_axis[0]))))
    assert abs(error) < 0.15


def test_one_view_is_enough_for_the_yaw():
    views = tabletop('box').orbit(5, seed=None)
    grid = initial_grid_from_views(views, 40, TABLE)
    volume = canonical('box')
    pose = match(volume, [crop_of(views[0], 128)], grid)
    assert pose.agreement > 0.8
    assert placed_iou(pose, volume, grid, 'box') > 0.6


def test_another_shape_agrees_less_and_none_is_no_place():
    views = tabletop('bottle').orbit(5, seed=None)
    crops = [crop_of(view, 128) for view in views]
    grid = initial_grid_from_views(views, 40, TABLE)
    right, wrong = (match(canonical(name), crops, grid) for name in ('bottle', 'box'))
    assert wrong.agreement < right.agreement - 0.2
    assert match(np.zeros((8, 8, 8), bool), crops, grid) is None


def test_place_follows_the_grid_and_not_the_world():
    """The same scene in a world that lies on its side gives the same place in the grid."""
    turn = make_transform(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float), (0.3, -2.0, 0.7))
    views = tabletop('box').orbit(4, seed=None)
    grid = initial_grid_from_views(views, 40)
    volume = canonical('box')
    first = match(volume, [crop_of(view, 64) for view in views], grid)
    crops = [crop_of(view, 64) for view in views]
    crops = [dataclasses.replace(c, T_world_camera=turn @ c.T_world_camera) for c in crops]
    turned = dataclasses.replace(grid, T_world_grid=turn @ grid.T_world_grid)
    again = match(volume, crops, turned)
    assert again.yaw == pytest.approx(first.yaw)
    np.testing.assert_allclose(again.center, first.center, atol=1e-6)


@pytest.mark.parametrize('name', ['pix2vox', 'r2n2'])
def test_sureness_is_limited_by_the_agreement(name):
    reconstructor = made(name)
    views = tabletop('cylinder').orbit(3)
    state = reconstructor.start(initial_grid_from_views(views, 32, TABLE))
    for view in views:
        state = reconstructor.observe(state, view)
    shape = reconstructor.shape(state)
    assert 0 < state.pose.agreement < 1
    bound = 0.5 * state.pose.agreement + 1e-5
    assert np.abs(shape.occupancy - 0.5).max() <= bound
    assert (shape.occupancy > 0.5).any()
    assert shape.observed.any()
