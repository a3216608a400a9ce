"""Vessels: mugs, bottles, bowls and what else is turned around an axis."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng
from recon3d_core.types import Mesh


def ceramic(rng: Rng) -> Paint:
    """Return a glaze, or a print, that goes around."""
    if chance(rng, 0.2):
        return paints.printed(rng, 'label', 'around')
    return paints.rolled(paints.ceramic(rng))


def outside(rng: Rng, radius: float, height: float, foot: float) -> shapes.Array:
    """Return the outer profile of a cup: straight, conical, bellied or round below, (N, 2)."""
    kind = pick(rng, ('straight', 'cone', 'belly', 'round', 'tulip'))
    t = np.linspace(0, 1, 10)
    if kind == 'straight':
        r = np.concatenate([[0.92], np.ones(9)]) * radius
        t = np.concatenate([[0], np.linspace(0.06, 1, 9)])
    elif kind == 'cone':
        r = radius * (foot + (1 - foot) * t)
    elif kind == 'belly':
        r = radius * (0.82 + 0.18 * np.sin(np.pi * (0.15 + 0.7 * t)))
    elif kind == 'round':
        r = radius * (foot + (1 - foot) * np.sin(np.pi / 2 * np.minimum(t * 1.8, 1)))
    else:
        r = radius * (foot + (1 - foot) * t**2.2 + 0.12 * np.sin(np.pi * t))
    return np.stack([r, height * t], 1)


def handle(
    rng: Rng, place_m: float, low_m: float, high_m: float, reach_m: float, thick_m: float
) -> Mesh:
    """Return a handle in the plane y = 0, from a radius outwards to +x: C, ear or square."""
    kind = pick(rng, ('c', 'ear', 'square'))
    inside = place_m - 0.5 * thick_m
    if kind == 'square':
        out = place_m + reach_m
        points = [(inside, low_m), (out, low_m), (out, high_m), (inside, high_m)]
        curve = np.concatenate([shapes.bezier(points[k : k + 2], 4)[:-1] for k in range(3)]
                               + [np.array(points[-1:])])  # fmt: skip
        curve[1:-1] = (curve[:-2] + 2 * curve[1:-1] + curve[2:]) / 4
    else:
        out = place_m + reach_m * (1.45 if kind == 'c' else 1.9)
        sag = 0.0 if kind == 'c' else 0.45 * (high_m - low_m)
        points = [(inside, low_m), (out, low_m + sag), (out, high_m), (inside, high_m)]
        curve = shapes.bezier(points, 11)
    path = np.stack([curve[:, 0], np.zeros(len(curve)), curve[:, 1]], 1)
    flat = float(rng.uniform(1.0, 1.8))
    return shapes.sweep(path, (thick_m / 2, flat * thick_m / 2), shapes.outline(10, 2.5))


def mug(rng: Rng) -> list[Part]:
    """Return a mug or a cup with a handle, on a saucer at times."""
    radius, height = rng.uniform(0.032, 0.052), rng.uniform(0.055, 0.13)
    wall = rng.uniform(0.003, 0.005)
    outer = outside(rng, radius, height, rng.uniform(0.55, 0.8))
    glaze = ceramic(rng)
    body = shapes.lathe(shapes.shell(outer, wall, 2 * wall))
    low, high = height * rng.uniform(0.12, 0.3), height * rng.uniform(0.68, 0.92)
    place = float(np.interp((low + high) / 2, outer[:, 1], outer[:, 0]))
    place = min(place, float(np.interp([low, high], outer[:, 1], outer[:, 0]).min())) - wall / 2
    grip = handle(rng, place, low, high, rng.uniform(0.018, 0.035), rng.uniform(0.008, 0.013))
    grip = shapes.turned(grip, 2, np.pi / 2)
    plain = paints.plain(glaze.color)
    parts = [Part('body', glaze, [body]), Part('handle', plain, [grip])]
    if chance(rng, 0.4):
        drink = shapes.cylinder((0, 0, 2 * wall), outer[3, 0] - 0.8 * wall, height * 0.7)
        color = pick(rng, ((60, 36, 22), (120, 70, 30), (230, 220, 200), (140, 30, 20)))
        if outer[0, 0] > 0.85 * radius:
            parts.append(Part('drink', paints.plain(color), [drink]))
    if chance(rng, 0.15):
        rim = radius * rng.uniform(1.5, 1.9)
        edge = [(0.6 * rim, 0), (rim, 0.012), (rim, 0.016), (0.5 * rim, 0.006)]
        parts.append(Part('saucer', plain, [shapes.lathe(edge, (0, 0, -0.005))]))
    return parts


def bottle(rng: Rng) -> list[Part]:
    """Return a bottle of glass or plastic with a cap and, mostly, a label."""
    radius, height = rng.uniform(0.025, 0.05), rng.uniform(0.14, 0.34)
    neck, shoulder = radius * rng.uniform(0.25, 0.55), height * rng.uniform(0.45, 0.78)
    collar = shoulder + (height - shoulder) * rng.uniform(0.3, 0.85)
    t = np.linspace(0, 1, 10)
    bend = t**2 * (3 - 2 * t) if chance(rng, 0.7) else t
    waist = np.linspace(0.06, 1, 8)
    dent = 1 - rng.uniform(0, 0.18) * np.sin(np.pi * waist) ** 2 * chance(rng, 0.4)
    outer = np.concatenate(
        [
            [(0.85 * radius, 0)],
            np.stack([radius * dent, shoulder * waist], 1),
            np.stack([radius + (neck - radius) * bend, shoulder + (collar - shoulder) * t], 1)[1:],
            [(neck, height)],
        ]
    )
    squash = (1.0, rng.uniform(1.2, 1.9) if chance(rng, 0.3) else 1.0, 1.0)
    material = pick(rng, (paints.glass, paints.plastic, paints.ceramic))(rng)
    body = shapes.lathe(outer)
    body = shapes.scaled(body, squash)
    parts = [Part('body', paints.rolled(material), [body])]
    cap = shapes.cylinder((0, 0, 0.97 * height), 1.2 * neck, height * rng.uniform(0.04, 0.1))
    parts.append(Part('cap', paints.plastic(rng), [shapes.scaled(cap, squash)]))
    if chance(rng, 0.75):
        low, high = np.sort(rng.uniform(0.1, 0.95, 2)) * shoulder
        high = max(high, low + 0.2 * shoulder)
        levels = np.linspace(low, min(high, shoulder), 6)
        rings = np.interp(levels, outer[:, 1], outer[:, 0]) + 0.0008
        label = shapes.lathe(np.stack([rings, levels], 1))
        label = shapes.scaled(label, squash)
        parts.append(Part('label', paints.printed(rng, mapping='around'), [label]))
    return parts


def bowl(rng: Rng) -> list[Part]:
    """Return a bowl, deep or shallow, on a foot at times."""
    radius = rng.uniform(0.06, 0.15)
    height, foot = radius * rng.uniform(0.4, 1.0), rng.uniform(0.35, 0.65)
    t = np.linspace(0, 1, 12)
    power = rng.uniform(1.2, 3)
    r = radius * (foot + (1 - foot) * t ** (1 / power))
    outer = np.stack([r, height * t], 1)
    if chance(rng, 0.3):
        outer[-2:, 0] *= rng.uniform(1.02, 1.12)
    wall = rng.uniform(0.004, 0.008) * radius / 0.1
    glaze = pick(rng, (ceramic(rng), paints.wood(rng), paints.metal(rng)), (2, 1, 1))
    parts = [Part('body', paints.rolled(glaze), [shapes.lathe(shapes.shell(outer, wall, wall))])]
    if chance(rng, 0.4):
        rim = foot * radius * rng.uniform(0.8, 1.0)
        high = height * rng.uniform(0.08, 0.2)
        ring = shapes.cylinder((0, 0, -high), rim, 1.5 * high)
        parts.append(Part('foot', paints.plain(glaze.color), [ring]))
    return parts
