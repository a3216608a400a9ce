"""Surfaces of probabilities are closed, oriented and where the threshold is crossed."""

from __future__ import annotations

from hypothesis import given, strategies
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.meshing.checks import area_m2, is_watertight, volume_m3
from recon3d_core.meshing.isosurface import isosurface
from recon3d_core.meshing.sampling import sample_surface
from recon3d_core.types import Mesh
from scipy import ndimage


def mesh_of(probabilities, threshold=0.5):
    return Mesh(*isosurface(probabilities, threshold))


def drawn(seed, size, kind):
    values = np.random.default_rng(seed).random((size, size, size))
    if kind == 'binary':
        return (values > 0.6).astype(np.float32)
    if kind == 'coarse':
        return np.round(values, 1)
    return ndimage.gaussian_filter(values, 1) if kind == 'smooth' else values


@given(
    strategies.integers(0, 10_000),
    strategies.integers(1, 10),
    strategies.sampled_from(['noise', 'binary', 'coarse', 'smooth']),
    strategies.sampled_from([0.2, 0.3, 0.4, 0.5, 0.7]),
)
def test_every_surface_is_closed_and_faces_outwards(seed, size, kind, threshold):
    probabilities = drawn(seed, size, kind)
    mesh = mesh_of(probabilities, threshold)
    if (probabilities >= threshold).any():
        assert is_watertight(mesh)
        assert volume_m3(mesh) > 0
        assert np.abs(mesh.vertices_m).max() <= 0.5 + 0.5 / size
    else:
        assert not len(mesh.faces)
        assert mesh.vertices_m.shape == (0, 3)


def test_a_full_cube_is_the_cube():
    mesh = mesh_of(np.ones((16, 16, 16), bool))
    np.testing.assert_allclose(mesh.vertices_m.min(0), -0.5, atol=1e-4)
    np.testing.assert_allclose(mesh.vertices_m.max(0), 0.5, atol=1e-4)
    assert volume_m3(mesh) == pytest.approx(1, rel=0.01)


def test_a_voxel_lies_where_its_index_says():
    probabilities = np.zeros((10, 10, 10))
    probabilities[2, 5, 9] = 1
    mesh = mesh_of(probabilities)
    np.testing.assert_allclose(mesh.vertices_m.mean(0), (-0.25, 0.05, 0.45), atol=1e-4)


@pytest.mark.parametrize('threshold', [0.2, 0.5, 0.8])
def test_the_surface_lies_where_the_threshold_is_crossed(threshold):
    x = (np.arange(20) + 0.5) / 20 - 0.5
    distance = np.sqrt(x[:, None, None] ** 2 + x[:, None] ** 2 + x**2)
    mesh = mesh_of(np.clip(1 - 2 * distance, 0, 1), threshold)
    radius = np.linalg.norm(mesh.vertices_m, axis=1)
    np.testing.assert_allclose(radius, (1 - threshold) / 2, atol=0.004)


def test_bad_volumes_have_no_surface():
    with pytest.raises(InputError, match=r'probabilities has the wrong shape, got \(2, 3, 4\)'):
        isosurface(np.ones((2, 3, 4)))
    with pytest.raises(InputError, match='not finite'):
        isosurface(np.full((2, 2, 2), np.nan))
    for threshold in (0, 1, -1, np.nan):
        with pytest.raises(InputError, match='threshold'):
            isosurface(np.ones((2, 2, 2)), threshold)


def test_samples_are_even_over_the_area_and_lie_on_the_faces():
    # Two triangles at z = 0 and z = 1, the second with nine times the area, and one without area.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 3, 1], [3, 0, 1]])
    faces = np.array([[0, 1, 2], [0, 0, 1], [3, 4, 5]])
    points, normals = sample_surface(vertices, faces, 5000)
    upper = points[:, 2] == 1
    assert upper.sum() == pytest.approx(4500, abs=1)
    assert (points[~upper, 2] == 0).all()
    assert (normals[upper] == (0, 0, -1)).all()
    assert (normals[~upper] == (0, 0, 1)).all()
    assert (points[upper][:, :2].sum(1) <= 3 + 1e-5).all()
    np.testing.assert_allclose(points[upper].mean(0), (1, 1, 1), atol=0.04)
    assert np.array_equal(sample_surface(vertices, faces, 5000)[0], points)
    other = sample_surface(vertices, faces, 5000, np.random.default_rng(1))[0]
    assert not np.array_equal(other, points)


def test_samples_of_a_ball_have_its_area():
    x = (np.arange(24) + 0.5) / 24 - 0.5
    distance = np.sqrt(x[:, None, None] ** 2 + x[:, None] ** 2 + x**2)
    mesh = mesh_of(np.clip((0.4 - distance) * 12 + 0.5, 0, 1))
    assert area_m2(mesh) == pytest.approx(4 * np.pi * 0.16, rel=0.02)
    points, normals = sample_surface(mesh.vertices_m, mesh.faces, 4000)
    assert ((points / 0.4 * normals).sum(1) > 0.97).all()
    # As many in each octant.
    octant = (points > 0) @ (1, 2, 4)
    np.testing.assert_allclose(np.bincount(octant), 500, rtol=0.08)


def test_nothing_can_be_drawn_from_nothing():
    with pytest.raises(InputError, match='no surface to draw from, got 0 faces'):
        sample_surface(np.zeros((0, 3)), np.zeros((0, 3), int), 10)
    with pytest.raises(InputError, match='no surface to draw from, got 1 faces'):
        sample_surface(np.zeros((3, 3)), np.array([[0, 1, 2]]), 10)
