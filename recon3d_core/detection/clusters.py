"""Groups of points in an organised cloud, and whether a group is one thing."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.detection.planes import within
from scipy import ndimage

Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows and columns of a group's points in the organised cloud."""

FLAT_M = 0.03
"""What rises less above its support is a sheet, a book or a plate."""

_HOVERS_M = 0.05  # what begins higher does not stand on the support itself


def spread(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.floating]:
    """Return two quantiles (2, ...) along the first axis of values (N, ...), N >= 1.

    From at most some hundred of the values: numpy's own are tens of times slower, and a
    detector asks for hundreds per frame.
    """
    ordered = np.sort(values[:: max(1, len(values) // 400)], axis=0)
    last = len(ordered) - 1
    return ordered[[round(low * last), round(high * last)]]


def thinned(pixels: Pixels, most: int) -> Pixels:
    """Return at most about so many pixels of a group, spread over all of it."""
    step = max(1, len(pixels[0]) // most)
    return pixels[0][::step], pixels[1][::step]


def connected_groups(
    points: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    axes: NDArray[np.float64],
    gap_m: float,
    least: int = 12,
) -> list[Pixels]:
    """Group chosen points that are connected in a voxel grid; largest groups first.

    Groups of fewer than `least` points are dropped.
    """
    rows, columns = np.nonzero(chosen)
    if len(rows) == 0:
        return []
    local = points[rows, columns] @ axes.astype(np.float32)
    index = np.floor((local - local.min(0)) / gap_m).astype(np.int32)
    shape = index.max(0) + 1
    if shape.prod(dtype=np.int64) > 40_000_000:
        return []
    grid = np.zeros(shape, bool)
    grid[tuple(index.T)] = True
    labels, count = ndimage.label(grid, np.ones((3, 3, 3)))
    of_point = labels[tuple(index.T)]
    order = np.argsort(of_point, kind='stable')
    ends = np.cumsum(np.bincount(of_point, minlength=count + 1))
    groups = [order[ends[k - 1] : ends[k]] for k in range(1, count + 1)]
    groups = sorted((g for g in groups if len(g) >= least), key=len, reverse=True)
    return [(rows[group], columns[group]) for group in groups]


def join_overhanging(
    points: NDArray[np.float32],
    groups: list[Pixels],
    height: NDArray[np.float32],
    axes: NDArray[np.float64],
    camera_world_m: NDArray[np.float64],
) -> list[Pixels]:
    """Join what hovers over a standing thing to it: a lamp's shade whose stem was not measured.

    Args:
        points: (h, w, 3) organised cloud.
        groups: Groups of its points.
        height: (h, w) heights above the support.
        axes: (3, 3) axes of the support; the third is its normal.
        camera_world_m: (3,) where the camera is.
    """
    if len(groups) < 2:
        return groups
    flat_axes = axes[:, :2].astype(np.float32)
    samples = [thinned(group, 300) for group in groups]
    boxes = [spread(points[sample] @ flat_axes, 0.05, 0.95) for sample in samples]
    spans = [spread(height[sample], 0.05, 0.95) for sample in samples]
    joined = list(groups)
    for upper, (bottom, top) in enumerate(spans):
        if bottom < _HOVERS_M:
            continue
        # Only the near half of what hovers is seen: its middle is farther back.
        away = boxes[upper].mean(0) - camera_world_m @ axes[:, :2]
        shift = 0.4 * np.ptp(boxes[upper], axis=0).max() * away / np.linalg.norm(away)
        low = np.minimum(boxes[upper][0], boxes[upper][0] + shift)
        high = np.maximum(boxes[upper][1], boxes[upper][1] + shift)
        for lower, (foot, head) in enumerate(spans):
            gap = bottom - head
            if foot >= _HOVERS_M or not -0.05 < gap < max(0.05, 1.2 * (top - bottom)):
                continue
            center = boxes[lower].mean(0)
            if ((center > low) & (center < high)).all():
                pair = (joined[lower], joined[upper])
                joined[lower] = tuple(np.concatenate(both) for both in zip(*pair))  # type: ignore[assignment]
                joined[upper] = (joined[upper][0][:0], joined[upper][1][:0])
                break
    return [group for group in joined if len(group[0])]


def split_flat(
    points: NDArray[np.float32],
    pixels: Pixels,
    height: NDArray[np.float32],
    axes: NDArray[np.float64],
    gap_m: float,
) -> list[Pixels]:
    """Part flat things, such as sheets of paper, from what stands beside and touches them.

    What stands in the middle of its own flat base, such as a lamp, is left whole.
    """
    tall = height[pixels] > FLAT_M
    if tall.sum() < 30 or tall.mean() > 0.85:
        return [pixels]
    chosen = np.zeros(height.shape, bool)
    chosen[pixels[0][tall], pixels[1][tall]] = True
    xy = points[pixels] @ axes[:, :2].astype(np.float32)
    sheet = ~tall
    stands = False
    for tower in connected_groups(points, chosen, axes, gap_m):
        if height[tower].max() < 1.5 * FLAT_M:
            continue  # the curled corner of a sheet
        low, high = spread(points[tower] @ axes[:, :2].astype(np.float32), 0.03, 0.97)
        # The lower rim of the tower itself is no sheet.
        sheet &= ~((xy > low - 1.5 * gap_m) & (xy < high + 1.5 * gap_m)).all(1)
        if _surrounded(xy[sheet], (low + high) / 2, float((high - low).max()) / 2 + 3 * gap_m):
            return [pixels]
        stands = True
    if not stands or sheet.sum() < max(30, 0.2 * len(sheet)):
        return [pixels]
    return [(pixels[0][part], pixels[1][part]) for part in (~sheet, sheet)]


def _surrounded(xy: NDArray[np.float32], center: NDArray[np.float32], reach_m: float) -> bool:
    """Return whether points (N, 2) lie on nearly all sides of a place, within a reach."""
    offset = xy - center
    offset = offset[(offset**2).sum(1) < reach_m**2]
    sector = np.floor(6 * (np.arctan2(offset[:, 1], offset[:, 0]) / np.pi + 1)).astype(int) % 12
    return int((np.bincount(sector, minlength=12) > 2).sum()) >= 9


def near_cluster(
    world: NDArray[np.float32], points: NDArray[np.float32], radius_m: float
) -> NDArray[np.bool_]:
    """Return which of (h, w, 3) points lie in or next to a voxel that holds a cluster's point."""
    low = points.min(0) - 2 * radius_m
    shape = np.floor((points.max(0) + 2 * radius_m - low) / radius_m).astype(int) + 1
    grid = np.zeros(shape, bool)
    grid[tuple(np.floor((points - low) / radius_m).astype(int).T)] = True
    grid = ndimage.binary_dilation(grid, np.ones((3, 3, 3)))
    index = np.floor((world - low) / radius_m).astype(np.int32)
    inside = within(index, shape)
    index[~inside] = 0
    near: NDArray[np.bool_] = inside & grid[index[..., 0], index[..., 1], index[..., 2]]
    return near


def stands_out(
    mask: NDArray[np.bool_], box: tuple[int, int, int, int], depth_m: NDArray[np.float32]
) -> bool:
    """Return whether nearly all around a mask the scene is farther away, or not measured."""
    x0, y0, x1, y1 = box
    part = np.s_[max(y0 - 8, 0) : y1 + 9, max(x0 - 8, 0) : x1 + 9]
    inside = mask[part].astype(np.uint8)
    near = cv2.dilate(inside, np.ones((7, 7), np.uint8))
    rim = (cv2.dilate(near, np.ones((5, 5), np.uint8)) > near) & (depth_m[part] > 0)
    if not rim.any():
        return True
    # The depth of the nearest part of the object's edge, carried outwards.
    spread = cv2.dilate(np.where(inside > 0, depth_m[part], 0), np.ones((15, 15), np.uint8))
    return bool((depth_m[part][rim] > spread[rim] + 0.05).mean() > 0.8)
