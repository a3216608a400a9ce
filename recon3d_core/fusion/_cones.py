"""Where the cones of an object's masks meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError
from recon3d_core.fusion._project import pose_of
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import frame_from_normal
from recon3d_core.types import Plane, View

MIN_SPREAD = 2e-4
"""Least eigenvalue of the rays' spread: about the square of a baseline of 1.5 degrees."""


def box_from_views(
    views: Sequence[View],
    support: Plane | None = None,
    up: NDArray[np.float64] | None = None,
) -> VoxelGrid:
    """Return a cube, as a grid of one voxel, that holds what all masks show.

    Its centre is the point nearest to the rays through the masks' middles; the support plane
    takes part where the rays are nearly parallel. Its edge covers the widest mask.

    Args:
        views: Views with poses and masks that are not empty.
        support: Plane that the object stands on, or None.
        up: (3,) z axis of the cube where there is no support; that of the world if None.

    Raises:
        InputError: The rays are parallel and no support helps, or meet behind a camera.
    """
    origins, directions, widths = (
        np.array(values) for values in zip(*(_cone(view) for view in views))
    )
    center = _meeting_point(origins, directions, support)
    distance = ((center - origins) * directions).sum(1)
    if (distance <= 0).any():
        raise InputError(
            'volume from masks',
            'rays that meet behind a camera',
            'masks of one object',
            'Check the poses and the masks.',
        )
    edge = 1.5 * float((distance * widths).max())
    normal = up if support is None else support.normal_world
    axes = np.eye(3) if normal is None else frame_from_normal(normal)
    T = np.eye(4)
    T[:3, :3] = axes
    T[:3, 3] = center - axes @ np.full(3, edge / 2)
    return VoxelGrid(T, edge, (1, 1, 1))


def _cone(view: View) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return origin and direction of the ray through a mask's middle, and the cone's width."""
    T = pose_of(view)
    rows, columns = np.flatnonzero(view.mask.any(1)), np.flatnonzero(view.mask.any(0))
    corners = np.array([(x, y) for x in columns[[0, -1]] for y in rows[[0, -1]]], np.float64)
    rays = view.frame.camera.unproject(corners, np.ones(4))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    middle = rays.mean(0)
    middle /= np.linalg.norm(middle)
    width = 2 * float(np.linalg.norm(np.cross(rays, middle), axis=1).max())
    return T[:3, 3], T[:3, :3] @ middle, max(width, 1.0 / view.frame.camera.fx)


def _meeting_point(
    origins: NDArray[np.float64], directions: NDArray[np.float64], support: Plane | None
) -> NDArray[np.float64]:
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    matrix = across.mean(0)
    vector = np.einsum('nij,nj->i', across, origins) / len(origins)
    if np.linalg.eigvalsh(matrix)[0] < MIN_SPREAD:
        if support is None:
            raise InputError(
                'volume from masks',
                'views from one direction',
                'views from several places',
                'Move the camera, or give the support plane.',
            )
        normal = support.normal_world
        matrix = matrix + np.outer(normal, normal)
        vector = vector - normal * support.offset_m
    point: NDArray[np.float64] = np.linalg.solve(matrix, vector)
    return point
