"""Closed solids that the families are built of; metres, z up, faces counter-clockwise from outside.

All are swept or lofted rings, so that each is watertight by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.types import Mesh

Array = NDArray[np.float64]


@functools.lru_cache(maxsize=64)
def outline(sides: int = 12, exponent: float = 2.0) -> Array:
    """Return a unit superellipse (sides, 2), counter-clockwise; a large exponent is a square."""
    angle = (np.arange(sides) + 0.5) * (2 * np.pi / sides)
    cosine, sine = np.cos(angle), np.sin(angle)
    power = 2 / exponent
    return np.stack(
        [np.sign(cosine) * np.abs(cosine) ** power, np.sign(sine) * np.abs(sine) ** power], 1
    )


ROUND = outline()
SQUARE = np.array([(1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)])


def cross(a: NDArray[np.floating], b: NDArray[np.floating]) -> Array:
    """Return the cross products of (..., 3); several times as fast as numpy's on small arrays."""
    x, y, z = (a[..., k] for k in range(3))
    u, v, w = (b[..., k] for k in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], -1)


@functools.lru_cache(maxsize=256)
def _faces(rings: int, sides: int, closed: bool) -> NDArray[np.int32]:
    """Return the faces of a loft: vertices ring by ring, then the middle of both caps."""
    index = np.arange(rings * sides).reshape(rings, sides)
    a = index if closed else index[:-1]
    b = np.roll(index, -1, 0) if closed else index[1:]
    a_next, b_next = np.roll(a, -1, 1), np.roll(b, -1, 1)
    found = [np.stack([a, a_next, b_next], -1), np.stack([a, b_next, b], -1)]
    if not closed:
        for ring, middle, step in (
            (index[0], rings * sides, 1),
            (index[-1], rings * sides + 1, -1),
        ):
            after = np.roll(ring, step)
            found.append(np.stack([np.full(sides, middle), ring, after], -1))
    return np.concatenate([part.reshape(-1, 3) for part in found]).astype(np.int32)


def loft(rings_m: ArrayLike, closed: bool = False) -> Mesh:
    """Join rings (M, K, 3) to a closed solid with its faces outwards.

    Args:
        rings_m: Rings that all turn the same way; the first and the last may be points.
        closed: Join the last ring to the first one; otherwise both ends are capped by fans, for
            which the end rings must be star-shaped around their centre.
    """
    rings = np.asarray(rings_m, np.float64)
    vertices = rings.reshape(-1, 3)
    if not closed:
        middles = rings[[0, -1]].mean(1)
        point = np.abs(rings[[0, -1]] - middles[:, None]).max((1, 2)) < 1e-9
        rings = rings[int(point[0]) : len(rings) - int(point[1])]
        vertices = np.concatenate([rings.reshape(-1, 3), middles])
    faces = _faces(len(rings), rings.shape[1], closed)
    a, b, c = (vertices[faces[:, k]] - vertices[0] for k in range(3))
    if (a * cross(b, c)).sum() < 0:
        faces = faces[:, ::-1]
    return Mesh(vertices.astype(np.float32), faces)


def sweep(
    path_m: ArrayLike,
    half_m: ArrayLike,
    section: Array = ROUND,
    normal: ArrayLike = (0.0, 1.0, 0.0),
    closed: bool = False,
) -> Mesh:
    """Sweep a section along a path.

    Args:
        path_m: (N, 3) points.
        half_m: Half size of the section across and along the normal: a number, (2,), (N, 1) or
            (N, 2).
        section: (K, 2) unit outline: across the normal, along the normal.
        normal: (3,) vector that the path never runs along; that of its plane for a flat path.
        closed: The path returns to its first point.
    """
    path = np.asarray(path_m, np.float64)
    half = np.broadcast_to(np.asarray(half_m, np.float64), (len(path), 2))
    tangent = np.empty_like(path)
    tangent[1:-1] = path[2:] - path[:-2]
    tangent[0] = path[1] - path[-1 if closed else 0]
    tangent[-1] = path[0 if closed else -1] - path[-2]
    across = cross(tangent, np.asarray(normal, np.float64))
    across /= np.sqrt((across**2).sum(1, keepdims=True))
    along = cross(across, tangent)
    along /= np.sqrt((along**2).sum(1, keepdims=True))
    rings = (
        path[:, None]
        + (half[:, :1] * section[:, 0])[..., None] * across[:, None]
        + (half[:, 1:] * section[:, 1])[..., None] * along[:, None]
    )
    return loft(rings, closed)


