"""Oriented boxes that stand upright on a plane."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.transforms import frame_from_normal, make_transform


def upright_box(
    points_world_m: NDArray[np.floating], up: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the upright box of least footprint around points.

    Its z axis is `up`; its x axis is the footprint's longer edge, in the half space where the
    first non-zero coordinate is positive, so that the answer does not flip between frames.

    Args:
        points_world_m: (N, 3), N >= 1.
        up: (3,) direction away from the support.

    Returns:
        `T_world_box` (4, 4) with its origin at the box's centre, and the edges (3,) in metres.
    """
    base = frame_from_normal(up)
    local = np.asarray(points_world_m, np.float64) @ base
    # OpenCV works in float32: centre first, or metres far from the origin lose millimetres.
    middle = local.mean(0)
    _, _, degrees = cv2.minAreaRect((local[:, :2] - middle[:2]).astype(np.float32))
    angle = np.deg2rad(degrees)
    x_axis = base[:, 0] * np.cos(angle) + base[:, 1] * np.sin(angle)
    axes = np.stack([x_axis, np.cross(base[:, 2], x_axis), base[:, 2]], 1)
    local = np.asarray(points_world_m, np.float64) @ axes
    low, high = local.min(0), local.max(0)
    size = high - low
    if size[1] > size[0]:
        axes = np.stack([axes[:, 1], -axes[:, 0], axes[:, 2]], 1)
        low, high = np.array([low[1], -high[0], low[2]]), np.array([high[1], -low[0], high[2]])
        size = high - low
    lead = axes[int(np.abs(axes[:, 0]).argmax()), 0]
    if lead < 0:
        axes = axes * (-1, -1, 1)
        low[:2], high[:2] = -high[:2].copy(), -low[:2].copy()
    return make_transform(axes, axes @ ((low + high) / 2)), size
