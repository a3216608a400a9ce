"""Files are read back with other libraries and compared with what was written."""

import numpy as np
import open3d as o3d
import pytest
from recon3d_core.errors import RunError
from recon3d_core.meshing import export
from recon3d_core.types import Mesh, PointCloud
import trimesh


@pytest.fixture
def mesh():
    solid = trimesh.creation.icosphere(2, 0.3).apply_translation((1.0, -2.0, 0.5))
    generator = np.random.default_rng(0)
    return Mesh(
        solid.vertices.astype(np.float32),
        solid.faces.astype(np.int32),
        generator.integers(0, 256, (len(solid.vertices), 3), np.uint8),
        generator.random(len(solid.faces)) < 0.5,
    )


def test_ply_of_a_mesh(tmp_path, mesh):
    path = tmp_path / 'new' / 'mesh.ply'
    export.write_ply(path, mesh)
    read = trimesh.load(path, process=False)
    np.testing.assert_array_equal(read.vertices.astype(np.float32), mesh.vertices_m)
    np.testing.assert_array_equal(read.faces, mesh.faces)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], mesh.colors)
    observed = read.metadata['_ply_raw']['face']['data']['observed']
    np.testing.assert_array_equal(np.ravel(observed), mesh.face_observed)
    other = o3d.io.read_triangle_mesh(str(path))
    np.testing.assert_array_equal(np.asarray(other.triangles), mesh.faces)
    np.testing.assert_allclose(np.asarray(other.vertex_colors) * 255, mesh.colors, atol=1e-4)


def test_ply_without_colors_and_empty(tmp_path, mesh):
    export.write_ply(tmp_path / 'plain.ply', Mesh(mesh.vertices_m, mesh.faces))
    read = trimesh.load(tmp_path / 'plain.ply', process=False)
    np.testing.assert_array_equal(read.faces, mesh.faces)
    assert b'red' not in (tmp_path / 'plain.ply').read_bytes()[:300]
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    export.write_ply(tmp_path / 'empty.ply', empty)
    assert len(o3d.io.read_triangle_mesh(str(tmp_path / 'empty.ply')).vertices) == 0


def test_ply_of_points(tmp_path, mesh):
    normals = mesh.vertices_m / np.linalg.norm(mesh.vertices_m, axis=1, keepdims=True)
    cloud = PointCloud(mesh.vertices_m, mesh.colors, normals)
    export.write_points_ply(tmp_path / 'points.ply', cloud)
    read = o3d.io.read_point_cloud(str(tmp_path / 'points.ply'))
    np.testing.assert_array_equal(np.asarray(read.points, np.float32), cloud.points_m)
    np.testing.assert_array_equal(np.asarray(read.normals, np.float32), normals)
    np.testing.assert_allclose(np.asarray(read.colors) * 255, mesh.colors, atol=1e-4)


def test_glb_keeps_world_coordinates(tmp_path, mesh):
    export.write_glb(tmp_path / 'mesh.glb', mesh)
    read = trimesh.load(tmp_path / 'mesh.glb', force='mesh', process=False)
    np.testing.assert_array_equal(read.vertices.astype(np.float32), mesh.vertices_m)
    np.testing.assert_array_equal(read.faces, mesh.faces)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], mesh.colors)


def test_glb_of_nothing_is_refused(tmp_path):
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(RunError, match='empty mesh'):
        export.write_glb(tmp_path / 'empty.glb', empty)
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_file(tmp_path, mesh, monkeypatch):
    path = tmp_path / 'mesh.ply'
    path.write_text('old')

    def full(self, content):
        with self.open('wb') as file:
            file.write(content[:100])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(type(path), 'write_bytes', full)
    with pytest.raises(RunError, match='No space left') as error:
        export.write_ply(path, mesh)
    assert '\n' not in str(error.value)
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_directory_that_is_a_file(tmp_path, mesh):
    (tmp_path / 'taken').write_text('')
    with pytest.raises(RunError, match='cannot be written'):
        export.write_ply(tmp_path / 'taken' / 'mesh.ply', mesh)
