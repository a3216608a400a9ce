"""What a thing stands on where no support was found: level surface around its foot.

A table that things cover, a shelf's board seen at a flat angle, or the top of another thing shows
too little of itself to be found as a plane. Around the foot of a mask some of it is often seen. Where
other things or the image's border hide the foot, nothing tells that it stands on nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.detection.surfaces import world_points
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import Frame, Plane

Mask = NDArray[np.bool_]

_AROUND = 0.04  # of the image's width: so wide is the rim of a mask that is looked at
_REACH_M = 0.06  # beside the thing, over the ground
_NEAR_M = 0.04  # above and below its foot
_LEVEL_M = 0.006  # within it, points are one level surface; noise adds to it
_MOST = 0.6  # of the points near the foot that must be level
_LEAST_PX = 60
_FOOT = 0.03  # of a thing's points; below are errors of depth
_LOWEST = 0.15  # of its height
_BELOW = 0.01  # of the image's width: so far below its lowest pixels is what carries them
_BLIND = 0.02  # of the image's width: Kinect-like depth has so wide a margin
_BEFORE_M = 0.06  # what is farther behind the foot hides nothing of what carries it
_HIDDEN = 0.4  # of the foot that is hidden: what carries it may be there


def ground_at_foot(
    frame: Frame,
    mask: Mask,
    points_world_m: NDArray[np.float32],
    noise_m: float,
    up_world: NDArray[np.float64],
) -> Plane | None:
    """Return the level plane around the foot of a thing; None where none is seen.

    Args:
        frame: Its frame, with depth and pose.
        mask: (H, W) its pixels.
        points_world_m: (N, 3) its surface, at least one point.
        noise_m: Noise of depth at its distance.
        up_world: (3,) direction against gravity.
    """
    around = max(3, round(_AROUND * mask.shape[1]))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x0, y0 = max(0, columns[0] - around), max(0, rows[0] - around)
    part = np.s_[y0 : rows[-1] + around + 1, x0 : columns[-1] + around + 1]
    kernel = np.ones((2 * around + 1,) * 2, np.uint8)
    rim = (cv2.dilate(mask[part].astype(np.uint8), kernel) > 0) & ~mask[part]
    rim &= frame.depth[part] > 0
    if np.count_nonzero(rim) < _LEAST_PX:
        return None
    up = up_world.astype(np.float32)
    ground = world_points(frame, rim, (int(x0), int(y0)))
    foot = np.quantile(points_world_m @ up, _FOOT)
    height = ground @ up
    flat, thing = ground - np.outer(height, up), points_world_m - np.outer(points_world_m @ up, up)
    low, high = thing.min(0) - _REACH_M, thing.max(0) + _REACH_M
    near = ((flat >= low) & (flat <= high)).all(1) & (np.abs(height - foot) < _NEAR_M)
    height = height[near]
    if len(height) < _LEAST_PX:
        return None
    # The level where most points are; a wall has them at all heights.
    slack = _LEVEL_M + noise_m
    ordered = np.sort(height)
    count = np.searchsorted(ordered, ordered + 2 * slack, 'right') - np.arange(len(ordered))
    first = int(count.argmax())
    level = ordered[first : first + count[first]]
    if len(level) < max(_LEAST_PX, _MOST * len(height)):
        return None
    return Plane(up_world, -float(np.median(level)))


def foot_is_hidden(
    frame: Frame, mask: Mask, others: Mask, up_world: NDArray[np.float64] | None
) -> bool:
    """Return whether other things or the image's border may hide what a thing stands on.

    Args:
        frame: Its frame, with depth and pose.
        mask: (H, W) its pixels, some of them with depth.
        others: (H, W) pixels of all other things.
        up_world: (3,) direction against gravity; None where unknown.
    """
    if up_world is None:
        return False
    rows, columns = np.nonzero(mask & (frame.depth > 0))
    y0, x0 = int(rows.min()), int(columns.min())
    part = np.s_[y0 : rows.max() + 1, x0 : columns.max() + 1]
    points = world_points(frame, mask[part] & (frame.depth[part] > 0), (x0, y0))
    height = points @ up_world.astype(np.float32)
    low, high = np.quantile(height, (_FOOT, 1 - _FOOT))
    foot = height <= low + _LOWEST * (high - low)
    rows, columns = rows[foot], columns[foot]
    down = _down_in_image(frame, points[foot].mean(0), up_world) * _BELOW * mask.shape[1]
    x, y = np.rint(columns + down[0]).astype(int), np.rint(rows + down[1]).astype(int)
    blind = round(_BLIND * mask.shape[1])
    inside = (x >= blind) & (x < mask.shape[1] - blind)
    inside &= (y >= blind) & (y < mask.shape[0] - blind)
    at, foot_m = (y[inside], x[inside]), frame.depth[rows[inside], columns[inside]]
    # Where depth sees nothing, a thing may be in front.
    before = others[at] & (frame.depth[at] <= foot_m + _BEFORE_M)
    hidden = len(x) - np.count_nonzero(inside) + np.count_nonzero(before)
    return bool(hidden > _HIDDEN * (len(x) - np.count_nonzero(mask[at])))


def _down_in_image(
    frame: Frame, point_world_m: NDArray[np.floating], up_world: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the direction (2,) in which gravity pulls a point in the image."""
    ends = np.stack([point_world_m, point_world_m - 0.01 * up_world])
    pixels = frame.camera.project(apply(invert(frame.pose), ends))
    along: NDArray[np.float64] = pixels[1] - pixels[0]
    return along / max(float(np.linalg.norm(along)), 1e-9)
