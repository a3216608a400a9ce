"""True occupancy and surface samples of meshes, closed or not.

Inside is where the generalised winding number (Jacobson et al., SIGGRAPH 2013) is at least one
half. It is the mean, over all directions, of the signed number of crossings between a point and
infinity; here the mean over 6 directions, or over 26 where these disagree, which all pass through
the voxels' centres in lines, so that one ray serves a whole line. Cavities that no path from the
outside reaches are filled, because no camera can know them. Parts thinner than a voxel, sheets
included, keep the voxels that their middle passes through.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.data.rendering.raycast import make_scene
from recon3d_core.errors import InputError
from scipy import ndimage, sparse
from scipy.sparse import csgraph

_DIRECTIONS: list[Any] = [d for d in itertools.product((-1, 0, 1), repeat=3) if d > (0, 0, 0)]
_AXES = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
# Rays leave the voxels' centres by this part of a voxel: edges of modelled boxes lie in planes
# of centres, and a ray along an edge counts it twice or never.
_JITTER = np.array([1.3e-3, 2.1e-3, 1.7e-3])
_SAMPLES_PER_VOXEL = 8
_MAX_SAMPLES = 2_000_000


@dataclasses.dataclass(frozen=True)
class SurfacePoints:
    """Points of a surface.

    Attributes:
        points: (n, 3) float32 in the cube.
        normals: (n, 3) float32 unit normals of their faces.
        faces: (n,) index of the face.
        barycentric: (n, 3) float32 weights of its corners.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int64]
    barycentric: NDArray[np.float32]


def occupancy(mesh: ObjectMesh, resolution: int) -> NDArray[np.bool_]:
    """Return which voxels of the cube an object fills.

    Args:
        mesh: The object in its cube; it may have holes, overlapping parts and sheets.
        resolution: Voxels along an edge, N.

    Returns:
        (N, N, N), indexed [x, y, z].

    Raises:
        InputError: The mesh has no faces or is not finite.
    """
    check_mesh(mesh)
    scene = make_scene(mesh)
    inside = solid(mesh, scene, resolution)
    middles, _ = thin_parts(mesh, scene, inside)
    inside[tuple(voxel_index(middles, resolution).T)] = True
    return inside


def check_mesh(mesh: ObjectMesh) -> None:
    """Check that a mesh has a surface.

    Raises:
        InputError: It has no faces, is not finite, or a face has a corner that is not there.
    """
    if not len(mesh.faces) or not len(mesh.vertices):
        raise InputError('mesh has no surface', f'{len(mesh.faces)} faces', 'at least 1')
    if not np.isfinite(mesh.vertices).all():
        raise InputError('mesh has vertices that are not finite')
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise InputError('mesh has a face without its vertices', mesh.faces.max())


def voxel_index(points: NDArray[np.floating], resolution: int) -> NDArray[np.int64]:
    """Return the voxels (n, 3) that points of the cube are in; those outside go to the rim."""
    index = np.floor((points + 0.5) * resolution).astype(np.int64)
    return np.clip(index, 0, resolution - 1)


def solid(
    mesh: ObjectMesh, scene: o3d.t.geometry.RaycastingScene, resolution: int
) -> NDArray[np.bool_]:
    """Return which voxels' centres are inside the mesh or in a sealed cavity of it."""
    normals = _face_normals(mesh)
    total, spread, blocked = _crossings(scene, normals, _AXES, resolution)
    if spread:
        others = [direction for direction in _DIRECTIONS if direction not in _AXES]
        more, _, _ = _crossings(scene, normals, others, resolution)
        winding = (total + more) / (2 * len(_DIRECTIONS))
    else:
        winding = total / (2 * len(_AXES))
    # A closed part that is turned inside out counts -1: it is as solid as the others.
    inside = np.abs(winding) >= 0.5
    return inside | ~_reached_from_outside(blocked)


