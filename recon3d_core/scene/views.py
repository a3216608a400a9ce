"""Views of one object: cut out of the frame, and chosen to be kept."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import Detection, Frame, View

_MARGIN = 0.2  # of the box: the free space around an object is evidence too


def cut_view(
    frame: Frame,
    detection: Detection,
    others: NDArray[np.bool_] | None,
    grid: VoxelGrid | None = None,
) -> View:
    """Return a view of a detection, cut out of its frame.

    Args:
        frame: The frame.
        detection: The object in it.
        others: (H, W) bool, pixels of other objects, or None.
        grid: The object's volume: where it is known, all of it is in the cut.
    """
    x0, y0, x1, y1 = detection.box_xyxy
    margin = 16 + int(_MARGIN * max(x1 - x0, y1 - y0))
    low = np.array([x0 - margin, y0 - margin])
    high = np.array([x1 + margin, y1 + margin])
    if grid is not None:
        pixels = _corner_pixels(frame, grid)
        if pixels is not None:
            low = np.minimum(low, np.floor(pixels.min(0)).astype(int))
            high = np.maximum(high, np.ceil(pixels.max(0)).astype(int))
    left, top = np.maximum(low, 0).tolist()
    width = int(min(high[0], frame.camera.width - 1)) - left + 1
    height = int(min(high[1], frame.camera.height - 1)) - top + 1
    part = (slice(top, top + height), slice(left, left + width))
    cut = dataclasses.replace(
        frame,
        camera=frame.camera.cropped(left, top, width, height),
        # Copies: a view that is kept must not keep the whole image alive.
        rgb=None if frame.rgb is None else frame.rgb[part].copy(),
        depth_m=None if frame.depth_m is None else frame.depth_m[part].copy(),
        masks=None,
        labels=None,
        truth=None,
    )
    return View(
        frame=cut,
        mask=detection.mask[part].copy(),
        box_xyxy=(x0 - left, y0 - top, x1 - left, y1 - top),
        others=None if others is None else others[part].copy(),
        support=detection.support,
    )


def spread_rad(views: Sequence[View]) -> float:
    """Return the largest angle between the directions in which views see their masks."""
    directions = []
    for view in views:
        x0, y0, x1, y1 = view.box_xyxy
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        ray = view.frame.pose[:3, :3] @ view.frame.camera.unproject(middle, np.float64(1.0))
        directions.append(ray / np.linalg.norm(ray))
    cosines = np.array(directions) @ np.array(directions).T
    return float(np.arccos(np.clip(cosines.min(), -1, 1)))


def sharpness(rgb: NDArray[np.uint8] | None) -> float:
    """Return the variance of an image's Laplacian, low under motion blur; 0 without an image."""
    if rgb is None:
        return 0.0
    return float(cv2.Laplacian(rgb[::2, ::2, 1], cv2.CV_32F).var())


def _corner_pixels(frame: Frame, grid: VoxelGrid) -> NDArray[np.float64] | None:
    """Return the pixels of a grid's corners, or None where one is behind the camera."""
    unit = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing='ij'), -1).reshape(-1, 3)
    corners = apply(grid.T_world_grid, unit * grid.extent_m)
    local = apply(invert(frame.pose), corners)
    return frame.camera.project(local) if (local[:, 2] > 0.05).all() else None


class KeptViews:
    """A few views of an object, from directions that differ as much as possible."""

    def __init__(self) -> None:
        """Start empty."""
        self.views: list[View] = []

    def offer(self, view: View, center_world_m: NDArray[np.floating], limit: int) -> None:
        """Keep a view if it is the first of its direction, or newer than one of the same.

        Args:
            view: The view.
            center_world_m: (3,) the object's centre.
            limit: Most views kept.
        """
        directions = [_direction(kept, center_world_m) for kept in [*self.views, view]]
        self.views.append(view)
        if len(self.views) <= limit:
            return
        similarity = np.array(directions) @ np.array(directions).T
        np.fill_diagonal(similarity, -1.0)
        first, second = np.unravel_index(int(similarity.argmax()), similarity.shape)
        # Of the two most alike, the older goes.
        del self.views[min(int(first), int(second))]

    def similarity(self, view: View, center_world_m: NDArray[np.floating]) -> float:
        """Return the largest cosine between a view's direction and those kept; -1 without."""
        direction = _direction(view, center_world_m)
        return max((float(_direction(v, center_world_m) @ direction) for v in self.views),
                   default=-1.0)  # fmt: skip


def _direction(view: View, center_world_m: NDArray[np.floating]) -> NDArray[np.float64]:
    offset: NDArray[np.float64] = view.frame.pose[:3, 3] - center_world_m
    return offset / max(float(np.linalg.norm(offset)), 1e-9)
