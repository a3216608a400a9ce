"""Closed meshes: watertight whatever comes, true where seen, plausible where not."""

from __future__ import annotations

import dataclasses
import functools

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.data.synth.truth import ray_scene
from recon3d_core.errors import InputError
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor
from recon3d_core.fusion.visual_hull import VisualHullReconstructor
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import make_transform
from recon3d_core.meshing.checks import is_finite, is_watertight, volume_m3
from recon3d_core.meshing.closed import ClosedMesher
from recon3d_core.scene.placement import place
from recon3d_core.types import Mesh, Plane, Shape
from scipy import ndimage, spatial
from standing import completed_shape
from tabletop import birth_grid, TABLE, tabletop

UP = TABLE.normal_world
SOLIDS = ['box', 'cylinder', 'mug', 'bowl', 'bottle', 'ball']


@functools.cache
def seen(name, views):
    reconstructor = TsdfObjectReconstructor()
    frames = tabletop(name).orbit(views)
    state = reconstructor.start(birth_grid(frames[0]))
    for view in frames:
        state = reconstructor.observe(state, view)
    return reconstructor.shape(state)


@functools.cache
def closed(name, views):
    return ClosedMesher().mesh(seen(name, views), TABLE)


def assert_sound(mesh):
    assert is_watertight(mesh)
    assert is_finite(mesh)
    assert volume_m3(mesh) > 0


def surface_errors_m(name, mesh):
    tree = spatial.cKDTree(tabletop(name).solid.sample(40_000, seed=0))
    return tree.query(mesh.vertices_m[mesh.faces].mean(1))[0]


def true_mesh(name):
    solid = tabletop(name).solid
    return Mesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32))


@pytest.mark.parametrize('name', SOLIDS)
@pytest.mark.parametrize('views', [1, 12])
def test_meshes_are_sound_and_follow_what_was_seen(name, views):
    mesh, shape = closed(name, views)
    assert_sound(mesh)
    error = surface_errors_m(name, mesh)
    assert np.median(error[mesh.face_observed]) < 0.002
    assert np.quantile(error[mesh.face_observed], 0.95) < 0.006
    assert len(mesh.face_observed) == len(mesh.faces)
    assert len(mesh.colors) == len(mesh.vertices_m)
    assert shape.occupancy.min() >= 0
    assert shape.occupancy.max() <= 1


@pytest.mark.parametrize('name', SOLIDS)
def test_an_orbit_gives_place_and_size(name):
    T, size = place(closed(name, 12)[0], UP)
    T_true, size_true = place(true_mesh(name), UP)
    assert np.linalg.norm(T[:3, 3] - T_true[:3, 3]) < 0.006
    np.testing.assert_allclose(size, size_true, rtol=0.1)


@pytest.mark.parametrize('name', ['box', 'cylinder', 'bowl', 'bottle', 'ball'])
def test_one_view_gives_the_unseen_side(name):
    mesh, _ = closed(name, 1)
    T, size = place(mesh, UP)
    T_true, size_true = place(true_mesh(name), UP)
    assert np.linalg.norm(T[:3, 3] - T_true[:3, 3]) < 0.01
    np.testing.assert_allclose(size, size_true, rtol=0.2)
    # The far side, which no camera saw, is there: the mesh reaches as far as the object does.
    error = surface_errors_m(name, mesh)
    assert np.median(error[~mesh.face_observed]) < 0.008


def test_a_mug_stays_hollow_and_its_handle_open():
    _, shape = closed('mug', 12)
    points = np.array([[0, 0, 0.08], [0.062, 0, 0.05], [0.039, 0, 0.09], [0.074, 0, 0.05]])
    cavity, hole, rim, handle = (tuple(k) for k in shape.grid.indices(points))
    assert shape.occupancy[cavity] < 0.5
    assert shape.occupancy[hole] < 0.5
    assert shape.occupancy[rim] > 0.5
    assert shape.occupancy[handle] > 0.5


