"""Faces that say what is inside: those that are doubled, or loose within a solid, are sorted out.

Modellers double faces so that both sides are drawn, and leave walls inside of what they join. A
doubled face leaves and enters at once, and a loose wall counts as half a surface: the winding
number is then wrong. Of parts that are closed, those that are inside out are turned.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.objects.base import ObjectMesh
from scipy import sparse
from scipy.sparse import csgraph

_RAYS = 32
_SEES = 0.05  # of the rays; a small hole in a shell lets fewer out
_STEP = 1e-4
_VERTEX_BITS = 20


@dataclasses.dataclass(frozen=True)
class _Singles:
    """Each face once.

    Attributes:
        index: (F,) which face of the mesh it is.
        twin: (F,) which face of the mesh is the same in the opposite sense; -1 where none is.
        faces: (F, 3) int32 its corners as they stand in the mesh.
        numbers: (F, 3) its corners as numbers of places.
        part: (F,) which connected part it is of.
        parts: How many there are.
    """

    index: NDArray[np.int64]
    twin: NDArray[np.int64]
    faces: NDArray[np.int32]
    numbers: NDArray[np.int64]
    part: NDArray[np.int64]
    parts: int

    @property
    def doubled(self) -> NDArray[np.bool_]:
        """Whether a face is there in both senses, (F,)."""
        return self.twin >= 0


def solid_faces(mesh: ObjectMesh) -> tuple[ObjectMesh, NDArray[np.bool_]]:
    """Return the shape of a mesh with the faces that bound what is solid, and its sheets.

    In a part that is not closed, faces from which no ray escapes are left out. Of a doubled face,
    the side from which more rays escape is the outer one (visibility, as in Takayama et al., JCGT
    2014), unless rays escape from both sides of the part: then it is made of sheets.

    Args:
        mesh: An object in its cube.

    Returns:
        Vertices and faces only, each face once, or the mesh itself where all parts are closed;
        and for each face whether it is a sheet, which bounds nothing.
    """
    single = _singles(mesh)
    if not len(single.faces):
        return mesh, np.zeros(len(mesh.faces), bool)
    unclean = _unclean_parts(single)
    inverted = ~unclean & (_volumes(mesh.vertices, single) < 0)
    if not (unclean.any() or inverted.any()):
        return mesh, np.zeros(len(mesh.faces), bool)
    kept, sheet, turned = _decide(mesh, single, unclean)
    turned |= inverted[single.part]
    faces = np.where(turned[:, None], single.faces[:, ::-1], single.faces)[kept]
    return ObjectMesh(mesh.vertices, np.ascontiguousarray(faces, np.int32)), sheet[kept]


def without_inner_twins(mesh: ObjectMesh) -> ObjectMesh:
    """Return a mesh without the inner one of doubled faces, whose colours nobody sees.

    Args:
        mesh: An object in its cube, with what belongs to its faces.

    Returns:
        The mesh with all that it has; sheets stay doubled.
    """
    single = _singles(mesh)
    if not single.doubled.any():
        return mesh
    _, sheet, turned = _decide(mesh, single, _unclean_parts(single))
    solid = single.doubled & ~sheet
    keep = np.ones(len(mesh.faces), bool)
    keep[np.where(turned, single.index, single.twin)[solid]] = False
    chosen = {
        name: values[keep]
        for name in ('faces', 'uv', 'face_texture', 'face_part')
        if (values := getattr(mesh, name)) is not None
    }
    return dataclasses.replace(mesh, **chosen)


def _decide(
    mesh: ObjectMesh, single: _Singles, unclean: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which faces matter, which are sheets, and which doubled ones face inward, (F,)."""
    asked = unclean[single.part]
    front, back = np.ones(len(asked)), np.zeros(len(asked))
    area = np.zeros(len(asked))
    if asked.any():
        seen = _escaping(mesh.vertices, single.faces, single.faces[asked])
        front[asked], back[asked], area[asked] = seen
    sheet_part = _sheet_parts(single, np.minimum(front, back), area)
    sheet = single.doubled & sheet_part[single.part]
    kept = sheet | (front > 0) | (back > 0)
    if not kept.any():
        kept[:] = True
    return kept, sheet, single.doubled & ~sheet & (back > front)


