"""Shoes; the toe to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, pick, Rng
from recon3d_core.types import Mesh


def shoe(rng: Rng) -> list[Part]:
    """Return a sneaker, a low shoe, a boot, a slipper or a high heel."""
    kind = pick(rng, ('sneaker', 'low', 'boot', 'slipper', 'heel'), (4, 2, 2, 1.5, 1))
    length = rng.uniform(0.2, 0.31)
    half = length * rng.uniform(0.15, 0.19)
    sole = length * (rng.uniform(0.07, 0.13) if kind in ('sneaker', 'boot') else 0.045)
    heel = length * rng.uniform(0.15, 0.32) if kind == 'heel' else 0.0
    upper = pick(rng, (paints.fabric(rng), paints.plastic(rng), paints.plain(paints.DARK)))
    rubber = paints.plain(pick(rng, (paints.WHITE, paints.DARK, (150, 110, 70))))
    t, width = _outline(rng, half, kind == 'heel')
    x = t * length
    drop = heel * np.clip(0.62 - t, 0, 0.45) / 0.45  # how high the foot is lifted there
    parts = [Part('sole', rubber, [shapes.profile(x, drop, drop + sole, 1.04 * width)])]
    if heel:
        stem = shapes.frustum((0.06 * length, 0.13 * length, -0.2 * half, 0.2 * half),
                              (0, 0.2 * length, -0.6 * half, 0.6 * half), 0, heel + 0.5 * sole)  # fmt: skip
        parts.append(Part('heel', rubber, [stem]))
    instep = length * rng.uniform(0.2, 0.3)
    toe = length * rng.uniform(0.12, 0.2)
    top = np.interp(t, [0.4, 0.62, 0.85, 1.0], [instep, 0.75 * instep, toe, 0.55 * toe])
    front = t >= 0.45 if kind != 'slipper' else t >= 0.5
    parts.append(Part('toe', upper, [_dome(x[front], width[front], (drop + 0.8 * sole)[front],
                                           top[front])]))  # fmt: skip
    if kind == 'slipper':
        return parts
    collar = length * (rng.uniform(0.5, 1.1) if kind == 'boot' else rng.uniform(0.2, 0.34))
    low = drop + 0.8 * sole
    if kind == 'boot':
        leg = [(1, 0), (1, 0.25 * collar), (rng.uniform(0.9, 1.2), collar)]
        shaft = shapes.lathe(shapes.shell(leg, 0.14, 0.02 * length))
        shaft = shapes.scaled(shaft, (0.28 * length, 0.78 * half, 1))
        rear = [shapes.moved(shaft, (0.29 * length, 0, 0.9 * sole))]
    else:
        rim = drop + sole + np.interp(t, [0, 0.3, 0.5], [collar, 0.75 * collar, instep])
        back = t <= 0.56
        rear = [_collar(x[back], width[back], low[back], rim[back], 0.03 * length)]
    parts.append(Part('upper', upper, rear))
    if kind in ('sneaker', 'boot') and chance(rng, 0.8):
        places = np.linspace(0.5, 0.68, 4)
        height = np.interp(places, t, top) + np.interp(places, t, drop) + 0.8 * sole
        laces = [
            shapes.beam(
                (p * length, -0.4 * half, z),
                (p * length, 0.4 * half, z),
                0.025 * length,
                0.02 * length,
            )
            for p, z in zip(places, height)
        ]
        parts.append(Part('lace', paints.plain(paints.WHITE), laces))
    return parts


def _outline(rng: Rng, half: float, pointed: bool) -> tuple[shapes.Array, shapes.Array]:
    """Return places from the heel (0) to the toe (1), and the half width of a foot there."""
    t = np.array([0.0, 0.03, 0.1, 0.2, 0.35, 0.45, 0.5, 0.56, 0.68, 0.8, 0.9, 0.97, 1.0])
    ball = float(rng.uniform(0.95, 1.1))
    tip = 0.35 if pointed else float(rng.uniform(0.55, 0.75))
    width = half * np.interp(
        t,
        [0, 0.03, 0.12, 0.4, 0.7, 0.9, 0.97, 1],
        [0.3, 0.55, 0.74, 0.72, ball, 0.85 * ball, tip, 0.6 * tip],
    )
    return t, width


def _dome(x: shapes.Array, width: shapes.Array, low: shapes.Array, height: shapes.Array) -> Mesh:
    """Return the front: ribs that are flat below and round above."""
    angle = np.linspace(0, np.pi, 11)
    across, up = np.cos(angle), np.sin(angle) ** 0.7
    rings = np.stack(
        [
            np.broadcast_to(x[:, None], (len(x), 11)),
            width[:, None] * across,
            low[:, None] + height[:, None] * up,
        ],
        -1,
    )
    return shapes.loft(rings)


def _collar(
    x: shapes.Array, width: shapes.Array, low: shapes.Array, rim: shapes.Array, wall: float
) -> Mesh:
    """Return the rear, which is open above: a wall around the heel, from one side to the other."""
    # Around the heel: from the front along +y, behind, and back along -y.
    path = np.concatenate([np.stack([x, width], 1)[::-1], np.stack([x, -width], 1)])
    edge = np.concatenate([np.stack([low, rim], 1)[::-1], np.stack([low, rim], 1)])
    inward = path.mean(0) + np.array((0.25 * np.ptp(x), 0)) - path
    inward *= wall / np.linalg.norm(inward, axis=1, keepdims=True)
    rings = []
    for (px, py), (dx, dy), (z0, z1) in zip(path, inward, edge):
        rings.append([(px, py, z0), (px, py, z1), (px + dx, py + dy, z1), (px + dx, py + dy, z0)])
    return shapes.loft(rings)
