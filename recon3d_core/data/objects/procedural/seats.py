"""Chairs: what they stand on, seats, backs and arms, each of several kinds; front to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import frames, paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng
from recon3d_core.types import Mesh

BASES = ('legs', 'star', 'pedestal', 'sled', 'cantilever', 'panels', 'rockers')
BACKS = ('solid', 'cushion', 'slats', 'ladder', 'frame', 'shell', 'panel', 'low')


def chair(rng: Rng) -> list[Part]:
    """Return a chair, an armchair or a stool."""
    kind = pick(rng, ('chair', 'club', 'stool', 'egg'), (10, 2, 1.3, 1))
    if kind == 'club':
        return _club(rng)
    if kind == 'stool':
        return _stool(rng)
    if kind == 'egg':
        return _bucket(rng)
    depth, width = rng.uniform(0.38, 0.56), rng.uniform(0.38, 0.6)
    height, thick = rng.uniform(0.38, 0.52), rng.uniform(0.025, 0.05)
    top = height + rng.uniform(0.32, 0.75)
    base = pick(rng, BASES, (9, 3, 1, 1.5, 1, 1, 0.7))
    frame = paints.metal(rng) if base in ('star', 'sled', 'cantilever') else paints.wood(rng)
    cover = pick(rng, (frame, paints.fabric(rng), paints.plastic(rng), paints.wood(rng)))
    parts = _base(rng, base, (depth, width), height, thick, frame)
    parts.append(Part('seat', cover, [_seat(rng, depth, width, height, base)]))
    parts += _back(rng, (depth, width), height, top, thick, (frame, cover))
    if chance(rng, 0.4):
        parts.append(_arms(rng, (depth, width), height, thick, frame))
    return parts


def _seat(rng: Rng, depth: float, width: float, height: float, base: str) -> Mesh:
    kind = pick(rng, ('slab', 'cushion', 'round', 'bent'))
    thick = float(rng.uniform(0.03, 0.05) if kind != 'cushion' else rng.uniform(0.05, 0.13))
    if kind == 'cushion':
        low = (-depth / 2, -width / 2, height - 0.4 * thick)
        return shapes.cushion(low, (depth / 2, width / 2, height + 0.6 * thick))
    if kind == 'round' and base != 'panels':
        edge = np.full((2, 2), (0.57 * depth, 0.57 * width))
        section = shapes.outline(24, max(rng.uniform(2, 4), 2.7))
        return shapes.stack((height - thick, height), edge, section=section, axis=2)
    if kind == 'bent':
        x = np.linspace(-depth / 2, depth / 2, 9)
        sag = 0.012 * np.cos(2 * np.pi * x / depth) + 0.01 * np.sin(4 * x / depth)
        z = height - thick / 2 + sag
        return shapes.profile(x, z - thick / 2, z + thick / 2, width / 2)
    narrow = float(rng.uniform(0.8, 1.0)) * width / 2
    places, half = (-depth / 2, depth / 2), [(narrow, thick / 2), (width / 2, thick / 2)]
    return shapes.stack(places, half, height - thick / 2, shapes.SQUARE)


def _base(
    rng: Rng, base: str, size: tuple[float, float], height: float, thick: float, paint: Paint
) -> list[Part]:
    below = height - 0.015
    dark = paints.plain(paints.DARK)
    if base == 'star':
        bars, castors = frames.star(rng, rng.uniform(0.24, 0.34), below, max(thick, 0.035))
        return [Part('base', paint, bars), Part('castor', dark, castors)]
    if base == 'pedestal':
        radius = float(rng.uniform(0.18, 0.27))
        return [Part('base', paint, frames.pedestal(rng, radius, below, 0.7 * thick))]
    if base in ('sled', 'cantilever'):
        bars = frames.sled(rng, size, below, thick, base == 'cantilever')
        return [Part('base', paint, bars)]
    if base == 'panels':
        x, y = size[0] / 2, size[1] / 2
        wall = shapes.block((-x, y - thick, 0), (x, y, below))
        cross = shapes.block((-x, -y, 0.55 * height), (-x + thick, y, height))
        return [Part('leg', paint, [*shapes.both(wall), cross])]
    four = frames.legs(rng, size, below, thick)
    parts = [Part('leg', paint, four)]
    if base == 'rockers':
        parts.append(Part('rocker', paint, frames.rockers(size, thick)))
    if chance(rng, 0.35):
        bars = frames.rungs(rng, four, rng.uniform(0.12, 0.5) * height, thick)
        parts.append(Part('rung', paint, bars))
    if chance(rng, 0.3):
        x, y, low = size[0] / 2 - thick, size[1] / 2 - thick, height - rng.uniform(0.06, 0.1)
        parts.append(Part('apron', paint, [shapes.block((-x, -y, low), (x, y, below))]))
    return parts


def _back(
    rng: Rng,
    size: tuple[float, float],
    height: float,
    top: float,
    thick: float,
    paint: tuple[Paint, Paint],
) -> list[Part]:
    """Return the back, made upright at x = 0 and then leant and moved to the seat's rear."""
    kind = pick(rng, BACKS, (2, 2, 2, 2, 1.5, 2, 2, 1))
    frame, cover = paint
    half, rise = size[1] / 2 * float(rng.uniform(0.8, 1.0)), top - height
    posts = shapes.both(shapes.block((-thick / 2, half - thick, -0.05), (thick / 2, half, rise)))
    # Posts at the corners of a round seat hold on to it by a rail.
    posts.append(shapes.block((-thick / 2, -half, -0.05), (thick / 2, half, -0.02)))
    bars: list[Mesh] = []
    if kind in ('slats', 'ladder', 'frame'):
        bars = _bars(rng, kind, half, rise, thick)
        parts = [Part('back_post', frame, posts), Part('back', pick(rng, (frame, cover)), bars)]
    elif kind == 'low':
        low = rise * float(rng.uniform(0.45, 0.7))
        band = shapes.block((-thick / 2, -half, low), (thick / 2, half, rise))
        parts = [Part('back_post', frame, posts), Part('back', cover, [band])]
    elif kind == 'shell':
        parts = [Part('back', cover, [_curved(rng, half, rise, thick)])]
    else:
        parts = [Part('back', cover, [_panel(rng, kind, half, rise, thick)])]
        if chance(rng, 0.3):
            parts.append(Part('back_post', frame, posts))
    if len(parts) == 1:
        spine = shapes.block((-thick, -0.03, -0.05), (0, 0.03, 0.45 * rise))
        parts.append(Part('back_post', frame, [spine]))
    lean, rear = float(rng.uniform(-0.02, 0.28)), -size[0] / 2 + thick / 2
    return [
        Part(
            part.name,
            part.paint,
            [shapes.moved(shapes.turned(m, 1, -lean), (rear, 0, height)) for m in part.solids],
        )
        for part in parts
    ]


