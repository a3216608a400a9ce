"""Pose and size of objects: the upright box around a mesh, steady over time."""

from __future__ import annotations

import cv2
import numpy as np
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import Array, frame_from_normal, make_transform
from recon3d_core.meshing.checks import face_areas_m2
from recon3d_core.types import Mesh

TRIM = 0.001
KEEP_AREA = 1.06
KEEP_ORDER = 1.15
MIN_AGREEMENT = 0.4
MIN_ANISOTROPY = 0.05
PRINCIPAL_AREA = 1.2
MAX_POINTS = 3000


def place(mesh: Mesh, up: Array, previous: Array | None = None) -> tuple[Array, Array]:
    """Return pose and size of a mesh's upright box.

    Its z axis is `up`, its x axis the footprint's longer edge. A thousandth of the vertices on
    each side is ignored. Where `previous` is given, the axes are kept as long as that costs
    little: an object that is nearly round or square does not spin from one mesh to the next.

    Args:
        mesh: Mesh in the world's frame with at least one vertex.
        up: (3,) direction away from the support.
        previous: (4, 4) pose found before, or None.

    Returns:
        `T_world_object` (4, 4) at the box's centre, and the edges (3,) in metres.

    Raises:
        InputError: The mesh is empty or has vertices that are not finite.
    """
    points = mesh.vertices_m.astype(np.float64)
    if not len(points) or not np.isfinite(points).all():
        raise InputError('mesh to place', f'{len(points)} vertices', 'finite vertices, at least 1')
    base = frame_from_normal(up)
    middle = points.mean(0)
    local = (points - middle) @ base
    some = local[:: -(-len(local) // MAX_POINTS)]
    yaw = _best_yaw(mesh, some, base)
    if previous is not None:
        yaw = _steady(some, yaw, previous[:3, :3], base)
    elif np.diff(_bounds(some, yaw)[:, :2], axis=0)[0] @ (1, -1) < 0:
        yaw += np.pi / 2
    axes = base @ _turn(yaw)
    if previous is None and axes[int(np.abs(axes[:, 0]).argmax()), 0] < 0:
        yaw, axes = yaw + np.pi, axes * (-1, -1, 1)
    low, high = _bounds(local, yaw)
    return make_transform(axes, middle + axes @ ((low + high) / 2)), high - low


def seen_fraction(mesh: Mesh) -> float:
    """Return the part of a mesh's area that a camera saw, in [0, 1]; 0 where unknown."""
    areas = face_areas_m2(mesh)
    total = float(areas.sum())
    if mesh.face_observed is None or total <= 0:
        return 0.0
    return float(areas[mesh.face_observed].sum() / total)


def _turn(yaw: float) -> Array:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _bounds(local: Array, yaw: float) -> Array:
    """Return low and high (2, 3) of points in axes turned by `yaw`, outliers trimmed."""
    turned = (local @ _turn(yaw)).T
    cut = int(TRIM * len(local))
    ends = (cut, len(local) - 1 - cut)
    return np.partition(turned, ends, axis=1)[:, ends].T


def _footprint(local: Array, yaw: float) -> float:
    low, high = _bounds(local, yaw)
    return float((high - low)[:2].prod())


def _best_yaw(mesh: Mesh, local: Array, base: Array) -> float:
    """Return the yaw of the box: of its faces, of its symmetry, or of the least rectangle.

    The least rectangle of a mug lies askew to its handle, with a mirrored twin as small: what is
    rather round is aligned with the principal axis of its outline instead.
    """
    flat = local[:, :2].astype(np.float32)
    yaw = float(np.deg2rad(cv2.minAreaRect(flat)[2]))
    dominant, agreement = _dominant_yaw(mesh, base)
    if _footprint(local, dominant) < _footprint(local, yaw):
        yaw = dominant
    if agreement > MIN_AGREEMENT:
        return yaw
    moments = cv2.moments(cv2.convexHull(flat * 1000))
    across, along = 2 * moments['mu11'], moments['mu20'] - moments['mu02']
    spread = moments['mu20'] + moments['mu02']
    principal = 0.5 * float(np.arctan2(across, along))
    long_enough = np.hypot(across, along) > MIN_ANISOTROPY * spread
    if long_enough and _footprint(local, principal) < PRINCIPAL_AREA * _footprint(local, yaw):
        return principal
    return yaw


def _dominant_yaw(mesh: Mesh, base: Array) -> tuple[float, float]:
    """Return the yaw that most upright faces agree on, and how well they do, in [0, 1]."""
    if not len(mesh.faces):
        return 0.0, 0.0
    a, b, c = (mesh.vertices_m.take(mesh.faces[:, k], axis=0) for k in range(3))
    normals = np.cross(b - a, c - a) @ base
    area = np.hypot(normals[:, 0], normals[:, 1])
    mean = (area * np.exp(4j * np.arctan2(normals[:, 1], normals[:, 0]))).sum()
    return float(np.angle(mean) / 4), float(np.abs(mean) / max(area.sum(), 1e-12))


def _steady(local: Array, yaw: float, previous: Array, base: Array) -> float:
    """Return the yaw nearest to a former pose that fits the points about as well."""
    former_axis = base.T @ previous[:, 0]
    former = float(np.arctan2(former_axis[1], former_axis[0]))
    if _footprint(local, former) <= KEEP_AREA * _footprint(local, yaw):
        yaw = former
    low, high = _bounds(local, yaw)
    edge_x, edge_y = (high - low)[:2]
    if edge_y > KEEP_ORDER * edge_x:
        yaw, step = yaw + np.pi / 2, np.pi
    elif edge_x > KEEP_ORDER * edge_y:
        step = np.pi
    else:
        step = np.pi / 2
    return float(yaw + np.round((former - yaw) / step) * step)
