"""The upright box: holds all points, is the smallest, and does not flip."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.geometry.boxes import upright_box
from recon3d_core.geometry.transforms import apply, frame_from_normal, invert, make_transform

UP = np.array([0.0, 0.0, 1.0])


def corners(size: np.ndarray) -> np.ndarray:
    """Return the corners (8, 3) of a box around the origin."""
    return (np.indices((2, 2, 2)).reshape(3, -1).T - 0.5) * size


def turn(angle: float, place: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Return a turn about z."""
    c, s = np.cos(angle), np.sin(angle)
    return make_transform([[c, -s, 0], [s, c, 0], [0, 0, 1]], place)


@given(
    st.floats(-np.pi, np.pi),
    st.tuples(st.floats(0.11, 0.4), st.floats(0.02, 0.1), st.floats(0.01, 0.5)),
    st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_a_box_is_its_own_box(
    angle: float, size: tuple[float, float, float], place: tuple[float, float, float]
) -> None:
    points = apply(turn(angle, place), corners(np.array(size)))
    T, found = upright_box(points, UP)
    np.testing.assert_allclose(found, size, atol=1e-4)
    np.testing.assert_allclose(T[:3, 3], place, atol=1e-4)
    np.testing.assert_allclose(T[:3, 2], UP, atol=1e-9)


@given(st.integers(0, 10_000), st.floats(-1, 1), st.floats(-1, 1))
def test_every_point_is_inside_and_the_frame_is_right_handed(
    seed: int, x: float, y: float
) -> None:
    rng = np.random.default_rng(seed)
    up = np.array([x, y, 1.0]) / np.linalg.norm([x, y, 1.0])
    points = rng.normal(size=(rng.integers(1, 40), 3)) * (0.3, 0.1, 0.2) + (3, -4, 1)
    T, size = upright_box(points, up)
    local = apply(invert(T), points)
    assert (np.abs(local) <= size / 2 + 1e-6).all()
    assert abs(np.linalg.det(T[:3, :3]) - 1) < 1e-9
    np.testing.assert_allclose(T[:3, 2], up, atol=1e-9)
    assert size[0] >= size[1] - 1e-9
    assert T[int(np.abs(T[:3, 0]).argmax()), 0] > 0


@given(st.integers(0, 1000))
def test_no_other_angle_has_a_smaller_footprint(seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(30, 3)) * (0.3, 0.1, 0.2)
    _, size = upright_box(points, UP)
    areas = []
    for angle in np.linspace(0, np.pi / 2, 181):
        spread = np.ptp(points[:, :2] @ turn(angle)[:2, :2], axis=0)
        areas.append(spread[0] * spread[1])
    assert size[0] * size[1] <= min(areas) * (1 + 1e-4)


def test_noise_does_not_flip_the_axes() -> None:
    rng = np.random.default_rng(0)
    clean = apply(turn(0.3), rng.uniform(-0.5, 0.5, (400, 3)) * (0.3, 0.1, 0.2))
    first, _ = upright_box(clean, UP)
    for _ in range(20):
        T, _ = upright_box(clean + rng.normal(0, 5e-4, clean.shape), UP)
        assert first[:3, 0] @ T[:3, 0] > 0.99


@pytest.mark.parametrize('count', [1, 2, 3])
def test_few_or_equal_points(count: int) -> None:
    T, size = upright_box(np.full((count, 3), 2.0), UP)
    np.testing.assert_allclose(size, 0, atol=1e-9)
    np.testing.assert_allclose(T[:3, 3], 2.0)
    line = np.linspace((0, 0, 0), (1, 1, 0), max(count, 2))
    _, size = upright_box(line, UP)
    np.testing.assert_allclose(size, (np.sqrt(2), 0, 0), atol=1e-6)


def test_plane_that_leans() -> None:
    up = np.array([0.0, -0.8, -0.6])  # as seen by a camera that looks down at a table
    R = frame_from_normal(up)
    points = corners(np.array([0.3, 0.2, 0.1])) @ R.T + (0.1, 0.2, 1.5)
    T, size = upright_box(points, up)
    np.testing.assert_allclose(size, (0.3, 0.2, 0.1), atol=1e-6)
    np.testing.assert_allclose(T[:3, 3], (0.1, 0.2, 1.5), atol=1e-6)
