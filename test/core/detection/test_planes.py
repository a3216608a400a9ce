"""Support planes: exact cases, noise, and what is no support."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from recon3d_core.detection.planes import find_supports, PlaneSearch, within
from recon3d_core.geometry.transforms import frame_from_normal

CAMERA = np.array([0.0, 0.0, 2.0])


def _patch(rng, normal, center, size, count=4000, noise_m=0.002):
    axes = frame_from_normal(normal)
    uv = rng.uniform(-0.5, 0.5, (count, 2)) * size
    points = uv @ axes[:, :2].T + rng.normal(0, noise_m, (count, 1)) * axes[:, 2] + center
    return points.astype(np.float32), np.repeat(axes[None, :, 2], count, 0).astype(np.float32)


def _search(points, normals, up=(0, 0, 1), **options):
    noise = np.full(len(points), 0.002, np.float32)
    up = None if up is None else np.asarray(up, float)
    rng = np.random.default_rng(0)
    return find_supports(points, normals, noise, CAMERA, up, PlaneSearch(**options), rng)


@given(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(-1, 1))
def test_recovers_a_slightly_tilted_plane(tilt_x: float, tilt_y: float, height: float) -> None:
    normal = np.array([tilt_x, tilt_y, 1.0])
    normal /= np.linalg.norm(normal)
    points, normals = _patch(np.random.default_rng(1), normal, (0.2, -0.1, height), (1.0, 0.6))
    (support,) = _search(points, normals)
    assert np.degrees(np.arccos(support.plane.normal_world @ normal)) < 0.5
    assert abs(support.plane.height_m(np.array([[0.2, -0.1, height]]))[0]) < 0.002
    assert support.covers(points).mean() > 0.98


def test_two_tables_of_one_height_are_two_supports() -> None:
    rng = np.random.default_rng(2)
    a, na = _patch(rng, (0, 0, 1), (0, 0, 0.7), (0.8, 0.6))
    b, nb = _patch(rng, (0, 0, 1), (2, 0, 0.7), (0.8, 0.6))
    supports = _search(np.concatenate([a, b]), np.concatenate([na, nb]))
    assert len(supports) == 2
    middle = np.array([[1.0, 0.0, 0.75]], np.float32)
    assert not any(support.covers(middle)[0] for support in supports)


def test_walls_ceilings_and_scraps_are_no_supports() -> None:
    rng = np.random.default_rng(3)
    wall, wall_normals = _patch(rng, (1, 0, 0), (1, 0, 0.5), (1, 1))
    ceiling, ceiling_normals = _patch(rng, (0, 0, 1), (0, 0, 2.6), (1, 1))
    scrap, scrap_normals = _patch(rng, (0, 0, 1), (0, 0, 0.2), (0.1, 0.1))
    points = np.concatenate([wall, ceiling, scrap])
    normals = np.concatenate([wall_normals, -ceiling_normals, scrap_normals])
    assert _search(points, normals) == []


def test_without_gravity_any_plane_that_faces_the_camera() -> None:
    points, normals = _patch(np.random.default_rng(4), (0, 1, 1), (0, 0, 0), (1, 1))
    (support,) = _search(points, normals, up=None, max_planes=1)
    assert support.plane.height_m(CAMERA[None])[0] > 0


def test_ring_of_an_object_in_the_middle_and_at_the_edge() -> None:
    points, normals = _patch(np.random.default_rng(5), (0, 0, 1), (0, 0, 0), (1, 1), 8000)
    (support,) = _search(points, normals)
    spot = np.random.default_rng(6).uniform(-0.05, 0.05, (300, 3)).astype(np.float32)
    assert support.ring(spot) == 1.0
    assert support.ring(spot + np.float32([2.0, 0, 0])) == 0.0
    assert 0.2 < support.ring(spot + np.float32([0.5, 0, 0])) < 0.8


@given(st.lists(st.tuples(st.integers(-3, 8), st.integers(-3, 8)), min_size=1))
def test_within_equals_the_plain_formula(index: list[tuple[int, int]]) -> None:
    array = np.array(index)
    expected = ((array >= 0) & (array < (5, 3))).all(-1)
    np.testing.assert_array_equal(within(array, (5, 3)), expected)
