"""The scene's TSDF on analytic scenes: accuracy, odd input, bounds, files."""

import dataclasses
import logging

import numpy as np
import open3d as o3d
import pytest
from recon3d_core.errors import FrameError, InputError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at, make_transform
from recon3d_core.mapping._tsdf_reference import reference_tsdf
from recon3d_core.mapping.blocks import ATTRIBUTES, BoundedBlocks
from recon3d_core.mapping.depth import without_edges
from recon3d_core.mapping.tsdf import TsdfConfig, TsdfMapper
from recon3d_core.meshing.render import cast_mesh
from recon3d_core.types import Frame, Mesh
import trimesh

CAMERA = Camera(200, 120, 160.0, 165.0, 97.3, 61.8)
VOXEL_M = 0.02
EYES = [(1.2, 0.1, 0.5), (0.2, 1.1, 0.6), (-1.1, 0.3, 0.4), (0.1, -1.2, 0.7), (0.05, 0.1, 1.3)]


def make_mapper(**options):
    return TsdfMapper(TsdfConfig(**{'voxel_size_m': VOXEL_M, 'min_weight': 1.0, **options}))


def see(solid, eye, target=(0.0, 0.0, 0.0), camera=CAMERA, rgb=(200, 100, 50)):
    """Frame of a trimesh solid in one colour."""
    mesh = Mesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32))
    pose = look_at(eye, target)
    image = None if rgb is None else np.tile(np.uint8(rgb), (camera.height, camera.width, 1))
    return Frame(0, camera, image, cast_mesh(mesh, camera, pose), pose)


@pytest.fixture(scope='module')
def sphere():
    return trimesh.creation.icosphere(5, 0.3)


@pytest.fixture(scope='module')
def views(sphere):
    return [see(sphere, eye) for eye in EYES]


def wall_frame(distance_m=1.0, shift_m=0.0):
    depth = np.full((CAMERA.height, CAMERA.width), distance_m, np.float32)
    rgb = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
    return Frame(0, CAMERA, rgb, depth, make_transform(translation=(shift_m, 0, 0)))


def test_sphere_within_a_fraction_of_a_voxel(views):
    mapper = make_mapper()
    for view in views:
        mapper.integrate(view)
    mesh, cloud = mapper.mesh(), mapper.cloud()
    for points in (mesh.vertices_m, cloud.points_m):
        error = np.abs(np.linalg.norm(points, axis=1) - 0.3)
        assert len(points) > 2000
        assert np.median(error) < 0.1 * VOXEL_M
        assert np.percentile(error, 95) < 0.5 * VOXEL_M
    outwards = (cloud.normals * cloud.points_m).sum(1)
    assert (outwards > 0).mean() > 0.99
    a, b, c = (mesh.vertices_m[mesh.faces[:, i]] for i in range(3))
    assert ((np.cross(b - a, c - a) * (a + b + c)).sum(1) >= 0).mean() > 0.99
    assert np.median(mesh.colors, axis=0) == pytest.approx((200, 100, 50), abs=1)
    assert (mesh.colors.dtype, mesh.faces.dtype, mesh.vertices_m.dtype) == (
        np.uint8,
        np.int32,
        np.float32,
    )


@pytest.mark.parametrize('resolution', [8, 16])
def test_values_equal_the_reference(tmp_path, views, resolution):
    mapper = make_mapper(block_resolution=resolution, max_depth_step=0.0)
    for view in views[:3]:
        mapper.integrate(view)
    mapper.save(tmp_path / 'map.npz')
    saved = np.load(tmp_path / 'map.npz')
    choice = np.random.default_rng(1).permutation(len(saved['blocks']))[: 4096 // resolution**2]
    inner = np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing='ij')[::-1], -1)
    voxels = (saved['blocks'][choice, None, None, None] * resolution + inner) * VOXEL_M
    tsdf, weight = reference_tsdf(views[:3], voxels.reshape(-1, 3), 4 * VOXEL_M)
    got_tsdf, got_weight = saved['tsdf'][choice].ravel(), saved['weight'][choice].ravel()
    # A block is updated by the frames that see surface in it; others add free space only.
    same = got_weight == weight
    assert (weight > 0).sum() > 1000
    assert (got_weight <= weight).mean() > 0.99
    assert same[got_weight > 0].mean() > 0.6
    difference = np.abs(got_tsdf - tsdf)[same & (weight > 0)]
    # A pixel's border is rounded in float32: few voxels look up the pixel next to it.
    assert np.percentile(difference, 98) < 1e-3


