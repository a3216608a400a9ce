"""Completion by mirror symmetry about an upright plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d_core.meshing.closing.known import Known
from recon3d_core.meshing.closing.prior import Prior, surface_points

ANGLES = 18
OFFSET_STEP_VOXELS = 1.5
POINTS = 300
MIN_POINTS = 60
MIN_SUPPORT = 0.5
MAX_VIOLATION = 0.04


def complete_by_mirror(known: Known) -> Prior | None:
    """Return what the best mirror plane tells of the unseen voxels; None where none fits.

    A plane fits when the mirrored surface falls on seen surface or where nobody looked, and
    hardly ever into space that was seen to be empty.
    """
    points, _ = surface_points(known, POINTS)
    if len(points) < MIN_POINTS:
        return None
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
    places, index = tuple(places[ok].T), tuple(index[ok].T)
    sdf = np.zeros(known.grid.shape, np.float32)
    says = np.zeros(known.grid.shape, bool)
    step = 4 * known.grid.voxel_size_m
    sdf[places] = np.where(known.near[index], known.sdf_m[index], step)
    says[places] = known.inside[index] | known.free[index]
    return Prior('mirror', sdf, says, 0.7)


def best_plane(
    known: Known, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float] | None:
    """Return the normal (2,) and offset, in voxels, of the upright plane that fits best.

    Args:
        known: Evidence.
        points: (n, 3) on the seen surface, voxel indices.
    """
    state = _states(known)
    best, best_score = None, 0.0
    for angle in np.arange(ANGLES) * np.pi / ANGLES:
        direction = np.array([np.cos(angle), np.sin(angle)])
        along = points[:, :2] @ direction
        offsets = np.arange(along.min(), along.max() + 1, OFFSET_STEP_VOXELS)
        shift = 2 * (along[None, :] - offsets[:, None])
        mirrored = np.repeat(points[None], len(offsets), 0)
        mirrored[..., :2] -= shift[..., None] * direction
        index = np.rint(mirrored).astype(np.int64)
        inside = ((index >= 0) & (index < known.grid.shape)).all(-1)
        index = np.clip(index, 0, np.array(known.grid.shape) - 1)
        found = np.where(inside, state[index[..., 0], index[..., 1], index[..., 2]], 2)
        support, violation = (found == 1).mean(1), (found == 2).mean(1)
        score = np.where(violation <= MAX_VIOLATION, support - 4 * violation, 0)
        if score.max() > best_score:
            best_score = float(score.max())
            best = direction, float(offsets[score.argmax()]), float(support[score.argmax()])
    if best is None or best[2] < MIN_SUPPORT:
        return None
    return best[0], best[1]


def _states(known: Known) -> NDArray[np.uint8]:
    """Return 1 at the seen surface, 2 in space seen to be empty or deep inside, 0 elsewhere."""
    close = known.near & (np.abs(known.sdf_m) < 1.5 * known.grid.voxel_size_m)
    return np.where(close, 1, np.where(known.free, 2, 0)).astype(np.uint8)
