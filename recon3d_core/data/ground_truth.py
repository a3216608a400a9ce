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
from recon3d_core.data.orientation import solid_faces
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
_OPEN_SHARE = 0.002
# A slanting rod of this many voxels may still miss all centres of a stretch.
_SLENDER = 2**0.5


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
    shape = prepared(mesh)
    inside = solid(shape, resolution)
    middles, _ = thin_parts(shape, inside, _SLENDER)
    inside[tuple(voxel_index(middles, resolution).T)] = True
    return inside


@dataclasses.dataclass(frozen=True)
class Solid:
    """A mesh, ready to be asked what is inside.

    Attributes:
        mesh: Vertices and faces (`solid_faces`).
        sheet: (F,) whether a face is a sheet, which bounds nothing.
        normals: (F, 3) normals of the faces; 0 for sheets, so that crossing one counts nothing.
        scene: For casting rays.
    """

    mesh: ObjectMesh
    sheet: NDArray[np.bool_]
    normals: NDArray[np.float32]
    scene: o3d.t.geometry.RaycastingScene


def prepared(mesh: ObjectMesh) -> Solid:
    """Return a mesh ready to be asked what is inside.

    Raises:
        InputError: It has no faces, is not finite, or a face has a corner that is not there.
    """
    if not len(mesh.faces) or not len(mesh.vertices):
        raise InputError('mesh has no surface', f'{len(mesh.faces)} faces', 'at least 1')
    if not np.isfinite(mesh.vertices).all():
        raise InputError('mesh has vertices that are not finite')
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise InputError('mesh has a face without its vertices', mesh.faces.max())
    single, sheet = solid_faces(mesh)
    normals = np.where(sheet[:, None], np.float32(0), _face_normals(single))
    return Solid(single, sheet, normals, make_scene(single))


def voxel_index(points: NDArray[np.floating], resolution: int) -> NDArray[np.int64]:
    """Return the voxels (n, 3) that points of the cube are in; those outside go to the rim."""
    index = np.floor((points + 0.5) * resolution).astype(np.int64)
    return np.clip(index, 0, resolution - 1)


def solid(shape: Solid, resolution: int) -> NDArray[np.bool_]:
    """Return which voxels' centres are inside the mesh or in a sealed cavity of it."""
    winding, walls = _axis_winding(shape, resolution)
    # What is open and inside out counts -1: it is as solid as the others.
    inside = np.abs(winding) >= 0.5
    unsure = np.argwhere(np.abs(np.abs(winding) - 0.5) < _SURE - 0.5)
    if len(unsure):
        points = ((unsure + 0.5) / resolution - 0.5).astype(np.float32)
        directions = np.random.default_rng(0).normal(size=(len(points), _UNSURE_DIRECTIONS, 3))
        at = tuple(unsure.T)
        winding[at] = _mean_winding(shape, points, directions.astype(np.float32))
        # Few such voxels are where a ray met an edge; many are the opening of a mesh.
        if len(unsure) > _OPEN_SHARE * resolution**3:
            winding = _smoothed(winding, walls)
        inside[at] = np.abs(winding[at]) >= 0.5
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


def _axis_winding(shape: Solid, n: int) -> tuple[NDArray[np.float32], list[NDArray[np.bool_]]]:
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
        line, place, sign = _signed_hits(shape, rays)
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
    shape: Solid, rays: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return every hit of rays (n, 6): which ray, t, and +1 where it leaves, -1 where it enters."""
    found = shape.scene.list_intersections(o3d.core.Tensor.from_numpy(rays))
    ray = found['ray_ids'].numpy().astype(np.int64)
    normal = shape.normals[found['primitive_ids'].numpy().astype(np.int64)]
    return ray, found['t_hit'].numpy(), np.sign((normal * rays[ray, 3:]).sum(1))


def _mean_winding(
    shape: Solid,
    points: NDArray[np.float32],
    directions: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the mean signed crossings from points (n, 3) along directions (n, k, 3)."""
    starts = np.broadcast_to(points[:, None], directions.shape)
    rays = np.concatenate([starts, directions], -1).reshape(-1, 6)
    ray, _, sign = _signed_hits(shape, rays)
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
    """Draw points of all faces, uniform by area and evenly spread.

    Faces follow in order, and the places within them are the R2 sequence (Roberts 2018), so that
    few neighbouring points leave few gaps.
    """
    normals = _face_normals(mesh)
    area = np.linalg.norm(normals, axis=1)
    ends = np.cumsum(area, dtype=np.float64)
    if not ends[-1] > 0:
        raise InputError('mesh has no surface', 'faces without area')
    places = (np.arange(count) + rng.random(count)) * (ends[-1] / count)
    faces = np.minimum(np.searchsorted(ends, places, 'right'), len(area) - 1)
    first, v = (np.outer(_R2, np.arange(count)) + rng.random((2, 1))) % 1
    root = np.sqrt(first)
    weights = np.stack([1 - root, root * (1 - v), root * v], 1).astype(np.float32)
    corners = mesh.vertices[mesh.faces[faces]]
    points = sum(corners[:, k] * weights[:, k, None] for k in range(3))
    unit = normals[faces] / np.maximum(area[faces, None], 1e-30)
    return SurfacePoints(np.asarray(points, np.float32), unit, faces, weights)