def _face_normals(mesh: ObjectMesh) -> NDArray[np.float32]:
    """Return the normals (F, 3), as long as twice the faces' areas."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normals.astype(np.float32)


def _lines(direction: tuple[int, int, int], resolution: int) -> NDArray[np.int64]:
    """Return the voxels (n, 3) at which lines along a direction enter the grid."""
    at_start = np.zeros((resolution,) * 3, bool)
    for axis, step in enumerate(direction):
        if step:
            face = [slice(None)] * 3
            face[axis] = slice(0, 1) if step > 0 else slice(-1, None)
            at_start[tuple(face)] = True
    return np.argwhere(at_start)


def _crossings(
    scene: o3d.t.geometry.RaycastingScene,
    normals: NDArray[np.float32],
    directions: list[tuple[int, int, int]],
    resolution: int,
) -> tuple[NDArray[np.float32], bool, list[NDArray[np.bool_]]]:
    """Sum the signed crossings from each voxel's centre to infinity, both ways.

    Returns:
        The sum (N, N, N) over all directions and their opposites; whether they differ anywhere;
        and for each direction (N, N, N), whether the surface is between a centre and the next.
    """
    n = resolution
    total = np.zeros((n, n, n), np.float32)
    low = np.full((n, n, n), np.inf, np.float32)
    high = -low
    blocked = []
    for direction in directions:
        starts = _lines(direction, n)
        before, after, crossed = _line_crossings(scene, normals, starts, np.array(direction), n)
        steps = starts[:, None] + np.arange(n)[:, None] * np.array(direction)
        valid = ((steps >= 0) & (steps < n)).all(-1)
        flat = np.ravel_multi_index(tuple(steps[valid].T), (n, n, n))
        for values in (before, after):
            filled = np.empty(n**3, np.float32)
            filled[flat] = values[valid]
            one = filled.reshape(n, n, n)
            total += one
            np.minimum(low, one, out=low)
            np.maximum(high, one, out=high)
        between = np.zeros(n**3, bool)
        between[flat] = crossed[valid]
        blocked.append(between.reshape(n, n, n))
    return total, bool((low != high).any()), blocked


def _line_crossings(
    scene: o3d.t.geometry.RaycastingScene,
    normals: NDArray[np.float32],
    starts: NDArray[np.int64],
    direction: NDArray[np.int64],
    n: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return for each line (L, n): winding seen backward, forward, and crossings before the next.

    A ray starts two steps before the first centre of its line, so that t = 2 + j at centre j.
    """
    origins = (starts + 0.5 + _JITTER) / n - 0.5 - direction * (2.0 / n)
    rays = np.concatenate([origins, np.broadcast_to(direction / n, origins.shape)], 1)
    found = scene.list_intersections(o3d.core.Tensor.from_numpy(rays.astype(np.float32)))
    line = found['ray_ids'].numpy().astype(np.int64)
    sign = np.sign(normals[found['primitive_ids'].numpy().astype(np.int64)] @ direction)
    place = np.clip(np.ceil(found['t_hit'].numpy() - 2), 0, n).astype(np.int64)
    flat = line * (n + 1) + place
    leaving = np.bincount(flat, sign, len(starts) * (n + 1)).reshape(-1, n + 1)
    any_hit = np.bincount(flat, minlength=len(starts) * (n + 1)).reshape(-1, n + 1) > 0
    passed = np.cumsum(leaving, 1)
    before = -passed[:, :n]
    after = passed[:, -1:] - passed[:, :n]
    return before.astype(np.float32), after.astype(np.float32), any_hit[:, 1:]


