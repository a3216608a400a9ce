"""A projective TSDF (Curless & Levoy 1996), slow and obvious; the tests compare with it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import Frame


def reference_tsdf(
    frames: Iterable[Frame], voxels_world_m: NDArray[np.float64], truncation_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average the truncated distances along the optical axis, voxel by voxel.

    Args:
        frames: Frames with depth and pose.
        voxels_world_m: (N, 3) positions.
        truncation_m: Distances are cut at this; farther behind the surface nothing is changed.

    Returns:
        Distance over truncation (N,), and how many frames made it (N,).
    """
    total = np.zeros(len(voxels_world_m))
    weight = np.zeros(len(voxels_world_m))
    for frame in frames:
        assert frame.depth_m is not None
        assert frame.T_world_camera is not None
        local = apply(invert(frame.T_world_camera), voxels_world_m)
        pixels = frame.camera.project(local)
        for index, (pixel, z) in enumerate(zip(pixels, local[:, 2])):
            if not np.isfinite(pixel).all():
                continue
            x, y = np.rint(pixel).astype(int)
            if not (0 <= x < frame.camera.width and 0 <= y < frame.camera.height):
                continue
            depth = float(frame.depth_m[y, x])
            if depth > 0 and depth - z > -truncation_m:
                total[index] += min((depth - z) / truncation_m, 1.0)
                weight[index] += 1
    return total / np.maximum(weight, 1), weight
