"""How the objects of a scene stand to each other: what touches, bears and holds what.

Boxes sort out nearly all pairs; the rest is a look-up of face centres in a k-d tree, and of voxels
in the other's occupancy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.types import ObjectEstimate, Plane, Shape
from scipy.spatial import cKDTree, ConvexHull, QhullError

Kind = Literal['supported_by', 'inside', 'touching']
Array = NDArray[np.float64]

_NEAR_VOXELS = 1.5  # surfaces nearer than this touch: both are known to about half a voxel
_MOST = 800  # points of one surface near the other, and voxels of one solid
_UPWARDS = 0.5  # cosine between up and a normal that bears
_STANDS_M = 0.02  # from the plane: what is seen from above is known least at its foot
_HELD = 0.5  # part of a solid that has to lie in a cavity
_HULL_POINTS = 400


@dataclasses.dataclass(frozen=True)
class Relation:
    """One relation of an object to another, or to a support plane.

    Attributes:
        kind: `supported_by`, `inside` or `touching`; of a pair that touches, the first id is the
            smaller one.
        subject: Id of the object of which something is said.
        other: Id of the object that it stands on, lies in or touches; None for a plane.
        plane: Index of the plane that it stands on, among those that were given; None for an
            object, and for a plane that is not among them.
    """

    kind: Kind
    subject: int
    other: int | None = None
    plane: int | None = None


@dataclasses.dataclass(frozen=True)
class _Contact:
    """Where two surfaces are near: places (N, 3), and the unit normals (N, 3) of both there."""

    points_m: Array
    normals_a: Array
    normals_b: Array


def relations(
    objects: Mapping[int, ObjectEstimate], planes: Sequence[Plane] = ()
) -> list[Relation]:
    """Return what the objects of a scene have to do with each other.

    Two objects touch where their surfaces are nearer than one and a half voxels. One is supported
    by another where they touch below its middle and the other's surface looks up there, and by
    its support plane where nothing else bears it and it reaches down to the plane. It is inside
    another where at least half of its volume lies in the other's convex hull, outside of its
    solid, and with nothing of the other above.

    Args:
        objects: The objects by id.
        planes: Support planes of the scene.

    Returns:
        The relations in order of subject, kind and other object.
    """
    ids = sorted(objects)
    bounds = {key: bounds_m(objects[key]) for key in ids}
    found: list[Relation] = []
    for index, a in enumerate(ids):
        for b in ids[index + 1 :]:
            found += _pair(objects[a], objects[b], bounds[a], bounds[b])
    borne = {relation.subject for relation in found if relation.kind == 'supported_by'}
    found += [
        relation
        for key in ids
        if key not in borne and (relation := _on_plane(objects[key], planes)) is not None
    ]
    return sorted(
        found, key=lambda relation: (relation.subject, relation.kind, relation.other or 0)
    )


def describe_relations(found: Sequence[Relation]) -> str:
    """Return relations on one line, such as `1 on plane, 2 on 1, 3 in 4, 2 touches 5`."""
    words = {'supported_by': 'on', 'inside': 'in', 'touching': 'touches'}
    parts = [
        f'{item.subject} {words[item.kind]} {"plane" if item.other is None else item.other}'
        for item in found
    ]
    return ', '.join(parts) or 'none'


def solid_at(shape: Shape, points_world_m: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which points (N, 3) lie in a shape's solid, by its occupancy's voxels."""
    return solid_in(shape.occupancy > 0.5, shape.grid, points_world_m)


