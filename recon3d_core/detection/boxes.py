"""Masks from boxes: which pixels of a box are the object that it surrounds.

Depth gives the cluster of points that the box is about, without what it stands on. Colours then
draw its outline, and all of it where there is no depth (GrabCut: Rother, Kolmogorov and Blake,
SIGGRAPH 2004).
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.detection._groups import sparse_groups
from recon3d_core.detection.clusters import Pixels
from recon3d_core.detection.depth_cluster import depth_noise_m
from recon3d_core.detection.foreground import filled
from recon3d_core.types import Frame

BoxPx = tuple[int, int, int, int]
Mask = NDArray[np.bool_]

_DEPTH_PX = 96  # longest side of a window in which clusters are looked for
_COLOR_PX = 80  # the same for GrabCut, whose time grows with the pixels
_MARGIN = 0.25  # surroundings that are looked at, as a part of the box's sides
_ROUNDS = 3  # of GrabCut
_PLANES = 2
_PLANE_PART = 0.25  # of the surroundings that a plane takes at least
_TRIALS = 60  # of RANSAC
_LEAST_GAP_M = 0.01
_GAP_PX = 2.5
_LEAST_POINTS = 24
_HOLE = 0.06
_LEAST_PART = 0.08  # a mask that fills less of its box is not believed
_AGREES = 0.5  # IoU of cluster and ellipse from which on the cluster is believed


@dataclasses.dataclass(frozen=True)
class _Window:
    """A box and its surroundings, both within the image.

    Attributes:
        around: Slices of the box with its surroundings in the image.
        inside: Slices of the box within the surroundings.
    """

    around: tuple[slice, slice]
    inside: tuple[slice, slice]

    @classmethod
    def of(cls, box: BoxPx, shape: tuple[int, ...]) -> _Window:
        """Return the window of a box in an image of a shape (H, W, ...)."""
        x0, y0, x1, y1 = box
        mx, my = (4 + round(_MARGIN * (high - low + 1)) for low, high in ((x0, x1), (y0, y1)))
        left, top = max(x0 - mx, 0), max(y0 - my, 0)
        right, bottom = min(x1 + mx, shape[1] - 1), min(y1 + my, shape[0] - 1)
        return cls(
            np.s_[top : bottom + 1, left : right + 1],
            np.s_[y0 - top : y1 - top + 1, x0 - left : x1 - left + 1],
        )


def mask_in_box(frame: Frame, box_xyxy: BoxPx, *, use_depth: bool = True) -> Mask:
    """Return the pixels (H, W) of the object that a box is about.

    The time is bounded: both ways look at a window of at most a hundred pixels' length. Without
    depth and colour it is the ellipse within the box.

    Args:
        frame: The frame.
        box_xyxy: Pixel box within the image, both ends inclusive.
        use_depth: Whether to look at depth where there is some.
    """
    x0, y0, x1, y1 = box_xyxy
    mask = np.zeros((frame.camera.height, frame.camera.width), bool)
    ellipse = _from_middle((y1 - y0 + 1, x1 - x0 + 1)) <= 1
    part: Mask | None = None
    if use_depth and frame.depth_m is not None:
        part = _by_depth(frame, frame.depth_m, box_xyxy)
    if frame.rgb is not None:
        # A cluster of another shape is often of a thing in front: colours decide then.
        agrees = part is not None and _iou(part, ellipse) >= _AGREES
        drawn = _by_color(frame.rgb, box_xyxy, part if part is not None and agrees else ellipse)
        part = part if drawn is None else drawn
    mask[y0 : y1 + 1, x0 : x1 + 1] = ellipse if part is None else part
    return mask


def _iou(a: Mask, b: Mask) -> float:
    either = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / max(either, 1)


def _from_middle(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the squared distance (h, w) from the middle; 1 on the ellipse within the box."""
    y, x = (np.linspace(-1, 1, n + 2, dtype=np.float32)[1:-1] for n in shape)
    return np.asarray(y[:, None] ** 2 + x**2)


