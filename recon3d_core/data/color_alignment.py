"""Aligning a colour camera to a depth camera from the images alone, where no calibration came.

Recordings of structured-light cameras often hold colour and depth as the two sensors saw them,
under one set of intrinsics. The colour sensor's other focal length then moves things by tens of
pixels. Depth jumps show in colour as edges, so the zoom and shift that put depth jumps onto
strong colour gradients, over frames from all of the recording, are the missing calibration.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

_POINTS = 800  # depth edges per frame; more do not move the optimum
_RANGE_M = 3.5  # beyond, depth jumps are noise
_ZOOMS = [0.84 + 0.04 * step for step in range(9)]
_SHIFTS = [8.0 * step for step in range(-3, 4)]
_LEAST_GAIN = 1.5


@dataclasses.dataclass(frozen=True)
class ColorAlignment:
    """Where in the colour image a pixel of the depth image is seen.

    The colour pixel is `center + zoom * (pixel - center) + shift`.

    Attributes:
        zoom: Ratio of the focal lengths, colour to depth.
        shift_px: (x, y) shift.
        gain: How much better than no alignment it puts depth edges onto colour edges.
    """

    zoom: float = 1.0
    shift_px: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0

    @property
    def trivial(self) -> bool:
        """Whether there is nothing to do."""
        return self.zoom == 1.0 and self.shift_px == (0.0, 0.0)

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the colour (H, W, 3) in the depth camera's pixels; outside it is black."""
        if self.trivial:
            return rgb
        height, width = rgb.shape[:2]
        center = np.array([(width - 1) / 2, (height - 1) / 2])
        offset = center + self.shift_px - self.zoom * center
        matrix = np.array([[self.zoom, 0, offset[0]], [0, self.zoom, offset[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(rgb, matrix, (width, height), flags=flags)  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class _Edges:
    """Depth edges of one frame, and how strong colour edges are around them."""

    strength: NDArray[np.float32]
    offsets: NDArray[np.float32]
    center: NDArray[np.float64]


def estimate_color_alignment(
    frames: Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]],
) -> ColorAlignment:
    """Find the alignment of some frames of a recording.

    Args:
        frames: Pairs of colour (H, W, 3) uint8 and depth (H, W) float32 metres, 0 = invalid, of
            the same size; ten from all of the recording are enough.

    Returns:
        The alignment, or the trivial one where none is clearly better.
    """
    edges = [found for rgb, depth_m in frames if (found := _edges(rgb, depth_m)) is not None]
    if len(edges) < 3:
        return ColorAlignment()
    identity = _score(edges, 1.0, 0.0, 0.0)
    coarse = edges[:: max(1, len(edges) // 6)]
    starts = ((z, x, y) for z in _ZOOMS for x in _SHIFTS for y in _SHIFTS)
    best = max(starts, key=lambda p: _score(coarse, *p))
    scale = np.array([0.01, 2.0, 2.0])  # so that the simplex is about as long every way
    found = minimize(
        lambda p: -_score(edges, *(p * scale).tolist()),
        np.array(best) / scale,
        method='Nelder-Mead',
        options={'maxfev': 120, 'xatol': 0.2, 'fatol': 1e-3},
    )
    zoom, x, y = (float(value) for value in found.x * scale)
    gain = float(-found.fun) / max(identity, 0.05)
    # Without a clear gain the images belong together as they are.
    if gain < _LEAST_GAIN:
        return ColorAlignment()
    return ColorAlignment(zoom, (x, y), gain)


def _edges(rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> _Edges | None:
    """Return the near sides of depth jumps, and the blurred strength of colour gradients."""
    kernel = np.ones((3, 3), np.uint8)
    measured = depth_m > 0
    near = cv2.erode(np.where(measured, depth_m, np.float32(99)), kernel)
    jump = cv2.dilate(depth_m, kernel) - near > 0.05 + 0.03 * depth_m
    whole = cv2.erode(measured.astype(np.uint8), kernel) > 0
    rows, columns = np.nonzero(jump & whole & (depth_m < near + 0.02) & (depth_m < _RANGE_M))
    if len(rows) < 200:
        return None
    step = max(1, len(rows) // _POINTS)
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 2)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    slope = np.minimum(slope, np.percentile(slope[::4, ::4], 98))
    strength = cv2.GaussianBlur(slope / max(float(slope.mean()), 1e-6) - 1, (0, 0), 3)
    height, width = depth_m.shape
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    offsets = np.stack([columns, rows], -1)[::step] - center
    return _Edges(strength.astype(np.float32), offsets.astype(np.float32), center)


def _score(edges: list[_Edges], zoom: float, x: float, y: float) -> float:
    """Return the mean strength of colour edges at the depth edges."""
    total, count = 0.0, 0
    for edge in edges:
        at = (edge.offsets * zoom + (edge.center + (x, y))).astype(np.float32)
        values = cv2.remap(
            edge.strength, at[None], None, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=-1.0,
        )  # fmt: skip
        total, count = total + float(values.sum()), count + len(at)
    return total / count
