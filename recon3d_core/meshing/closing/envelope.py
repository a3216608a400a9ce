"""How far the unseen part of an object may reach: prisms below and hulls around what was seen."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

HOLLOW_LEVELS = 2
FLOOR_VOXELS = 2
LIP_VOXELS = 2


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


def _latest(levels: NDArray[np.integer]) -> NDArray[np.integer]:
    latest: NDArray[np.integer] = np.minimum.accumulate(levels[:, :, ::-1], axis=2)
    return latest[:, :, ::-1]


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


def fill_unseen(
    solid: NDArray[np.bool_], free: NDArray[np.bool_], lowest: int
) -> NDArray[np.bool_]:
    """Return the solid with its unseen part: what hangs below it, and the hull of each slice.

    A hollow whose floor nobody saw, as in a deep mug, is taken to go down to a thin floor.

    Args:
        solid: (nx, ny, nz), z up.
        free: (nx, ny, nz), seen to be empty.
        lowest: Lowest level of the object.
    """
    filled = solid | below_solid(solid, free)
    hulls = slice_hulls(filled)
    hollow = (hulls & free).sum(2) >= HOLLOW_LEVELS
    floor = np.arange(solid.shape[2]) < lowest + FLOOR_VOXELS
    result: NDArray[np.bool_] = filled | (hulls & ~free & (~hollow[..., None] | floor))
    return result


def without_lip(solid: NDArray[np.bool_], lowest: int) -> NDArray[np.bool_]:
    """Return a solid without the brim of support that leaky masks leave around its foot.

    What is broad is no brim: a flat part beside a higher one stays.

    Args:
        solid: (nx, ny, nz), z up.
        lowest: Lowest level of the object; the brim is there or one level higher.
    """
    top = max(lowest + LIP_VOXELS, 0)
    above = solid[:, :, top : top + 2].any(2)
    if not above.any():
        return solid
    around = np.ones((3, 3), bool)
    brim = solid[:, :, :top].any(2) & ~ndimage.binary_dilation(above, around)
    broad = ndimage.binary_erosion(brim, around, iterations=LIP_VOXELS)
    brim &= ~ndimage.binary_dilation(broad, around, iterations=LIP_VOXELS + 1)
    result = solid.copy()
    result[:, :, :top] &= ~brim[..., None]
    return result