def _reached_from_outside(blocked: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return which voxels a path from the rim reaches that crosses no surface.

    Args:
        blocked: For each axis (N, N, N), whether the surface is before the next voxel.
    """
    n = len(blocked[0])
    index = np.arange(n**3, dtype=np.int32).reshape(n, n, n)
    sources, targets = [], []
    for axis, wall in enumerate(blocked):
        here = [slice(None)] * 3
        there = [slice(None)] * 3
        here[axis], there[axis] = slice(None, -1), slice(1, None)
        open_way = ~wall[tuple(here)]
        sources.append(index[tuple(here)][open_way])
        targets.append(index[tuple(there)][open_way])
    row, column = np.concatenate(sources), np.concatenate(targets)
    graph = sparse.coo_matrix((np.ones(len(row), np.int8), (row, column)), (n**3, n**3))
    _, labels = csgraph.connected_components(graph.tocsr(), directed=False)
    labels = labels.reshape(n, n, n)
    rim = np.ones((n, n, n), bool)
    rim[1:-1, 1:-1, 1:-1] = False
    outside: NDArray[np.bool_] = np.isin(labels, np.unique(labels[rim & (labels >= 0)]))
    return outside


def sample_faces(mesh: ObjectMesh, count: int, rng: np.random.Generator) -> SurfacePoints:
    """Draw points of all faces, uniform by area (stratified along the faces)."""
    normals = _face_normals(mesh)
    area = np.linalg.norm(normals, axis=1)
    ends = np.cumsum(area, dtype=np.float64)
    if not ends[-1] > 0:
        raise InputError('mesh has no surface', 'faces without area')
    places = (np.arange(count) + rng.random(count)) * (ends[-1] / count)
    faces = np.minimum(np.searchsorted(ends, places, 'right'), len(area) - 1)
    root, v = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - root, root * (1 - v), root * v], 1).astype(np.float32)
    points = np.einsum('nc,ncd->nd', weights, mesh.vertices[mesh.faces[faces]])
    unit = normals[faces] / np.maximum(area[faces, None], 1e-30)
    return SurfacePoints(points.astype(np.float32), unit, faces, weights)


def thin_parts(
    mesh: ObjectMesh, scene: o3d.t.geometry.RaycastingScene, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the middle of what is thinner than a voxel.

    Args:
        mesh: The object in its cube.
        scene: Its ray casting scene.
        inside: (N, N, N), voxels whose centre is inside.

    Returns:
        Points (n, 3) half-way between both sides, and the thickness (n,) there in edges of the
        cube; 0 for sheets, which have no inside.
    """
    n = len(inside)
    area = np.linalg.norm(_face_normals(mesh), axis=1).sum() / 2
    count = int(np.clip(area * n * n * _SAMPLES_PER_VOXEL, 2000, _MAX_SAMPLES))
    sampled = sample_faces(mesh, count, np.random.default_rng(0))
    start = sampled.points - sampled.normals * np.float32(1e-3 / n)
    rays = np.concatenate([start, -sampled.normals], 1)
    hits = scene.cast_rays(o3d.core.Tensor.from_numpy(rays))
    thickness = hits['t_hit'].numpy()
    thin = thickness < 1 / n
    middles = sampled.points[thin] - sampled.normals[thin] * (thickness[thin] / 2)[:, None]
    known = inside.copy()
    known[tuple(voxel_index(middles, n).T)] = True
    # What is neither thick nor thin has no inside: an open sheet far from anything solid.
    near = ndimage.binary_dilation(known, np.ones((3, 3, 3), bool))
    rest = sampled.points[~thin]
    sheet = rest[~near[tuple(voxel_index(rest, n).T)]]
    both = np.concatenate([middles, sheet]).astype(np.float32)
    return both, np.concatenate([thickness[thin], np.zeros(len(sheet), np.float32)])


def surface_samples(
    mesh: ObjectMesh, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw points of the outer surface, uniform by area.

    Points inside another part, or in a sealed cavity, are rejected; normals are turned outward.

    Args:
        mesh: The object in its cube.
        count: How many points.
        rng: Draws them.

    Returns:
        Points (count, 3) in the cube and their unit normals (count, 3).

    Raises:
        InputError: The mesh has no faces or is not finite.
    """
    check_mesh(mesh)
    scene = make_scene(mesh)
    outside = _seen_from_outside(mesh, scene)
    points, normals, have = [], [], 0
    for _ in range(20):  # of a part with hardly any outer surface, less is drawn than asked for
        drawn = sample_faces(mesh, 2 * count, rng)
        kept, turned = _outer(mesh, scene, outside, drawn)
        points.append(drawn.points[kept])
        normals.append(turned[kept])
        have += int(kept.sum())
        if have >= count:
            break
    if not have:
        drawn = sample_faces(mesh, count, rng)
        return drawn.points, drawn.normals
    choice = rng.permutation(have)[:count] if have >= count else rng.integers(0, have, count)
    return np.concatenate(points)[choice], np.concatenate(normals)[choice]


_CAVITY_RESOLUTION = 48


def _seen_from_outside(
    mesh: ObjectMesh, scene: o3d.t.geometry.RaycastingScene
) -> NDArray[np.bool_]:
    """Return which voxels touch one that is reached from the outside."""
    _, _, blocked = _crossings(scene, _face_normals(mesh), _AXES, _CAVITY_RESOLUTION)
    reached = _reached_from_outside(blocked)
    return ndimage.binary_dilation(reached, np.ones((3, 3, 3), bool))


def _outer(
    mesh: ObjectMesh,
    scene: o3d.t.geometry.RaycastingScene,
    outside: NDArray[np.bool_],
    drawn: SurfacePoints,
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return which points are of the outer surface, and their normals turned outward."""
    step = drawn.normals * np.float32(1e-4)
    front = _inside(mesh, scene, drawn.points + step, drawn.normals)
    back = _inside(mesh, scene, drawn.points - step, -drawn.normals)
    near = outside[tuple(voxel_index(drawn.points, len(outside)).T)]
    turned = np.where((front & ~back)[:, None], -drawn.normals, drawn.normals)
    return near & ~(front & back), turned


def _inside(
    mesh: ObjectMesh,
    scene: o3d.t.geometry.RaycastingScene,
    points: NDArray[np.float32],
    ahead: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Return whether points are inside, by the signed crossings of five rays each."""
    tilts = np.array(
        [[0, 0, 0], [0.7, 0.1, 0.2], [-0.6, 0.3, 0.1], [0.1, -0.7, 0.3], [0, 0.2, -0.8]]
    )
    directions = (ahead[:, None] + tilts).astype(np.float32)
    rays = np.concatenate([np.broadcast_to(points[:, None], directions.shape), directions], -1)
    rays = rays.reshape(-1, 6)
    found = scene.list_intersections(o3d.core.Tensor.from_numpy(np.ascontiguousarray(rays)))
    ray = found['ray_ids'].numpy().astype(np.int64)
    normals = _face_normals(mesh)[found['primitive_ids'].numpy().astype(np.int64)]
    sign = np.sign((normals * rays[ray, 3:]).sum(1))
    winding = np.bincount(ray, sign, len(rays)).reshape(-1, len(tilts))
    inside: NDArray[np.bool_] = np.abs(winding.mean(1)) >= 0.5
    return inside
