"""The object of a photo without a mask: what differs from the border, refined by GrabCut.

GrabCut (Rother et al. 2004) starts from the background that the photo's border shows
(`detection.background`). No weights are needed; what this cannot tell, it says by its confidence.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.detection.background import background_of
from recon3d_core.detection.foreground import filled

WORKING = 256  # longer edge at which the photo is looked at, pixels
DIFFERS = 7.0  # units of CIE Lab
SURE = 22.0
ITERATIONS = 4
MAX_HOLE = 0.03
_RING = 0.02  # of the longer edge, taken for background
_PLAIN = 12.0  # contrast at the outline from which it is clear


def segment(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return the mask (H, W) uint8 of the object of a photo (H, W, 3), and how sure it is.

    The confidence, in [0, 1], is the product of four: how much of the border is explained by a
    few colours, how well what differs from them agrees with GrabCut (IoU), how little of the
    outline is cut off by the border, and how strong the contrast is at the outline. It is 0, and
    the mask is all of the photo, where nothing stands out.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, WORKING / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    background = background_of(small)
    first = _main_part(background.difference > DIFFERS)
    if not _plausible(first):
        return np.full((height, width), 255, np.uint8), 0.0
    refined = _main_part(_grab_cut(small, background.difference, first))
    if not _plausible(refined):
        refined = first
    common, union = (first & refined).sum(), (first | refined).sum()
    sure = background.explained * float(common / union) * _uncut(refined)
    confidence = sure * _contrast(background.difference, refined)
    soft = cv2.resize(refined.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.where(soft > 0.5, np.uint8(255), np.uint8(0)), float(np.clip(confidence, 0, 1))


def _grab_cut(
    rgb: NDArray[np.uint8], difference: NDArray[np.float32], first: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    labels = np.where(first, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[first & (difference > SURE)] = cv2.GC_FGD
    ring = max(1, round(_RING * max(first.shape)))
    edge = np.ones_like(first)
    edge[ring:-ring, ring:-ring] = False
    labels[edge & ~first] = cv2.GC_BGD
    if not (labels == cv2.GC_BGD).any():
        return first
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # its k-means takes no generator
    try:
        cv2.grabCut(rgb, labels, None, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # one of the two is empty
        return first
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _main_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest part, parts near the middle counting more, with small holes filled."""
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    clean = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, ball)
    count, labels, stats, centers = cv2.connectedComponentsWithStats(clean)
    if count < 2:
        return np.zeros_like(mask)
    size = np.array(mask.shape[::-1])
    away = np.linalg.norm(centers[1:] / size - 0.5, axis=1)
    best = 1 + int((stats[1:, cv2.CC_STAT_AREA] * np.exp(-4 * away**2)).argmax())
    return filled(labels == best, MAX_HOLE)


def _plausible(mask: NDArray[np.bool_]) -> bool:
    return 0.003 < float(mask.mean()) < 0.95


def _uncut(mask: NDArray[np.bool_]) -> float:
    """Return 1 less twice the part of the image's border that the mask takes, at least 0."""
    rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return max(0.0, 1 - 2 * float(rim.mean()))


def _contrast(difference: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Return how far the difference steps up at the outline, 1 from _PLAIN on."""
    kernel = np.ones((5, 5), np.uint8)
    inner = mask & ~(cv2.erode(mask.astype(np.uint8), kernel) > 0)
    outer = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~mask
    if not outer.any() or not inner.any():
        return 0.0
    step = float(np.median(difference[inner]) - np.median(difference[outer]))
    return math.sqrt(float(np.clip(step / _PLAIN, 0, 1)))
