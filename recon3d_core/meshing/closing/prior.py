"""What a hypothesis about an object's form says of its unseen voxels."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from recon3d_core.meshing.closing.known import Known


@dataclasses.dataclass(frozen=True)
class Prior:
    """A hypothesis's answer.

    Attributes:
        name: Which hypothesis.
        sdf_m: (nx, ny, nz) float32 distances, negative inside; they count where `says`.
        says: (nx, ny, nz) bool, voxels of which it says something; never observed ones.
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
    close = known.near & (np.abs(known.sdf_m) < known.grid.voxel_size_m)
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
        gradient[:, axis] = known.sdf_m[ahead] - known.sdf_m[behind]
    length = np.linalg.norm(gradient, axis=1)
    good = length > 0.5 * known.grid.voxel_size_m
    index, gradient, length = index[good], gradient[good], length[good]
    normals = gradient / length[:, None]
    distance = known.sdf_m[tuple(index.T)] / known.grid.voxel_size_m
    return index - normals * distance[:, None], normals
