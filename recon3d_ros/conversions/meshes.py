"""Meshes to shape_msgs/Mesh, with fewer triangles where asked, and points on their surface."""

from __future__ import annotations

import dataclasses

from geometry_msgs.msg import Point
import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.geometry.transforms import apply
from recon3d_core.types import Mesh
from shape_msgs.msg import Mesh as MeshMessage
from shape_msgs.msg import MeshTriangle

# The plastic ratio's powers: consecutive multiples fill the unit square evenly (Roberts 2018).
_R2 = np.array([0.7548776662466927, 0.5698402909980532])

_CLUSTER_SPREAD = 4.0


def mesh_message(mesh: Mesh) -> MeshMessage:
    """Return the message of a mesh in the mesh's own frame."""
    message = MeshMessage()
    message.vertices = [
        Point(x=x, y=y, z=z) for x, y, z in mesh.vertices_m.astype(np.float64).tolist()
    ]
    message.triangles = [
        MeshTriangle(vertex_indices=corners) for corners in mesh.faces.astype(np.uint32)
    ]
    return message


def transformed(mesh: Mesh, T_b_a: NDArray[np.float64]) -> Mesh:
    """Return a mesh given in frame a in frame b."""
    return dataclasses.replace(mesh, vertices_m=apply(T_b_a, mesh.vertices_m))


def simplified(mesh: Mesh, max_triangles: int) -> Mesh:
    """Return a mesh of at most about `max_triangles` triangles (quadric error, Garland 1997).

    Colours and the marks of seen faces are lost where triangles have to go.
    """
    if len(mesh.faces) <= max_triangles:
        return mesh
    full = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices_m.astype(np.float64)),
        o3d.utility.Vector3iVector(mesh.faces),
    )
    small = full.simplify_quadric_decimation(max_triangles)
    return Mesh(np.asarray(small.vertices, np.float32), np.asarray(small.triangles, np.int32))


def clustered(mesh: Mesh, max_triangles: int) -> Mesh:
    """Return a mesh of about `max_triangles` triangles by joining near vertices, for display.

    Quick rather than exact: a tenth of the time of `simplified`, and colours and the marks of seen
    faces stay. Only vertices that face the same way are joined, which keeps thin walls apart.
    """
    if len(mesh.faces) <= max_triangles:
        return mesh
    triangles = mesh.vertices_m[mesh.faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = np.linalg.norm(normals, axis=1).sum() / 2
    # A surface crosses up to 1.5 cells per cell area, and each cell leaves two triangles.
    cell = np.sqrt(_CLUSTER_SPREAD * area / max_triangles)
    index = np.floor((mesh.vertices_m - mesh.vertices_m.min(0)) / max(cell, 1e-9)).astype(np.int64)
    spans = index.max(0) + 1
    side = _sides(mesh, normals)
    key = ((index[:, 0] * spans[1] + index[:, 1]) * spans[2] + index[:, 2]) * 6 + side
    _, group, counts = np.unique(key, return_inverse=True, return_counts=True)
    faces = group[mesh.faces].astype(np.int32)
    kept = (faces != np.roll(faces, 1, axis=1)).all(1)
    return dataclasses.replace(
        mesh,
        vertices_m=_means(mesh.vertices_m, group, counts).astype(np.float32),
        faces=faces[kept],
        colors=None
        if mesh.colors is None
        else np.rint(_means(mesh.colors, group, counts)).astype(np.uint8),
        face_observed=None if mesh.face_observed is None else mesh.face_observed[kept],
    )


def _sides(mesh: Mesh, face_normals: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return which of the six directions of the axes each vertex (V,) faces most, 0 to 5."""
    count = len(mesh.vertices_m)
    corners = mesh.faces.ravel()
    normals = np.stack(
        [np.bincount(corners, np.repeat(face_normals[:, i], 3), count) for i in range(3)], 1
    )
    axis = np.abs(normals).argmax(1)
    return axis * 2 + (normals[np.arange(count), axis] > 0)


def _means(values: NDArray, group: NDArray[np.intp], counts: NDArray[np.intp]) -> NDArray:
    sums = [np.bincount(group, values[:, i], len(counts)) for i in range(values.shape[1])]
    return np.stack(sums, 1) / counts[:, None]


@dataclasses.dataclass(frozen=True)
class SurfacePoints:
    """Points on a mesh.

    Attributes:
        points_m: (N, 3) float32.
        normals: (N, 3) float32 unit vectors, outward.
        faces: (N,) int64, the face of each point.
        colors: (N, 3) uint8, or None.
    """

    points_m: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int64]
    colors: NDArray[np.uint8] | None


def sample_surface(mesh: Mesh, spacing_m: float, max_points: int) -> SurfacePoints:
    """Return points spread evenly over a mesh; the same mesh gives the same points.

    Args:
        mesh: The mesh.
        spacing_m: One point for each square of this edge.
        max_points: Upper bound of their number.
    """
    triangles = mesh.vertices_m.astype(np.float64)[mesh.faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    doubled = np.linalg.norm(normals, axis=1)
    total = float(doubled.sum()) / 2
    count = int(np.clip(np.ceil(total / spacing_m**2), 0, max_points))
    if count == 0 or total <= 0:
        count = 0
    steps = (np.arange(count) + 0.5) / max(count, 1) * doubled.sum()
    face = np.minimum(np.searchsorted(np.cumsum(doubled), steps), max(len(doubled) - 1, 0))
    square = (np.arange(1, count + 1)[:, None] * _R2) % 1.0
    square = np.where(square.sum(1, keepdims=True) > 1, 1 - square, square)  # fold to a triangle
    weights = np.column_stack([1 - square.sum(1), square])
    points = np.einsum('nk,nkc->nc', weights, triangles[face])
    unit = normals[face] / np.maximum(doubled[face], 1e-30)[:, None]
    colors = None
    if mesh.colors is not None:
        corner = mesh.colors[mesh.faces[face]].astype(np.float64)
        colors = np.rint(np.einsum('nk,nkc->nc', weights, corner)).astype(np.uint8)
    return SurfacePoints(points.astype(np.float32), unit.astype(np.float32), face, colors)