def _singles(mesh: ObjectMesh) -> _Singles:
    place = _vertex_numbers(mesh.vertices)
    count = int(place.max()) + 1
    numbers = place[mesh.faces]
    a, b, c = numbers.T
    proper = (a != b) & (b != c) & (a != c)
    numbers, faces = numbers[proper], mesh.faces[proper]
    low, middle, high = np.sort(numbers, 1).T
    _, pair = np.unique(low * count + middle, return_inverse=True)  # three may overflow
    key = pair.reshape(-1) * count + high
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    a, b, c = numbers.T
    odd = (a > b) ^ (b > c) ^ (a > c)  # corners as an odd permutation of their order
    group, position = group.reshape(-1), np.flatnonzero(proper)
    of_sense = np.full((len(first), 2), -1)
    # Backwards, so that the first of several equal faces is the one that stays.
    of_sense[group[::-1], odd[::-1].astype(int)] = position[::-1]
    twin = of_sense[np.arange(len(first)), 1 - odd[first].astype(int)]
    chosen = numbers[first]
    parts, part = _parts(chosen)
    return _Singles(position[first], twin, faces[first], chosen, part, parts)


def _edge_groups(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each face's edges (3 F,), first those from corner 0: which edge, and its sense."""
    edges = np.concatenate([numbers[:, [0, 1]], numbers[:, [1, 2]], numbers[:, [2, 0]]])
    sense = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    low, high = np.sort(edges, 1).T
    _, group = np.unique(low * (int(numbers.max(initial=0)) + 1) + high, return_inverse=True)
    return group.reshape(-1), sense


def _parts(numbers: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    """Return how many parts faces form that share edges, and which part each is of."""
    count = len(numbers)
    group, _ = _edge_groups(numbers)
    face = np.tile(np.arange(count), 3)
    edges = int(group.max(initial=-1)) + 1
    links = (face, count + group)  # a graph of faces and edges
    size = count + edges
    graph = sparse.coo_matrix((np.ones(len(face), np.int8), links), (size, size))
    parts, label = csgraph.connected_components(graph.tocsr(), directed=False)
    return parts, label[:count].astype(np.int64)


def _vertex_numbers(vertices: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return a number for each vertex, the same for those at the same place."""
    steps = np.round((vertices.astype(np.float64) + 0.5) * (1 << _VERTEX_BITS)).astype(np.int64)
    x, y, z = np.clip(steps, 0, (2 << _VERTEX_BITS) - 1).T
    shift = _VERTEX_BITS + 1
    _, number = np.unique((x << (2 * shift)) | (y << shift) | z, return_inverse=True)
    return number.reshape(-1)


def _unclean_parts(single: _Singles) -> NDArray[np.bool_]:
    """Return which parts have a doubled face, or an edge whose faces do not match."""
    unclean = np.zeros(single.parts, bool)
    unclean[single.part[single.doubled]] = True
    group, sense = _edge_groups(single.numbers)
    unmatched = np.bincount(group, sense)[group] != 0
    unclean[np.tile(single.part, 3)[unmatched]] = True
    return unclean


def _volumes(vertices: NDArray[np.float32], single: _Singles) -> NDArray[np.float64]:
    """Return the signed volume of each part, negative where it is inside out."""
    a, b, c = np.moveaxis(vertices[single.faces].astype(np.float64), 1, 0)
    return np.bincount(single.part, (a * np.cross(b, c)).sum(1), single.parts) / 6


def _sheet_parts(
    single: _Singles, least: NDArray[np.float64], area: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which parts have doubled faces from both of whose sides rays escape."""
    weight = area * single.doubled
    total = np.bincount(single.part, weight, single.parts)
    mean = np.bincount(single.part, weight * least, single.parts) / np.maximum(total, 1e-30)
    sheets: NDArray[np.bool_] = mean > _SEES
    return sheets


def _escaping(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], asked: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of rays from front and back of faces that hit nothing, and their areas."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, np.float32)),
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(faces, np.uint32)),
    )
    rng = np.random.default_rng(0)
    corners = vertices[asked].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals /= np.maximum(length[:, None], 1e-30)
    points = rng.dirichlet((1, 1, 1), (len(asked), _RAYS)) @ corners
    shares = []
    for side in (1, -1):
        ahead = side * normals[:, None]
        directions = rng.normal(size=points.shape)
        directions /= np.linalg.norm(directions, axis=2, keepdims=True)
        directions += ahead  # cosine-distributed about the normal
        rays = np.concatenate([points + _STEP * ahead, directions], -1).astype(np.float32)
        hidden = scene.test_occlusions(o3d.core.Tensor.from_numpy(rays)).numpy()
        shares.append(1 - hidden.mean(1))
    return shares[0], shares[1], length / 2
