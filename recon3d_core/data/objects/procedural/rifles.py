"""Rifles; muzzle to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng


def rifle(rng: Rng) -> list[Part]:
    """Return a hunting rifle, an assault rifle or a lever gun, with a scope at times."""
    length = rng.uniform(0.8, 1.2)
    modern = chance(rng, 0.5)
    stock_paint: Paint = paints.plain(paints.DARK) if modern else paints.wood(rng)
    steel = paints.plain(pick(rng, ((52, 54, 58), (84, 86, 90), (32, 32, 34))))
    half = length * rng.uniform(0.014, 0.02)
    x0, grip = -0.5 * length, length * rng.uniform(-0.2, -0.1)
    butt = length * rng.uniform(0.05, 0.07)
    drop = length * rng.uniform(0.02, 0.07)
    stock = shapes.profile(
        (x0, grip - 0.04 * length, grip + 0.04 * length),
        (-drop - butt, -0.045 * length, -0.03 * length), (-drop + butt, 0.0, 0.01 * length), half,
    )  # fmt: skip
    fore = length * rng.uniform(0.12, 0.24)
    receiver = shapes.block(
        (grip, -half, -0.03 * length), (grip + 0.24 * length, half, 0.03 * length)
    )
    guard = shapes.stack(
        (grip + 0.22 * length, fore), (half * 1.1, 0.024 * length), -0.004 * length
    )
    barrel = shapes.rod(
        (grip, 0, 0.008 * length), (0.5 * length, 0, 0.008 * length), length * 0.013
    )
    parts = [
        Part('stock', stock_paint, [stock, guard]),
        Part('barrel', steel, [barrel, receiver]),
    ]
    handle = shapes.beam((grip + 0.03 * length, 0, -0.02 * length),
                         (grip - 0.02 * length, 0, -0.14 * length), 2 * half, 0.045 * length)  # fmt: skip
    if modern:
        parts.append(Part('grip', stock_paint, [handle]))
    if modern or chance(rng, 0.3):
        curve = rng.uniform(0.0, 0.06) * length
        x, down = grip + 0.14 * length, rng.uniform(0.08, 0.2) * length
        magazine = shapes.sweep(
            shapes.bezier([(x, 0, 0), (x, 0, -0.5 * down), (x + curve, 0, -down)], 5),
            (0.03 * length, half * 0.9), shapes.SQUARE,
        )  # fmt: skip
        parts.append(Part('magazine', steel, [magazine]))
    if chance(rng, 0.5):
        z, x = 0.055 * length, grip + 0.12 * length
        scope = shapes.stack(
            np.array([-0.13, -0.08, -0.06, 0.06, 0.08, 0.13]) * length + x,
            np.array([[1.5], [1.4], [0.9], [0.9], [1.6], [1.7]]) * 0.012 * length, z,
        )  # fmt: skip
        stands = [
            shapes.block((x + s * length - 0.01, -0.006, 0.01), (x + s * length + 0.01, 0.006, z))
            for s in (-0.05, 0.05)
        ]
        parts.append(Part('scope', steel, [scope, *stands]))
    return parts
