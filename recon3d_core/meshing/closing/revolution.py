"""Completion of solids of revolution: what was seen at one angle is true at all angles."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from recon3d_core.meshing.closing.known import Known
from recon3d_core.meshing.closing.prior import Prior, surface_points

MAX_RESIDUAL = 0.2
MAX_MIXED = 0.25
MIN_POINTS = 60
BINS_PER_VOXEL = 2


@dataclasses.dataclass(frozen=True)
class Axis:
    """An upright axis of revolution.

    Attributes:
        center_voxels: (2,) where it pierces the grid's xy plane, in voxel indices.
        residual: Median distance of the surface's normals from it, as a part of the radius.
    """

    center_voxels: NDArray[np.float64]
    residual: float


def fit_axis(points: NDArray[np.float64], normals: NDArray[np.float64]) -> Axis | None:
    """Return the upright axis that the normals of a surface point to, or None.

    Args:
        points: (n, 3) surface points, voxel indices.
        normals: (n, 3) unit normals.
    """
    length = np.linalg.norm(normals[:, :2], axis=1)
    steep = length > 0.5
    points, across = points[steep, :2], normals[steep, :2] / length[steep, None]
    if len(points) < MIN_POINTS:
        return None
    across = across[:, ::-1] * (-1, 1)
    weight = np.ones(len(points))
    for _ in range(5):
        # Each normal is a line through the axis; far lines (a handle) lose their say.
        lines = np.einsum('n,ni,nj->ij', weight, across, across)
        if np.linalg.eigvalsh(lines)[0] < 0.02 * weight.sum():
            return None
        offsets = (across * points).sum(1)
        center = np.linalg.solve(lines, (weight * offsets) @ across)
        distance = np.abs(across @ center - offsets)
        scale = max(float(np.median(distance)), 0.5)
        weight = 1 / (1 + (distance / (2 * scale)) ** 2)
    radius = np.linalg.norm(points - center, axis=1)
    return Axis(center, float(np.median(distance / np.maximum(radius, 1))))


def complete_by_revolution(known: Known) -> Prior | None:
    """Return what revolution tells of the unseen voxels; None where it does not fit."""
    points, normals = surface_points(known)
    axis = fit_axis(points, normals)
    if axis is None or axis.residual > MAX_RESIDUAL:
        return None
    nx, ny, nz = known.grid.shape
    x = np.arange(nx)[:, None] - axis.center_voxels[0]
    y = np.arange(ny)[None, :] - axis.center_voxels[1]
    ring = np.rint(np.hypot(x, y) * BINS_PER_VOXEL).astype(np.int64)
    rings = int(ring.max()) + 1
    cell = ring[:, :, None] * nz + np.arange(nz)

    def count(where: NDArray[np.bool_], values: NDArray | None = None) -> NDArray[np.float64]:
        weights = None if values is None else values[where]
        return np.bincount(cell[where], weights, rings * nz).reshape(rings, nz)

    full, empty, measured = count(known.inside), count(known.free), count(known.near)
    if np.minimum(full, empty).sum() > MAX_MIXED * full.sum():
        return None
    mean = count(known.near, known.sdf_m) / np.maximum(measured, 1)
    reach = 4 * known.grid.voxel_size_m
    table = np.where(measured > 0, mean, reach)
    table = np.where((full > empty) & (table > 0), -0.25 * known.grid.voxel_size_m, table)
    table = np.where((empty > full) & (table < 0), 0.25 * known.grid.voxel_size_m, table)
    says = full + empty > 0
    table, says = _fill_core(table, says, full > empty, reach)
    return Prior(
        'revolution', table[ring].astype(np.float32), says[ring] & known.unknown, 0.8
    )


def _fill_core(
    table: NDArray[np.float64],
    says: NDArray[np.bool_],
    solid: NDArray[np.bool_],
    reach_m: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fill what nobody saw: solid within the outermost solid ring, empty beyond."""
    outer = np.where(solid.any(0), len(solid) - 1 - solid[::-1].argmax(0), -1)
    levels = np.flatnonzero(outer >= 0)
    # Below the lowest seen level, that level goes on down.
    outer[: levels[0]] = outer[levels[0]]
    within = np.arange(len(solid))[:, None] <= outer
    value = np.where(within, -reach_m, reach_m)
    return np.where(says, table, value), says | (outer >= 0)
