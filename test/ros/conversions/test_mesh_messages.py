"""Meshes, maps, stamps and sampled points."""

import numpy as np
import open3d as o3d
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion
from recon3d_core.types import Mesh, OccupancyGrid2D
from recon3d_ros.conversions import headers, meshes
from recon3d_ros.conversions.grids import occupancy_grid_message

pytestmark = pytest.mark.ros


def sphere(radius=0.1, resolution=60):
    made = o3d.geometry.TriangleMesh.create_sphere(radius, resolution)
    vertices = np.asarray(made.vertices, np.float32)
    faces = np.asarray(made.triangles, np.int32)
    colors = ((vertices / radius + 1) * 127).astype(np.uint8)
    return Mesh(vertices, faces, colors, vertices[faces].mean(1)[:, 2] > 0)


def area(mesh):
    a, b, c = (mesh.vertices_m[mesh.faces[:, i]].astype(float) for i in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def test_shape_message():
    mesh = sphere(resolution=5)
    message = meshes.mesh_message(mesh)
    np.testing.assert_array_equal([t.vertex_indices for t in message.triangles], mesh.faces)
    back = np.array([[p.x, p.y, p.z] for p in message.vertices], np.float32)
    np.testing.assert_array_equal(back, mesh.vertices_m)


@pytest.mark.parametrize('target', [200, 1000, 3000])
def test_clustered_keeps_shape_colors_and_marks(target):
    mesh = sphere()
    small = meshes.clustered(mesh, target)
    assert target / 4 < len(small.faces) <= target
    assert area(small) == pytest.approx(area(mesh), rel=0.15)
    assert len(small.colors) == len(small.vertices_m)
    top = small.vertices_m[small.faces].mean(1)[:, 2]
    agree = small.face_observed == (top > 0)
    assert agree[np.abs(top) > 0.02].all()
    assert len(small.vertices_m) == len(np.unique(small.faces))


def test_clustering_keeps_thin_walls_apart():
    inner, outer = sphere(0.099), sphere(0.100)
    count = len(outer.vertices_m)
    shell = Mesh(
        np.concatenate([outer.vertices_m, inner.vertices_m]),
        np.concatenate([outer.faces, inner.faces[:, ::-1] + count]),
        face_observed=np.arange(2 * len(outer.faces)) < len(outer.faces),
    )
    small = meshes.clustered(shell, 2000)
    a, b, c = (small.vertices_m[small.faces[:, i]] for i in range(3))
    outward = (np.cross(b - a, c - a) * (a + b + c)).sum(1) > 0
    assert np.mean(outward == small.face_observed) > 0.97


def test_simplified_stays_closed():
    small = meshes.simplified(sphere(), 500)
    assert len(small.faces) <= 500
    legacy = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(small.vertices_m.astype(float)),
        o3d.utility.Vector3iVector(small.faces),
    )
    assert legacy.is_edge_manifold(allow_boundary_edges=False)
    assert area(small) == pytest.approx(area(sphere()), rel=0.03)


def test_small_meshes_are_left_alone():
    mesh = sphere(resolution=5)
    assert meshes.clustered(mesh, 1000) is mesh
    assert meshes.simplified(mesh, 1000) is mesh


def test_samples_lie_evenly_on_the_surface():
    mesh = sphere()
    points = meshes.sample_surface(mesh, 0.004, 100_000)
    assert len(points.points_m) == pytest.approx(area(mesh) / 0.004**2, abs=2)
    radius = np.linalg.norm(points.points_m, axis=1)
    assert 0.0995 < radius.min() <= radius.max() < 0.1001
    np.testing.assert_allclose(points.normals, points.points_m / radius[:, None], atol=0.06)
    octant = (points.points_m > 0) @ (1, 2, 4)
    np.testing.assert_allclose(np.bincount(octant) / len(octant), 1 / 8, atol=0.01)
    want = (points.points_m / 0.1 + 1) * 127
    assert np.abs(points.colors - want).max() < 8
    again = meshes.sample_surface(mesh, 0.004, 100_000)
    np.testing.assert_array_equal(again.points_m, points.points_m)


def test_samples_are_bounded_and_may_be_none():
    assert len(meshes.sample_surface(sphere(), 0.004, 100).points_m) == 100
    empty = Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    assert len(meshes.sample_surface(empty, 0.004, 100).points_m) == 0
    flat = Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    assert len(meshes.sample_surface(flat, 0.004, 100).points_m) == 0


def test_map_cells_run_along_x_first():
    cells = np.full((4, 3), -1, np.int8)
    cells[3, 1] = 100
    cells[0, 2] = 0
    T = make_transform(rotation_from_quaternion((1, 0, 0, 1)), (1.0, 2.0, 0.5))
    message = occupancy_grid_message(OccupancyGrid2D(T, 0.05, cells), 'map', 5_000_000_001)
    assert (message.info.width, message.info.height) == (4, 3)
    assert message.info.resolution == pytest.approx(0.05)
    assert message.data[1 * 4 + 3] == 100
    assert message.data[2 * 4 + 0] == 0
    assert sum(value == -1 for value in message.data) == 10
    assert (message.info.origin.position.x, message.info.origin.orientation.z) == (
        1.0,
        pytest.approx(np.sqrt(0.5)),
    )
    assert (message.header.frame_id, message.header.stamp.sec) == ('map', 5)


@pytest.mark.parametrize('stamp_ns', [0, 1, 1_700_000_000_123_456_789, 2**31 * 10**9 - 1])
def test_stamps_round_trip(stamp_ns):
    time = headers.time_from_ns(stamp_ns)
    assert headers.ns_from_time(time) == stamp_ns
    assert 0 <= time.nanosec < 10**9


def test_a_stamp_that_does_not_fit():
    with pytest.raises(InputError, match='32 bits'):
        headers.time_from_ns(2**31 * 10**9)