def _bars(rng: Rng, kind: str, half: float, rise: float, thick: float) -> list[Mesh]:
    bar, inner = float(rng.uniform(0.05, 0.1)), half - thick / 2
    deep = 0.8 * thick
    rail = shapes.block((-deep / 2, -half, rise - bar), (deep / 2, half, rise))
    if kind == 'frame':
        foot = float(rng.uniform(0.15, 0.45)) * rise
        return [rail, shapes.block((-deep / 2, -inner, foot), (deep / 2, inner, foot + bar))]
    if kind == 'ladder':
        count = int(rng.integers(2, 5))
        levels = np.linspace(0.15 * rise, rise - 2 * bar, count)
        flat = max(0.6 * bar, 0.03)
        return [
            rail,
            *(shapes.block((-deep / 2, -inner, z), (deep / 2, inner, z + flat)) for z in levels),
        ]
    count, round_bar = int(rng.integers(3, 8)), chance(rng, 0.5)
    thin = max(0.5 * thick, 0.013) if round_bar else float(rng.uniform(0.012, 0.025))
    section = shapes.outline(8) if round_bar else shapes.SQUARE
    places = np.linspace(-inner, inner, count + 2)[1:-1]
    return [
        rail,
        *(
            shapes.rod((0, y, -0.01), (0, y, rise - bar / 2), thin, section=section)
            for y in places
        ),
    ]


