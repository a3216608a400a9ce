"""Watertightness, volume and area against trimesh, on good and on broken meshes."""

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.meshing import checks
from recon3d_core.types import Mesh
import trimesh


def to_mesh(solid):
    return Mesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32))


SOLIDS = {
    'box': trimesh.creation.box((1, 2, 3)),
    'sphere': trimesh.creation.icosphere(3, 0.5),
    'torus': trimesh.creation.torus(1.0, 0.3),
    'cylinder': trimesh.creation.cylinder(0.1, 0.4),
    'two parts': trimesh.util.concatenate(
        trimesh.creation.box((1, 1, 1)),
        trimesh.creation.icosphere(1, 0.2).apply_translation((3, 0, 0)),
    ),
}


@pytest.mark.parametrize('solid', SOLIDS.values(), ids=SOLIDS)
def test_good_solids(solid):
    mesh = to_mesh(solid)
    assert checks.is_watertight(mesh)
    assert checks.is_finite(mesh)
    assert checks.volume_m3(mesh) == pytest.approx(solid.volume, rel=1e-5)
    assert checks.area_m2(mesh) == pytest.approx(solid.area, rel=1e-5)


@pytest.mark.parametrize('solid', SOLIDS.values(), ids=SOLIDS)
def test_inside_out_is_closed_but_negative(solid):
    flipped = Mesh(to_mesh(solid).vertices_m, to_mesh(solid).faces[:, ::-1])
    assert checks.is_watertight(flipped)
    assert checks.volume_m3(flipped) == pytest.approx(-solid.volume, rel=1e-5)


def test_volume_far_from_the_origin():
    far = trimesh.creation.box((0.1, 0.1, 0.1)).apply_translation((1000, -2000, 500))
    # float32 holds 0.12 mm at 2 km; the formula must not add to that.
    assert checks.volume_m3(to_mesh(far)) == pytest.approx(1e-3, rel=5e-3)


@hypothesis.given(st.integers(0, 79), st.integers(0, 2))
def test_one_wrong_face_is_noticed(index, corner):
    solid = trimesh.creation.icosphere(1)
    mesh = to_mesh(solid)
    holed = np.delete(mesh.faces, index, axis=0)
    flipped = mesh.faces.copy()
    flipped[index] = flipped[index, ::-1]
    degenerate = mesh.faces.copy()
    degenerate[index, corner] = degenerate[index, corner - 1]
    doubled = np.concatenate([mesh.faces, mesh.faces[index : index + 1]])
    two_sided = np.concatenate([doubled, mesh.faces[index : index + 1, ::-1]])
    for faces in (holed, flipped, degenerate, doubled, two_sided):
        assert not checks.is_watertight(Mesh(mesh.vertices_m, faces))


def test_edge_shared_by_four_faces_is_not_watertight():
    a = trimesh.creation.box((1, 1, 1))
    b = a.copy().apply_translation((1, 1, 0))
    joined = trimesh.util.concatenate(a, b)
    assert checks.is_watertight(to_mesh(joined))
    joined.merge_vertices()
    assert len(joined.vertices) == 14
    assert not checks.is_watertight(to_mesh(joined))


def test_empty():
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert not checks.is_watertight(empty)
    assert checks.is_finite(empty)
    assert checks.volume_m3(empty) == 0
    assert checks.area_m2(empty) == 0


def test_not_finite_or_out_of_range():
    mesh = to_mesh(SOLIDS['box'])
    vertices = mesh.vertices_m.copy()
    vertices[3, 1] = np.nan
    assert not checks.is_finite(Mesh(vertices, mesh.faces))
    assert not checks.is_finite(Mesh(mesh.vertices_m, mesh.faces + 1))
    assert not checks.is_finite(Mesh(mesh.vertices_m, mesh.faces - 1))
