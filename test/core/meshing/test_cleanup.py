"""Clean-up keeps what was closed closed, and what was measured where it was."""

import dataclasses

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.meshing import checks, cleanup
from recon3d_core.types import Mesh
import trimesh

EMPTY = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))


def to_mesh(solid, **attributes):
    return Mesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32), **attributes)


def with_attributes(solid):
    """Colour by height; faces of the upper half count as observed."""
    mesh = to_mesh(solid)
    low, high = mesh.vertices_m[:, 2].min(), mesh.vertices_m[:, 2].max()
    level = np.clip(255 * (mesh.vertices_m[:, 2] - low) / (high - low), 0, 255).astype(np.uint8)
    top = mesh.vertices_m[mesh.faces][:, :, 2].mean(1) > (low + high) / 2
    return Mesh(mesh.vertices_m, mesh.faces, np.repeat(level[:, None], 3, 1), top)


def noisy_sphere(sigma=0.004, level=4):
    solid = trimesh.creation.icosphere(level, 0.2)
    noise = np.random.default_rng(0).normal(0, sigma, (len(solid.vertices), 1))
    solid.vertices *= 1 + noise / 0.2
    return with_attributes(solid)


def test_small_parts_go():
    speck = trimesh.creation.icosphere(1, 0.01).apply_translation((0.5, 0, 0))
    half = trimesh.creation.icosphere(3, 0.15).apply_translation((-0.8, 0, 0))
    mesh = with_attributes(
        trimesh.util.concatenate([speck, trimesh.creation.icosphere(3, 0.2), half])
    )
    clean = cleanup.without_small_parts(mesh, 0.02)
    assert len(clean.faces) == 2 * 1280
    assert len(clean.vertices_m) == 2 * 642
    assert len(clean.colors) == len(clean.vertices_m)
    assert len(clean.face_observed) == len(clean.faces)
    assert checks.is_watertight(clean)
    assert len(cleanup.without_small_parts(mesh, 1.0).faces) == 1280
    assert len(cleanup.without_small_parts(mesh, 0.0).faces) == len(mesh.faces)


def test_triangle_soup_becomes_closed():
    solid = trimesh.creation.icosphere(2, 0.2)
    soup = Mesh(
        solid.vertices[solid.faces].reshape(-1, 3).astype(np.float32),
        np.arange(3 * len(solid.faces), dtype=np.int32).reshape(-1, 3),
    )
    merged = cleanup.merge_vertices(soup)
    assert checks.is_watertight(merged)
    assert len(merged.vertices_m) == len(solid.vertices)
    assert checks.volume_m3(merged) == pytest.approx(solid.volume, rel=1e-5)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(st.integers(0, 2**31), st.integers(1, 40))
def test_slivers_vanish_and_nothing_opens(seed, count):
    """Faces are split by points almost on one of their corners, which makes slivers."""
    mesh = to_mesh(trimesh.creation.icosphere(2, 0.2))
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(mesh.faces), count, replace=False)
    corners = mesh.vertices_m[mesh.faces[chosen]]
    weights = np.float32([0.99999, 0.000004, 0.000006])
    new = len(mesh.vertices_m) + np.arange(count)
    a, b, c = mesh.faces[chosen].T
    split = [np.stack(corner, 1) for corner in ((a, b, new), (b, c, new), (c, a, new))]
    rest = np.delete(mesh.faces, chosen, 0)
    slivers = Mesh(
        np.concatenate([mesh.vertices_m, np.einsum('c,ncd->nd', weights, corners)]),
        np.concatenate([rest, *split]).astype(np.int32),
    )
    assert checks.is_watertight(slivers)
    clean = cleanup.merge_vertices(slivers, 1e-5)
    assert checks.is_watertight(clean)
    assert len(clean.faces) == len(mesh.faces)
    assert checks.face_areas_m2(clean).min() > 1e-5


def test_merging_that_would_break_is_not_done():
    pair = trimesh.util.concatenate(
        trimesh.creation.box((1, 1, 1)),
        trimesh.creation.box((1, 1, 1)).apply_translation((1, 1, 0)),
    )
    mesh = to_mesh(pair)
    assert checks.is_watertight(mesh)
    assert cleanup.merge_vertices(mesh) is mesh


def test_smoothing_removes_noise_and_keeps_the_volume():
    mesh = noisy_sphere()
    smoothed = cleanup.smooth(mesh, 10)
    before, after = (np.linalg.norm(m.vertices_m, axis=1).std() for m in (mesh, smoothed))
    assert after < 0.4 * before
    assert checks.is_watertight(smoothed)
    assert checks.volume_m3(smoothed) == pytest.approx(checks.volume_m3(mesh), rel=0.03)
    np.testing.assert_array_equal(smoothed.colors, mesh.colors)


def test_smoothing_keeps_measured_vertices_near():
    mesh = noisy_sphere()
    smoothed = cleanup.smooth(mesh, 10, max_shift_m=0.001)
    shift = np.linalg.norm(smoothed.vertices_m - mesh.vertices_m, axis=1)
    seen = np.zeros(len(shift), bool)
    seen[mesh.faces[mesh.face_observed]] = True
    assert shift[seen].max() <= 0.001 + 1e-6
    assert shift[~seen].max() > 0.003
    everywhere = cleanup.smooth(dataclasses.replace(mesh, face_observed=None), 10, 0.001)
    assert np.linalg.norm(everywhere.vertices_m - mesh.vertices_m, axis=1).max() <= 0.001 + 1e-6


@pytest.mark.parametrize(
    'solid',
    [trimesh.creation.icosphere(5, 0.2), trimesh.creation.torus(0.2, 0.07, 64, 48)],
    ids=['sphere', 'torus'],
)
def test_decimation(solid):
    mesh = with_attributes(solid)
    small = cleanup.decimate(mesh, 1000)
    assert 500 < len(small.faces) <= 1000
    assert checks.is_watertight(small)
    assert checks.volume_m3(small) == pytest.approx(checks.volume_m3(mesh), rel=0.03)
    assert len(small.colors) == len(small.vertices_m)
    height = small.vertices_m[:, 2]
    expected = 255 * (height - height.min()) / np.ptp(height)
    assert np.abs(small.colors[:, 0] - expected).max() < 20
    top = small.vertices_m[small.faces][:, :, 2].mean(1) > 0.02
    assert small.face_observed[top].mean() > 0.95


def test_decimation_that_would_spoil_returns_the_original():
    mesh = to_mesh(trimesh.creation.icosphere(4, 0.2))
    assert cleanup.decimate(mesh, 10000) is mesh
    # Four faces cannot hold a sphere's volume.
    assert cleanup.decimate(mesh, 4) is mesh


def test_nothing_stays_nothing():
    for function in (cleanup.without_small_parts, cleanup.merge_vertices, cleanup.smooth):
        assert not len(function(EMPTY).faces)
    assert cleanup.decimate(EMPTY, 10) is EMPTY