def _curved(rng: Rng, half: float, rise: float, thick: float) -> Mesh:
    """Return a back that is bent around the sitter, its lower edge at or above the seat."""
    bend, low = float(rng.uniform(0.3, 1.0)) * half, float(rng.uniform(-0.01, 0.3)) * rise
    y = np.linspace(-half, half, 11)
    path = np.stack([bend * (y / half) ** 2, y, np.full(11, (rise + low) / 2)], 1)
    section = shapes.outline(12, float(rng.uniform(3, 8)))
    return shapes.sweep(path, (0.6 * thick, (rise - low) / 2), section, (0, 0, 1))


def _panel(rng: Rng, kind: str, half: float, rise: float, thick: float) -> Mesh:
    if kind == 'cushion':
        deep = float(rng.uniform(0.05, 0.12))
        return shapes.cushion((-deep / 2, -half, -0.02), (deep / 2, half, rise), 6)
    low = 0.0 if kind == 'solid' else float(rng.uniform(0.1, 0.3)) * rise
    places = np.linspace(low, rise, 9)
    shape = (places - low) / (rise - low)
    round_top = float(rng.uniform(0, 0.5)) if chance(rng, 0.6) else 0.0
    waist = 1 - float(rng.uniform(0, 0.15)) * np.sin(np.pi * shape)
    width = half * waist * (1 - round_top * np.maximum(shape - 0.4, 0) ** 2 / 0.36)
    bend = -0.12 * rise * float(rng.uniform(-0.3, 1)) * shape**2
    sides = np.stack([np.full(9, max(thick, 0.03) / 2), width], 1)
    return shapes.stack(places, sides, np.stack([bend, 0 * bend], 1), shapes.SQUARE, 2)


def _arms(rng: Rng, size: tuple[float, float], height: float, thick: float, paint: Paint) -> Part:
    x, y = size[0] / 2, size[1] / 2
    rise = height + float(rng.uniform(0.15, 0.26))
    wide, kind = float(rng.uniform(0.035, 0.07)), pick(rng, ('post', 'panel', 'loop'))
    front = x * float(rng.uniform(0.3, 0.95))
    rest = shapes.block((-x, y - wide / 2, rise), (front, y + wide / 2, rise + thick))
    if kind == 'panel':
        solids = [shapes.block((-x, y - thick / 2, height - 0.05), (front, y + thick / 2, rise))]
    elif kind == 'loop':
        low = (0.1 * x, y, height - 0.02)
        solids = [
            shapes.rod((front - thick, y, rise), low, thick / 2),
            shapes.rod((-x + thick, y, rise), low, thick / 2),
        ]
    else:
        solids = [shapes.rod((front - thick, y, height - 0.03), (front - thick, y, rise + 0.01),
                             thick / 2, section=shapes.SQUARE)]  # fmt: skip
    return Part('arm', paint, shapes.both(rest, *solids))


