"""Detections of masks: their boxes, and the surface that depth shows in them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.detection._groups import sparse_groups
from recon3d_core.detection.boxes import BoxPx, Mask
from recon3d_core.geometry.transforms import apply
from recon3d_core.types import Detection, Frame, Plane

_GAP_M = 0.02  # at 1 m: what is farther from all else of an object is not of it
_RIM = np.ones((5, 5), np.uint8)  # so wide, twice what masks and depth are off
_LEAST_PART = 0.08  # of the points within: a part of its own, such as the foot of a lamp


def detection_of(
    frame: Frame,
    mask: Mask,
    *,
    max_points: int,
    score: float = 1.0,
    label: str = 'object',
    support: Plane | None = None,
    instance: int | None = None,
    border_px: int = 2,
) -> Detection:
    """Return the detection of a mask.

    Args:
        frame: Where it was found; without depth or pose, there are no surface points.
        mask: (H, W) its pixels, at least one.
        max_points: Most surface points.
        score: How sure it is.
        label: What it is.
        support: Plane it stands on.
        instance: Identity, where that is known.
        border_px: What comes so near to the image's border is cut off by it.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
    height, width = mask.shape
    points = None
    if frame.depth_m is not None and frame.T_world_camera is not None:
        points = surface_points(frame, mask, (x0, y0, x1, y1), max_points)
    return Detection(
        mask=mask,
        box_xyxy=(x0, y0, x1, y1),
        label=label,
        score=score,
        points_world_m=points,
        support=support,
        instance=instance,
        truncated=min(x0, y0, width - 1 - x1, height - 1 - y1) < border_px,
    )


def surface_points(frame: Frame, mask: Mask, box: BoxPx, most: int) -> NDArray[np.float32]:
    """Return points (N, 3) in the world of the surface that a mask shows.

    A mask's rim shows what is behind as often as not: groups of points apart from all else are
    left out, where little of them is within the mask.

    Args:
        frame: Its frame, with depth and pose.
        mask: (H, W) pixels of an object.
        box: The mask's box.
        most: At most so many, spread over all of it.
    """
    x0, y0, x1, y1 = box
    part = np.s_[y0 : y1 + 1, x0 : x1 + 1]
    shown = mask[part] & (frame.depth[part] > 0)
    points = world_points(frame, shown, (x0, y0), most)
    if not len(points):
        return points
    away = np.linalg.norm(points - frame.pose[:3, 3].astype(np.float32), axis=1)
    gap = _GAP_M * max(1.0, float(np.median(away)))
    every = np.ones((1, len(points)), bool)
    groups = [at for _, at in sparse_groups(points[None], every, np.eye(3), gap, least=1)]
    within = _strided(cv2.erode(mask[part].astype(np.uint8), _RIM, borderValue=0)[shown], most)
    if not within.any():
        within[:] = 1  # as thin as a rim all over
    least = _LEAST_PART * within.sum()
    kept = [at for at in groups if within[at].sum() >= least] or groups[:1]
    return points[np.sort(np.concatenate(kept))]


def world_points(
    frame: Frame, chosen: NDArray[np.bool_], corner: tuple[int, int], most: int = 10**9
) -> NDArray[np.float32]:
    """Return points (N, 3) in the world of a part of a depth image.

    Args:
        frame: The frame, with depth and pose.
        chosen: (h, w) which pixels of the part.
        corner: x and y of the part's first pixel.
        most: At most so many, spread over all of them.
    """
    rows, columns = (_strided(index, most) for index in np.nonzero(chosen))
    rows, columns = rows + corner[1], columns + corner[0]
    pixels = np.stack([columns, rows], -1).astype(np.float64)
    local = frame.camera.unproject(pixels, frame.depth[rows, columns])
    return apply(frame.pose, local).astype(np.float32)


def _strided(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Return at most so many of some values, at equal steps."""
    return values[:: max(1, -(-len(values) // most))]
