"""Cabinets, benches and sofas; front to +x."""

from __future__ import annotations

import itertools

import numpy as np
from recon3d_core.data.objects.procedural import frames, paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng
from recon3d_core.types import Mesh


def cabinet(rng: Rng) -> list[Part]:
    """Return a cupboard, a chest of drawers, a sideboard, a wardrobe or an open shelf."""
    kind = pick(rng, ('doors', 'drawers', 'shelf', 'mixed'), (3, 3, 2, 2))
    width, depth, height = rng.uniform((0.4, 0.3, 0.45), (1.6, 0.6, 2.0))
    thick = rng.uniform(0.025, 0.05) * max(width, height)
    low = rng.uniform(0.06, 0.2) if chance(rng, 0.5) else 0.0
    x, y = depth / 2, width / 2
    wood = paints.wood(rng)
    parts = []
    if low:
        size = (0.94 * depth, 0.94 * width)
        parts.append(Part('leg', pick(rng, (wood, paints.metal(rng))),
                          frames.legs(rng, size, low, thick)))  # fmt: skip
    open_front = kind == 'shelf'
    body = _carcass(x, y, low, height, thick) if open_front else [
        shapes.block((-x, -y, low), (x - 0.6 * thick, y, height))
    ]  # fmt: skip
    parts.append(Part('body', wood, body))
    rows = int(rng.integers(1, 6)) if kind != 'doors' else 1
    columns = max(1, round(width / rng.uniform(0.35, 0.6))) if kind != 'drawers' else 1
    if kind == 'drawers':
        rows = int(rng.integers(2, 7))
    fronts, knobs, shelves = _fill(rng, kind, (x, y, low, height), thick, (rows, columns))
    other = wood if chance(rng, 0.6) else paints.wood(rng)
    for name, paint, meshes in (
        ('front', other, fronts), ('handle', paints.metal(rng), knobs), ('shelf', wood, shelves),
    ):  # fmt: skip
        if meshes:
            parts.append(Part(name, paint, meshes))
    if chance(rng, 0.4):
        edge = rng.uniform(0.01, 0.04)
        top = shapes.block((-x, -y - edge, height), (x + edge, y + edge, height + thick))
        parts.append(Part('top', other, [top]))
    return parts


def _carcass(x: float, y: float, low: float, high: float, thick: float) -> list[Mesh]:
    sides = shapes.both(shapes.block((-x, y - thick, low), (x, y, high)))
    plates = [shapes.block((-x, -y, z), (x, y, z + thick)) for z in (low, high - thick)]
    return [*sides, *plates, shapes.block((-x, -y, low), (-x + 0.7 * thick, y, high))]


def _fill(
    rng: Rng, kind: str, box: tuple[float, float, float, float], thick: float,
    counts: tuple[int, int],
) -> tuple[list[Mesh], list[Mesh], list[Mesh]]:  # fmt: skip
    """Return doors and drawers, their handles, and shelves of a carcass."""
    x, y, low, high = box
    rows, columns = counts
    fronts, knobs, shelves = [], [], []
    z = np.linspace(low + 0.5 * thick, high - 0.5 * thick, rows + 1)
    edges = np.linspace(-y + 0.5 * thick, y - 0.5 * thick, columns + 1)
    gap, bar = 0.2 * thick, pick(rng, ('knob', 'bar', 'none'))
    for row in range(rows):
        if kind == 'shelf' and row:
            shelves.append(shapes.block((-x, -y, z[row]), (x, y, z[row] + thick)))
        for column in range(columns):
            left, right, bottom, top = edges[column], edges[column + 1], z[row], z[row + 1]
            if kind == 'shelf' or (kind == 'mixed' and row == rows - 1 and rows > 2):
                continue
            fronts.append(
                shapes.block((x - thick, left + gap, bottom + gap), (x, right - gap, top - gap))
            )
            wide = right - left
            # Doors have their handles where two of them meet, drawers in the middle.
            edge = left + 0.12 * wide if column % 2 else right - 0.12 * wide
            middle = (right + left) / 2 if rows > 1 else edge
            place = (x + 0.4 * thick, middle, (top + bottom) / 2)
            if bar == 'knob':
                knobs.append(shapes.ellipsoid(place, (0.7 * thick,) * 3, 2, 10, 7))
            elif bar == 'bar':
                half = (0.2 if rows > 1 else 0.1) * wide
                knobs.append(
                    shapes.block((x, middle - half, place[2] - 0.25 * thick),
                                 (x + 0.9 * thick, middle + half, place[2] + 0.25 * thick))
                )  # fmt: skip
    return fronts, knobs, shelves