def test_the_walls_of_a_bowl_stay_thin():
    _, shape = closed('bowl', 12)
    truth = ray_scene(true_mesh('bowl')).compute_occupancy(shape.grid.centers_world_m()).numpy()
    solid, truth = shape.occupancy > 0.5, truth > 0.5
    assert (solid & truth).sum() > 0.72 * (solid | truth).sum()


def test_the_bottom_is_flat_on_the_support():
    mesh, _ = closed('cylinder', 12)
    assert mesh.vertices_m[:, 2].min() == pytest.approx(0, abs=2e-4)


def test_seen_faces_point_to_cameras_and_the_bottom_is_unseen():
    mesh, _ = closed('box', 12)
    corners = mesh.vertices_m[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    bottom = normals[:, 2] < -0.9 * np.linalg.norm(normals, axis=1)
    top = normals[:, 2] > 0.9 * np.linalg.norm(normals, axis=1)
    assert mesh.face_observed[top].mean() > 0.95
    assert mesh.face_observed[bottom].mean() < 0.1


@pytest.mark.parametrize('name', SOLIDS)
@pytest.mark.parametrize('views', [1, 12])
def test_observed_mesh_is_a_thin_closed_shell(name, views):
    shape = seen(name, views)
    mesh = ClosedMesher().observed_mesh(shape)
    assert_sound(mesh)
    assert len(mesh.colors) == len(mesh.vertices_m)
    error = surface_errors_m(name, mesh)
    assert np.median(error[mesh.face_observed]) < 0.002
    # The back is two voxels behind, and nothing lies farther from what was seen.
    assert np.quantile(error, 0.99) < 4 * shape.grid.voxel_size_m
    assert 0.25 < mesh.face_observed.mean() < 0.95


def test_the_shell_shows_one_side_only():
    mesh = ClosedMesher().observed_mesh(seen('ball', 1))
    whole, _ = closed('ball', 1)
    assert volume_m3(mesh) < 0.4 * volume_m3(whole)
    camera = tabletop('ball').orbit(1)[0].frame.T_world_camera[:3, 3]
    corners = mesh.vertices_m[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = ((camera - corners.mean(1)) * normals).sum(1) > 0
    assert facing[mesh.face_observed].mean() > 0.8
    assert facing[~mesh.face_observed].mean() < 0.35


def test_specks_beside_the_shell_are_dropped():
    size = (24, 24, 12)
    voxel = 0.01
    x, y, z = np.indices(size)
    slab = np.maximum(np.abs(x - 9.5) - 7, np.abs(y - 11.5) - 9)
    speck = np.maximum(np.abs(x - 19), np.abs(y - 3)) - 0.6
    sdf = np.where(np.minimum(slab, speck) < 0, z - 6.4, 4.0).astype(np.float32) * voxel
    shape = Shape(
        VoxelGrid(np.eye(4), voxel, size),
        np.full(size, 0.5, np.float32),
        sdf.astype(np.float32),
        np.abs(sdf) < 4 * voxel,
        sdf > 0,
    )
    mesh = ClosedMesher().observed_mesh(shape)
    assert_sound(mesh)
    assert mesh.vertices_m[:, 0].max() < 0.18
    assert volume_m3(mesh) == pytest.approx(14 * 18 * 2 * voxel**3, rel=0.25)


def test_a_grid_askew_to_the_support_gives_the_same_object():
    frames = tabletop('cylinder').orbit(8)
    upright = birth_grid(frames[0])
    c, s = np.cos(0.5), np.sin(0.5)
    corner = upright.T_world_grid[:3, 3] - (0.03, 0.1, 0.1)
    T = make_transform([[1, 0, 0], [0, c, -s], [0, s, c]], corner)
    grid = VoxelGrid(T, upright.voxel_size_m, (60, 90, 90))
    reconstructor = TsdfObjectReconstructor()
    state = reconstructor.start(grid)
    for view in frames:
        state = reconstructor.observe(state, view)
    mesh, shape = ClosedMesher().mesh(reconstructor.shape(state), TABLE)
    assert_sound(mesh)
    np.testing.assert_allclose(shape.grid.T_world_grid[:3, 2], UP, atol=1e-9)
    assert volume_m3(mesh) == pytest.approx(tabletop('cylinder').solid.volume, rel=0.1)


def test_without_support_and_with_a_support_far_below():
    for support in (None, Plane(UP, 5.0)):
        mesh, _ = ClosedMesher().mesh(seen('box', 8), support)
        assert_sound(mesh)
        # Behind the lowest seen surface it goes on for the truncation at most.
        assert mesh.vertices_m[:, 2].min() > -0.03
        assert volume_m3(mesh) == pytest.approx(tabletop('box').solid.volume, rel=0.35)


def test_nothing_seen_gives_an_empty_mesh():
    grid = VoxelGrid(np.eye(4), 0.01, (9, 8, 7))
    nothing = TsdfObjectReconstructor()
    mesh, shape = ClosedMesher().mesh(nothing.shape(nothing.start(grid)), TABLE)
    assert len(mesh.faces) == 0
    assert shape.grid == grid
    assert len(ClosedMesher().observed_mesh(nothing.shape(nothing.start(grid))).faces) == 0


def test_shape_of_another_size_is_an_error():
    shape = seen('box', 1)
    with pytest.raises(InputError, match='sdf_m'):
        ClosedMesher().mesh(dataclasses.replace(shape, sdf_m=shape.sdf_m[1:]), TABLE)


def test_a_hull_without_distances_is_closed_too():
    views = tabletop('box').orbit(6, seed=None)
    reconstructor = VisualHullReconstructor()
    state = reconstructor.start(birth_grid(views[0]))
    for view in views:
        state = reconstructor.observe(state, view)
    mesh, _ = ClosedMesher().mesh(reconstructor.shape(state), TABLE)
    assert_sound(mesh)


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(6, 14)] * 3),
    st.sampled_from([0.3, 0.7, 1.5]),
    st.booleans(),
)
def test_any_evidence_gives_a_sound_mesh(seed, size, blur, with_support):
    rng = np.random.default_rng(seed)
    voxel = 0.01

    def field():
        noise = ndimage.gaussian_filter(rng.standard_normal(size), blur)
        return (noise / noise.std()).astype(np.float32)

    sdf = field() * np.float32(voxel)
    observed = field() > 0
    shape = Shape(
        grid=VoxelGrid(make_transform(None, rng.normal(size=3)), voxel, size),
        occupancy=np.full(size, 0.5, np.float32),
        sdf_m=sdf,
        observed=observed,
        free=(field() > 0.5) & ~observed,
        colors=rng.integers(0, 255, (*size, 3), dtype=np.uint8),
        views_used=1,
    )
    height = shape.grid.T_world_grid[2, 3] + rng.uniform(0, size[2]) * voxel
    mesh, filled = ClosedMesher().mesh(shape, Plane(UP, -height) if with_support else None)
    if len(mesh.faces):
        assert_sound(mesh)
    else:
        assert not (filled.occupancy[filled.observed & (filled.sdf_m < 0)] > 0.5).any()
    shell = ClosedMesher().observed_mesh(shape)
    if len(shell.faces):
        assert_sound(shell)


def test_a_completed_lamp_keeps_its_foot_where_the_support_is_known():
    voxel_m = 0.005
    places = (np.stack(np.meshgrid(*[np.arange(48)] * 3, indexing='ij')) + 0.5) * voxel_m
    radius, z = np.hypot(places[0] - 0.12, places[1] - 0.12), places[2]
    shade, foot = (radius < 0.08) & (z > 0.12) & (z < 0.2), (radius < 0.05) & (z < 0.025)
    inside = (shade | foot) & (z > 0.01)
    grid = VoxelGrid(make_transform(np.eye(3), [0, 0, -0.01]), voxel_m, (48,) * 3)
    shape = completed_shape(grid, inside)
    for support, lowest_m in ((TABLE, 0.0), (None, 0.11)):
        mesh, _ = ClosedMesher().mesh(shape, support)
        assert_sound(mesh)
        assert abs(mesh.vertices_m[:, 2].min() - lowest_m) < voxel_m
