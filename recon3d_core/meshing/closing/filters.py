"""Small filters of volumes; by shifted sums, many times faster here than filters of any shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = tuple[NDArray[np.int64], NDArray[np.int64]]


def box_of(solid: NDArray[np.bool_]) -> Box | None:
    """Return the first and one past the last index (3,) of a solid's box, or None if empty."""
    rows = [np.flatnonzero(solid.any(axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(rows[0]):
        return None
    return np.array([row[0] for row in rows]), np.array([row[-1] + 1 for row in rows])


def slices(box: Box) -> tuple[slice, slice, slice]:
    """Return the slices that cut a box out of a volume."""
    x, y, z = (slice(a, b) for a, b in zip(box[0].tolist(), box[1].tolist()))
    return x, y, z


def dilated(solid: NDArray[np.bool_], steps: int = 1) -> NDArray[np.bool_]:
    """Return a solid (nx, ny, nz) grown by a number of voxels along axes and diagonals."""
    for axis in range(3):
        before = np.moveaxis(solid, axis, 0)
        solid = solid.copy()
        after = np.moveaxis(solid, axis, 0)
        for shift in range(1, min(steps, len(before) - 1) + 1):
            after[shift:] |= before[:-shift]
            after[:-shift] |= before[shift:]
    return solid


def blurred(values: NDArray[np.float32], sigma: float, truncate: float) -> NDArray[np.float32]:
    """Return a volume blurred by a Gaussian; beyond its ends it goes on as at them.

    Args:
        values: (nx, ny, nz).
        sigma: Standard deviation, voxels.
        truncate: Reach of the filter, in standard deviations.
    """
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weights = (weights / (weights[0] + 2 * weights[1:].sum())).astype(np.float32)
    for axis in range(3):
        size = values.shape[axis]
        width = [(reach, reach) if k == axis else (0, 0) for k in range(3)]
        wide = np.moveaxis(np.pad(values, width, mode='edge'), axis, 0)
        values = weights[0] * values
        result = np.moveaxis(values, axis, 0)
        for shift in range(1, reach + 1):
            left, right = wide[reach - shift :][:size], wide[reach + shift :][:size]
            result += weights[shift] * (left + right)
    return values
