"""Household objects of random plausible size, each a closed solid that stands on z = 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.synth import solids
from recon3d_core.types import Mesh

Array = NDArray[np.float64]
Corner = tuple[float, float, float]
Block = tuple[Corner, Corner]
Maker = Callable[[np.random.Generator], Mesh]


def _box(rng: np.random.Generator) -> Mesh:
    return solids.box(rng.uniform((0.08, 0.05, 0.05), (0.2, 0.13, 0.2)))


def _cylinder(rng: np.random.Generator) -> Mesh:
    radius, height = rng.uniform((0.03, 0.06), (0.06, 0.2))
    return solids.revolve([(0, 0), (radius, 0), (radius, height), (0, height)])


def _ball(radii: tuple[float, float, float]) -> Mesh:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 49)
    profile = np.stack([np.cos(angle), 1 + np.sin(angle)], 1)
    profile[[0, -1], 0] = 0
    mesh = solids.revolve(profile)
    return Mesh((mesh.vertices_m * radii).astype(np.float32), mesh.faces)


def _sphere(rng: np.random.Generator) -> Mesh:
    radius = float(rng.uniform(0.03, 0.07))
    return _ball((radius, radius, radius))


def _ellipsoid(rng: np.random.Generator) -> Mesh:
    a, b, c = rng.uniform((0.05, 0.035, 0.03), (0.08, 0.05, 0.045))
    return _ball((a, b, c))


def _cone(rng: np.random.Generator) -> Mesh:
    radius, height = rng.uniform((0.04, 0.1), (0.07, 0.2))
    return solids.revolve([(0, 0), (radius, 0), (0, height)])


def _torus(rng: np.random.Generator) -> Mesh:
    major, minor = rng.uniform((0.05, 0.015), (0.08, 0.024))
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    profile = np.stack([major + minor * np.cos(angle), minor + minor * np.sin(angle)], 1)
    return solids.revolve(profile, closed=True)


def _cup(rng: np.random.Generator) -> Mesh:
    top, height = rng.uniform((0.035, 0.08), (0.048, 0.13))
    bottom, wall = top * rng.uniform(0.65, 0.85), 0.003
    return solids.revolve(
        [
            (0, 0),
            (bottom, 0),
            (top, height),
            (top - wall, height),
            (bottom - wall, 0.006),
            (0, 0.006),
        ]
    )


def _bowl(rng: np.random.Generator) -> Mesh:
    radius, height = rng.uniform((0.06, 0.045), (0.1, 0.075))
    foot, wall = 0.45 * radius, 0.005
    angle = np.linspace(0.0, np.pi / 2, 24)
    outer = np.stack([foot + (radius - foot) * np.sin(angle), height * (1 - np.cos(angle))], 1)
    inner = np.stack(
        [(radius - wall) * np.cos(angle), height - (height - 2 * wall) * np.sin(angle)], 1
    )
    inner[-1, 0] = 0
    return solids.revolve(np.concatenate([[(0, 0)], outer, inner]))


def _plate(rng: np.random.Generator) -> Mesh:
    radius, height = rng.uniform((0.09, 0.022), (0.13, 0.03))
    foot, wall = 0.6 * radius, 0.005
    return solids.revolve(
        [
            (0, 0),
            (foot, 0),
            (radius, height - 0.004),
            (radius, height),
            (radius - wall, height),
            (foot, wall + 0.003),
            (0, wall + 0.003),
        ]
    )


def _bottle(rng: np.random.Generator) -> Mesh:
    radius, height = rng.uniform((0.03, 0.2), (0.042, 0.3))
    neck, shoulder = 0.4 * radius, 0.62 * height
    fraction = np.linspace(0, 1, 16)
    smooth = fraction * fraction * (3 - 2 * fraction)
    bend = np.stack([radius + (neck - radius) * smooth, shoulder + 0.2 * height * fraction], 1)
    return solids.revolve(
        np.concatenate(
            [
                [(0, 0), (0.9 * radius, 0), (radius, 0.1 * radius)],
                bend,
                [
                    (neck, 0.93 * height),
                    (1.2 * neck, 0.93 * height),
                    (1.2 * neck, height),
                    (0, height),
                ],
            ]
        )
    )


def _can(rng: np.random.Generator) -> Mesh:
    radius, height = rng.uniform((0.03, 0.09), (0.04, 0.14))
    rim = 0.85 * radius
    return solids.revolve(
        [
            (0, 0.003),
            (rim - 0.003, 0.003),
            (rim, 0),
            (radius, 0.006),
            (radius, height - 0.008),
            (rim, height),
            (rim - 0.003, height - 0.003),
            (0, height - 0.003),
        ]
    )


def _vase(rng: np.random.Generator) -> Mesh:
    radius, height = rng.uniform((0.04, 0.15), (0.06, 0.25))
    fraction = np.linspace(0, 1, 40)
    outer = radius * (0.62 + 0.38 * np.sin(2 * np.pi * fraction**0.8 * 0.85))
    z = height * fraction
    inner = np.stack([outer - 0.004, z], 1)[:4:-1]
    floor = [(0, inner[-1, 1])]
    return solids.revolve(np.concatenate([[(0, 0)], np.stack([outer, z], 1), inner, floor]))


def _mug(rng: np.random.Generator) -> Mesh:
    radius, height = rng.uniform((0.036, 0.08), (0.047, 0.11))
    major, minor, wall = 0.3 * height, rng.uniform(0.005, 0.008), 0.004
    reach = rng.uniform(0.75, 1.0)

    def field(x: Array, y: Array, z: Array) -> Array:
        r = np.hypot(x, y)
        body = np.maximum(r - radius, np.abs(z - height / 2) - height / 2)
        cavity = np.maximum(r - (radius - wall), wall - z)
        along = np.hypot((x - radius) / reach, z - height / 2) - major
        handle = np.maximum(np.hypot(along, y / 1.3) - minor, (radius - wall) - r)
        return np.asarray(np.minimum(np.maximum(body, -cavity), handle))

    room = 0.006
    low = (-radius - room, -radius - room, -room)
    high = (radius + major * reach + 2 * minor + room, radius + room, height + room)
    return solids.implicit(field, low, high, 0.0016)


def _book(rng: np.random.Generator) -> Mesh:
    x, y, z = rng.uniform((0.12, 0.17, 0.025), (0.17, 0.24, 0.05))
    cover, inset = 0.003, 0.004
    return solids.blocks(
        [
            ((0, 0, 0), (x, y, cover)),
            ((0, 0, z - cover), (x, y, z)),
            ((0, 0, 0), (cover, y, z)),
            ((0, inset, 0), (x - inset, y - inset, z)),
        ]
    )


def _carton(rng: np.random.Generator) -> Mesh:
    side, height = rng.uniform((0.065, 0.15), (0.08, 0.2))
    half, ridge, roof = side / 2, 0.003, 0.8 * side / 2

    def ring(x: float, y: float, z: float) -> list[tuple[float, float, float]]:
        return [(-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)]

    return solids.loft(
        [
            ring(half, half, 0),
            ring(half, half, height),
            ring(half, ridge, height + roof),
            ring(half, ridge, height + roof + 0.012),
        ]
    )


def _banana(rng: np.random.Generator) -> Mesh:
    length, thickness, bend = rng.uniform((0.15, 0.016, 0.9), (0.2, 0.02, 1.4))
    angle = np.linspace(-bend / 2, bend / 2, 40)
    radius = length / bend
    fraction = np.linspace(-1, 1, 40)
    radii = thickness * np.maximum((1 - fraction**6) * 0.8 + 0.2, 0.2)
    path = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    return solids.tube(path, radii)


def _lamp(rng: np.random.Generator) -> Mesh:
    foot, height, shade = rng.uniform((0.055, 0.26, 0.07), (0.075, 0.36, 0.1))
    stem, below, wall = 0.01, 0.6 * height, 0.004
    return solids.revolve(
        [
            (0, 0),
            (foot, 0),
            (foot, 0.015),
            (stem, 0.025),
            (stem, height - 2 * wall),
            (0.6 * shade - wall, height - 2 * wall),
            (shade - wall, below),
            (shade, below),
            (0.6 * shade, height),
            (0, height),
        ]
    )


def _chair(rng: np.random.Generator) -> Mesh:
    width, depth, seat, back = rng.uniform((0.4, 0.4, 0.43, 0.8), (0.48, 0.48, 0.48, 0.95))
    leg, thick = 0.04, 0.035
    parts: list[Block] = [((0, 0, seat - thick), (width, depth, seat))]
    for x in (0, width - leg):
        parts.append(((x, 0, 0), (x + leg, leg, seat)))
        parts.append(((x, depth - leg, 0), (x + leg, depth, back)))
    parts.append(((0, depth - leg * 0.7, back - 0.18), (width, depth - leg * 0.2, back - 0.02)))
    parts.append(((0, depth - leg * 0.7, seat + 0.1), (width, depth - leg * 0.2, seat + 0.16)))
    return _splayed(solids.blocks(parts), seat, 0.04)


def _stool(rng: np.random.Generator) -> Mesh:
    width, seat = rng.uniform((0.3, 0.42), (0.38, 0.6))
    leg, thick = 0.035, 0.035
    parts: list[Block] = [((0, 0, seat - thick), (width, width, seat))]
    for x in (0, width - leg):
        for y in (0, width - leg):
            parts.append(((x, y, 0), (x + leg, y + leg, seat)))
    return _splayed(solids.blocks(parts), seat, 0.1)


def _table(rng: np.random.Generator) -> Mesh:
    x, y, z = rng.uniform((0.9, 0.6, 0.7), (1.3, 0.8, 0.76))
    return table((x, y, z))


def table(size_m: tuple[float, float, float]) -> Mesh:
    """Return a table of a size (3,) that stands on z = 0, centred around the z axis."""
    x, y, z = size_m
    leg, thick = 0.06, 0.03
    parts: list[Block] = [((0, 0, z - thick), (x, y, z))]
    for a in (0.04, x - leg - 0.04):
        for b in (0.04, y - leg - 0.04):
            parts.append(((a, b, 0), (a + leg, b + leg, z)))
    return solids.grounded(solids.blocks(parts))


def _crate(rng: np.random.Generator) -> Mesh:
    return solids.box(rng.uniform((0.3, 0.25, 0.2), (0.6, 0.45, 0.5)))


def _bin(rng: np.random.Generator) -> Mesh:
    top, height = rng.uniform((0.13, 0.28), (0.17, 0.4))
    wall, bottom = 0.006, 0.8 * top
    return solids.revolve(
        [
            (0, 0),
            (bottom, 0),
            (top, height),
            (top - wall, height),
            (bottom - wall, 0.01),
            (0, 0.01),
        ]
    )


def _splayed(mesh: Mesh, seat_m: float, spread: float) -> Mesh:
    """Return a seat whose legs lean outwards below the height `seat_m`."""
    vertices = solids.grounded(mesh).vertices_m.astype(np.float64)
    drop = np.clip(1 - vertices[:, 2] / seat_m, 0, 1)
    vertices[:, :2] *= (1 + spread * drop)[:, None]
    return Mesh(vertices.astype(np.float32), mesh.faces)


TABLETOP: dict[str, Maker] = {
    'banana': _banana,
    'book': _book,
    'bottle': _bottle,
    'bowl': _bowl,
    'box': _box,
    'can': _can,
    'carton': _carton,
    'cone': _cone,
    'cup': _cup,
    'cylinder': _cylinder,
    'ellipsoid': _ellipsoid,
    'lamp': _lamp,
    'mug': _mug,
    'plate': _plate,
    'sphere': _sphere,
    'torus': _torus,
    'vase': _vase,
}
FURNITURE: dict[str, Maker] = {
    'bin': _bin,
    'chair': _chair,
    'crate': _crate,
    'stool': _stool,
    'table': _table,
}


def make(category: str, rng: np.random.Generator) -> Mesh:
    """Return an object of a category of `TABLETOP` or `FURNITURE`, of random size."""
    maker = TABLETOP.get(category) or FURNITURE[category]
    return solids.grounded(maker(rng))