def rod(
    start_m: ArrayLike,
    end_m: ArrayLike,
    radius_m: float,
    end_radius_m: float | None = None,
    section: Array = ROUND,
) -> Mesh:
    """Return a straight rod between two points, tapered where the end has another radius."""
    path = np.array([start_m, end_m], np.float64)
    axis = int(np.argmin(np.abs(path[1] - path[0])))
    last = radius_m if end_radius_m is None else end_radius_m
    return sweep(path, np.array([[radius_m], [last]]), section, np.eye(3)[axis])


def beam(start_m: ArrayLike, end_m: ArrayLike, width_m: float, height_m: float) -> Mesh:
    """Return a straight bar of a rectangular section: width level, height as upright as it is."""
    path = np.array([start_m, end_m], np.float64)
    direction = path[1] - path[0]
    steep = abs(direction[2]) > 0.95 * np.linalg.norm(direction)
    normal = (1.0, 0.0, 0.0) if steep else (0.0, 0.0, 1.0)
    return sweep(path, (width_m / 2, height_m / 2), SQUARE, normal)


def block(low_m: ArrayLike, high_m: ArrayLike) -> Mesh:
    """Return an axis-aligned box."""
    (x0, y0, z0), (x1, y1, z1) = np.asarray(low_m, np.float64), np.asarray(high_m, np.float64)
    return frustum((x0, x1, y0, y1), (x0, x1, y0, y1), z0, z1)


def frustum(bottom_m: Sequence[float], top_m: Sequence[float], z0_m: float, z1_m: float) -> Mesh:
    """Return what is between two level rectangles (x0, x1, y0, y1)."""
    rings = []
    for (x0, x1, y0, y1), z in ((bottom_m, z0_m), (top_m, z1_m)):
        rings.append([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)])
    return loft(rings)


def stack(
    places_m: ArrayLike,
    half_m: ArrayLike,
    centers_m: ArrayLike = 0.0,
    section: Array | None = None,
    axis: int = 0,
) -> Mesh:
    """Loft sections along an axis, as ribs make a hull.

    Args:
        places_m: (N,) positions along the axis.
        half_m: (N, 2) half sizes along the two other axes (y and z for x; x and z for y; x and y
            for z); 0 ends in a point.
        centers_m: (N, 2) centres there, or (N,) for the last axis only, or a number.
        section: (K, 2) outline.
        axis: 0 for x, 1 for y, 2 for z.
    """
    places = np.asarray(places_m, np.float64)
    half = np.broadcast_to(np.asarray(half_m, np.float64), (len(places), 2))
    middle = np.asarray(centers_m, np.float64)
    if middle.ndim < 2:
        middle = np.stack([np.zeros(len(places)), np.broadcast_to(middle, len(places))], 1)
    outlines = outline(16) if section is None else section
    rings = np.empty((len(places), len(outlines), 3))
    others = [k for k in range(3) if k != axis]
    rings[:, :, axis] = places[:, None]
    for index, other in enumerate(others):
        rings[:, :, other] = middle[:, index, None] + half[:, index, None] * outlines[:, index]
    return loft(rings)


def profile(places_m: ArrayLike, low_m: ArrayLike, high_m: ArrayLike, half_y_m: ArrayLike) -> Mesh:
    """Return a plank seen from the side: its lower and upper edge over x, (N,) each."""
    low, high = np.asarray(low_m, np.float64), np.asarray(high_m, np.float64)
    width = np.broadcast_to(np.asarray(half_y_m, np.float64), low.shape)
    return stack(places_m, np.stack([width, (high - low) / 2], 1), (high + low) / 2, SQUARE)


