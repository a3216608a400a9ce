"""Completion by mirror symmetry about an upright plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.meshing.closing.envelope import fill_unseen
from recon3d_core.meshing.closing.filters import dilated
from recon3d_core.meshing.closing.known import Known
from recon3d_core.meshing.closing.prior import Prior, Surface, surface_points

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


def complete_by_mirror(known: Known, surface: Surface | None = None) -> Prior | None:
    """Return what the best mirror plane tells of the unseen voxels; None where none fits.

    It is asked only where it adds surface beyond the envelope. A plane fits when the mirrored
    surface falls on seen surface or where nobody looked, and hardly ever into space that was
    seen to be empty.

    Args:
        known: Evidence.
        surface: What `surface_points` says of it, where that was asked before.
    """
    points, normals = surface or surface_points(known)
    if len(points) < MIN_POINTS or _seen_around(normals):
        return None
    points = points[:: max(1, len(points) // POINTS)]
    plane = best_plane(known, points)
    if plane is None:
        return None
    direction, offset = plane
    # The plane is upright: whole columns of voxels change places.
    nx, ny, _ = known.grid.shape
    places = np.moveaxis(np.indices((nx, ny)), 0, -1)
    shift = places @ direction - offset
    x, y = np.moveaxis(np.rint(places - 2 * shift[..., None] * direction).astype(int), -1, 0)
    ok = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    x, y = np.where(ok, x, 0), np.where(ok, y, 0)
    says = known.near[x, y] & ok[..., None] & known.unknown
    return Prior('mirror', known.sdf_m[x, y], says, 0.7)


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
        scores = _score(state, points, middle, angles, offsets)
        angle, offset = np.unravel_index(int(scores.argmax()), scores.shape)
        if scores[angle, offset] > score:
            score = float(scores[angle, offset])
            best = float(angles[angle]), float(offsets[offset])
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
    angles: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how well planes of some angles (a,) and offsets (n,) from the middle fit, (a, n).

    It is the part of the mirrored surface that meets seen surface, with a penalty for what falls
    into free space; 0 where that is too much, or where nothing new is told.
    """
    direction = np.stack([np.cos(angles), np.sin(angles)], 1)
    along = direction @ (points[:, :2] - middle).T
    shift = (2 * (along[:, None] - offsets[:, None])).astype(np.float32)
    nx, ny, nz = state.shape
    index = np.clip(np.rint(points[:, 2]), 0, nz - 1).astype(np.int32)
    for axis, (size, stride) in enumerate(((nx, ny * nz), (ny, nz))):
        start = points[:, axis].astype(np.float32) + 1
        place = start - shift * direction[:, axis, None, None].astype(np.float32)
        index = index + np.clip(np.rint(place), 0, size - 1).astype(np.int32) * np.int32(stride)
    found = state.ravel().take(index)
    met, violated, new = (
        np.count_nonzero(found == kind, axis=-1) / len(points) for kind in (SURFACE, FREE, NEW)
    )
    # A plane that maps the seen part onto itself fits well and tells nothing.
    useful = (violated <= MAX_VIOLATION) & (new >= MIN_GAIN)
    return np.where(useful, met - 4 * violated, 0)


def _states(known: Known) -> NDArray[np.uint8]:
    """Return what a mirrored surface point meets in each column, a border of free ones added."""
    close = known.near & (np.abs(known.sdf_m) < 1.5 * known.grid.voxel_size_m)
    envelope = fill_unseen(known.inside, known.free, known.lowest)
    state = np.where(dilated(envelope, 2), np.uint8(FILLED), np.uint8(NEW))
    state[known.free & ~close] = FREE
    state[close] = SURFACE
    # Beyond the grid, an object would have to be larger than what was seen of it allows.
    return np.pad(state, ((1, 1), (1, 1), (0, 0)), constant_values=FREE)
