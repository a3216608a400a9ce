"""Lamps that stand, bend and hang."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import frames, paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng
from recon3d_core.types import Mesh

FITTER = 0.6  # height of the cross that holds a shade, as a share of the shade's


def lamp(rng: Rng) -> list[Part]:
    """Return a table, floor or desk lamp with a shade, or one that hangs."""
    kind = pick(rng, ('table', 'floor', 'desk', 'hanging', 'lantern'), (4, 3, 2.5, 2.5, 0.8))
    height = rng.uniform(1.2, 1.8) if kind == 'floor' else rng.uniform(0.3, 0.65)
    thin = height * rng.uniform(0.014, 0.024)
    metal = pick(rng, (paints.metal(rng), paints.wood(rng), paints.plain(paints.DARK)))
    cloth = pick(rng, (paints.fabric(rng), paints.plain((240, 230, 205)), paints.glass(rng)))
    if kind == 'desk':
        return _desk_lamp(rng, height, thin, metal)
    radius = height * rng.uniform(0.1, 0.24) * (0.75 if kind == 'floor' else 1.5)
    tall = radius * rng.uniform(0.7, 1.8)
    shade = _shade(rng, radius, tall)
    if kind == 'hanging':
        cord = shapes.rod((0, 0, FITTER * tall), (0, 0, height), thin)
        cap = shapes.cylinder((0, 0, height - 0.03 * height), 4 * thin, 0.03 * height)
        if chance(rng, 0.3):
            count, reach = int(rng.integers(3, 7)), radius
            arm = shapes.rod((0, 0, 0.75 * height), (reach, 0, 0.3 * height), thin)
            place = (reach, 0, 0.3 * height - 0.45 * FITTER * tall)
            small = [shapes.moved(shapes.scaled(mesh, (0.45,) * 3), place) for mesh in shade]
            return [Part('arm', metal, [cord, cap, *shapes.around(arm, count)]),
                    Part('shade', cloth, [m for s in small for m in shapes.around(s, count)])]  # fmt: skip
        return [Part('shade', cloth, shade), Part('cord', metal, [cord, cap])]
    if kind == 'lantern':
        foot = [shapes.cylinder((0, 0, -0.05 * tall), 0.97 * radius, 0.2 * tall)]
        return [Part('shade', cloth, shade), Part('base', metal, foot)]
    base = max(radius * rng.uniform(0.5, 0.95), 4 * thin)
    foot = frames.pedestal(rng, base, height - 0.4 * tall, thin)
    if kind == 'table' and chance(rng, 0.6):
        t = np.linspace(0, 1, 10)
        belly = 0.35 * base * (0.4 + np.abs(np.sin(np.pi * t * rng.uniform(0.8, 2.2))))
        foot.append(shapes.lathe(np.stack([belly, t * (height - tall)], 1)))
    up = height - tall
    return [
        Part('base', metal, foot),
        Part('shade', cloth, [shapes.moved(mesh, (0, 0, up)) for mesh in shade]),
    ]


def _shade(rng: Rng, radius: float, tall: float) -> list[Mesh]:
    """Return a shade with the cross that holds it: a cone, a drum, a dome or a globe.

    It stands on z = 0 and is open below, and the first two are open above too.
    """
    kind = pick(rng, ('cone', 'drum', 'dome', 'globe'), (4, 3, 2, 1))
    if kind == 'globe':
        return [shapes.ellipsoid((0, 0, radius * 0.8), (0.8 * radius,) * 3)]
    wall = 0.09 * radius
    if kind == 'dome':
        angle = np.linspace(0, np.pi / 2 * 0.96, 8)
        outer = np.stack([radius * np.cos(angle), tall * np.sin(angle)], 1)
    else:
        top = rng.uniform(0.25, 0.7) if kind == 'cone' else rng.uniform(0.85, 1.0)
        outer = np.array([(radius, 0), ((1 + top) / 2 * radius, tall / 2), (top * radius, tall)])
    inner = np.stack([np.maximum(outer[::-1, 0] - wall, 0.03 * radius),
                      np.minimum(outer[::-1, 1], tall - wall)], 1)  # fmt: skip
    level = FITTER * tall
    reach, thin = float(np.interp(level, outer[:, 1], outer[:, 0])) - wall / 2, 0.05 * radius
    cross = [
        shapes.beam((-reach, 0, level), (reach, 0, level), thin, thin),
        shapes.beam((0, -reach, level), (0, reach, level), thin, thin),
    ]
    return [shapes.lathe(np.concatenate([outer, inner]), closed=True), *cross]


def _desk_lamp(rng: Rng, height: float, thin: float, metal: Paint) -> list[Part]:
    base = height * rng.uniform(0.16, 0.26)
    elbow = np.array((-rng.uniform(0.1, 0.35) * height, 0, rng.uniform(0.5, 0.75) * height))
    tip = elbow + np.array((rng.uniform(0.35, 0.7), 0, rng.uniform(0.05, 0.4))) * height
    foot = shapes.cylinder((0, 0, 0), base, 0.06 * height)
    joint = shapes.ellipsoid(elbow, (2.2 * thin,) * 3, 2, 10, 7)
    arms = [shapes.rod((0, 0, 0), elbow, 1.2 * thin), shapes.rod(elbow, tip, 1.2 * thin), joint]
    size = height * rng.uniform(0.12, 0.2)
    tall = size * rng.uniform(0.9, 1.5)
    shade, nod = _shade(rng, size, tall), rng.uniform(-0.7, 0.1)
    # The cross of the shade, about which it nods, is at the arm's tip.
    place = tip - np.array((0, 0, FITTER * tall))
    head = [shapes.turned(shapes.moved(mesh, place), 1, nod, tip) for mesh in shade]
    return [
        Part('base', metal, [foot]), Part('arm', metal, arms),
        Part('shade', paints.plastic(rng), head),
    ]  # fmt: skip
