"""Rigid transforms against the definitions, and against SciPy's rotations."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry import transforms as tf
from scipy.spatial.transform import Rotation, Slerp

COORDINATE = st.floats(-100, 100, allow_subnormal=False)
VECTORS = st.tuples(COORDINATE, COORDINATE, COORDINATE).map(np.array)


@st.composite
def rotations(draw: st.DrawFn) -> np.ndarray:
    """Draw a (3, 3) rotation; half turns, where formulas divide by zero, are among them."""
    axis = draw(st.tuples(*[st.floats(-1, 1, allow_subnormal=False)] * 3).map(np.array))
    assume(np.linalg.norm(axis) > 1e-3)
    angle = draw(
        st.sampled_from([0.0, 1e-9, np.pi / 2, np.pi - 1e-9, np.pi]) | st.floats(0, np.pi)
    )
    return Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()


@st.composite
def poses(draw: st.DrawFn) -> np.ndarray:
    """Draw a (4, 4) rigid transform."""
    return tf.make_transform(draw(rotations()), draw(VECTORS))


@given(poses())
def test_inverse(T: np.ndarray) -> None:
    np.testing.assert_allclose(tf.invert(T), np.linalg.inv(T), atol=1e-10)


def test_inverse_of_a_stack_changes_no_argument() -> None:
    stack = np.stack(
        [
            tf.make_transform(Rotation.random(random_state=i).as_matrix(), (i, 2, 3))
            for i in range(6)
        ]
    ).reshape(2, 3, 4, 4)
    before = stack.copy()
    np.testing.assert_allclose(tf.invert(stack), np.linalg.inv(stack), atol=1e-12)
    np.testing.assert_array_equal(stack, before)


@given(poses(), poses(), VECTORS)
def test_names_compose(T_a_b: np.ndarray, T_b_c: np.ndarray, point_c: np.ndarray) -> None:
    at_once = tf.apply(T_a_b @ T_b_c, point_c)
    np.testing.assert_allclose(tf.apply(T_a_b, tf.apply(T_b_c, point_c)), at_once, atol=1e-9)


def test_apply_keeps_precision_and_shape() -> None:
    points = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    moved = tf.apply(tf.make_transform(translation=(1, 2, 3)), points)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, points + np.float32([1, 2, 3]), rtol=1e-6)


@given(rotations())
def test_quaternion_round_trip_and_scipy(R: np.ndarray) -> None:
    q = tf.quaternion_from_rotation(R)
    assert q[0] >= 0
    np.testing.assert_allclose(np.linalg.norm(q), 1, atol=1e-12)
    np.testing.assert_allclose(tf.rotation_from_quaternion(q), R, atol=1e-7)
    x, y, z, w = Rotation.from_matrix(R).as_quat()
    assert abs(abs(q @ (w, x, y, z)) - 1) < 1e-9


@given(rotations(), st.floats(1e-3, 1e3))
def test_length_of_a_quaternion_does_not_matter(R: np.ndarray, length: float) -> None:
    q = tf.quaternion_from_rotation(R) * length
    np.testing.assert_allclose(tf.rotation_from_quaternion(q), R, atol=1e-7)


@pytest.mark.parametrize('wrong', [[0, 0, 0, 0], [np.nan, 0, 0, 1], [1, 0, 0], [np.inf, 0, 0, 0]])
def test_no_quaternion(wrong: list[float]) -> None:
    with pytest.raises(InputError, match='not a quaternion'):
        tf.rotation_from_quaternion(wrong)


@given(VECTORS, VECTORS)
def test_look_at_puts_the_target_on_the_axis(eye: np.ndarray, target: np.ndarray) -> None:
    distance = np.linalg.norm(target - eye)
    assume(np.linalg.norm((target - eye)[:2]) > 1e-3)
    T = tf.look_at(eye, target)
    assert abs(np.linalg.det(T[:3, :3]) - 1) < 1e-9
    np.testing.assert_allclose(tf.apply(tf.invert(T), target), (0, 0, distance), atol=1e-7)
    assert T[2, 1] <= 1e-12, "the image's down is not up in the world"
    np.testing.assert_allclose(T[2, 0], 0, atol=1e-9, err_msg="the image's right is level")


@pytest.mark.parametrize('target', [(0, 0, 0), (0, 0, 5)])
def test_look_at_without_a_direction(target: tuple[int, int, int]) -> None:
    with pytest.raises(InputError):
        tf.look_at((0, 0, 0), target)


@given(VECTORS)
def test_frame_from_normal(normal: np.ndarray) -> None:
    assume(np.linalg.norm(normal) > 1e-3)
    R = tf.frame_from_normal(normal)
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-9)
    assert np.linalg.det(R) > 0
    np.testing.assert_allclose(R[:, 2], normal / np.linalg.norm(normal), atol=1e-9)


@given(poses(), poses(), st.floats(0, 1))
def test_interpolation_is_scipys_slerp(a: np.ndarray, b: np.ndarray, fraction: float) -> None:
    between = Rotation.from_matrix(a[:3, :3]).inv() * Rotation.from_matrix(b[:3, :3])
    assume(between.magnitude() < np.pi - 1e-3)  # at half a turn both ways are right
    T = tf.interpolate(a, b, fraction)
    both = Rotation.from_matrix(np.stack([a[:3, :3], b[:3, :3]]))
    np.testing.assert_allclose(T[:3, :3], Slerp([0, 1], both)(fraction).as_matrix(), atol=1e-6)
    np.testing.assert_allclose(T[:3, 3], (1 - fraction) * a[:3, 3] + fraction * b[:3, 3])
