"""What is asked of a published mesh: closed, finite, of positive volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.types import Mesh


def is_finite(mesh: Mesh) -> bool:
    """Return whether all coordinates are finite and all faces name existing vertices."""
    if not np.isfinite(mesh.vertices_m).all():
        return False
    if not len(mesh.faces):
        return True
    return bool(mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices_m))


def is_watertight(mesh: Mesh) -> bool:
    """Return whether every edge belongs to exactly two faces that run it in opposite directions.

    Such a mesh is closed and consistently oriented. An empty mesh, and one in which a face uses a
    vertex twice, is not.
    """
    if not len(mesh.faces):
        return False
    faces = mesh.faces.astype(np.int64)
    start, end = faces.ravel(), faces[:, (1, 2, 0)].ravel()
    if (start == end).any():
        return False
    base = int(faces.max()) + 1
    forward = np.sort(start * base + end)
    if (forward[1:] == forward[:-1]).any():
        return False
    return bool(np.array_equal(forward, np.sort(end * base + start)))


def volume_m3(mesh: Mesh) -> float:
    """Return the volume by the divergence theorem; negative where the faces point inwards.

    It means something for watertight meshes only.
    """
    if not len(mesh.faces):
        return 0.0
    a, b, c = _corners_m(mesh)
    return float(np.einsum('ij,ij->', a, np.cross(b, c)) / 6)


def area_m2(mesh: Mesh) -> float:
    """Return the sum of the faces' areas."""
    return float(face_areas_m2(mesh).sum())


def face_areas_m2(mesh: Mesh) -> NDArray[np.float64]:
    """Return the area (F,) of each face."""
    if not len(mesh.faces):
        return np.zeros(0)
    a, b, c = _corners_m(mesh)
    areas: NDArray[np.float64] = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas


def _corners_m(mesh: Mesh) -> tuple[NDArray[np.float64], ...]:
    # About the middle: far from the origin, the tetrahedra to it would cancel badly.
    vertices = mesh.vertices_m.astype(np.float64)
    vertices -= vertices.mean(0)
    return tuple(vertices.take(mesh.faces[:, corner], axis=0) for corner in range(3))
