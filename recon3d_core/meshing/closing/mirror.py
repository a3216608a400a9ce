"""Completion by mirror symmetry about an upright plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.meshing.closing.envelope import fill_unseen
from recon3d_core.meshing.closing.known import Known
from recon3d_core.meshing.closing.prior import Prior, surface_points
from scipy import ndimage

ANGLES = 18
OFFSET_STEP_VOXELS = 1.5
POINTS = 150
SECTORS = 8
MIN_SECTOR = 0.03
MIN_POINTS = 60
MIN_SUPPORT = 0.1
MIN_GAIN = 0.1
MAX_VIOLATION = 0.04
SURFACE, FREE, FILLED, NEW = range(4)


def complete_by_mirror(known: Known) -> Prior | None:
    """Return what the best mirror plane tells of the unseen voxels; None where none fits.

    It is asked only where it adds surface beyond the envelope. A plane fits when the mirrored surface falls on seen surface or where nobody looked, and
    hardly ever into space that was seen to be empty.
    """
    points, normals = surface_points(known)
    if len(points) < MIN_POINTS or _seen_around(normals):
        return None
    points = points[:: max(1, len(points) // POINTS)]
    plane = best_plane(known, points)
    if plane is None:
        return None
    direction, offset = plane
    places = np.argwhere(known.unknown)
    shift = places[:, :2] @ direction - offset
    source = places.astype(np.float64)
    source[:, :2] -= 2 * shift[:, None] * direction
    index = np.rint(source).astype(np.int64)
    ok = ((index >= 0) & (index < known.grid.shape)).all(1)
    here, there = tuple(places[ok].T), tuple(index[ok].T)
    sdf = np.zeros(known.grid.shape, np.float32)
    says = np.zeros(known.grid.shape, bool)
    sdf[here] = known.sdf_m[there]
    says[here] = known.near[there]
    return Prior('mirror', sdf, says, 0.7)


def _seen_around(normals: NDArray[np.float64]) -> bool:
    """Return whether surfaces were seen that face each side, so that no side is missing."""
    steep = normals[np.linalg.norm(normals[:, :2], axis=1) > 0.5]
    sector = np.arctan2(steep[:, 1], steep[:, 0]) * SECTORS / (2 * np.pi)
    count = np.bincount(np.floor(sector).astype(int) % SECTORS, minlength=SECTORS)
    # A box faces four sides only, hence two neighbouring sectors count as one.
    around = count + np.roll(count, 1)
    return bool(len(steep) and (around >= MIN_SECTOR * len(steep)).all())


def best_plane(
    known: Known, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float] | None:
    """Return the normal (2,) and offset, in voxels, of the upright plane that fits best.

    Args:
        known: Evidence.
        points: (n, 3) on the seen surface, voxel indices.
    """
    state = _states(known)
    along = points[:, :2] - points[:, :2].mean(0)
    reach = float(np.hypot(*along.T).max())
    middle = points[:, :2].mean(0)
    best, score = (0.0, 0.0), 0.0
    angles = np.arange(ANGLES) * np.pi / ANGLES
    offsets = np.arange(-reach, reach + 1, OFFSET_STEP_VOXELS)
    for fine in (1, 4, 16):
        for angle in angles:
            scores = _score(state, points, middle, angle, offsets)
            if scores.max() > score:
                score = float(scores.max())
                best = angle, float(offsets[scores.argmax()])
        angles = best[0] + np.array([-2, -1, 0, 1, 2]) / (5 * fine) * np.pi / ANGLES * 2
        offsets = best[1] + np.array([-2, -1, 0, 1, 2]) / (4 * fine) * OFFSET_STEP_VOXELS
    if score < MIN_SUPPORT:
        return None
    direction = np.array([np.cos(best[0]), np.sin(best[0])])
    return direction, float(middle @ direction + best[1])


def _score(
    state: NDArray[np.uint8],
    points: NDArray[np.float64],
    middle: NDArray[np.float64],
    angle: float,
    offsets: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how well planes of one angle and some offsets (n,) from the middle fit, (n,).

    It is the part of the mirrored surface that meets seen surface, with a penalty for what falls
    into free space; 0 where that is too much, or where nothing new is told.
    """
    direction = np.array([np.cos(angle), np.sin(angle)])
    shift = 2 * ((points[:, :2] - middle) @ direction - offsets[:, None])
    mirrored = np.repeat(points[None], len(offsets), 0)
    mirrored[..., :2] -= shift[..., None] * direction
    index = np.rint(mirrored).astype(np.int64)
    size = np.array(state.shape)
    inside = ((index >= 0) & (index < size)).all(-1)
    index = np.clip(index, 0, size - 1)
    found = np.where(inside, state[index[..., 0], index[..., 1], index[..., 2]], FREE)
    met, violated = (found == SURFACE).mean(1), (found == FREE).mean(1)
    # A plane that maps the seen part onto itself fits well and tells nothing.
    useful = (violated <= MAX_VIOLATION) & ((found == NEW).mean(1) >= MIN_GAIN)
    return np.where(useful, met - 4 * violated, 0)


def _states(known: Known) -> NDArray[np.uint8]:
    """Return what a mirrored surface point meets in each voxel."""
    close = known.near & (np.abs(known.sdf_m) < 1.5 * known.grid.voxel_size_m)
    envelope = fill_unseen(known.inside, known.free, known.lowest)
    envelope = ndimage.binary_dilation(envelope, np.ones((3, 3, 3), bool), iterations=2)
    state = np.where(envelope, FILLED, NEW)
    state[known.free & ~close] = FREE
    state[close] = SURFACE
    return state.astype(np.uint8)
