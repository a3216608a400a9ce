"""Depth images: which pixels are worth mapping."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_KERNEL = np.ones((3, 3), np.uint8)
# A strip of a wide image and all that is made of it fit into a processor's own cache.
_STRIP_ROWS = 60


def without_edges(
    depth_m: NDArray[np.float32], max_depth_m: float, max_step: float
) -> NDArray[np.float32]:
    """Return a depth image without far, not finite, edge and grazing pixels.

    At an edge a sensor measures points between front and back; on a grazing surface its error is
    large. Both show as a large difference of depth in a pixel's 3 x 3 neighbourhood.

    Args:
        depth_m: (H, W) float32, 0 = invalid.
        max_depth_m: Depths from here on become 0.
        max_step: Largest accepted difference, as a part of the pixel's depth; 0 accepts all.
    """
    height = len(depth_m)
    result = np.empty_like(depth_m)
    for begin in range(0, height, _STRIP_ROWS):
        end = min(begin + _STRIP_ROWS, height)
        low, high = max(begin - 1, 0), min(end + 1, height)
        clean = _strip_without_edges(depth_m[low:high], max_depth_m, max_step)
        result[begin:end] = clean[begin - low : end - low]
    return result


def _strip_without_edges(
    depth_m: NDArray[np.float32], max_depth_m: float, max_step: float
) -> NDArray[np.float32]:
    # The comparison is also False for NaN.
    kept = (depth_m > 0) & (depth_m < max_depth_m)
    clean = np.where(kept, depth_m, np.float32(0))
    if max_step <= 0:
        return clean
    # An absent neighbour is no edge: it counts as nearest for the maximum, farthest for the minimum.
    nearest = cv2.erode(np.where(kept, depth_m, np.float32(np.inf)), _KERNEL)
    clean[cv2.dilate(clean, _KERNEL) - nearest > max_step * clean] = 0
    return clean
