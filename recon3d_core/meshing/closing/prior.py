"""What a hypothesis about an object's form says of its unseen voxels."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.meshing.closing.known import Known
from scipy import ndimage


@dataclasses.dataclass(frozen=True)
class Prior:
    """A hypothesis's answer.

    Attributes:
        name: Which hypothesis.
        sdf_m: (nx, ny, nz) float32 distances, negative inside; they count where `says`.
        says: (nx, ny, nz) bool, voxels of which it says something: unknown ones, and such as
            lie deep behind a seen surface.
        trust: Probability of what it calls inside.
    """

    name: str
    sdf_m: NDArray[np.float32]
    says: NDArray[np.bool_]
    trust: float


def surface_points(
    known: Known, max_points: int = 4000
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points (n, 3) on the seen surface, as voxel indices, and unit normals (n, 3)."""
    sdf = _smoothed(known)
    close = known.near & (np.abs(sdf) < known.grid.voxel_size_m)
    inner = np.zeros_like(close)
    inner[1:-1, 1:-1, 1:-1] = close[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        for step in (1, -1):
            inner &= np.roll(known.near, step, axis)
    index = np.argwhere(inner)
    index = index[:: max(1, -(-len(index) // max_points))]
    gradient = np.empty((len(index), 3))
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        ahead, behind = tuple((index + step).T), tuple((index - step).T)
        gradient[:, axis] = sdf[ahead] - sdf[behind]
    length = np.linalg.norm(gradient, axis=1)
    good = length > 0.5 * known.grid.voxel_size_m
    index, gradient, length = index[good], gradient[good], length[good]
    normals = gradient / length[:, None]
    distance = sdf[tuple(index.T)] / known.grid.voxel_size_m
    return index - normals * distance[:, None], normals


def _smoothed(known: Known) -> NDArray[np.float32]:
    """Return the distances without the noise of single views; right where `known.near`."""
    values = np.where(known.near, known.sdf_m, 0).astype(np.float32)
    weight = ndimage.gaussian_filter(known.near.astype(np.float32), 1.2, truncate=2)
    values = ndimage.gaussian_filter(values, 1.2, truncate=2)
    smoothed: NDArray[np.float32] = values / np.maximum(weight, 1e-3)
    return smoothed