def solid_in(
    solid: NDArray[np.bool_], grid: VoxelGrid, points_world_m: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return which points (N, 3) lie in full voxels of a grid."""
    index = grid.indices(points_world_m)
    within = np.asarray(((index >= 0) & (index < grid.shape)).all(-1))
    index = np.where(within[..., None], index, 0)
    return np.asarray(within & solid[tuple(np.moveaxis(index, -1, 0))])


def _some_vertices_m(estimate: ObjectEstimate) -> NDArray[np.float32]:
    vertices = estimate.mesh.vertices_m
    return vertices[:: -(-len(vertices) // _MOST) or 1]


def bounds_m(estimate: ObjectEstimate) -> Array:
    """Return low and high corner (2, 3) of an object, a voxel wider than some of its vertices."""
    vertices = _some_vertices_m(estimate)
    if not len(vertices):
        return np.full((2, 3), np.nan)  # which is near nothing
    margin_m = estimate.shape.grid.voxel_size_m
    return np.stack([vertices.min(0) - margin_m, vertices.max(0) + margin_m]).astype(np.float64)


def _pair(
    a: ObjectEstimate, b: ObjectEstimate, bounds_a: Array, bounds_b: Array
) -> list[Relation]:
    reach_m = _NEAR_VOXELS * max(a.shape.grid.voxel_size_m, b.shape.grid.voxel_size_m)
    apart = np.maximum(bounds_a[0] - bounds_b[1], bounds_b[0] - bounds_a[1])
    if not (apart <= reach_m).all():
        return []
    found = []
    for subject, other, place in ((a, b, bounds_b), (b, a, bounds_a)):
        if _is_held(subject, other, place):
            found.append(Relation('inside', subject.id, other.id))
    contact = _contact(a, b, bounds_a, bounds_b, reach_m)
    if contact is None:
        return found
    found.append(Relation('touching', a.id, b.id))
    for subject, other, normals in ((a, b, contact.normals_b), (b, a, contact.normals_a)):
        if _bears(subject, contact.points_m, normals):
            found.append(Relation('supported_by', subject.id, other.id))
    return found


def _contact(
    a: ObjectEstimate, b: ObjectEstimate, bounds_a: Array, bounds_b: Array, reach_m: float
) -> _Contact | None:
    """Return where the surfaces of two objects are near, or None where they are nowhere."""
    low = np.maximum(bounds_a[0], bounds_b[0]) - reach_m
    high = np.minimum(bounds_a[1], bounds_b[1]) + reach_m
    points, normals_a = _faces_in(a, low, high)
    places, normals_b = _faces_in(b, low, high)
    if not len(points) or not len(places):
        return None
    distance, nearest = cKDTree(places).query(points, distance_upper_bound=reach_m)
    near = np.isfinite(distance)
    if not near.any():
        return None
    return _Contact(points[near], normals_a[near], normals_b[nearest[near]])


def _faces_in(estimate: ObjectEstimate, low: Array, high: Array) -> tuple[Array, Array]:
    """Return centres and unit normals (N, 3) of the faces in a box, N being bounded."""
    mesh = estimate.mesh
    inside = np.ones(len(mesh.vertices_m), bool)
    for axis in range(3):
        along = mesh.vertices_m[:, axis]
        inside &= (along >= low[axis]) & (along <= high[axis])
    chosen = np.flatnonzero(inside[mesh.faces[:, 0]])
    chosen = chosen[:: -(-len(chosen) // _MOST) or 1]
    a, b, c = mesh.vertices_m[mesh.faces[chosen]].astype(np.float64).swapaxes(0, 1)
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return (a + b + c) / 3, normals / np.maximum(length, 1e-15)


def up_of(estimate: ObjectEstimate) -> Array:
    """Return the direction (3,) away from what an object stands on."""
    if estimate.support is not None:
        return estimate.support.normal_world
    up: Array = estimate.T_world_object[:3, 2]
    return up


def _bears(subject: ObjectEstimate, points_m: Array, normals: Array) -> bool:
    """Return whether the subject stands on the surface that it touches at these places."""
    up = up_of(subject)
    upwards = normals @ up > _UPWARDS
    below = (points_m - subject.T_world_object[:3, 3]) @ up < 0
    # Two things side by side also touch with a few faces of their edges.
    return bool((upwards & below).sum() > 0.3 * len(upwards))


def _on_plane(subject: ObjectEstimate, planes: Sequence[Plane]) -> Relation | None:
    plane = subject.support
    if plane is None or not len(subject.mesh.vertices_m):
        return None
    lowest_m = float(plane.height_m(_some_vertices_m(subject)).min())
    if lowest_m > max(_STANDS_M, 3 * subject.shape.grid.voxel_size_m):
        return None
    return Relation('supported_by', subject.id, plane=_index_of(plane, subject, planes))


def _index_of(plane: Plane, subject: ObjectEstimate, planes: Sequence[Plane]) -> int | None:
    """Return which of the scene's planes is that of an object: they are found anew each frame."""
    foot = subject.T_world_object[:3, 3]
    foot = foot - plane.height_m(foot) * plane.normal_world
    for index, other in enumerate(planes):
        parallel = float(other.normal_world @ plane.normal_world) > 0.95
        if parallel and abs(float(other.height_m(foot))) < _STANDS_M:
            return index
    return None


def _is_held(subject: ObjectEstimate, holder: ObjectEstimate, holder_bounds: Array) -> bool:
    """Return whether the subject lies in the holder's cavity, which is open upwards."""
    center = subject.T_world_object[:3, 3]
    wide = ((center > holder_bounds[0]) & (center < holder_bounds[1])).all()
    if not wide or holder.observed_only:
        return False
    voxels = np.argwhere(subject.shape.occupancy > 0.5)
    if not len(voxels):
        return False
    voxels = voxels[:: -(-len(voxels) // 300)]
    grid, up = subject.shape.grid, up_of(holder)
    local = (voxels + 0.5) * grid.voxel_size_m
    points = local @ grid.T_world_grid[:3, :3].T + grid.T_world_grid[:3, 3]
    held = _in_hull(points, holder) & ~solid_at(holder.shape, points)
    if held.mean() < _HELD:
        return False
    height_m = float(np.ptp(holder_bounds @ up)) + holder.shape.grid.voxel_size_m
    steps = np.arange(0, height_m, holder.shape.grid.voxel_size_m)
    above = points[held][:, None] + steps[:, None] * up
    open_above = ~solid_at(holder.shape, above).any(1)
    return bool(open_above.sum() >= _HELD * len(points))


def _in_hull(points: Array, holder: ObjectEstimate) -> NDArray[np.bool_]:
    vertices = holder.mesh.vertices_m
    vertices = vertices[:: -(-len(vertices) // _HULL_POINTS)].astype(np.float64)
    try:
        equations = ConvexHull(vertices).equations
    except (QhullError, ValueError):
        return np.zeros(len(points), bool)
    return np.asarray((points @ equations[:, :3].T + equations[:, 3] <= 0).all(1))
