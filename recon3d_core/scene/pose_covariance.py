"""How uncertain an object's pose is: the covariance of its box's centre and of its axes.

The centre of a box is the mean of its sides. A side that a camera saw is known up to the sensor
and the voxels; one that none saw may lie anywhere between the last seen point and the far end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import Mesh, SelfCheck, Shape

Array = NDArray[np.float64]

OPTIMISTIC, PESSIMISTIC = 0.3, 0.7
# Fitted on synthetic scenes so that the 95 % ellipsoid holds (docs/self_check.md).
_GAP = 0.5  # standard deviation of a side, of its distance from what was seen last
_RANGE = 0.5  # the same, of the way between the optimistic and the pessimistic end
_UNSEEN = 0.05  # the same, of the object's edge, where the side was not seen
_FLOOR_M = 0.002  # of the camera's pose, beside voxel and residual
_BAND = 0.05  # of the edge: what lies there is the side
_ROUND = 1.05  # edges of a footprint that are more alike do not tell the yaw
_QUARTER_TURN_RAD2 = (np.pi / 2) ** 2 / 12  # variance where the yaw is anything
_TRIM = 0.002


def pose_covariance(
    T_world_object: Array, mesh: Mesh, shape: Shape, check: SelfCheck, *, closed: bool = True
) -> Array:
    """Return the covariance (6, 6) of `T_world_object`.

    The order is that of ROS: x, y, z of the position in m^2, then turns about x, y, z in rad^2, all
    along the world's axes. Position and turn count as independent.

    Args:
        T_world_object: (4, 4) pose of the centre of the upright box.
        mesh: What was placed there.
        shape: Its shape, for the optimistic and the pessimistic end where it was completed.
        check: Its agreement with the views.
        closed: Whether the mesh tells of the unseen side too.
    """
    axes = T_world_object[:3, :3]
    points = np.asarray(apply(invert(T_world_object), mesh.vertices_m), np.float64)
    low, high = np.quantile(points, (_TRIM, 1 - _TRIM), axis=0)
    edges = np.maximum(high - low, 1e-4)
    residual_m = (
        check.depth_residual_m if np.isfinite(check.depth_residual_m) else edges.max() / 20
    )
    base_m2 = _FLOOR_M**2 + (shape.grid.voxel_size_m / 2) ** 2 + residual_m**2
    sides = _sides_m2(points, mesh, low, high, closed) + _range_m2(shape, T_world_object)
    position = base_m2 + sides.sum(0) / 4
    # A box turns as far as its ends move, over the lever between them.
    flat = np.sort(edges[:2])
    yaw = float(sides[:, :2].max() + base_m2) / flat[1] ** 2
    if flat[1] < _ROUND * flat[0]:
        yaw += _QUARTER_TURN_RAD2
    tilt = base_m2 / (edges[1::-1] / 2) ** 2
    turns = np.minimum([*tilt, yaw], (np.pi / 2) ** 2)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = axes * position @ axes.T
    covariance[3:, 3:] = axes * turns @ axes.T
    return covariance


def _sides_m2(points: Array, mesh: Mesh, low: Array, high: Array, closed: bool) -> Array:
    """Return the variances (2, 3) of the low and the high sides of the box, by what was seen."""
    edges = high - low
    seen = _seen_vertices(mesh)
    if not seen.any():
        return np.tile((0.25 * edges) ** 2, (2, 1))
    first, last = np.quantile(points[seen], (_TRIM, 1 - _TRIM), axis=0)
    gaps = np.maximum([first - low, high - last], 0)
    near = np.stack([points < low + _BAND * edges, points > high - _BAND * edges])
    shares = (near & seen[:, None]).sum(1) / np.maximum(near.sum(1), 1)
    hidden = np.sqrt(1 - shares) if closed else np.ones((2, 3))
    return np.asarray((_GAP * gaps) ** 2 + (_UNSEEN * edges * hidden) ** 2)


def _seen_vertices(mesh: Mesh) -> NDArray[np.bool_]:
    seen = np.zeros(len(mesh.vertices_m), bool)
    if mesh.face_observed is not None:
        seen[mesh.faces[mesh.face_observed]] = True
    return seen


def _range_m2(shape: Shape, T_world_object: Array) -> Array:
    """Return the variances (2, 3) of the sides by what lies between likely and possible."""
    if not shape.completed:
        return np.zeros((2, 3))
    ends = []
    for level in (OPTIMISTIC, PESSIMISTIC):
        index = np.argwhere(shape.occupancy > level)
        if not len(index):
            return np.zeros((2, 3))
        centers = (index + 0.5) * shape.grid.voxel_size_m
        local = apply(invert(T_world_object) @ shape.grid.T_world_grid, centers)
        ends.append(np.quantile(local, (_TRIM, 1 - _TRIM), axis=0))
    return np.asarray((_RANGE * (ends[0] - ends[1])) ** 2)
