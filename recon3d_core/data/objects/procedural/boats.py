"""Boats and ships; bow to +x."""

from __future__ import annotations

import itertools

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, pick, Rng
from recon3d_core.types import Mesh


def watercraft(rng: Rng) -> list[Part]:
    """Return a sailing boat, a motor boat, a rowing boat, a cargo ship or a warship."""
    kind = pick(
        rng, ('sail', 'motor', 'rowing', 'cargo', 'warship', 'ferry'), (3, 3, 1.5, 2, 1, 1)
    )
    length = {'sail': 10.0, 'motor': 8.0, 'rowing': 4.0}.get(kind, 120.0) * rng.uniform(0.7, 1.3)
    half = length * {'rowing': 0.15, 'motor': 0.16, 'sail': 0.15}.get(kind, 0.075)
    half *= rng.uniform(0.85, 1.2)
    depth = length * {'rowing': 0.11, 'motor': 0.12, 'sail': 0.11}.get(kind, 0.085)
    depth *= rng.uniform(0.85, 1.2)
    paint = pick(rng, (paints.car_paint(rng), paints.wood(rng), paints.plain(paints.WHITE)))
    parts = [Part('hull', paint, _hull(rng, kind, length, half, depth))]
    deck = pick(rng, (paints.plain(paints.WHITE), paints.wood(rng), paints.plastic(rng)))
    if kind == 'rowing':
        benches = [
            shapes.block((x * length, -0.8 * half, 0.6 * depth),
                         ((x + 0.07) * length, 0.8 * half, 0.75 * depth))
            for x in (-0.25, 0.0, 0.2)
        ]  # fmt: skip
        return [*parts, Part('bench', deck, benches)]
    parts.append(Part('cabin', deck, _superstructure(rng, kind, length, half, depth)))
    if kind == 'sail':
        parts += _rig(rng, length, depth)
    elif kind == 'cargo':
        parts.append(Part('cargo', paints.plastic(rng), _cargo(rng, length, half, depth)))
    elif kind == 'warship' or chance(rng, 0.5):
        tall = length * rng.uniform(0.08, 0.2)
        mast = shapes.rod((0, 0, depth), (0, 0, depth + tall), 0.012 * length, 0.007 * length)
        parts.append(Part('mast', paints.metal(rng), [mast]))
    return parts


def _hull(rng: Rng, kind: str, length: float, half: float, depth: float) -> list[Mesh]:
    """Return the hull; that of a rowing boat is open."""
    stern, bow = rng.uniform(0.6, 0.95), rng.uniform(0.0, 0.05)
    if kind == 'rowing' and chance(rng, 0.5):
        stern = 0.1
    x = np.array([-0.5, -0.35, -0.1, 0.1, 0.28, 0.42, 0.5])
    width = half * np.array([stern, 0.5 + 0.5 * stern, 1, 1, 0.82, 0.42, bow + 0.02])
    sheer = depth * (1 + rng.uniform(0.0, 0.5) * np.clip(x, 0, 1) * 2)
    keel = depth * np.array([0.25, 0.08, 0, 0, 0.05, 0.3, 0.75])
    flat = rng.uniform(0.3, 0.8)

    def rings(scale: float, raise_m: float) -> list[list[tuple[float, float, float]]]:
        found = []
        for place, w, top, low in zip(x * length * scale, width * scale, sheer, keel, strict=True):
            low = min(low + raise_m, top - 0.01 * depth)
            mid = low + 0.35 * (top - low)
            found.append(
                [(place, -w, top), (place, -0.9 * w, mid), (place, -flat * w, low),
                 (place, flat * w, low), (place, 0.9 * w, mid), (place, w, top)]
            )  # fmt: skip
        return found

    if kind != 'rowing':
        return [shapes.loft(rings(1.0, 0.0))]
    outer, inner = rings(1.0, 0.0), rings(0.88, 0.22 * depth)
    # A closed band per rib: outside from edge to edge and back along the inside.
    bands = [a + b[::-1] for a, b in zip(outer, inner, strict=True)]
    return [
        shapes.loft(bands[1:-1]),
        shapes.loft([outer[0], outer[1]]),
        shapes.loft([outer[-2], outer[-1]]),
    ]


