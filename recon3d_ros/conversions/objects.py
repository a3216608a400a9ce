"""Points of an object's surface with what is known about each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.types import ObjectEstimate, Shape
from recon3d_ros.conversions.clouds import object_points, Structured
from recon3d_ros.conversions.meshes import sample_surface


def occupancy_at(shape: Shape, points_world_m: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the occupancy (N,) of the voxels that hold points (N, 3); 0 outside of the grid."""
    index = shape.grid.indices(points_world_m)
    inside = ((index >= 0) & (index < shape.grid.shape)).all(-1)
    values = np.zeros(len(index), np.float32)
    x, y, z = index[inside].T
    values[inside] = shape.occupancy[x, y, z]
    return values


def object_cloud(estimate: ObjectEstimate, spacing_m: float, max_points: int) -> Structured:
    """Return points on an object's whole surface, the unseen part included, as OBJECT_DTYPE.

    `p_occ` is the occupancy one voxel beneath the surface: on the surface itself it is one half by
    definition, wherever the surface lies. `observed` tells whether a camera saw the face.

    Args:
        estimate: The object.
        spacing_m: One point for each square of this edge.
        max_points: Upper bound of their number.
    """
    surface = sample_surface(estimate.mesh, spacing_m, max_points)
    depth = np.float32(estimate.shape.grid.voxel_size_m)
    p_occ = occupancy_at(estimate.shape, surface.points_m - depth * surface.normals)
    seen = estimate.mesh.face_observed
    observed = np.ones(len(p_occ), bool) if seen is None else seen[surface.faces]
    return object_points(
        surface.points_m, surface.colors, estimate.id, np.clip(p_occ, 0, 1), observed
    )
