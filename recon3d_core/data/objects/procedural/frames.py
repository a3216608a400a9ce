"""What furniture stands on: legs, pedestals, stars of castors, sleds, rockers."""

from __future__ import annotations

import itertools

import numpy as np
from recon3d_core.data.objects.procedural import shapes
from recon3d_core.data.objects.procedural.paints import chance, pick, Rng
from recon3d_core.types import Mesh


def legs(rng: Rng, size_m: tuple[float, float], top_m: float, thick_m: float) -> list[Mesh]:
    """Return four legs below a top, of square or round section, straight, tapered or splayed.

    Args:
        rng: Source of randomness.
        size_m: Extent of the top along x and y.
        top_m: Height at which they end.
        thick_m: Their thickness at the top.
    """
    inset = thick_m / 2 + float(rng.uniform(0, 0.06)) * min(size_m)
    splay = float(rng.uniform(0.02, 0.14)) * top_m if chance(rng, 0.4) else 0.0
    taper = float(rng.uniform(0.7, 1.0)) if chance(rng, 0.5) else 1.0
    section = pick(rng, (shapes.SQUARE, shapes.outline(10)))
    x, y = size_m[0] / 2 - inset, size_m[1] / 2 - inset
    found = []
    for a in (-1, 1):
        for b in (-1, 1):
            foot = (a * (x + splay), b * (y + splay), 0)
            half = thick_m / 2
            found.append(shapes.rod(foot, (a * x, b * y, top_m), half * taper, half, section))
    return found


def corner_at(leg: Mesh, height_m: float) -> tuple[float, float]:
    """Return where the axis of a leg, which is a straight rod, is at a height."""
    (x0, y0, z0), (x1, y1, z1) = leg.vertices_m[-2:].astype(np.float64)
    share = (height_m - z0) / (z1 - z0)
    return float(x0 + share * (x1 - x0)), float(y0 + share * (y1 - y0))


def rungs(rng: Rng, four: list[Mesh], height_m: float, thick_m: float) -> list[Mesh]:
    """Return bars between four legs at a height: a box of them, or an H."""
    thin = 0.75 * thick_m
    x, y = np.abs(corner_at(four[0], height_m))
    bars = [shapes.beam((-x, s * y, height_m), (x, s * y, height_m), thin, thin) for s in (-1, 1)]
    if chance(rng, 0.5):
        return [*bars, shapes.beam((0, -y, height_m), (0, y, height_m), thin, thin)]
    cross = height_m + float(rng.uniform(-0.5, 1.0)) * thick_m
    x, y = np.abs(corner_at(four[0], cross))
    return [
        *bars,
        *(shapes.beam((s * x, -y, cross), (s * x, y, cross), thin, thin) for s in (-1, 1)),
    ]


def pedestal(rng: Rng, radius_m: float, top_m: float, stem_m: float) -> list[Mesh]:
    """Return a stem on a foot: a plate, a cone, a turned one, or three to five feet."""
    kind = pick(rng, ('plate', 'cone', 'turned', 'feet'))
    thick = 1.6 * stem_m * float(rng.uniform(0.5, 0.9))
    if kind == 'feet':
        foot = shapes.beam((0, 0, thick / 2), (radius_m, 0, thick / 2), 1.3 * stem_m, thick)
        slope = shapes.rod((0.02, 0, 3 * stem_m), (0.9 * radius_m, 0, thick / 2), 0.7 * stem_m)
        count = int(rng.integers(3, 6))
        column = shapes.cylinder((0, 0, 0), stem_m, top_m, 12)
        return [column, *shapes.around(pick(rng, (foot, slope)), count, np.pi / count)]
    if kind == 'plate':
        edge = [(radius_m, 0), (radius_m, thick), (stem_m, 1.2 * thick), (stem_m, top_m)]
        return [shapes.lathe(edge, segments=24)]
    if kind == 'cone':
        middle = (0.5 * (radius_m + stem_m) * float(rng.uniform(0.5, 0.9)), 0.35 * top_m)
        waist = (stem_m, 0.7 * top_m)
        edge = [(radius_m, 0), middle, waist, (1.6 * stem_m, top_m)]
        return [shapes.lathe(edge, segments=24)]
    height = np.linspace(0.05 * top_m, top_m, 14)
    bulge = stem_m * (1.5 + 0.5 * np.sin(height / top_m * float(rng.uniform(8, 22))))
    edge = [(radius_m, 0), (radius_m, 0.04 * top_m), *np.stack([bulge, height], 1)]
    return [shapes.lathe(edge, segments=20)]


def star(rng: Rng, radius_m: float, top_m: float, thick_m: float) -> tuple[list[Mesh], list[Mesh]]:
    """Return the swivel base of an office chair, and its castors."""
    count = pick(rng, (5, 5, 5, 4))
    wheel = float(rng.uniform(0.8, 1.1)) * thick_m
    hub = 2 * wheel + thick_m
    arm = shapes.beam((0, 0, hub), (radius_m, 0, 2 * wheel), thick_m, thick_m)
    castor = shapes.disc((radius_m, 0, wheel), wheel, 1.4 * thick_m, 1, 10)
    column = shapes.cylinder((0, 0, hub - thick_m / 2), 0.8 * thick_m, top_m - hub, 12)
    sleeve = shapes.cylinder((0, 0, hub - thick_m / 2), 1.2 * thick_m, 0.5 * (top_m - hub), 12)
    phase = float(rng.uniform(0, 1))
    return [
        column,
        sleeve,
        *shapes.around(arm, count, phase),
    ], shapes.around(castor, count, phase)


def sled(
    rng: Rng, size_m: tuple[float, float], top_m: float, thick_m: float, cantilever: bool
) -> list[Mesh]:
    """Return two bent tubes as runners: closed loops, or open at the back (cantilever)."""
    x, y, half = size_m[0] / 2 - thick_m, size_m[1] / 2 - thick_m / 2, thick_m / 2
    lean = float(rng.uniform(0, 0.06))
    corners = [(x - lean, top_m), (x, half), (-x, half), (-x + lean, top_m)]
    if cantilever:
        corners = corners[:3]
    bars = []
    for side in (-1, 1):
        points = [(a, side * y, b) for a, b in corners]
        for start, end in itertools.pairwise(points):
            bars.append(shapes.beam(start, end, thick_m, thick_m))
            bars.append(shapes.ellipsoid(end, (half, half, half), 2, 8, 5))
    if cantilever:
        bars.append(shapes.beam((-x, -y, half), (-x, y, half), thick_m, thick_m))
    return bars


def rockers(size_m: tuple[float, float], thick_m: float) -> list[Mesh]:
    """Return two bent runners of a rocking chair; legs stand on them at about z = 0."""
    x = np.linspace(-0.75, 0.75, 9) * size_m[0]
    z = 0.35 * size_m[0] * (x / size_m[0]) ** 2 - thick_m
    path = np.stack([x, np.zeros(9), z], 1)
    bar = shapes.sweep(path, thick_m / 2, shapes.SQUARE)
    y = size_m[1] / 2 - thick_m / 2
    return [shapes.moved(bar, (0, side * y, 0)) for side in (-1, 1)]
