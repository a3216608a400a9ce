"""Checks of arrays at the borders of the library: shape, type, finiteness, rigidity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError


def check_shape(name: str, array: Any, shape: tuple[int | str, ...]) -> None:
    """Check an array's or tensor's shape.

    Args:
        name: Name used in the error.
        array: Anything with a `shape`.
        shape: Wanted sizes; a string such as `'H'` is free, but equal where it is repeated.

    Raises:
        InputError: The number of dimensions or a size differs.
    """
    got = tuple(array.shape)
    named: dict[str, int] = {}
    fits = len(got) == len(shape)
    for size, want in zip(got, shape):
        fits = fits and size == (named.setdefault(want, size) if isinstance(want, str) else want)
    if not fits:
        wanted = '(' + ', '.join(str(size) for size in shape) + ')'
        raise InputError(f'{name} has the wrong shape', got, wanted)


def check_dtype(name: str, array: NDArray[Any], *dtypes: Any) -> None:
    """Check that an array has one of the given dtypes.

    Raises:
        InputError: It has another.
    """
    if array.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        wanted = ' or '.join(np.dtype(dtype).name for dtype in dtypes)
        raise InputError(f'{name} has the wrong type', array.dtype.name, wanted)


def check_finite(name: str, array: NDArray[Any]) -> None:
    """Check that all values are finite.

    Raises:
        InputError: Some value is NaN or infinite.
    """
    bad = int(np.size(array) - np.isfinite(array).sum())
    if bad:
        raise InputError(f'{name} has values that are not finite', f'{bad} of {np.size(array)}')


def check_transform(name: str, transform: NDArray[np.float64], tolerance: float = 1e-3) -> None:
    """Check that a (4, 4) matrix is a rigid transform with a right-handed rotation.

    Args:
        name: Name used in the error.
        transform: Matrix to check.
        tolerance: Largest accepted deviation of `R^T R` from the identity, per element.

    Raises:
        InputError: It is not finite, not (4, 4), or not rigid.
    """
    check_shape(name, transform, (4, 4))
    check_finite(name, transform)
    rotation = transform[:3, :3]
    error = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if error > tolerance or np.linalg.det(rotation) < 0:
        raise InputError(
            f'{name} is not a rigid transform',
            f'|RᵀR - 1| = {error:.3g}, det R = {np.linalg.det(rotation):.3g}',
            f'an orthonormal right-handed rotation within {tolerance:g}',
        )
    if not np.array_equal(transform[3], (0.0, 0.0, 0.0, 1.0)):
        raise InputError(f'{name} is not a rigid transform', transform[3], 'last row 0 0 0 1')