def _superstructure(
    rng: Rng, kind: str, length: float, half: float, depth: float
) -> list[Mesh]:  # fmt: skip
    made, z = [], 0.95 * depth
    x0, x1 = {
        'sail': (-0.2, 0.15), 'motor': (-0.2, 0.25), 'cargo': (-0.46, -0.3),
        'warship': (-0.2, 0.2), 'ferry': (-0.42, 0.3),
    }[kind]  # fmt: skip
    x0, x1 = x0 * length * rng.uniform(0.8, 1.05), x1 * length * rng.uniform(0.8, 1.1)
    levels = {'sail': 1, 'motor': int(rng.integers(1, 3))}.get(kind, int(rng.integers(2, 5)))
    height = depth * {'sail': 0.3, 'motor': 0.5, 'cargo': 0.45}.get(kind, 0.4)
    w = half * rng.uniform(0.6, 0.85)
    for _ in range(levels):
        slant = 0.2 * (x1 - x0) if kind in ('motor', 'sail') else 0.03 * (x1 - x0)
        made.append(
            shapes.frustum((x0, x1, -w, w), (x0 + 0.2 * slant, x1 - slant, -0.9 * w, 0.9 * w), z,
                           z + height)
        )  # fmt: skip
        z += 0.98 * height
        x0, x1, w = x0 + 0.08 * (x1 - x0), x1 - slant - 0.08 * (x1 - x0), 0.85 * w
    if kind in ('ferry', 'cargo', 'warship') and chance(rng, 0.7):
        radius = 0.3 * half
        made.append(shapes.cylinder(((x0 + x1) / 2, 0, z - 0.1 * height), radius, 0.8 * height))
    return made


def _rig(rng: Rng, length: float, depth: float) -> list[Part]:
    tall = length * rng.uniform(0.9, 1.3)
    foot, thick = 0.08 * length, 0.012 * length
    mast = shapes.rod((foot, 0, 0.9 * depth), (foot, 0, depth + tall), 0.014 * length)
    boom_z = depth + 0.12 * length
    boom = shapes.rod((foot, 0, boom_z), (-0.4 * length, 0, boom_z), 0.012 * length)
    sails = [_sail((foot, boom_z + thick), (-0.38 * length, boom_z + thick),
                   (foot, depth + 0.95 * tall), thick)]  # fmt: skip
    if chance(rng, 0.7):
        sails.append(_sail((foot + 0.03 * length, depth + 0.1 * length), (0.46 * length, depth * 1.3),
                           (foot + 0.02 * length, depth + 0.8 * tall), thick))  # fmt: skip
    cloth = pick(rng, (paints.plain(paints.WHITE), paints.fabric(rng)))
    return [Part('mast', paints.metal(rng), [mast, boom]), Part('sail', cloth, sails)]


def _sail(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], thick: float
) -> Mesh:
    """Return a triangle of cloth in the plane y = 0."""
    return shapes.loft([[(x, side * thick, z) for x, z in (a, b, c)] for side in (-1, 1)])


def _cargo(rng: Rng, length: float, half: float, depth: float) -> list[Mesh]:
    made: list[Mesh] = []
    count = int(rng.integers(3, 7))
    edges = np.linspace(-0.26, 0.36, count + 1) * length
    for x0, x1 in itertools.pairwise(edges):
        top = depth * (1 + rng.uniform(0.2, 1.0))
        w = half * rng.uniform(0.7, 0.9)
        made.append(shapes.block((x0, -w, 0.9 * depth), (x0 + 0.9 * (x1 - x0), w, top)))
    return made
