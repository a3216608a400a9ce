"""What a track knows of its surface, and what a frame says of the place where it should be."""

from __future__ import annotations

from collections.abc import Sequence
import enum

import numpy as np
from numpy.typing import NDArray
from recon3d_core.types import Frame
from scipy.spatial import cKDTree

_SAMPLE = 300  # points asked per comparison
_MARGIN_PX = 8  # near the border, detectors do not find things
_GUESS_M = 1.0  # how far away something is of which all rays are parallel
_GUESS_WEIGHT = 1e-4  # counts only where the rays tell less: below a baseline of about a degree


class Surface:
    """A bounded, evenly thinned set of surface points in the world.

    Attributes:
        points: (N, 3) float32.
    """

    def __init__(self, points_world_m: NDArray[np.float32], max_points: int) -> None:
        """Keep at most `max_points` of the points (N, 3)."""
        self.points = thinned(np.asarray(points_world_m, np.float32), max_points)
        self._tree: cKDTree | None = None
        self._box_m: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def add(self, points_world_m: NDArray[np.float32], max_points: int) -> None:
        """Take more points in."""
        fresh = thinned(np.asarray(points_world_m, np.float32), max_points)
        self._set(thinned(np.concatenate([self.points, fresh]), max_points))

    def remove_near(self, other: Surface, radius_m: float) -> None:
        """Give up the points that are closer to another surface than a radius."""
        if len(self.points) and len(other.points):
            distance, _ = other.tree.query(self.points, distance_upper_bound=radius_m)
            self._set(self.points[~np.isfinite(distance)])

    def _set(self, points: NDArray[np.float32]) -> None:
        self.points = points
        self._tree = None
        self._box_m = None

    @property
    def box_m(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest corner (3,) of the box around the points, at least one."""
        if self._box_m is None:
            self._box_m = self.points.min(0), self.points.max(0)
        return self._box_m

    @property
    def tree(self) -> cKDTree:
        """Search tree over the points."""
        if self._tree is None:
            self._tree = cKDTree(self.points)
        return self._tree

    def sample(self) -> NDArray[np.float32]:
        """Return some hundred of the points."""
        return self.points[:: max(1, len(self.points) // _SAMPLE)]

    def may_touch(self, other: Surface, radius_m: float) -> bool:
        """Return whether the boxes of two surfaces are closer than a radius."""
        if not len(self.points) or not len(other.points):
            return False
        (low, high), (other_low, other_high) = self.box_m, other.box_m
        return bool((other_high >= low - radius_m).all() and (other_low <= high + radius_m).all())

    def distances_m(self, other: Surface, radius_m: float) -> NDArray[np.float64]:
        """Return how far some points (n,) are from another surface; inf beyond a radius."""
        distance: NDArray[np.float64]
        distance, _ = other.tree.query(self.sample(), distance_upper_bound=radius_m)
        return distance


class Place:
    """Where something is that only masks show: the point nearest to the rays through them.

    Only sums are kept. While the camera stands still, the rays are parallel, and any point along
    them is as good: it lies at the same pixel.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._matrix = np.zeros((3, 3))
        self._vector = np.zeros(3)

    def add(self, frame: Frame, box_xyxy: tuple[int, int, int, int]) -> None:
        """Take in the ray through the middle of a mask's box; a frame without pose says nothing."""
        if frame.T_world_camera is None:
            return
        x0, y0, x1, y1 = box_xyxy
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        ray = frame.T_world_camera[:3, :3] @ frame.camera.unproject(middle, np.float64(1.0))
        ray /= np.linalg.norm(ray)
        origin = frame.T_world_camera[:3, 3]
        across = np.eye(3) - np.outer(ray, ray)
        guess = origin + _GUESS_M * ray
        self._matrix += across + _GUESS_WEIGHT * np.eye(3)
        self._vector += across @ origin + _GUESS_WEIGHT * guess

    def pixel(self, frame: Frame) -> tuple[int, int] | None:
        """Return column and row where it lies in a frame; None where that is not in view."""
        if frame.T_world_camera is None or not self._matrix.any():
            return None
        point = np.linalg.solve(self._matrix, self._vector)
        local = (point - frame.T_world_camera[:3, 3]) @ frame.T_world_camera[:3, :3]
        if local[2] < 0.05:
            return None
        x, y = np.rint(frame.camera.project(local)).astype(int).tolist()
        width, height = frame.camera.width, frame.camera.height
        inside = _MARGIN_PX <= x < width - _MARGIN_PX and _MARGIN_PX <= y < height - _MARGIN_PX
        return (x, y) if inside else None


class Look(enum.Enum):
    """What a frame shows at the place of a surface."""

    HIDDEN = 'hidden'
    SURFACE = 'surface'
    THROUGH = 'through'


def look_at(frame: Frame, surface: Surface, slack_m: float = 0.03) -> Look:
    """Compare the depth image with where a surface should be.

    Args:
        frame: Frame with or without depth; its pose is known.
        surface: What is looked for.
        slack_m: Depths that differ by less are the same; at 1 m, growing with distance.

    Returns:
        HIDDEN where most of it is outside the image or occluded, or where there is no depth.
    """
    points = surface.sample()
    if frame.depth_m is None or frame.T_world_camera is None or not len(points):
        return Look.HIDDEN
    local = (points - frame.T_world_camera[:3, 3]) @ frame.T_world_camera[:3, :3]
    local = local[local[:, 2] > 0.1]
    pixels = np.rint(frame.camera.project(local)).astype(int)
    height, width = frame.depth_m.shape
    end = (width - _MARGIN_PX, height - _MARGIN_PX)
    inside = (pixels >= _MARGIN_PX).all(1) & (pixels < end).all(1)
    pixels, expected = pixels[inside], local[inside, 2]
    measured = frame.depth_m[pixels[:, 1], pixels[:, 0]]
    slack = slack_m * np.maximum(1.0, expected**2 / 2)
    known = (measured > 0) & (measured > expected - slack)
    if np.count_nonzero(known) < 0.5 * len(points):
        return Look.HIDDEN
    through = known & (measured > expected + slack)
    return Look.THROUGH if through.sum() > 0.7 * known.sum() else Look.SURFACE


def look_for_mask(frame: Frame, place: Place, masks: Sequence[NDArray[np.bool_]]) -> Look:
    """Look at the place of something without depth that no mask of a frame belongs to.

    Args:
        frame: The frame.
        place: Where it should be.
        masks: (H, W) masks of the other things in the frame.

    Returns:
        SURFACE where its place is in view, which without depth is no proof that it is gone;
        HIDDEN where it is not, or lies in another thing's mask, which may stand before it.
    """
    pixel = place.pixel(frame)
    if pixel is None or any(mask[pixel[1], pixel[0]] for mask in masks):
        return Look.HIDDEN
    return Look.SURFACE


def extent_m(points: NDArray[np.float32]) -> float:
    """Return the longest edge of the box around points (N, 3), a few stray ones left out."""
    low, high = np.percentile(points, [3, 97], axis=0)
    return float((high - low).max())


def thinned(points: NDArray[np.float32], max_points: int) -> NDArray[np.float32]:
    """Return at most `max_points` of points (N, 3), spread evenly over the surface."""
    points = points[np.isfinite(points).all(1)]
    if len(points) <= max_points:
        return points
    extent = float(np.ptp(points, axis=0).max())
    cell = max(extent / 64, 1e-4)
    while True:
        keys = np.floor((points - points.min(0)) / cell).astype(np.int64)
        flat = (keys[:, 0] * 4096 + keys[:, 1]) * 4096 + keys[:, 2]
        _, first = np.unique(flat, return_index=True)
        if len(first) <= max_points:
            return points[np.sort(first)]
        cell *= 1.3
