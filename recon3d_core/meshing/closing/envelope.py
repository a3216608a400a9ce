"""How far the unseen part of an object may reach: prisms below and hulls around what was seen."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def below_solid(solid: NDArray[np.bool_], free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels that hang below a solid one without free space in between.

    Args:
        solid: (nx, ny, nz), z up.
        free: (nx, ny, nz), seen to be empty.
    """
    nz = solid.shape[2]
    # Downwards, the last event of each column decides: the lowest index is the latest.
    levels = np.arange(nz, dtype=np.int16)
    last_solid = _latest(np.where(solid, levels, nz))
    last_free = _latest(np.where(free, levels, nz))
    result: NDArray[np.bool_] = (last_solid < last_free) & ~free
    return result


def _latest(levels: NDArray) -> NDArray:
    return np.minimum.accumulate(levels[:, :, ::-1], axis=2)[:, :, ::-1]


def slice_hulls(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the union of the convex hulls of each horizontal slice.

    Args:
        solid: (nx, ny, nz), z up.
    """
    result = np.zeros_like(solid)
    for level in np.flatnonzero(solid.any((0, 1))):
        picture = np.ascontiguousarray(solid[:, :, level]).astype(np.uint8)
        points = cv2.findNonZero(picture)
        cv2.fillConvexPoly(picture, cv2.convexHull(points), 1)
        result[:, :, level] = picture > 0
    return result
