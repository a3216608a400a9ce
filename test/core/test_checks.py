"""Checks of arrays accept what is right and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core import checks
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion


def accepts(check: Callable[..., None], *arguments: object) -> bool:
    try:
        check('it', *arguments)
    except InputError:
        return False
    return True


def test_shape_accepts_free_and_fixed_sizes() -> None:
    assert accepts(checks.check_shape, np.zeros((4, 6, 3)), ('H', 'W', 3))
    assert accepts(checks.check_shape, np.zeros((5, 5)), ('N', 'N'))
    assert accepts(checks.check_shape, np.zeros(()), ())
    assert not accepts(checks.check_shape, np.zeros(1), ())


@pytest.mark.parametrize(
    ('got', 'want'),
    [
        ((4, 6), ('H', 'W', 3)),
        ((4, 6, 4), ('H', 'W', 3)),
        ((4, 6, 3, 1), ('H', 'W', 3)),
        ((4, 6), ('N', 'N')),
    ],
)
def test_shape_refuses_and_says_both(got: tuple[int, ...], want: tuple[int | str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        checks.check_shape('rgb', np.zeros(got), want)
    assert str(got) in str(caught.value)
    assert ', '.join(map(str, want)) in str(caught.value)


def test_dtype() -> None:
    checks.check_dtype('depth', np.zeros(3, np.float32), np.float32, np.uint16)
    with pytest.raises(InputError, match='got float64, expected float32 or uint16'):
        checks.check_dtype('depth', np.zeros(3), np.float32, np.uint16)


def test_finite_counts_the_bad_ones() -> None:
    checks.check_finite('points', np.zeros((0, 3)))
    with pytest.raises(InputError, match='2 of 4'):
        checks.check_finite('points', np.array([0.0, np.nan, np.inf, 1.0]))


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4), st.floats(-1e4, 1e4))
def test_every_rigid_transform_is_accepted(quaternion: list[float], place: float) -> None:
    if np.linalg.norm(quaternion) < 1e-3:
        return
    T = make_transform(rotation_from_quaternion(quaternion), (place, 0, -place))
    assert accepts(checks.check_transform, T)
    assert not accepts(checks.check_transform, T * (1.001, 1.001, 1.001, 1.0))


@pytest.mark.parametrize(
    'wrong',
    [
        np.diag([1.0, 1.0, -1.0, 1.0]),
        np.diag([2.0, 1.0, 1.0, 1.0]),
        np.diag([1.0, 1.0, 1.0, 2.0]),
        np.full((4, 4), np.nan),
        np.eye(3),
        np.zeros((4, 4)),
    ],
    ids=['mirrored', 'scaled', 'projective', 'nan', '3x3', 'zero'],
)
def test_what_is_not_rigid_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match='T_world_camera'):
        checks.check_transform('T_world_camera', wrong)


def test_noise_of_a_text_file_is_accepted() -> None:
    rounded = np.round(rotation_from_quaternion([0.3, 0.5, -0.1, 0.8]), 4)
    assert accepts(checks.check_transform, make_transform(rounded))
    assert not accepts(checks.check_transform, make_transform(rounded), 1e-6)
