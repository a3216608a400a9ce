"""From meshes to the grids that the torch renderer draws: signed distances and colours."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.ground_truth import (
    prepared,
    sample_faces,
    solid,
    thin_parts,
    voxel_index,
)
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.data.rendering.raycast import sample_colors
from recon3d_core.data.rendering.sdf_grids import BAND_VOXELS, LEVELS
from scipy import ndimage, spatial

THIN_VOXELS = 3.0
LEAST_VOXELS = 1.3
_MARGIN_VOXELS = 0.1
"""Parts thinner than the first are made at least as thick as the second, and a little thicker:
between the grid's points, interpolation thins rods, and loses those that are thinner than that."""

_EDGE_VOXELS = 1 / 16
"""Interpolation rounds convex edges off; so much added everywhere keeps the outlines' areas."""

_COLOR_SAMPLES_PER_VOXEL = 12
_REACH = int(np.ceil(BAND_VOXELS)) + 1


@dataclasses.dataclass(frozen=True)
class ObjectGrid:
    """One object as the torch renderer wants it.

    Attributes:
        sdf: (N, N, N) int8 signed distance at the voxels' centres, negative inside, in steps of
            `BAND_VOXELS / LEVELS` voxels, saturated at ±`LEVELS`.
        colors: (M, M, M, 4) uint8 mean colour of the surface in each voxel; alpha is 255 where
            there is any, else all are 0.
    """

    sdf: NDArray[np.int8]
    colors: NDArray[np.uint8]


def build_grid(mesh: ObjectMesh, resolution: int = 96, color_resolution: int = 48) -> ObjectGrid:
    """Return the grids of an object.

    Args:
        mesh: The object in its cube.
        resolution: Voxels along an edge of the distances, N.
        color_resolution: Voxels along an edge of the colours, M.

    Raises:
        InputError: The mesh has no faces or is not finite.
    """
    shape = prepared(mesh)
    inside = solid(shape, resolution)
    middles, thickness = thin_parts(shape, inside, THIN_VOXELS)
    near_thin = _dilated(_voxels_of(middles, resolution), _REACH)
    band = near_thin | (_dilated(inside, _REACH) & _dilated(~inside, _REACH))
    sdf = _banded_distance(shape.scene, inside, band)
    if len(middles):
        _thicken(sdf, near_thin, middles, thickness)
    sdf[sdf < BAND_VOXELS] -= _EDGE_VOXELS
    steps = np.clip(np.round(sdf * (LEVELS / BAND_VOXELS)), -LEVELS, LEVELS)
    return ObjectGrid(steps.astype(np.int8), _surface_colors(mesh, color_resolution))


def _voxels_of(points: NDArray[np.float32], resolution: int) -> NDArray[np.bool_]:
    voxels = np.zeros((resolution,) * 3, bool)
    voxels[tuple(voxel_index(points, resolution).T)] = True
    return voxels


def _dilated(voxels: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Return all voxels that are at most so many steps away, along each axis."""
    dilated: NDArray[np.bool_] = ndimage.maximum_filter(voxels, 2 * by + 1, mode='nearest')
    return dilated


def _banded_distance(
    scene: o3d.t.geometry.RaycastingScene, inside: NDArray[np.bool_], band: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return signed distances in voxels, right within the band."""
    n = len(inside)
    sdf = np.where(inside, -BAND_VOXELS, BAND_VOXELS).astype(np.float32)
    index = np.argwhere(band)
    if len(index):
        points = ((index + 0.5) / n - 0.5).astype(np.float32)
        distance = scene.compute_distance(o3d.core.Tensor.from_numpy(points)).numpy() * n
        sdf[band] = np.where(inside[band], -distance, distance)
    return sdf


def _thicken(
    sdf: NDArray[np.float32],
    near: NDArray[np.bool_],
    middles: NDArray[np.float32],
    thickness: NDArray[np.float32],
) -> None:
    """Make thin parts, given by `thin_parts`, as thick as the grid can show, in place."""
    n = len(sdf)
    cells = voxel_index(middles, 2 * n)
    _, first = np.unique(np.ravel_multi_index(tuple(cells.T), (2 * n,) * 3), return_index=True)
    points = (np.argwhere(near) + 0.5) / n - 0.5
    limit = (BAND_VOXELS + THIN_VOXELS) / n
    distance, index = spatial.cKDTree(middles[first]).query(points, distance_upper_bound=limit)
    voxels = np.append(thickness[first], np.inf)[index] * n
    grown = np.maximum(LEAST_VOXELS - voxels, 0) / 2
    grown += _MARGIN_VOXELS * np.clip(THIN_VOXELS - voxels, 0, 1)
    # Only where the thin part is what is nearest; its sampled middle is a little off.
    nearest = distance * n < np.abs(sdf[near]) + voxels / 2 + 0.5
    sdf[near] -= np.where(nearest & (distance < limit), grown, 0)


def _surface_colors(mesh: ObjectMesh, resolution: int) -> NDArray[np.uint8]:
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    ).sum()
    count = int(np.clip(area / 2 * resolution**2 * _COLOR_SAMPLES_PER_VOXEL, 5000, 500_000))
    sampled = sample_faces(mesh, count, np.random.default_rng(0))
    colors = sample_colors(mesh, sampled.faces, sampled.barycentric)
    voxel = voxel_index(sampled.points, resolution)
    flat = np.ravel_multi_index(tuple(voxel.T), (resolution,) * 3)
    weight = np.bincount(flat, minlength=resolution**3)
    rgba = np.zeros((resolution**3, 4), np.uint8)
    some = weight > 0
    for channel in range(3):
        total = np.bincount(flat, colors[:, channel], resolution**3)
        rgba[some, channel] = np.round(total[some] / weight[some])
    rgba[some, 3] = 255
    return rgba.reshape(resolution, resolution, resolution, 4)
