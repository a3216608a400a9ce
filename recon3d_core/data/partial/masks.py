"""Object masks as detectors make them: too small, too large, ragged, and with a bit of others."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_LEAK = 0.15  # share of masks that hold some of a neighbour, or of the support
_RAGGED = 0.5
_MOST_PX = 2  # by which a mask is too small or too large, of an image 640 pixels wide
_LEAK_PX = 8


def imperfect(
    mask: Mask, neighbors: Mask, support: Mask, scale: float, rng: np.random.Generator
) -> Mask:
    """Return a mask with the errors of a detector.

    Args:
        mask: (H, W) true pixels of the object.
        neighbors: (H, W) those of other objects.
        support: (H, W) those of what it stands on.
        scale: Width of the camera's image by 640 pixels.
        rng: Draws.
    """
    changed = _resized(mask, int(rng.integers(-_MOST_PX, _MOST_PX + 1)), scale)
    if rng.random() < _RAGGED:
        changed = _ragged(changed, rng)
    for others in (neighbors, support):
        if rng.random() < _LEAK:
            reach = _resized(mask, int(rng.integers(2, _LEAK_PX + 1)), scale)
            changed |= reach & others & _half_plane(mask, rng)
    return changed


def _resized(mask: Mask, by_px: int, scale: float) -> Mask:
    steps = round(abs(by_px) * scale)
    if not steps:
        return mask.copy()
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * steps + 1, 2 * steps + 1))
    change = cv2.dilate if by_px > 0 else cv2.erode
    return np.asarray(change(mask.astype(np.uint8), kernel) > 0)


def _ragged(mask: Mask, rng: np.random.Generator) -> Mask:
    """Move the border by a pixel or two, smoothly along it."""
    height, width = mask.shape
    coarse = rng.normal(size=(height // 8 + 2, width // 8 + 2)).astype(np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)
    return np.asarray(soft + 0.2 * noise > 0.5)


def _half_plane(mask: Mask, rng: np.random.Generator) -> Mask:
    """Return the pixels on one side of a line through the object: leaks are on one side."""
    rows, columns = np.nonzero(mask)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.indices(mask.shape)
    aside = (x - columns.mean()) * np.cos(angle) + (y - rows.mean()) * np.sin(angle)
    return np.asarray(aside > 0.3 * np.sqrt(len(rows)) * rng.uniform(-1, 1))
