"""Voxels that two objects claim go to one of them: to the one that has better reasons."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.interfaces import Mesher
from recon3d_core.meshing.closing.filters import dilated
from recon3d_core.meshing.closing.known import largest_part
from recon3d_core.meshing.closing.surface import (
    face_observed,
    smooth_field,
    vertex_colors,
    watertight_surface,
)
from recon3d_core.scene.relations import bounds_m, solid_in
from recon3d_core.types import Mesh, ObjectEstimate, Shape
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

_MOST = 1000  # points of a seen surface
_LOST = np.float32(0.45)  # probability of a voxel that another object has
_LEAST_LEFT = 0.3  # of the voxels; an object that loses more is another's double


def solid_of(shape: Shape) -> NDArray[np.bool_]:
    """Return the voxels (nx, ny, nz) that a shape's mesh encloses."""
    if shape.completed or shape.sdf_m is None:
        return shape.occupancy > 0.5
    return shape.sdf_m < 0


def claimed(a: ObjectEstimate, b: ObjectEstimate) -> NDArray[np.int64]:
    """Return the indices (N, 3) of the voxels of a that lie in b's solid, too."""
    (low, high), (mine_low, mine_high) = bounds_m(b), bounds_m(a)
    if not ((mine_low <= high) & (mine_high >= low)).all():
        return np.zeros((0, 3), np.int64)
    index = np.argwhere(solid_of(a.shape))
    points = _centers_world_m(a.shape, index)
    near = ((points >= low) & (points <= high)).all(1)
    index, points = index[near], points[near]
    chosen: NDArray[np.int64] = index[solid_in(solid_of(b.shape), b.shape.grid, points)]
    return chosen


def lost(a: ObjectEstimate, b: ObjectEstimate, index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the voxels (N, 3) of a that b claims, too, are b's.

    What a measured stays a's. Otherwise the higher probability wins, and of equal ones the nearer
    seen surface.
    """
    points = _centers_world_m(a.shape, index)
    there = b.shape.grid.indices(points)
    mine, theirs = a.shape.occupancy[tuple(index.T)], b.shape.occupancy[tuple(there.T)]
    far_mine, far_theirs = _far_m(a, points), _far_m(b, points)
    nearer = (far_theirs < far_mine) | ((far_theirs == far_mine) & (b.id < a.id))
    worse = (theirs > mine + 0.01) | ((np.abs(theirs - mine) <= 0.01) & nearer)
    if b.shape.observed is not None:
        worse |= b.shape.observed[tuple(there.T)]
    if a.shape.observed is not None:
        worse &= ~a.shape.observed[tuple(index.T)]
    return np.asarray(worse)


def without(
    estimate: ObjectEstimate, index: NDArray[np.int64], mesher: Mesher
) -> tuple[Mesh, Shape] | None:
    """Return mesh and shape without some voxels (N, 3), or None where too little would be left."""
    shape, gone = estimate.shape, np.zeros(estimate.shape.grid.shape, bool)
    gone[tuple(index.T)] = True
    solid = solid_of(shape)
    left = largest_part(solid & ~gone)
    if left.sum() < max(_LEAST_LEFT * solid.sum(), 8):
        return None
    gone = solid & ~left
    occupancy = np.where(gone, np.minimum(shape.occupancy, _LOST), shape.occupancy)
    shape = dataclasses.replace(shape, occupancy=occupancy)
    if shape.completed or shape.sdf_m is None:
        mesh, shape = mesher.mesh(shape, estimate.support)
        return (mesh, shape) if len(mesh.faces) else None
    cut = dilated(gone)
    field = np.where(cut, smooth_field(left, shape.grid.voxel_size_m), shape.sdf_m)
    field = field.astype(np.float32)
    surface = watertight_surface(shape.grid, field)
    if surface is None:
        return None
    shape = dataclasses.replace(shape, sdf_m=field)
    surface = dataclasses.replace(
        surface,
        colors=vertex_colors(surface, shape),
        face_observed=face_observed(surface, shape),
    )
    return surface, shape


def _centers_world_m(shape: Shape, index: NDArray[np.int64]) -> Array:
    T, voxel = shape.grid.T_world_grid, shape.grid.voxel_size_m
    centers: Array = ((index + 0.5) * voxel) @ T[:3, :3].T + T[:3, 3]
    return centers


def _far_m(estimate: ObjectEstimate, points: Array) -> Array:
    """Return how far points (N, 3) are from what was seen of an object; infinite without."""
    mesh = estimate.mesh
    if mesh.face_observed is None or not mesh.face_observed.any():
        return np.full(len(points), np.inf)
    seen = mesh.vertices_m[mesh.faces[mesh.face_observed, 0]]
    seen = seen[:: -(-len(seen) // _MOST)]
    distance: Array = cKDTree(seen).query(points)[0]
    return distance