def thin_parts(
    shape: Solid, inside: NDArray[np.bool_], thinner_than: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the middle of what is thinner than a voxel.

    Args:
        shape: The object in its cube.
        inside: (N, N, N), voxels whose centre is inside.
        thinner_than: Limit of the thickness, in voxels.

    Returns:
        Points (n, 3) half-way between both sides, and the thickness (n,) thereabouts in edges of
        the cube; 0 for sheets, which have no inside.
    """
    n = len(inside)
    area = np.linalg.norm(_face_normals(shape.mesh), axis=1).sum() / 2
    count = int(np.clip(area * n * n * _SAMPLES_PER_VOXEL, 2000, _MAX_SAMPLES))
    sampled = sample_faces(shape.mesh, count, np.random.default_rng(0))
    start = sampled.points - sampled.normals * np.float32(1e-3 / n)
    rays = np.concatenate([start, -sampled.normals], 1)
    thickness = shape.scene.cast_rays(o3d.core.Tensor.from_numpy(rays))['t_hit'].numpy()
    sheet = shape.sheet[sampled.faces]
    thin = (thickness < thinner_than / n) & ~sheet
    middles = sampled.points[thin] - sampled.normals[thin] * (thickness[thin] / 2)[:, None]
    known = inside.copy()
    known[tuple(voxel_index(middles, n).T)] = True
    # What is neither thick nor thin has no inside: a sheet, if it is far from anything solid.
    near = ndimage.maximum_filter(known, 3)
    sheet |= ~thin & ~near[tuple(voxel_index(sampled.points, n).T)]
    both = np.concatenate([middles, sampled.points[sheet]])
    local = _local_mean(sampled.points, np.minimum(thickness, 2 * thinner_than / n), n // 2)
    # Beside a sharp edge the other side is near, although the part is thick.
    thicknesses = np.maximum(thickness, local)[thin]
    return both, np.concatenate([thicknesses, np.zeros(int(sheet.sum()), np.float32)])


def _local_mean(
    points: NDArray[np.float32], values: NDArray[np.float32], resolution: int
) -> NDArray[np.float32]:
    """Return for each point the mean of the values (n,) in its cell of the cube."""
    cell = np.ravel_multi_index(tuple(voxel_index(points, resolution).T), (resolution,) * 3)
    total, count = np.bincount(cell, values), np.bincount(cell)
    return (total[cell] / count[cell]).astype(np.float32)


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
    shape = prepared(mesh)
    outside = _seen_from_outside(shape)
    points, normals, have = [], [], 0
    for _ in range(20):  # of a part with hardly any outer surface, less is drawn than asked for
        drawn = sample_faces(shape.mesh, 2 * count, rng)
        kept, turned = _outer(shape, outside, drawn)
        points.append(drawn.points[kept])
        normals.append(turned[kept])
        have += int(kept.sum())
        if have >= count:
            break
    if not have:
        drawn = sample_faces(shape.mesh, count, rng)
        return drawn.points, drawn.normals
    choice = rng.permutation(have)[:count] if have >= count else rng.integers(0, have, count)
    return np.concatenate(points)[choice], np.concatenate(normals)[choice]


_CAVITY_RESOLUTION = 48
_R2 = (0.7548776662466927, 0.5698402909980532)
# Directions about a normal: one ray alone may leave through a hole.
_TILTS = np.array(
    [[0, 0, 0], [0.7, 0.1, 0.2], [-0.6, 0.3, 0.1], [0.1, -0.7, 0.3], [0, 0.2, -0.8]], np.float32
)


def _seen_from_outside(shape: Solid) -> NDArray[np.bool_]:
    """Return which voxels touch one that is reached from the outside."""
    _, walls = _axis_winding(shape, _CAVITY_RESOLUTION)
    reached = _reached_from_outside(walls)
    return np.asarray(ndimage.maximum_filter(reached, 3), bool)


def _outer(
    shape: Solid, outside: NDArray[np.bool_], drawn: SurfacePoints
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return which points are of the outer surface, and their normals turned outward."""
    ahead = drawn.normals
    step = ahead * np.float32(1e-4)
    front, back = (
        np.abs(_mean_winding(shape, drawn.points + side * step, tilted)) >= 0.5
        for side, tilted in ((1, ahead[:, None] + _TILTS), (-1, _TILTS - ahead[:, None]))
    )
    near = outside[tuple(voxel_index(drawn.points, len(outside)).T)]
    turned = np.where((front & ~back)[:, None], -ahead, ahead)
    return near & ~(front & back), turned
