"""What a hypothesis about an object's form says of its unseen voxels."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.meshing.closing.filters import blurred
from recon3d_core.meshing.closing.known import Known

Surface = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Points (n, 3) as voxel indices, and unit normals (n, 3)."""


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


def surface_points(known: Known, max_points: int = 1500) -> Surface:
    """Return points (n, 3) on the seen surface, as voxel indices, and unit normals (n, 3)."""
    sdf = _smoothed(known)
    close = known.near & (np.abs(sdf) < known.grid.voxel_size_m)
    inner = np.zeros_like(close)
    inner[1:-1, 1:-1, 1:-1] = close[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        here, near = np.moveaxis(inner, axis, 0)[1:-1], np.moveaxis(known.near, axis, 0)
        here &= near[2:]
        here &= near[:-2]
    flat, values = np.flatnonzero(inner), sdf.ravel()
    flat = flat[:: max(1, -(-len(flat) // max_points))]
    _, ny, nz = sdf.shape
    gradient = np.stack([values[flat + k] - values[flat - k] for k in (ny * nz, nz, 1)], 1)
    length = np.linalg.norm(gradient, axis=1)
    good = length > 0.5 * known.grid.voxel_size_m
    flat = flat[good]
    normals = (gradient[good] / length[good, None]).astype(np.float64)
    index = np.stack(np.unravel_index(flat, sdf.shape), 1)
    distance = values[flat] / known.grid.voxel_size_m
    return index - normals * distance[:, None], normals


def _smoothed(known: Known) -> NDArray[np.float32]:
    """Return the distances without the noise of single views; right where `known.near`."""
    weight = blurred(known.near.astype(np.float32), 1.2, truncate=2)
    values = blurred(np.where(known.near, known.sdf_m, np.float32(0)), 1.2, truncate=2)
    smoothed: NDArray[np.float32] = values / np.maximum(weight, np.float32(1e-3))
    return smoothed