def test_wall_and_another_camera():
    mapper = make_mapper()
    mapper.integrate(wall_frame(1.013))
    other = Camera(90, 140, 120.0, 120.0, 44.5, 69.5)
    depth = np.full((140, 90), 0.813, np.float32)
    mapper.integrate(Frame(1, other, None, depth, make_transform(translation=(0.1, 0, 0.2))))
    vertices = mapper.mesh().vertices_m
    # Depth is kept to 1/65535 of max_depth_m.
    np.testing.assert_allclose(vertices[:, 2], 1.013, atol=2e-4)
    assert vertices[:, 1].max() > 0.4
    assert mapper.stats()['frames'] == 2


def test_nothing_usable_gives_an_empty_map():
    mapper = make_mapper()
    assert not len(mapper.mesh().faces)
    assert not len(mapper.cloud().points_m)
    for value in (0.0, np.nan, np.inf, -1.0, 50.0):
        mapper.integrate(wall_frame(value))
    assert not len(mapper.mesh().vertices_m)
    assert not len(mapper.cloud().points_m)
    assert mapper.stats()['blocks'] == 0


def test_bad_pixels_do_not_disturb_good_ones():
    clean, dirty = make_mapper(), make_mapper()
    frame = wall_frame()
    depth = frame.depth_m.copy()
    depth[:, :40] = np.nan
    depth[:10] = np.inf
    depth[:, -9:] = -3
    dirty.integrate(dataclasses.replace(frame, depth_m=depth))
    clean.integrate(frame)
    got, expected = dirty.mesh().vertices_m, clean.mesh().vertices_m
    assert np.isfinite(got).all()
    assert 0.5 * len(expected) < len(got) < len(expected)
    np.testing.assert_allclose(got[:, 2], 1.0, atol=2e-4)


def test_images_as_messages_give_them():
    """Read-only, and parts of larger arrays."""
    frame = wall_frame()
    rgb = np.zeros((120, 200, 4), np.uint8)[..., :3]
    depth = np.frombuffer(frame.depth_m.tobytes(), np.float32).reshape(120, 200)
    rgb.flags.writeable = False
    mapper = make_mapper(max_depth_step=0.0)
    mapper.integrate(dataclasses.replace(frame, rgb=rgb, depth_m=depth))
    rgb = np.frombuffer(frame.rgb.tobytes(), np.uint8).reshape(120, 200, 3)
    mapper.integrate(dataclasses.replace(frame, rgb=rgb))
    assert len(mapper.mesh().faces)


def test_unusable_frames_are_refused():
    mapper = make_mapper()
    frame = wall_frame()
    bad_pose = frame.T_world_camera.copy()
    bad_pose[0, 3] = np.nan
    cases = {
        'no_depth': dataclasses.replace(frame, depth_m=None),
        'no_pose': dataclasses.replace(frame, T_world_camera=None),
        'bad_pose': dataclasses.replace(frame, T_world_camera=bad_pose),
        'size_mismatch': dataclasses.replace(frame, depth_m=frame.depth_m[:, :-1]),
    }
    for reason, case in cases.items():
        with pytest.raises(FrameError) as error:
            mapper.integrate(case)
        assert error.value.reason == reason
    with pytest.raises(FrameError, match='local frame'):
        mapper.integrate(wall_frame(shift_m=1e30))
    assert mapper.stats()['frames'] == 0


def test_surface_must_be_seen_often_enough():
    mapper = make_mapper(min_weight=3.0)
    mapper.integrate(wall_frame())
    single = len(mapper.mesh().faces)
    assert single > 0
    for _ in range(3):
        mapper.integrate(wall_frame(shift_m=3.0))
    assert mapper.mesh().vertices_m[:, 0].min() > 2
    assert len(mapper.mesh().faces) == pytest.approx(single, rel=0.1)


