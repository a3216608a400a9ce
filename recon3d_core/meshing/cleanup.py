"""Mending of meshes; what was watertight stays watertight, or is returned as it was."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.meshing.checks import face_areas_m2, is_watertight, volume_m3
from recon3d_core.types import Mesh
import scipy.sparse
from scipy.sparse import csgraph
import scipy.spatial

# Taubin 1995: a shrinking step, then a slightly larger growing one, keep the volume.
_SHRINK, _GROW = 0.5, -0.53
# A decimated mesh that lost more of its volume than this is no longer the same object.
_MAX_VOLUME_CHANGE = 0.05


def without_small_parts(mesh: Mesh, min_area_share: float = 0.02) -> Mesh:
    """Drop the connected parts that hold less than a share of the area; the largest stays.

    Args:
        mesh: Any mesh.
        min_area_share: Smallest part that is kept, as a part of the mesh's area, in [0, 1].
    """
    if not len(mesh.faces):
        return mesh
    part = _labels(len(mesh.vertices_m), mesh.faces[:, (0, 1)], mesh.faces[:, (1, 2)])
    face_part = part[mesh.faces[:, 0]]
    areas = np.bincount(face_part, face_areas_m2(mesh))
    kept = areas >= min_area_share * areas.sum()
    kept[areas.argmax()] = True
    return compact(_with_faces(mesh, mesh.faces, kept[face_part]))


def merge_vertices(mesh: Mesh, distance_m: float = 0.0) -> Mesh:
    """Join vertices at one place, or along edges not longer than a distance, and drop what folds.

    Slivers with a short edge vanish this way, without opening a hole.

    Args:
        mesh: Any mesh.
        distance_m: Edges up to this length are collapsed; 0 joins equal positions only.
    """
    if not len(mesh.faces):
        return mesh
    _, same = np.unique(mesh.vertices_m, axis=0, return_inverse=True)
    edges = _edges(mesh.faces)
    length_m = np.linalg.norm(mesh.vertices_m[edges[:, 0]] - mesh.vertices_m[edges[:, 1]], axis=1)
    short = edges[length_m <= distance_m]
    # `same` counts places, which are linked to each other where a short edge joins them.
    group = _labels(int(same.max()) + 1, np.stack([same[short[:, 0]], same[short[:, 1]]], 1))
    label = group[same.reshape(-1)]
    _, first = np.unique(label, return_index=True)
    faces = first[label[mesh.faces]].astype(np.int32)
    merged = compact(_with_faces(mesh, faces, _unfolded(faces)))
    if is_watertight(mesh) and not is_watertight(merged):
        return mesh
    return merged


def smooth(mesh: Mesh, iterations: int = 10, max_shift_m: float | None = None) -> Mesh:
    """Smooth a mesh without shrinking it (Taubin 1995).

    Args:
        mesh: Any mesh.
        iterations: How many pairs of a shrinking and a growing step.
        max_shift_m: Vertices of observed faces, all where that is unknown, stay this near to
            where they were measured; None bounds none.
    """
    if not len(mesh.faces) or iterations < 1:
        return mesh
    edges = _edges(mesh.faces)
    count = len(mesh.vertices_m)
    ones = np.ones(len(edges))
    adjacency = scipy.sparse.coo_matrix((ones, (edges[:, 0], edges[:, 1])), (count, count))
    adjacency = (adjacency + adjacency.T).astype(bool).astype(np.float64).tocsr()
    degree = np.asarray(adjacency.sum(1)).ravel()
    average = scipy.sparse.diags(1 / np.maximum(degree, 1)) @ adjacency
    start = mesh.vertices_m.astype(np.float64)
    points = start.copy()
    for _ in range(iterations):
        for factor in (_SHRINK, _GROW):
            points[degree > 0] += factor * (average @ points - points)[degree > 0]
    if max_shift_m is not None:
        shift = points - start
        length_m = np.linalg.norm(shift, axis=1)
        scale = np.minimum(1, max_shift_m / np.maximum(length_m, 1e-12))
        bound = _observed_vertices(mesh)
        points[bound] = (start + shift * scale[:, None])[bound]
    return dataclasses.replace(mesh, vertices_m=points.astype(np.float32))


def decimate(mesh: Mesh, max_faces: int) -> Mesh:
    """Reduce a mesh to a number of faces by quadric errors (Garland & Heckbert 1997).

    Colours and observed faces are taken from the nearest place of the original. The original is
    returned where the result would not be watertight while it was, or would change its volume.

    Args:
        mesh: Any mesh.
        max_faces: Wanted number of faces.
    """
    if len(mesh.faces) <= max_faces:
        return mesh
    full = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices_m.astype(np.float64)),
        o3d.utility.Vector3iVector(mesh.faces),
    )
    small = full.simplify_quadric_decimation(max_faces)
    vertices = np.asarray(small.vertices).astype(np.float32)
    faces = np.asarray(small.triangles).astype(np.int32)
    result = compact(_transferred(mesh, Mesh(vertices, faces)))
    if is_watertight(mesh):
        volume = volume_m3(mesh)
        change = abs(volume_m3(result) - volume) / max(abs(volume), 1e-12)
        if not is_watertight(result) or change > _MAX_VOLUME_CHANGE:
            return mesh
    return result


def compact(mesh: Mesh) -> Mesh:
    """Drop the vertices that no face uses."""
    used = np.zeros(len(mesh.vertices_m), bool)
    used[mesh.faces] = True
    index = (np.cumsum(used) - 1).astype(np.int32)
    colors = None if mesh.colors is None else mesh.colors[used]
    return Mesh(mesh.vertices_m[used], index[mesh.faces], colors, mesh.face_observed)


def _transferred(source: Mesh, target: Mesh) -> Mesh:
    """Return `target` with the colours and observed faces of the nearest places of `source`."""
    colors, observed = None, None
    if source.colors is not None and len(target.vertices_m):
        _, nearest = scipy.spatial.cKDTree(source.vertices_m).query(target.vertices_m)
        colors = source.colors[nearest]
    if source.face_observed is not None and len(target.faces):
        centers = [mesh.vertices_m[mesh.faces].mean(1) for mesh in (source, target)]
        _, nearest = scipy.spatial.cKDTree(centers[0]).query(centers[1])
        observed = source.face_observed[nearest]
    return Mesh(target.vertices_m, target.faces, colors, observed)


def _with_faces(mesh: Mesh, faces: NDArray[np.int32], kept: NDArray[np.bool_]) -> Mesh:
    observed = None if mesh.face_observed is None else mesh.face_observed[kept]
    return Mesh(mesh.vertices_m, faces[kept], mesh.colors, observed)


def _unfolded(faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which faces (F,) have three corners and no twin that runs the other way."""
    a, b, c = faces.T
    proper = (a != b) & (b != c) & (c != a)
    order = np.argsort(faces, axis=1)
    ordered = np.take_along_axis(faces, order, 1)
    # Of the six orders of the corners, the even ones turn one way.
    even = ((order[:, 1] - order[:, 0]) % 3) == 1
    _, triple = np.unique(ordered, axis=0, return_inverse=True)
    triple = triple.reshape(-1)
    balance = np.bincount(triple[proper], np.where(even[proper], 1, -1), triple.max() + 1)
    number = np.bincount(triple[proper], minlength=triple.max() + 1)
    kept: NDArray[np.bool_] = proper & ~((number[triple] == 2) & (balance[triple] == 0))
    return kept


def _observed_vertices(mesh: Mesh) -> NDArray[np.bool_]:
    if mesh.face_observed is None:
        return np.ones(len(mesh.vertices_m), bool)
    observed = np.zeros(len(mesh.vertices_m), bool)
    observed[mesh.faces[mesh.face_observed]] = True
    return observed


def _edges(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.concatenate([faces[:, (0, 1)], faces[:, (1, 2)], faces[:, (2, 0)]])


def _labels(count: int, *edges: NDArray[Any]) -> NDArray[np.int32]:
    """Return the connected part (count,) of each vertex."""
    pairs = np.concatenate(edges)
    links = scipy.sparse.coo_matrix(
        (np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count)
    )
    labels: NDArray[np.int32] = csgraph.connected_components(links, directed=False)[1]
    return labels