def ellipsoid(
    center_m: ArrayLike,
    radii_m: ArrayLike,
    exponent: float = 2.0,
    sides: int = 16,
    rows: int = 9,
) -> Mesh:
    """Return an ellipsoid; with an exponent above 2 a box with round edges."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rows)
    power = 2 / exponent
    width = np.cos(angle) ** power
    width[[0, -1]] = 0
    height = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    rx, ry, rz = np.asarray(radii_m, np.float64)
    mesh = stack(
        height * rz, np.stack([width * rx, width * ry], 1), 0.0, outline(sides, exponent), 2
    )
    return moved(mesh, center_m)


def cushion(low_m: ArrayLike, high_m: ArrayLike, exponent: float = 5.0) -> Mesh:
    """Return a box with round edges and corners."""
    low, high = np.asarray(low_m, np.float64), np.asarray(high_m, np.float64)
    return ellipsoid((low + high) / 2, (high - low) / 2, exponent, 20, 11)


def lathe(
    profile_m: ArrayLike,
    center_m: ArrayLike = (0, 0, 0),
    segments: int = 32,
    closed: bool = False,
) -> Mesh:
    """Turn a profile (N, 2) of radius and height around the z axis through a centre.

    Args:
        profile_m: From the bottom over the outside to the top; both ends are capped.
        center_m: Where the profile's origin goes.
        segments: Sides of the circle.
        closed: The profile is a loop, so that the solid is open along the axis.
    """
    edge = np.asarray(profile_m, np.float64)
    circle = edge[:, :1, None] * outline(segments)
    height = np.broadcast_to(edge[:, 1:, None], (*circle.shape[:2], 1))
    return moved(loft(np.concatenate([circle, height], -1), closed), center_m)


def cylinder(center_m: ArrayLike, radius_m: float, height_m: float, segments: int = 24) -> Mesh:
    """Return an upright cylinder that stands on a centre."""
    return lathe([(radius_m, 0), (radius_m, height_m)], center_m, segments)


def disc(center_m: ArrayLike, radius_m: float, width_m: float, axis: int, sides: int = 20) -> Mesh:
    """Return a wheel: a cylinder along an axis, centred."""
    mesh = stack((-width_m / 2, width_m / 2), (radius_m, radius_m), 0.0, outline(sides), axis)
    return moved(mesh, center_m)


def hoop(
    center_m: ArrayLike, radius_m: float, half_m: ArrayLike, axis: int = 2, sides: int = 24
) -> Mesh:
    """Return a ring around an axis; `half_m` is the half size of its section, number or (2,)."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    path = np.zeros((sides, 3))
    a, b = (k for k in range(3) if k != axis)
    path[:, a], path[:, b] = radius_m * np.cos(angle), radius_m * np.sin(angle)
    mesh = sweep(path, half_m, outline(8), np.eye(3)[axis], closed=True)
    return moved(mesh, center_m)


def rotation(axis: int, angle: float) -> Array:
    """Return the (3, 3) rotation by an angle around an axis, counter-clockwise."""
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = cosine, -sine, sine, cosine
    return matrix


def turned(mesh: Mesh, axis: int, angle: float, about_m: ArrayLike = (0, 0, 0)) -> Mesh:
    """Return a mesh turned around an axis through a point."""
    matrix, center = rotation(axis, angle), np.asarray(about_m, np.float64)
    vertices = mesh.vertices_m @ matrix.T + (center - matrix @ center)
    return Mesh(vertices.astype(np.float32), mesh.faces)


def moved(mesh: Mesh, offset_m: ArrayLike) -> Mesh:
    """Return a mesh moved by (3,) metres."""
    return Mesh(mesh.vertices_m + np.asarray(offset_m, np.float32), mesh.faces)


def scaled(mesh: Mesh, factors: ArrayLike) -> Mesh:
    """Return a mesh stretched by (3,) positive factors along the axes."""
    return Mesh(mesh.vertices_m * np.asarray(factors, np.float32), mesh.faces)


def mirrored(mesh: Mesh, axis: int = 1) -> Mesh:
    """Return a mesh reflected in the plane through the origin across an axis."""
    flip = np.ones(3, np.float32)
    flip[axis] = -1
    return Mesh(mesh.vertices_m * flip, mesh.faces[:, ::-1].copy())


def both(*meshes: Mesh) -> list[Mesh]:
    """Return meshes and their reflections in the plane y = 0."""
    return [*meshes, *(mirrored(mesh) for mesh in meshes)]


def around(mesh: Mesh, count: int, phase: float = 0.0) -> list[Mesh]:
    """Return copies of a mesh turned around the z axis."""
    return [turned(mesh, 2, phase + k * 2 * np.pi / count) for k in range(count)]


def bezier(points_m: ArrayLike, count: int = 9) -> Array:
    """Return `count` points of the Bezier curve of control points (N, D)."""
    points = np.asarray(points_m, np.float64)
    t = np.linspace(0, 1, count)[:, None, None]
    level = np.broadcast_to(points, (count, *points.shape))
    while level.shape[1] > 1:
        level = level[:, :-1] * (1 - t) + level[:, 1:] * t
    return np.asarray(level[:, 0])


def shell(outer_m: ArrayLike, wall_m: float, floor_m: float) -> Array:
    """Return the profile of a vessel that is open at its top.

    Args:
        outer_m: (N, 2) radius and height of the outside, from the bottom's edge upwards.
        wall_m: Thickness of the wall, level.
        floor_m: Thickness of the bottom.
    """
    outer = np.asarray(outer_m, np.float64)
    bottom = outer[0, 1] + floor_m
    above = outer[outer[:, 1] > bottom + 1e-6]
    radius = np.interp(bottom, outer[:, 1], outer[:, 0])
    inner = np.concatenate([above[::-1], [(radius, bottom)]])
    inner[:, 0] = np.maximum(inner[:, 0] - wall_m, 0.15 * inner[:, 0])
    return np.concatenate([outer, inner])
