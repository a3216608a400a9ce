"""Pose and size of objects: exact for boxes, natural for mugs, steady over time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import frame_from_normal, make_transform
from recon3d_core.scene.placement import place, seen_fraction
from recon3d_core.types import Mesh
from tabletop import make_solid
import trimesh

UP = np.array([0.0, 0.0, 1.0])


def as_mesh(solid, observed=None):
    return Mesh(
        solid.vertices.astype(np.float32), solid.faces.astype(np.int32), face_observed=observed
    )


def box_mesh(size, T, noise_m=0.0, seed=0):
    solid = trimesh.creation.box(size).subdivide().subdivide().subdivide()
    solid.apply_transform(T)
    noise = noise_m * np.random.default_rng(seed).standard_normal(solid.vertices.shape)
    solid.vertices = solid.vertices + noise
    return as_mesh(solid)


@given(
    st.floats(-np.pi, np.pi),
    st.tuples(st.floats(0.12, 0.4), st.floats(0.02, 0.1), st.floats(0.02, 0.5)),
    st.tuples(*[st.floats(-20, 20)] * 3),
    st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
@settings(max_examples=30)
def test_a_box_is_found_at_any_place_and_up(yaw, size, where, lean):
    up = np.array([*lean, 1.0]) / np.linalg.norm([*lean, 1.0])
    turn = make_transform(
        [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]
    )
    T_true = make_transform(frame_from_normal(up) @ turn[:3, :3], where)
    T, found = place(box_mesh(size, T_true), up)
    np.testing.assert_allclose(found, size, atol=1e-4)
    np.testing.assert_allclose(T[:3, 3], where, atol=1e-4)
    np.testing.assert_allclose(T[:3, 2], up, atol=1e-6)
    np.testing.assert_allclose(np.abs(T[:3, :3].T @ T_true[:3, :3]), np.eye(3), atol=1e-2)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)


def test_a_mug_is_aligned_with_its_handle():
    mesh = as_mesh(make_solid('mug'))
    T, size = place(mesh, UP)
    assert abs(T[0, 0]) > 0.999
    np.testing.assert_allclose(size, [0.122, 0.084, 0.1], atol=0.001)
    np.testing.assert_allclose(T[:3, 3], [0.019, 0, 0.05], atol=0.001)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_a_nearly_square_box_does_not_spin(seed):
    """A former pose decides between axes that fit about as well."""
    rng = np.random.default_rng(seed)
    yaw = rng.uniform(-np.pi, np.pi)
    T_true = make_transform(
        [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]
    )
    previous, size = place(box_mesh((0.1, 0.099, 0.05), T_true), UP)
    for step in range(4):
        edges = (0.1, 0.099, 0.05) if step % 2 else (0.099, 0.1, 0.05)
        pose, size = place(box_mesh(edges, T_true, 0.0005, seed + step), UP, previous)
        assert previous[:3, 0] @ pose[:3, 0] > 0.99
        np.testing.assert_allclose(size, [0.1, 0.1, 0.05], atol=0.006)
        previous = pose


def test_a_round_object_keeps_its_axes():
    first, _ = place(as_mesh(make_solid('cylinder')), UP)
    turned = make_solid('cylinder')
    turned.apply_transform(trimesh.transformations.rotation_matrix(0.02, UP))
    again, _ = place(as_mesh(turned), UP, first)
    np.testing.assert_allclose(again[:3, :3], first[:3, :3], atol=1e-6)


def test_the_axes_turn_when_the_object_did():
    T = make_transform()
    first, _ = place(box_mesh((0.2, 0.1, 0.05), T), UP)
    T[:3, :3] = trimesh.transformations.rotation_matrix(0.5, UP)[:3, :3]
    again, size = place(box_mesh((0.2, 0.1, 0.05), T), UP, first)
    assert first[:3, 0] @ again[:3, 0] == pytest.approx(np.cos(0.5), abs=0.01)
    np.testing.assert_allclose(size, [0.2, 0.1, 0.05], atol=1e-4)


def test_a_single_stray_vertex_does_not_count():
    mesh = box_mesh((0.2, 0.1, 0.05), np.eye(4))
    vertices = mesh.vertices_m.copy()
    vertices = np.repeat(vertices, 8, 0)
    vertices[0] = (3, 3, 3)
    _, size = place(Mesh(vertices, mesh.faces * 8 + 1), UP)
    np.testing.assert_allclose(size, [0.2, 0.1, 0.05], atol=1e-3)


def test_a_mesh_without_vertices_or_with_nan_is_an_error():
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(InputError):
        place(empty, UP)
    mesh = box_mesh((0.2, 0.1, 0.05), np.eye(4))
    mesh.vertices_m[3] = np.nan
    with pytest.raises(InputError):
        place(mesh, UP)


def test_seen_fraction_weighs_by_area():
    solid = trimesh.creation.box((1.0, 1.0, 0.25))
    top = solid.face_normals[:, 2] > 0.9
    assert seen_fraction(as_mesh(solid, top)) == pytest.approx(1 / 3)
    assert seen_fraction(as_mesh(solid)) == 0
    assert seen_fraction(as_mesh(solid, np.ones(len(top), bool))) == 1