def test_weight_bound_lets_the_map_follow_changes():
    quick, slow = make_mapper(max_weight=2.0), make_mapper(max_weight=1000.0)
    for mapper in (quick, slow):
        for _ in range(32):
            mapper.integrate(wall_frame(1.00))
        for _ in range(6):
            mapper.integrate(wall_frame(1.04))
    assert np.median(slow.mesh().vertices_m[:, 2]) < 1.01
    assert np.median(quick.mesh().vertices_m[:, 2]) > 1.025


def test_reset_forgets():
    mapper = make_mapper()
    mapper.integrate(wall_frame())
    mapper.reset()
    assert not len(mapper.mesh().faces)
    assert mapper.stats()['blocks'] == mapper.stats()['frames'] == 0
    mapper.integrate(wall_frame(0.7))
    np.testing.assert_allclose(mapper.mesh().vertices_m[:, 2], 0.7, atol=2e-4)


def test_colour_only_where_a_camera_had_it(sphere):
    plain = make_mapper()
    plain.integrate(see(sphere, EYES[0], rgb=None))
    assert plain.mesh().colors is None
    assert plain.cloud().colors is None
    plain.integrate(see(sphere, EYES[2]))
    assert plain.mesh().colors is not None


def test_save_and_load(tmp_path, views):
    mapper = make_mapper()
    for view in views:
        mapper.integrate(view)
    mapper.save(tmp_path / 'map.npz')
    loaded = make_mapper()
    loaded.integrate(wall_frame())
    loaded.load(tmp_path / 'map.npz')
    before, after = mapper.mesh(), loaded.mesh()
    order = [np.lexsort(mesh.vertices_m.T) for mesh in (before, after)]
    np.testing.assert_array_equal(before.vertices_m[order[0]], after.vertices_m[order[1]])
    np.testing.assert_array_equal(before.colors[order[0]], after.colors[order[1]])
    assert loaded.stats()['blocks'] == mapper.stats()['blocks']
    loaded.integrate(views[0])
    assert loaded.stats()['frames'] == len(views) + 1


def test_files_that_cannot_be_loaded(tmp_path, views):
    mapper = make_mapper()
    mapper.integrate(views[0])
    mapper.save(tmp_path / 'map.npz')
    with pytest.raises(InputError, match='other voxels'):
        make_mapper(voxel_size_m=0.03).load(tmp_path / 'map.npz')
    (tmp_path / 'bad.npz').write_bytes((tmp_path / 'map.npz').read_bytes()[:200])
    np.savez(tmp_path / 'foreign.npz', a=np.zeros(3))
    for name in ('bad.npz', 'foreign.npz', 'absent.npz'):
        with pytest.raises(InputError, match='not a saved map') as error:
            mapper.load(tmp_path / name)
        assert '\n' not in str(error.value)
    assert len(mapper.mesh().faces)


def test_bound_drops_the_farthest_blocks(caplog):
    mapper, free = make_mapper(max_blocks=250), make_mapper()
    with caplog.at_level(logging.WARNING):
        for step in range(30):
            for each in (mapper, free):
                each.integrate(wall_frame(shift_m=0.2 * step))
            assert mapper.stats()['blocks'] <= 250
    assert len([record for record in caplog.records if 'map is full' in record.message]) == 1
    stats = mapper.stats()
    assert stats['dropped_blocks'] >= free.stats()['blocks'] - 250
    got, everything = mapper.mesh().vertices_m, free.mesh().vertices_m
    assert got[:, 0].max() == everything[:, 0].max()
    assert got[:, 0].min() > everything[:, 0].min() + 1
    # Places of erased blocks are used again, and must not show what was there.
    np.testing.assert_allclose(got[:, 2], 1.0, atol=2e-4)
    near = everything[everything[:, 0] > got[:, 0].min() + 0.2]
    assert len(got[got[:, 0] > got[:, 0].min() + 0.2]) == len(near)