def bench(rng: Rng) -> list[Part]:
    """Return a bench, with or without a back and arms, in a park, a hall or a garden."""
    width, depth, height = rng.uniform((0.9, 0.3, 0.38), (2.2, 0.55, 0.5))
    thick = width * rng.uniform(0.025, 0.045)
    x, y = depth / 2, width / 2
    wood = paints.wood(rng)
    frame = pick(rng, (wood, paints.metal(rng)))
    slats = int(rng.integers(2, 6)) if chance(rng, 0.5) else 1
    edges = np.linspace(-x, x, slats + 1)
    gap = 0.12 * depth / slats if slats > 1 else 0.0
    seat = [
        shapes.block((a + gap / 2, -y, height - thick), (b - gap / 2, y, height))
        for a, b in itertools.pairwise(edges)
    ]
    if chance(rng, 0.2):
        seat = [shapes.cushion((-x, -y, height - 2 * thick), (x, y, height + thick))]
    parts = [Part('seat', wood, seat)]
    base = pick(rng, ('legs', 'panels', 'block', 'sled', 'trestle'), (4, 2, 1, 1, 1))
    below = height - 0.9 * thick
    if base == 'legs':
        meshes = frames.legs(rng, (depth, width), below, 1.3 * thick)
        meshes += frames.rungs(rng, meshes, 0.3 * height, thick) if chance(rng, 0.4) else []
    elif base == 'sled':
        meshes = shapes.both(
            shapes.beam((-x, 0.8 * y, 0.5 * thick), (x, 0.8 * y, 0.5 * thick), thick, thick),
            *(shapes.beam((s * 0.9 * x, 0.8 * y, 0), (s * 0.9 * x, 0.8 * y, below), thick, thick)
              for s in (-1, 1)),
        )  # fmt: skip
    else:
        inner = {'panels': 0.86, 'block': 0.55, 'trestle': 0.75}[base] * y
        slope = 0.3 * x if base == 'trestle' else 0.0
        meshes = shapes.both(
            shapes.frustum((-x, x, inner, inner + 1.4 * thick),
                           (-x + slope, x - slope, inner, inner + 1.4 * thick), 0, below)
        )  # fmt: skip
    parts.append(Part('base', frame, meshes))
    if chance(rng, 0.65):
        parts += _bench_back(rng, (x, y, height), thick, frame, wood)
    return parts


