"""Contact errors of a scene: objects that are within one another, and objects that float.

Two solids cannot share a place, and what nothing holds falls. Both are measured on closed meshes
or on voxels: penetration as the volume that two solids share, floating as the way that a solid
would fall until it touches its support or another one.
"""

from __future__ import annotations

from collections.abc import Sequence
import itertools

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import frame_from_normal
from recon3d_core.metrics.solids import CELLS, cells_of, MeshSolid, Solid, solid_of
from recon3d_core.types import Mesh, Plane

Array = NDArray[np.float64]

_COLUMNS = 64  # along each axis of a solid's outline, seen from above
_MANY = 20_000  # vertices from which rays begin, at most


def penetration_volume_m3(a: Mesh | Solid, b: Mesh | Solid, cells: int = CELLS) -> float:
    """Return the volume that two solids share.

    The box that both bounding boxes share is cut into `cells` along each axis, so that the
    result is exact for boxes along the axes, whatever their size.

    Args:
        a: A closed mesh or a solid.
        b: Another.
        cells: Along each axis.

    Raises:
        InputError: `cells` is below 1.
    """
    if cells < 1:
        raise InputError('cells', cells, 'at least 1')
    first, second = solid_of(a), solid_of(b)
    low = np.maximum(first.bounds_world_m[0], second.bounds_world_m[0])
    high = np.minimum(first.bounds_world_m[1], second.bounds_world_m[1])
    if not (high > low).all():
        return 0.0
    points, cell_m3 = cells_of(np.stack([low, high]), cells)
    inside = points[first.contains(points)]
    return float(np.count_nonzero(second.contains(inside))) * cell_m3


def penetration_share(bodies: Sequence[Mesh | Solid], cells: int = CELLS) -> float:
    """Return the volumes that pairs of solids share, as part of all volumes; 0 without any."""
    solids = [solid_of(body) for body in bodies]
    total = sum(solid.volume_m3 for solid in solids)
    shared = sum(penetration_volume_m3(a, b, cells) for a, b in itertools.combinations(solids, 2))
    return shared / total if total > 0 else 0.0


def floating_gap_m(
    mesh: Mesh, support: Plane | None, others: Sequence[Mesh] = (), up: Array | None = None
) -> float:
    """Return how far a mesh would fall until it touches its support or another mesh.

    Rays go down from its vertices and from a grid over its outline, and up from the vertices of
    the others. What touches its support, is sunk in it or within another mesh has no gap.

    Args:
        mesh: In the world's frame.
        support: Plane below everything, or None.
        others: Meshes that may hold it.
        up: (3,) against gravity; the support's normal where None.

    Returns:
        Metres; infinite where nothing is below.

    Raises:
        InputError: The mesh is empty, or neither support nor `up` is given.
    """
    if not len(mesh.faces):
        raise InputError('a mesh that may float is empty', '0 faces', 'some')
    if up is None:
        if support is None:
            raise InputError('up', None, 'a direction, or a support that has one')
        up = support.normal_world
    axes = frame_from_normal(up)
    mine = _turned(mesh, axes)
    height = float('inf')
    if support is not None:
        used = mesh.vertices_m[np.unique(mesh.faces)].astype(np.float64)
        height = max(0.0, float(support.height_m(used).min()))
    for other in others:
        if height <= 0:
            break
        if len(other.faces):
            height = min(height, _drop_m(mine, _turned(other, axes)))
    return height


def _turned(mesh: Mesh, axes: Array) -> MeshSolid:
    """Return a mesh in a frame whose z is up."""
    return MeshSolid(
        Mesh((mesh.vertices_m.astype(np.float64) @ axes).astype(np.float32), mesh.faces)
    )


def _drop_m(upper: MeshSolid, lower: MeshSolid) -> float:
    """Return how far one falls until it touches the other; z is up."""
    low = np.maximum(upper.bounds_world_m[0, :2], lower.bounds_world_m[0, :2])
    high = np.minimum(upper.bounds_world_m[1, :2], lower.bounds_world_m[1, :2])
    if (high < low).any() or lower.bounds_world_m[0, 2] > upper.bounds_world_m[1, 2]:
        return float('inf')
    if penetration_volume_m3(upper, lower) > 0:
        return 0.0
    starts = _bottom(upper, low, high)
    fall = min(_free_way_m(lower, starts, -1), _free_way_m(lower, _within(upper, low, high), -1))
    return min(fall, _free_way_m(upper, _within(lower, low, high), 1))


def _bottom(solid: MeshSolid, low: Array, high: Array) -> NDArray[np.float32]:
    """Return the lowest points (n, 3) of a solid in columns over a rectangle."""
    at = (np.arange(_COLUMNS) + 0.5) / _COLUMNS
    xy = np.stack(np.meshgrid(*(low + (high - low) * at[:, None]).T, indexing='ij'), -1)
    below = float(solid.bounds_world_m[0, 2]) - 1.0
    starts = np.full((_COLUMNS**2, 3), below, np.float32)
    starts[:, :2] = xy.reshape(-1, 2)
    way = _ways_m(solid, starts, 1)
    starts[:, 2] += way
    return starts[np.isfinite(way)]


def _within(solid: MeshSolid, low: Array, high: Array) -> NDArray[np.float32]:
    """Return the vertices (n, 3) of a solid over a rectangle."""
    vertices = solid.mesh.vertices_m[np.unique(solid.mesh.faces)]
    held = ((vertices[:, :2] >= low) & (vertices[:, :2] <= high)).all(1)
    return vertices[held][:: max(1, int(held.sum()) // _MANY)]


def _free_way_m(solid: MeshSolid, starts: NDArray[np.float32], sign: int) -> float:
    """Return the shortest way from points, up (1) or down (-1), to a solid; inf where none."""
    return float(_ways_m(solid, starts, sign).min(initial=np.inf))


def _ways_m(solid: MeshSolid, starts: NDArray[np.float32], sign: int) -> NDArray[np.float32]:
    """Return the ways (n,) from points (n, 3), up (1) or down (-1), to a solid."""
    rays = np.zeros((len(starts), 6), np.float32)
    rays[:, :3], rays[:, 5] = starts, sign
    if not len(rays):
        return np.zeros(0, np.float32)
    hits = solid.rays.cast_rays(o3d.core.Tensor.from_numpy(rays))
    return np.asarray(hits['t_hit'].numpy())