def test_returning_to_dropped_space_starts_afresh():
    mapper = make_mapper(max_blocks=150)
    for _ in range(5):
        mapper.integrate(wall_frame(1.0))
    for step in range(1, 12):
        mapper.integrate(wall_frame(1.0, shift_m=0.5 * step))
    mapper.integrate(wall_frame(1.04))
    seen = mapper.mesh().vertices_m
    np.testing.assert_allclose(seen[seen[:, 0] < 0.3, 2], 1.04, atol=2e-4)


def test_one_view_beyond_the_bound_keeps_the_near_part():
    mapper = make_mapper(max_blocks=100, voxel_size_m=0.01)
    depth = np.tile(np.linspace(0.5, 3, CAMERA.width, dtype=np.float32), (CAMERA.height, 1))
    mapper.integrate(dataclasses.replace(wall_frame(), depth_m=depth))
    assert mapper.stats()['blocks'] == 100
    assert mapper.stats()['dropped_blocks'] > 0
    assert mapper.mesh().vertices_m[:, 2].max() < 1.5


def test_edges_leave_no_bridge():
    depth = np.full((120, 200), 2.0, np.float32)
    depth[40:80, 60:140] = 1.0
    depth[39:81, 59:141][depth[39:81, 59:141] == 2.0] = 1.5
    frame = dataclasses.replace(wall_frame(), depth_m=depth)
    counts = {}
    for step in (0.0, 0.05):
        mapper = make_mapper(max_depth_step=step)
        mapper.integrate(frame)
        z = mapper.mesh().vertices_m[:, 2]
        counts[step] = int(((z > 1.1) & (z < 1.9)).sum())
    assert counts[0.0] > 50
    assert counts[0.05] == 0


def test_edge_filter_keeps_smooth_surfaces():
    rows = np.linspace(0.8, 3.0, 120, dtype=np.float32)
    slanted = np.repeat(rows[:, None], 200, axis=1)
    np.testing.assert_array_equal(without_edges(slanted, 4.0, 0.06), slanted)
    holed = slanted.copy()
    holed[50:60, 70:80] = 0
    np.testing.assert_array_equal(without_edges(holed, 4.0, 0.06), holed)
    assert without_edges(slanted, 2.0, 0.0).max() < 2.0


def test_far_from_the_origin(sphere):
    mapper = make_mapper()
    offset = np.array([800.0, -600.0, 30.0])
    for eye in EYES:
        view = see(sphere, eye)
        pose = view.T_world_camera.copy()
        pose[:3, 3] += offset
        mapper.integrate(dataclasses.replace(view, T_world_camera=pose))
    error = np.linalg.norm(mapper.mesh().vertices_m - offset, axis=1) - 0.3
    assert np.median(np.abs(error)) < 0.25 * VOXEL_M


def test_growing_keeps_what_was_stored_and_leaves_room_for_a_frame():
    blocks = BoundedBlocks(0.02, 4, 3500, o3d.core.Device('CPU:0'))
    keys = np.random.default_rng(0).permutation(12**3 * 2)[:3400, None]
    keys = (keys // (1, 12, 144) % (12, 12, 24)).astype(np.int32)
    for begin in range(0, 3400, 850):
        part = keys[begin : begin + 850]
        blocks.activate(part, np.zeros(3))
        # Else Open3D makes room while it integrates, at a millisecond per block.
        assert blocks.grid.hashmap().capacity() >= len(blocks) + len(part)
        values = {name: np.full((850, 4, 4, 4, n), begin + n) for name, n in ATTRIBUTES.items()}
        blocks._fill({'blocks': part, **values})
    assert len(blocks) == 3400
    assert blocks.grid.hashmap().capacity() < 1.2 * 3500 + 850
    stored = blocks.arrays()
    first = {tuple(key): 850 * (index // 850) for index, key in enumerate(keys.tolist())}
    begins = np.array([first[tuple(key)] for key in stored['blocks'].tolist()])
    for name, n in ATTRIBUTES.items():
        np.testing.assert_array_equal(stored[name].reshape(3400, -1).min(1), begins + n)
        np.testing.assert_array_equal(stored[name].reshape(3400, -1).max(1), begins + n)