def _bench_back(
    rng: Rng, box: tuple[float, float, float], thick: float, frame: Paint, wood: Paint
) -> list[Part]:
    x, y, height = box
    top, lean = height + rng.uniform(0.3, 0.5), rng.uniform(0.0, 0.12)
    posts = shapes.both(
        shapes.beam((-0.9 * x, 0.85 * y, height - thick), (-0.9 * x - lean, 0.85 * y, top), thick,
                    1.3 * thick)
    )  # fmt: skip
    count = int(rng.integers(1, 5))
    rows = np.linspace(height + 0.12, top, count + 1)
    boards = []
    for a, b in itertools.pairwise(rows):
        z0, z1 = a + 0.1 * (b - a), b
        t = ((z0 + z1) / 2 - height) / (top - height)
        place = -0.9 * x - lean * t
        boards.append(shapes.block((place, -y, z0), (place + 0.8 * thick, y, z1)))
    if chance(rng, 0.25):  # spindles between two boards
        places = np.linspace(-0.8, 0.8, int(rng.integers(5, 12))) * y
        boards = [
            shapes.beam((-0.9 * x, p, height - thick), (-0.9 * x - lean, p, top), thick, thick)
            for p in places
        ]
        boards.append(shapes.block((-0.9 * x - lean - 0.5 * thick, -y, top - thick),
                                   (-0.9 * x - lean + 0.7 * thick, y, top + thick)))  # fmt: skip
    parts = [Part('back', wood, [*boards, *posts])]
    if chance(rng, 0.5):
        z = height + rng.uniform(0.15, 0.25)
        arm = shapes.block((-0.9 * x, 0.88 * y, z), (0.9 * x, 0.88 * y + 1.3 * thick, z + thick))
        post = shapes.beam((0.8 * x, 0.92 * y, height - thick), (0.8 * x, 0.92 * y, z + thick),
                           thick, thick)  # fmt: skip
        parts.append(Part('arm', frame, shapes.both(arm, post)))
    return parts


def sofa(rng: Rng) -> list[Part]:
    """Return a sofa of two to four seats, a corner sofa, a settee or a daybed."""
    seats = int(rng.integers(2, 5))
    width, depth = seats * rng.uniform(0.55, 0.75), rng.uniform(0.75, 1.05)
    height, back = rng.uniform(0.36, 0.48), rng.uniform(0.65, 0.95)
    arm = rng.uniform(0.08, 0.28) if chance(rng, 0.85) else 0.0
    y, x = width / 2, depth / 2
    cloth = paints.fabric(rng)
    cover = cloth if chance(rng, 0.6) else paints.fabric(rng)
    low = rng.uniform(0.05, 0.16)
    deep = rng.uniform(0.15, 0.28)
    soft = pick(rng, (3.5, 6.0, 14.0))
    base = shapes.cushion((-x, -y - arm, low), (x, y + arm, height - 0.1), 14.0)
    parts = [
        Part('base', cloth, [base]),
        Part(
            'back', cloth, [shapes.cushion((-x, -y - arm, low), (-x + deep, y + arm, back), soft)]
        ),
    ]
    edges = np.linspace(-y, y, seats + 1)
    cushions = [
        shapes.cushion((-x + 0.8 * deep, a, height - 0.16), (x, b, height), soft)
        for a, b in itertools.pairwise(edges)
    ]
    if chance(rng, 0.5):
        cushions += [
            shapes.cushion((-x + 0.6 * deep, a, height - 0.03),
                           (-x + 1.5 * deep, b, back + rng.uniform(-0.08, 0.1)), soft)
            for a, b in itertools.pairwise(edges)
        ]  # fmt: skip
    parts.append(Part('seat', cover, cushions))
    if arm:
        top = height + rng.uniform(0.08, 0.28)
        if chance(rng, 0.3):  # rolled
            radius = 0.6 * arm
            roll = shapes.stack((-x, x), (radius, radius))
            arms = [shapes.moved(roll, (0, y + arm / 2, top - radius)),
                    shapes.block((-x, y, low), (x, y + arm, top - radius))]  # fmt: skip
        else:
            arms = [shapes.cushion((-x, y, low), (x, y + arm, top), soft)]
        parts.append(Part('arm', cloth, shapes.both(*arms)))
    if chance(rng, 0.2):  # a seat that reaches forward, for a corner
        reach = rng.uniform(0.4, 0.8)
        b = edges[1] if chance(rng, 0.5) else -edges[1]
        a = edges[0] if b == edges[1] else -edges[0]
        lo, hi = min(a, b), max(a, b)
        parts.append(
            Part('corner', cover, [
                shapes.cushion((0, lo, low), (x + reach, hi, height), soft)
            ])
        )  # fmt: skip
    feet = frames.legs(rng, (0.92 * depth, 0.92 * (width + 2 * arm)), low + 0.1, 0.06)
    return [*parts, Part('leg', pick(rng, (paints.wood(rng), paints.metal(rng))), feet)]
