"""True occupancy and surface samples of meshes, closed or not.

Inside is where the generalised winding number (Jacobson et al., SIGGRAPH 2013) is at least one
half. It is the mean, over all directions, of the signed number of crossings between a point and
infinity. Here the mean over both ways along the three axes, where one ray serves a whole line of
voxels; where these disagree, the mean over directions spread over the sphere. Cavities that no
path from the outside reaches are filled, because no camera can know them. Parts thinner than a
voxel, sheets included, keep the voxels that their middle passes through.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.data.rendering.raycast import make_scene
from recon3d_core.errors import InputError
from scipy import ndimage

# Rays leave the voxels' centres by this part of a voxel: edges of modelled boxes lie in planes
# of centres, and a ray along an edge counts it twice or never.
_JITTER = (1.3e-3, 2.1e-3)
_SAMPLES_PER_VOXEL = 8
_MAX_SAMPLES = 2_000_000
_SURE = 0.75
_UNSURE_DIRECTIONS = 20
_SMOOTHINGS = 3


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
    winding, walls = _axis_winding(scene, normals, resolution)
    # A closed part that is turned inside out counts -1: it is as solid as the others.
    inside = np.abs(winding) >= 0.5
    unsure = np.argwhere(np.abs(np.abs(winding) - 0.5) < _SURE - 0.5)
    if len(unsure):
        points = ((unsure + 0.5) / resolution - 0.5).astype(np.float32)
        directions = np.random.default_rng(0).normal(size=(len(points), _UNSURE_DIRECTIONS, 3))
        at = tuple(unsure.T)
        winding[at] = _mean_winding(scene, normals, points, directions.astype(np.float32))
        inside[at] = np.abs(_smoothed(winding, walls)[at]) >= 0.5
    return inside | ~_reached_from_outside(walls)


def _face_normals(mesh: ObjectMesh) -> NDArray[np.float32]:
    """Return the normals (F, 3), as long as twice the faces' areas."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normals.astype(np.float32)


def _smoothed(winding: NDArray[np.float32], walls: list[NDArray[np.bool_]]) -> NDArray[np.float32]:
    """Return means with the neighbours that no wall parts: few directions are a noisy mean.

    The winding number is harmonic away from the surface, so that a mean changes it little.
    """
    for axis, wall in _SMOOTHINGS * list(enumerate(walls)):
        line, passable = np.moveaxis(winding, axis, 0), ~np.moveaxis(wall, axis, 0)[:-1]
        total, count = line.copy(), np.ones_like(line)
        total[:-1] += passable * line[1:]
        total[1:] += passable * line[:-1]
        count[:-1] += passable
        count[1:] += passable
        winding = np.moveaxis(total / count, 0, axis)
    return winding


def _axis_winding(
    scene: o3d.t.geometry.RaycastingScene, normals: NDArray[np.float32], n: int
) -> tuple[NDArray[np.float32], list[NDArray[np.bool_]]]:
    """Return the mean signed crossings along the axes, and the walls between voxels.

    Returns:
        (n, n, n) the mean over both ways of three axes; and for each axis (n, n, n), whether the
        surface is between a voxel's centre and the next one's.
    """
    total = np.zeros((n, n, n), np.float32)
    walls = []
    u, v = np.mgrid[:n, :n].reshape(2, -1)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        rays = np.zeros((n * n, 6), np.float32)
        # A ray starts two steps before its first centre, so that t = 2 + j at centre j.
        rays[:, axis], rays[:, 3 + axis] = -1.5 / n - 0.5, 1 / n
        rays[:, others[0]] = (u + 0.5 + _JITTER[0]) / n - 0.5
        rays[:, others[1]] = (v + 0.5 + _JITTER[1]) / n - 0.5
        line, place, sign = _signed_hits(scene, normals, rays)
        flat = line * (n + 1) + np.clip(np.ceil(place - 2), 0, n).astype(np.int64)
        size = n * n * (n + 1)
        passed = np.cumsum(np.bincount(flat, sign, size).reshape(n, n, n + 1), 2)
        # Backward to the start, forward to the end: leaving counts +1 ahead, -1 behind.
        both = passed[..., -1:] - 2 * passed[..., :n]
        crossed = np.bincount(flat, minlength=size).reshape(n, n, n + 1) > 0
        total += np.moveaxis(both, 2, axis)
        walls.append(np.moveaxis(crossed[..., 1:], 2, axis))
    return total / np.float32(6), walls