def _by_depth(frame: Frame, depth_m: NDArray[np.float32], box: BoxPx) -> Mask | None:
    """Return the object's pixels within the box, or None where depth does not tell."""
    window = _Window.of(box, depth_m.shape)
    crop = depth_m[window.around]
    step = max(1, -(-max(crop.shape) // _DEPTH_PX))
    depth = np.ascontiguousarray(crop[::step, ::step])
    rows, columns = window.around
    camera = frame.camera.cropped(columns.start, rows.start, crop.shape[1], crop.shape[0])
    points = camera.subsampled(step).points(depth)
    whole = np.zeros(crop.shape, bool)
    whole[window.inside] = True
    inside = whole[::step, ::step]
    chosen = depth > 0
    for plane in _planes_around(points[chosen & ~inside]):
        # What is below a support is as little of the object as the support itself.
        chosen &= points @ plane[:3] + plane[3] > 2 * depth_noise_m(depth)
    if np.count_nonzero(chosen & inside) < _LEAST_POINTS:
        return None
    gap_px = _GAP_PX * step
    gap_m = max(_LEAST_GAP_M, gap_px * float(np.median(depth[chosen & inside])) / camera.fx)
    groups = sparse_groups(points, chosen, np.eye(3), gap_m, _LEAST_POINTS // 2)
    best = _most_about(groups, inside)
    if best is None:
        return None
    small = np.zeros(inside.shape, np.float32)
    small[best] = 1
    # Every step-th pixel was looked at, the first one included: a resize would take them for the
    # middles of blocks, and shift the mask.
    to_small = np.array([[1 / step, 0, 0], [0, 1 / step, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    full = cv2.warpAffine(small, to_small, crop.shape[::-1], flags=flags)
    return _believed(np.asarray(full > 0.5)[window.inside])


def _most_about(groups: list[Pixels], inside: Mask) -> Pixels | None:
    """Return the group that a box (h, w) is most about: in its middle, and not beyond it."""
    weights = np.zeros(inside.shape, np.float32)
    shape = (int(inside.any(1).sum()), int(inside.any(0).sum()))
    weights[inside] = np.exp(-2 * _from_middle(shape)).ravel()
    values = [float(weights[part].sum() * inside[part].mean() ** 2) for part in groups]
    return groups[int(np.argmax(values))] if any(values) else None


def _planes_around(points: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the planes (4,) that much of points (n, 3) in the camera's frame lie on.

    `n . p + d` is the height towards the camera, metres. RANSAC (Fischler and Bolles, 1981).
    """
    rest = points[:: max(1, len(points) // 400)]
    enough = max(_LEAST_POINTS, round(_PLANE_PART * len(rest)))
    rng = np.random.default_rng(0)  # a mask depends on its frame alone
    found: list[NDArray[np.float32]] = []
    while len(rest) >= enough and len(found) < _PLANES:
        corners = rest[rng.integers(0, len(rest), (_TRIALS, 3))]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1)
        normals /= np.maximum(lengths, 1e-12)[:, None]
        offsets = -(normals * corners[:, 0]).sum(1)
        # The camera is at the origin: the offset is its height.
        normals[offsets < 0] *= -1
        offsets = np.abs(offsets)
        near = np.abs(normals @ rest.T + offsets[:, None]) < 2 * depth_noise_m(rest[:, 2])
        near[lengths == 0] = False
        best = int(near.sum(1).argmax())
        if near[best].sum() < enough:
            break
        found.append(np.append(normals[best], offsets[best]).astype(np.float32))
        rest = rest[~near[best]]
    return found


def _by_color(rgb: NDArray[np.uint8], box: BoxPx, guess: Mask) -> Mask | None:
    """Return the object's pixels within the box by GrabCut, or None where colours do not tell.

    Args:
        rgb: (H, W, 3) image.
        box: The box; what surrounds it is background.
        guess: (h, w) pixels of the box that are likely the object.
    """
    window = _Window.of(box, rgb.shape)
    crop = rgb[window.around]
    scale = min(1.0, _COLOR_PX / max(crop.shape[:2]))
    size = (max(2, round(crop.shape[1] * scale)), max(2, round(crop.shape[0] * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    full = np.full(crop.shape[:2], cv2.GC_BGD, np.uint8)
    full[window.inside] = np.where(guess, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    trimap = cv2.resize(full, size, interpolation=cv2.INTER_NEAREST_EXACT)
    known = [np.count_nonzero(trimap == kind) for kind in (cv2.GC_BGD, cv2.GC_PR_FGD)]
    if min(known) < _LEAST_POINTS:  # a box as large as the image, or of a few pixels
        return None
    # Its k-means draws from OpenCV's own generator; a mask depends on its frame alone.
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        trimap, *_ = cv2.grabCut(small, trimap, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # of one colour only
        return None
    found = (trimap == cv2.GC_PR_FGD).astype(np.float32)
    drawn = cv2.resize(found, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    return _believed(np.asarray(drawn)[window.inside])


def _believed(part: Mask) -> Mask | None:
    """Return the largest piece of a mask, small holes filled; None where it is nearly nothing."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8))
    if count < 2:
        return None
    largest = np.asarray(labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
    solid = filled(largest, _HOLE)
    return solid if np.count_nonzero(solid) >= _LEAST_PART * solid.size else None
