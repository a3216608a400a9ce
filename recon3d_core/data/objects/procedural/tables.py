"""Tables and desks; front to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import frames, paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng
from recon3d_core.types import Mesh


def table(rng: Rng) -> list[Part]:
    """Return a table or a desk."""
    width = rng.uniform(0.5, 2.0)
    depth = width * rng.uniform(0.4, 1.0)
    height = rng.uniform(0.35, 0.5) if chance(rng, 0.3) else rng.uniform(0.6, 0.8)
    longest = max(width, height)
    thick = longest * rng.uniform(0.025, 0.06)
    leg = longest * rng.uniform(0.03, 0.07)
    base = pick(
        rng,
        ('legs', 'pedestal', 'trestle', 'panels', 'desk', 'sled', 'cross'),
        (6, 2, 1, 1.5, 2, 1, 0.7),
    )
    wood = paints.wood(rng)
    frame = pick(rng, (wood, wood, paints.metal(rng)))
    square = base in ('desk', 'panels')
    cover = pick(rng, (wood, wood, paints.glass(rng)))
    top, inner = _top(rng, (depth, width), height, thick, square)
    parts = [Part('top', cover, [top])]
    if base != 'pedestal':  # corners of what stands below a round top lie inside it
        depth, width = depth * inner, width * inner
    size, below = (depth * 0.95, width * 0.95), height - 0.5 * thick
    parts += _support(rng, base, size, below, leg, frame)
    if base in ('legs', 'sled', 'trestle') and chance(rng, 0.3):
        low = rng.uniform(0.15, 0.4) * height
        x, y = 0.45 * depth, 0.45 * width
        if base == 'legs':
            x, y = np.abs(frames.corner_at(parts[1].solids[0], low))
        parts.append(Part('shelf', wood, [shapes.block((-x, -y, low), (x, y, low + 0.9 * thick))]))
    return parts


def _top(
    rng: Rng, size: tuple[float, float], height: float, thick: float, square: bool
) -> tuple[Mesh, float]:
    """Return a top, and the share of its size that a rectangle inside it has."""
    exponent = 60.0 if square else pick(rng, (60.0, 2.0, 2.6, 8.0), (5, 2, 1, 1))
    half = np.array(size) / 2
    bevel = rng.uniform(0.0, 0.3) * thick if chance(rng, 0.4) else 0.0
    sides = shapes.SQUARE if exponent > 20 else shapes.outline(36, exponent)
    places = [height - thick, height]
    halves = [half - 2 * bevel, half]
    inner = 1.0 if exponent > 20 else float(0.5 ** (1 / exponent))
    return shapes.stack(places, halves, section=sides, axis=2), inner


def _support(
    rng: Rng, base: str, size: tuple[float, float], below: float, leg: float, paint: Paint
) -> list[Part]:
    x, y = size[0] / 2, size[1] / 2
    if base == 'pedestal':
        radius = min(x, y) * rng.uniform(0.5, 0.85)
        stems = frames.pedestal(rng, radius, below, 0.5 * leg * rng.uniform(0.9, 1.6))
        if y > 1.6 * x:
            stems = [shapes.moved(m, (0, s * 0.55 * y, 0)) for m in stems for s in (-1, 1)]
        return [Part('base', paint, stems)]
    if base == 'trestle':
        return [Part('leg', paint, _trestles(rng, x, y, below, leg))]
    if base == 'cross':
        bars = [
            shapes.beam((a * x, b * y, 0), (-a * x, b * y, below), 0.8 * leg, leg)
            for a in (-1, 1)
            for b in (-0.8, 0.8)
        ]
        rail = shapes.beam((0, -0.8 * y, below / 2), (0, 0.8 * y, below / 2), leg, leg)
        return [Part('leg', paint, [*bars, rail])]
    if base == 'panels':
        wall = shapes.block((-x, y - leg, 0), (x, y, below))
        modesty = shapes.block((-leg / 2, -y, below * rng.uniform(0.2, 0.7)), (leg / 2, y, below))
        return [Part('leg', paint, [*shapes.both(wall), modesty])]
    if base == 'desk':
        return _desk(rng, x, y, below, leg, paint)
    if base == 'sled':
        turned = [
            shapes.turned(mesh, 2, np.pi / 2)
            for mesh in frames.sled(rng, size[::-1], below, leg, False)
        ]
        return [Part('leg', paint, turned)]
    four = frames.legs(rng, size, below, leg)
    parts = [Part('leg', paint, four)]
    if chance(rng, 0.5):
        low = below - rng.uniform(0.08, 0.2) * min(below, 2 * x)
        parts.append(Part('apron', paint, [
            *shapes.both(shapes.block((-x + leg, y - leg, low), (x - leg, y - leg / 2, below))),
            *(shapes.block((s * (x - leg) - leg / 4, -y + leg, low),
                           (s * (x - leg) + leg / 4, y - leg, below)) for s in (-1, 1)),
        ]))  # fmt: skip
    if chance(rng, 0.25):
        bars = frames.rungs(rng, four, rng.uniform(0.1, 0.3) * below, leg)
        parts.append(Part('rung', paint, bars))
    return parts


def _trestles(rng: Rng, x: float, y: float, below: float, leg: float) -> list[Mesh]:
    place, spread = y * rng.uniform(0.6, 0.9), x * rng.uniform(0.6, 1.0)
    bars = []
    for side in (-place, place):
        for foot in (-spread, spread):
            bars.append(shapes.beam((foot, side, 0), (0.4 * foot, side, below), leg, leg))
        bars.append(
            shapes.beam(
                (-spread, side, below - leg / 2), (spread, side, below - leg / 2), leg, leg
            )
        )
    level = below * rng.uniform(0.3, 0.6)
    bars.append(shapes.beam((0, -place, level), (0, place, level), 0.7 * leg, leg))
    bars += [
        shapes.beam((-0.7 * spread, s, level), (0.7 * spread, s, level), 0.7 * leg, 0.7 * leg)
        for s in (-place, place)
    ]
    return bars


def _desk(rng: Rng, x: float, y: float, below: float, leg: float, paint: Paint) -> list[Part]:
    """Return drawers on one side or both, and a panel or legs on the other."""
    wide = 2 * y * rng.uniform(0.2, 0.33)
    foot = rng.uniform(0, 0.15) * below if chance(rng, 0.4) else 0.0
    sides = (-1, 1) if chance(rng, 0.45) else (pick(rng, (-1, 1)),)
    handle = pick(rng, (paints.metal(rng), paints.plain(paints.DARK)))
    chests, drawers, knobs = [], [], []
    count = int(rng.integers(1, 5))
    low = foot if count > 1 else below * rng.uniform(0.5, 0.75)
    for side in sides:
        a, b = sorted((side * y, side * (y - wide)))
        chests.append(shapes.block((-x, a, low), (0.95 * x, b, below)))
        gap = 0.08 * (below - low) / count
        for z in np.linspace(low, below, count + 1)[:-1]:
            high = z + (below - low) / count - gap
            drawers.append(shapes.block((0.9 * x, a + gap, z + gap), (x, b - gap, high)))
            knobs.append(shapes.ellipsoid((x, (a + b) / 2, (z + high) / 2),
                                          (0.4 * leg, 0.15 * wide, 0.3 * leg), 3, 8, 5))  # fmt: skip
    parts = [Part('chest', paint, chests), Part('drawer', paint, drawers)]
    parts.append(Part('handle', handle, knobs))
    if len(sides) == 1 or foot or count == 1:
        parts.append(Part('leg', paint, frames.legs(rng, (2 * x, 2 * y), below, leg)))
    if chance(rng, 0.5):
        panel = shapes.block((-x, -y, below * rng.uniform(0.1, 0.6)), (-x + 0.6 * leg, y, below))
        parts.append(Part('panel', paint, [panel]))
    return parts
