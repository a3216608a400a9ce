"""Depth images: which pixels are worth mapping."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_KERNEL = np.ones((3, 3), np.uint8)


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
    # The comparison is also False for NaN.
    kept = (depth_m > 0) & (depth_m < max_depth_m)
    clean = np.where(kept, depth_m, np.float32(0))
    if max_step <= 0:
        return clean
    # An absent neighbour is no edge: it counts as nearest for the maximum, farthest for the minimum.
    nearest = cv2.erode(np.where(kept, depth_m, np.float32(np.inf)), _KERNEL)
    farthest = cv2.dilate(clean, _KERNEL)
    clean[farthest - nearest > max_step * clean] = 0
    return clean