def _club(rng: Rng) -> list[Part]:
    """Return an upholstered armchair."""
    cover, foot = paints.fabric(rng), float(rng.uniform(0.02, 0.2))
    depth, width = rng.uniform(0.65, 0.9), rng.uniform(0.65, 0.95)
    seat, top = foot + rng.uniform(0.24, 0.34), foot + rng.uniform(0.45, 0.8)
    arm, back = rng.uniform(0.08, 0.2), rng.uniform(0.1, 0.22)
    rise = min(seat + rng.uniform(0.1, 0.25), top)
    x, y, bevel = depth / 2, width / 2, float(rng.uniform(4, 12))
    sides = shapes.cushion((-x, y - arm, foot), (x * rng.uniform(0.8, 1), y, rise), bevel)
    inner = y - 0.9 * arm
    parts = [
        Part(
            'leg',
            paints.wood(rng),
            frames.legs(rng, (0.9 * depth, 0.9 * width), foot + 0.05, 0.05),
        ),
        Part('seat', cover, [shapes.cushion((-x, -inner, foot), (x, inner, seat), bevel)]),
        Part('arm', cover, shapes.both(sides)),
    ]
    rest = shapes.cushion((-x, -y, foot), (-x + back, y, top), bevel)
    parts.append(
        Part('back', cover, [shapes.turned(rest, 1, -rng.uniform(0, 0.2), (-x, 0, seat))])
    )
    if chance(rng, 0.5):
        deep, high = x + 0.02, seat + rng.uniform(0.05, 0.12)
        pad = shapes.cushion((-x + 0.8 * back, -inner, seat - 0.04), (deep, inner, high))
        parts.append(Part('cushion', pick(rng, (cover, paints.fabric(rng))), [pad]))
    return parts


def _stool(rng: Rng) -> list[Part]:
    frame, cover = pick(rng, (paints.wood(rng), paints.metal(rng))), paints.fabric(rng)
    radius, height = rng.uniform(0.15, 0.24), rng.uniform(0.4, 0.78)
    size, thick = (2 * radius, 2 * radius * rng.uniform(0.8, 1.3)), rng.uniform(0.025, 0.04)
    low, exponent = height - rng.uniform(0.03, 0.09), pick(rng, (2, 2, 6, 30))
    seat = shapes.stack(
        (low, height),
        np.full((2, 2), (size[0] / 2 + 0.01, size[1] / 2 + 0.01)),
        section=shapes.outline(20, exponent),
        axis=2,
    )
    parts = [Part('seat', pick(rng, (frame, cover)), [seat])]
    if chance(rng, 0.4):
        stem = frames.pedestal(rng, radius * rng.uniform(0.9, 1.3), height - 0.02, 0.8 * thick)
        return [*parts, Part('base', frame, stem)]
    inner = 0.5 ** (1 / exponent)  # corners inside a round seat
    size = (inner * size[0], inner * size[1])
    four = frames.legs(rng, size, height - 0.02, thick)
    parts.append(Part('leg', frame, four))
    if chance(rng, 0.6):
        bars = frames.rungs(rng, four, rng.uniform(0.2, 0.5) * height, thick)
        parts.append(Part('rung', frame, bars))
    return parts


def _bucket(rng: Rng) -> list[Part]:
    """Return a moulded shell, its rim low in front and high behind, on a base."""
    radius, height = rng.uniform(0.24, 0.36), rng.uniform(0.36, 0.46)
    back, front = rng.uniform(0.3, 0.65), rng.uniform(0.02, 0.15)
    wall, open_end = 0.035, float(rng.uniform(1.5, 2.6))
    angle = np.linspace(-open_end, open_end, 21)
    rise = front + (back - front) * (0.5 + 0.5 * np.cos(angle)) ** rng.uniform(0.6, 1.6)
    flare = float(rng.uniform(1.0, 1.25))
    direction = np.stack([-np.cos(angle), np.sin(angle)], 1)
    rings = []
    for way, r, z in zip(direction, np.full(21, radius), rise):
        foot, rim = 0.75 * r * way, flare * r * way
        thin = wall * way
        rings.append([(*foot, height), (*rim, height + z), (*(rim - thin), height + z),
                      (*(foot - thin), height)])  # fmt: skip
    cover = pick(rng, (paints.plastic(rng), paints.fabric(rng)))
    seat = shapes.ellipsoid((0, 0, height), (radius * 0.95, radius * 0.95, 0.06), 3)
    base = pick(rng, ('legs', 'pedestal', 'star'))
    size = (1.3 * radius, 1.3 * radius)
    parts = _base(rng, base, size, height, 0.032, pick(rng, (paints.wood(rng), paints.metal(rng))))
    return [*parts, Part('seat', cover, [seat]), Part('back', cover, [shapes.loft(rings)])]
