"""Completion of solids of revolution: what was seen at one angle is true at all angles."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.meshing.closing.known import Known
from recon3d_core.meshing.closing.prior import Prior, Surface, surface_points

MAX_RESIDUAL = 0.25
MAX_MIXED = 0.6
MAX_SPREAD_VOXELS = 1.0
MIN_POINTS = 60
BINS_PER_VOXEL = 2
SKIN_VOXELS = 1.5
DEEP_TRUST = 0.2
BEYOND_VOXELS = 2.5


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


def refine_axis(
    axis: Axis, points: NDArray[np.float64], normals: NDArray[np.float64]
) -> tuple[Axis, float]:
    """Move an axis so that the surface has one radius per level and side of the wall.

    Normals alone are biased where the surface turns away from the camera.

    Args:
        axis: Where to start.
        points: (n, 3) surface points, voxel indices.
        normals: (n, 3) unit normals.

    Returns:
        The axis, and the median deviation of the radii, in voxels.
    """
    steep = np.linalg.norm(normals[:, :2], axis=1) > 0.5
    points, normals = points[steep], normals[steep, :2]
    center = axis.center_voxels
    outer = ((points[:, :2] - center) * normals).sum(1) > 0
    _, group = np.unique(np.rint(points[:, 2] / 2) * 2 + outer, return_inverse=True)
    weight = np.ones(len(points))
    deviation = weight
    for _ in range(6):
        arm = points[:, :2] - center
        radius = np.maximum(np.linalg.norm(arm, axis=1), 0.5)
        arm /= radius[:, None]
        total = np.bincount(group, weight)
        deviation = radius - (np.bincount(group, weight * radius) / total)[group]
        slope = (
            arm
            - np.stack([np.bincount(group, weight * arm[:, k]) / total for k in (0, 1)], 1)[group]
        )
        weight = 1 / (1 + (deviation / max(2 * np.median(np.abs(deviation)), 0.3)) ** 2)
        matrix = np.einsum('n,ni,nj->ij', weight, slope, slope) + 1e-3 * len(points) * np.eye(2)
        center = center + np.linalg.solve(matrix, (weight * deviation) @ slope)
    return Axis(center, axis.residual), float(np.median(np.abs(deviation)))


def complete_by_revolution(known: Known, surface: Surface | None = None) -> Prior | None:
    """Return what revolution tells of the unseen voxels; None where it does not fit.

    Args:
        known: Evidence.
        surface: What `surface_points` says of it, where that was asked before.
    """
    points, normals = surface or surface_points(known)
    axis = fit_axis(points, normals)
    if axis is None or axis.residual > MAX_RESIDUAL:
        return None
    axis, spread = refine_axis(axis, points, normals)
    if spread > MAX_SPREAD_VOXELS:
        return None
    nx, ny, nz = known.grid.shape
    x = np.arange(nx)[:, None] - axis.center_voxels[0]
    y = np.arange(ny)[None, :] - axis.center_voxels[1]
    ring = np.rint(np.hypot(x, y) * BINS_PER_VOXEL).astype(np.int64)
    rings = int(ring.max()) + 1
    cell = ring[:, :, None] * nz + np.arange(nz)

    def count(where: NDArray[np.bool_], values: Any = 1.0) -> NDArray[np.float64]:
        weights = np.broadcast_to(values, cell.shape)[where]
        sums = np.bincount(cell[where], weights, rings * nz).astype(np.float64)
        return sums.reshape(rings, nz)

    voxel = known.grid.voxel_size_m
    deep = known.inside & (known.sdf_m < -SKIN_VOXELS * voxel)
    # Deep behind a seen surface nothing was measured: what another side saw to be free wins.
    full = count(known.inside) - (1 - DEEP_TRUST) * count(deep)
    empty = count(known.free)
    if np.minimum(full, empty).sum() > MAX_MIXED * full.sum():
        return None
    skin = known.near & ~deep
    measured = count(skin)
    mean = count(skin, known.sdf_m) / np.maximum(measured, 1)
    solid = full > empty
    mean = np.where(measured > 0, mean, 4 * voxel)
    table = np.where(solid, -1, 1) * np.maximum(np.abs(mean), 0.25 * voxel)
    table = np.where((mean > 0) != solid, mean, table)
    beyond = known.inside & (known.sdf_m < -BEYOND_VOXELS * voxel) & (empty > 2 * full)[ring]
    says = known.unknown & (full + empty > 0)[ring] | beyond
    return Prior('revolution', table[ring].astype(np.float32), says, 0.8)