def _signed_hits(
    scene: o3d.t.geometry.RaycastingScene,
    normals: NDArray[np.float32],
    rays: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return every hit of rays (n, 6): which ray, t, and +1 where it leaves, -1 where it enters."""
    found = scene.list_intersections(o3d.core.Tensor.from_numpy(rays))
    ray = found['ray_ids'].numpy().astype(np.int64)
    normal = normals[found['primitive_ids'].numpy().astype(np.int64)]
    return ray, found['t_hit'].numpy(), np.sign((normal * rays[ray, 3:]).sum(1))


def _mean_winding(
    scene: o3d.t.geometry.RaycastingScene,
    normals: NDArray[np.float32],
    points: NDArray[np.float32],
    directions: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the mean signed crossings from points (n, 3) along directions (n, k, 3)."""
    starts = np.broadcast_to(points[:, None], directions.shape)
    rays = np.concatenate([starts, directions], -1).reshape(-1, 6)
    ray, _, sign = _signed_hits(scene, normals, rays)
    crossings = np.bincount(ray, sign, len(rays)).astype(np.float64)
    return crossings.reshape(directions.shape[:2]).mean(1)


def _reached_from_outside(walls: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return which voxels a path from the rim reaches that crosses no wall (`_axis_winding`)."""
    n = len(walls[0])
    reached = np.ones((n, n, n), bool)
    reached[1:-1, 1:-1, 1:-1] = False
    before = 0
    while before != (before := int(reached.sum())):
        for axis, wall in enumerate(walls):
            passable, line = ~np.moveaxis(wall, axis, 0), np.moveaxis(reached, axis, 0)
            for j in range(n - 1):
                line[j + 1] |= line[j] & passable[j]
            for j in range(n - 1, 0, -1):
                line[j - 1] |= line[j] & passable[j - 1]
    return reached


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
    corners = mesh.vertices[mesh.faces[faces]]
    points = sum(corners[:, k] * weights[:, k, None] for k in range(3))
    unit = normals[faces] / np.maximum(area[faces, None], 1e-30)
    return SurfacePoints(np.asarray(points, np.float32), unit, faces, weights)


def thin_parts(
    mesh: ObjectMesh,
    scene: o3d.t.geometry.RaycastingScene,
    inside: NDArray[np.bool_],
    thinner_than: float = 1.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the middle of what is thinner than a voxel.

    Args:
        mesh: The object in its cube.
        scene: Its ray casting scene.
        inside: (N, N, N), voxels whose centre is inside.
        thinner_than: Limit of the thickness, in voxels.

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
    thin = thickness < thinner_than / n
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
# Directions about a normal: one ray alone may leave through a hole.
_TILTS = np.array(
    [[0, 0, 0], [0.7, 0.1, 0.2], [-0.6, 0.3, 0.1], [0.1, -0.7, 0.3], [0, 0.2, -0.8]], np.float32
)


def _seen_from_outside(
    mesh: ObjectMesh, scene: o3d.t.geometry.RaycastingScene
) -> NDArray[np.bool_]:
    """Return which voxels touch one that is reached from the outside."""
    _, walls = _axis_winding(scene, _face_normals(mesh), _CAVITY_RESOLUTION)
    reached = _reached_from_outside(walls)
    return ndimage.binary_dilation(reached, np.ones((3, 3, 3), bool))


def _outer(
    mesh: ObjectMesh,
    scene: o3d.t.geometry.RaycastingScene,
    outside: NDArray[np.bool_],
    drawn: SurfacePoints,
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return which points are of the outer surface, and their normals turned outward."""
    normals, ahead = _face_normals(mesh), drawn.normals
    step = ahead * np.float32(1e-4)
    front, back = (
        np.abs(_mean_winding(scene, normals, drawn.points + side * step, tilted)) >= 0.5
        for side, tilted in ((1, ahead[:, None] + _TILTS), (-1, _TILTS - ahead[:, None]))
    )
    near = outside[tuple(voxel_index(drawn.points, len(outside)).T)]
    turned = np.where((front & ~back)[:, None], -ahead, ahead)
    return near & ~(front & back), turned
