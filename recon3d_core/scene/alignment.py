"""Correcting a view's pose against what is known of the object, before it is fused.

Poses of robots drift by centimetres, which is much on a cup. The object's own surface tells by
how much: iterated closest points with the point-to-plane error (Chen and Medioni 1992), a prior
that holds the pose where the surface does not constrain it, and a change only where it clearly
makes the view fit better.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.transforms import apply, make_transform
from recon3d_core.scene.options import AlignmentOptions
from recon3d_core.types import Shape, View
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Array = NDArray[np.floating]
Pose = NDArray[np.float64]

_POINTS = 250  # of a view; more do not change the result
_SURFACE = 2500  # of the object, likewise
_ROUNDS = 6
_GOOD_M = 0.0015  # a median distance that noise alone makes


@dataclasses.dataclass(frozen=True)
class Surface:
    """Known surface of an object.

    Attributes:
        points_m: (N, 3) in the world.
        normals: (N, 3) unit, outwards.
    """

    points_m: NDArray[np.float32]
    normals: NDArray[np.float32]

    @functools.cached_property
    def tree(self) -> cKDTree:
        """Search tree over the points."""
        return cKDTree(self.points_m)


def surface_of(shape: Shape) -> Surface | None:
    """Return the seen surface of an object from its signed distances, or None without them."""
    if shape.sdf_m is None or shape.observed is None:
        return None
    sdf, voxel = shape.sdf_m, np.float32(shape.grid.voxel_size_m)
    near = shape.observed & (np.abs(sdf) < voxel)
    # The slope needs neighbours that were measured too.
    near[[0, -1]] = near[:, [0, -1]] = near[:, :, [0, -1]] = False
    x, y, z = np.nonzero(near)
    measured = np.ones(len(x), bool)
    slopes = []
    for dx, dy, dz in np.eye(3, dtype=int):
        ahead, behind = (x + dx, y + dy, z + dz), (x - dx, y - dy, z - dz)
        measured &= shape.observed[ahead] & shape.observed[behind]
        slopes.append(sdf[ahead] - sdf[behind])
    slope = np.stack(slopes, -1)[measured]
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    normals = slope / np.maximum(length, 1e-9)
    index = np.stack([x, y, z], -1)[measured]
    local = (index + 0.5) * voxel - sdf[tuple(index.T)][:, None] * normals
    steep = np.flatnonzero(length[:, 0] > voxel)  # of two voxels at most; less is noise
    steep = steep[:: max(1, len(steep) // _SURFACE)]
    points = apply(shape.grid.T_world_grid, local[steep].astype(np.float32))
    rotation = shape.grid.T_world_grid[:3, :3].astype(np.float32)
    return Surface(points, (normals[steep] @ rotation.T).astype(np.float32))


def align_view(
    surface: Surface, view: View, options: AlignmentOptions
) -> tuple[View, float | None]:
    """Return the view with its pose corrected, or as it is where that gains little.

    Args:
        surface: What is known of the object; with fewer than 100 points nothing is done.
        view: A view with depth and pose; it is compared with what faces its camera.
        options: Bounds.

    Returns:
        The view, and its median distance from the surface in metres; None where unknown.
    """
    points = _points_world_m(view)
    surface = _facing(surface, view.frame.pose[:3, 3])
    if len(points) < 100 or len(surface.points_m) < 100:
        return view, None
    correction, misfit_m = register(points, surface, options)
    if correction is not None:
        pose = correction @ view.frame.pose
        view = dataclasses.replace(
            view, frame=dataclasses.replace(view.frame, T_world_camera=pose)
        )
    return view, misfit_m


def _facing(surface: Surface, eye_world_m: Array) -> Surface:
    """Return the part that a camera can see: a thin thing's back is not its front."""
    towards = eye_world_m.astype(np.float32) - surface.points_m
    faces = np.einsum('ni,ni->n', towards, surface.normals) > 0
    return Surface(surface.points_m[faces], surface.normals[faces])


def register(
    points_m: Array, surface: Surface, options: AlignmentOptions
) -> tuple[Pose | None, float]:
    """Return the motion (4, 4) that brings points (N, 3) onto a surface, or None.

    None where they do not overlap, the motion is too large, or it does not fit clearly better.

    Returns:
        The motion, and the median distance in metres that it leaves.
    """
    center = points_m.mean(0)
    reach = 2.0 * options.max_shift_m
    motion = np.eye(4)
    before, overlap_before = _misfit(points_m, surface, reach)
    if overlap_before < 0.4 or before < _GOOD_M:
        return None, before
    for _ in range(_ROUNDS):
        moved = apply(motion, points_m)
        distance, nearest = surface.tree.query(moved, distance_upper_bound=reach)
        near = np.isfinite(distance)
        if np.count_nonzero(near) < 60:
            return None, before
        step = _step(moved[near], surface, nearest[near], center, options.max_shift_m)
        motion = step @ motion
        if np.abs(step - np.eye(4)).max() < 1e-5:
            break
    after, overlap_after = _misfit(apply(motion, points_m), surface, reach)
    shift = float(np.linalg.norm(apply(motion, center) - center))
    turn = float(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1)))
    if shift > options.max_shift_m or turn > 4.0 * options.max_shift_m:
        return None, before
    if after > (1 - options.min_gain) * before or overlap_after < overlap_before - 0.1:
        return None, before
    return motion, after


def _misfit(points: Array, surface: Surface, reach: float) -> tuple[float, float]:
    """Return the median point-to-plane distance, and the part of the points that is near."""
    distance, nearest = surface.tree.query(points, distance_upper_bound=reach)
    near = np.isfinite(distance)
    if not near.any():
        return np.inf, 0.0
    offset = points[near] - surface.points_m[nearest[near]]
    along = np.abs(np.einsum('ni,ni->n', offset, surface.normals[nearest[near]]))
    return float(np.median(along)), float(near.mean())


def _step(
    points: Array, surface: Surface, nearest: NDArray[np.intp], center: Array, scale_m: float
) -> Pose:
    """Return one Gauss-Newton step with Huber weights and a zero-motion prior."""
    normals = surface.normals[nearest].astype(np.float64)
    residual = np.einsum('ni,ni->n', points - surface.points_m[nearest], normals)
    spread = max(1.5 * float(np.median(np.abs(residual))), 1e-4)
    weight = spread / np.maximum(np.abs(residual), spread)
    (x, y, z), (a, b, c) = (points - center).T, normals.T
    jacobian = np.stack([y * c - z * b, z * a - x * c, x * b - y * a, a, b, c], 1)
    hessian = jacobian.T @ (weight[:, None] * jacobian)
    # As if a few points said "do not move": slides along planes and axes stay at zero.
    prior = 0.02 * len(points) * np.array([scale_m**2] * 3 + [1.0] * 3)
    motion = -np.linalg.solve(hessian + np.diag(prior), jacobian.T @ (weight * residual))
    rotation = Rotation.from_rotvec(motion[:3]).as_matrix()
    return make_transform(rotation, center + motion[3:] - rotation @ center)


def _points_world_m(view: View) -> Array:
    """Return some points (N, 3) of the object's interior in the image."""
    if view.frame.depth_m is None:
        return np.zeros((0, 3))
    rows, columns = np.nonzero(view.mask & (view.frame.depth_m > 0))
    step = max(1, len(rows) // _POINTS)
    rows, columns = rows[::step], columns[::step]
    pixels = np.stack([columns, rows], -1).astype(np.float64)
    local = view.frame.camera.unproject(pixels, view.frame.depth_m[rows, columns])
    return apply(view.frame.pose, local)
