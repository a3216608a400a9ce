"""Hand tools and cutlery; their working end to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng


def tool(rng: Rng) -> list[Part]:
    """Return a hammer, a screwdriver, a wrench, a brush or a spatula, lying on its side."""
    kind = pick(rng, ('hammer', 'screwdriver', 'wrench', 'brush', 'spatula', 'drill'))
    length = rng.uniform(0.18, 0.34)
    half = length * rng.uniform(0.035, 0.06)
    grip = pick(rng, (paints.wood(rng), paints.plastic(rng)))
    metal = paints.metal(rng)
    z = half * 1.5
    if kind == 'drill':
        body = shapes.stack((-0.35 * length, 0.2 * length, 0.3 * length),
                            [(0.16 * length,) * 2, (0.16 * length,) * 2, (0.08 * length,) * 2],
                            0.62 * length)  # fmt: skip
        stock = shapes.beam((-0.2 * length, 0, 0.6 * length), (-0.28 * length, 0, 0.02 * length),
                            0.16 * length, 0.2 * length)  # fmt: skip
        foot = shapes.block((-0.45 * length, -0.14 * length, 0), (-0.05 * length, 0.14 * length,
                                                                   0.14 * length))  # fmt: skip
        bit = shapes.rod((0.3 * length, 0, 0.62 * length), (0.55 * length, 0, 0.62 * length),
                         0.035 * length)  # fmt: skip
        build = rng.uniform((0.8, 0.7, 0.75), (1.2, 1.3, 1.25))
        named = (
            ('body', paints.plastic(rng), body), ('grip', grip, stock),
            ('battery', paints.plain(paints.DARK), foot), ('bit', metal, bit),
        )  # fmt: skip
        return [Part(name, paint, [shapes.scaled(mesh, build)]) for name, paint, mesh in named]
    thick = [0.8, 1.1, 1.0, 1.0, 0.85]
    x = np.linspace(-0.5, 0.1 if kind == 'screwdriver' else 0.35, 5) * length
    shaft = shapes.stack(x, np.outer(thick, (half, 0.8 * half)), z, shapes.outline(10, 3))
    end = float(x[-1])
    parts = [Part('handle', grip, [shaft])]
    if kind == 'hammer':
        head = shapes.block((end, -0.2 * length, z - 1.4 * half), (end + 0.14 * length,
                            0.16 * length, z + 1.4 * half))  # fmt: skip
        claw = shapes.profile((end, end + 0.12 * length), (z - half,) * 2, (z + half,) * 2,
                              0.26 * length)  # fmt: skip
        head = head if chance(rng, 0.5) else claw
        parts.append(Part('head', metal, [head]))
    elif kind == 'screwdriver':
        blade = shapes.rod(
            (end - 0.02, 0, z), (0.5 * length, 0, z), max(0.4 * half, 0.019 * length)
        )
        parts.append(Part('blade', metal, [blade]))
    elif kind == 'wrench':
        spread, reach = rng.uniform(1.6, 2.8), rng.uniform(0.45, 0.55) * length
        jaw = shapes.beam((end, 0.5 * half, z), (reach, spread * half, z), 1.3 * half, 1.6 * half)
        parts = [Part('handle', metal, [shaft]), Part('jaw', metal, shapes.both(jaw))]
    elif kind == 'brush':
        head = shapes.block(
            (end, -2.2 * half, z - 0.6 * half), (0.5 * length, 2.2 * half, z + 0.6 * half)
        )
        hair = shapes.block((end + 0.01, -2 * half, z - 2.4 * half), (0.5 * length, 2 * half, z))
        parts += [Part('head', grip, [head]), Part('hair', paints.plain((90, 70, 50)), [hair])]
    else:
        flat = shapes.profile((end - 0.01, end + 0.03, 0.62 * length),
                              (z - 0.3 * half, z - 0.5 * half, z - 0.7 * half),
                              (z + 0.3 * half, z + 0.2 * half, z), (half, 2.5 * half, 3 * half))  # fmt: skip
        parts.append(Part('blade', metal, [flat]))
    return parts


def spoon(rng: Rng) -> list[Part]:
    """Return a spoon, a ladle or a scoop."""
    length = rng.uniform(0.15, 0.32)
    radius = length * rng.uniform(0.11, 0.17)
    deep = radius * rng.uniform(0.5, 1.1)
    angle = np.linspace(0.15, np.pi / 2, 8)
    outer = np.stack([radius * np.sin(angle), deep * (1 - np.cos(angle))], 1)
    bowl = shapes.lathe(shapes.shell(outer, 0.12 * radius, 0.12 * radius))
    bowl = shapes.scaled(bowl, (rng.uniform(1.0, 1.5), 1, 1))
    lift = rng.uniform(0.0, 0.5) * length
    path = shapes.bezier([(-0.9 * radius, 0, 0.9 * deep), (-0.4 * length, 0, deep + 0.2 * lift),
                          (-0.8 * length, 0, deep + lift)], 9)  # fmt: skip
    thick = length * 0.016
    stick = shapes.sweep(path, (thick, thick * rng.uniform(1.0, 2.2)))
    paint = pick(rng, (paints.metal(rng), paints.wood(rng), paints.plastic(rng)))
    return [Part('bowl', paint, [bowl]), Part('handle', paint, [stick])]


def cutlery(rng: Rng) -> list[Part]:
    """Return a fork, a knife, a pair of scissors or a pair of tongs, lying."""
    kind = pick(rng, ('fork', 'knife', 'scissors', 'tongs'), (2, 3, 2, 1))
    length = rng.uniform(0.14, 0.3)
    half = length * rng.uniform(0.03, 0.045)
    flat = length * rng.uniform(0.017, 0.026)
    grip = pick(rng, (paints.metal(rng), paints.wood(rng), paints.plastic(rng)))
    metal = paints.metal(rng)
    if kind == 'scissors':
        return _scissors(rng, length, half, flat, grip, metal)
    if kind == 'tongs':
        bend, reach = rng.uniform(0.1, 0.3), 0.5 * length
        arm = shapes.beam(
            (-reach, 0.3 * half, flat), (reach, bend * length, flat), 1.2 * half, 2 * flat
        )
        cup = shapes.ellipsoid(
            (reach, bend * length, flat), (2 * half, half, 1.2 * flat), 3, 12, 7
        )
        return [Part('arm', metal, shapes.both(arm)), Part('tip', grip, shapes.both(cup))]
    middle = length * rng.uniform(-0.1, 0.1)
    x = np.linspace(-0.5 * length, middle + 0.02 * length, 6)
    wide = half * np.array([0.7, 1.1, 1.0, 0.8, 0.7, 0.6])
    handle = shapes.stack(x, np.stack([wide, np.full(6, 1.4 * flat)], 1), 1.4 * flat,
                          shapes.outline(10, 3))  # fmt: skip
    parts = [Part('handle', grip, [handle])]
    if kind == 'knife':
        places = np.linspace(middle, 0.5 * length, 6)
        blade = half * rng.uniform(0.8, 1.6) * np.array([0.9, 1.1, 1.1, 1.05, 0.8, 0.15])
        shift = blade - blade[1]  # the back of the blade is straight
        sides = np.stack([blade, np.full(6, 0.8 * flat)], 1)
        centers = np.stack([shift, np.full(6, 1.4 * flat)], 1)
        return [
            *parts,
            Part('blade', metal, [shapes.stack(places, sides, centers, shapes.SQUARE)]),
        ]
    root, count = 0.26 * length, int(rng.integers(2, 5))
    width = half * rng.uniform(1.2, 1.7)
    neck = shapes.profile((middle, root - 0.06 * length, root), (0.6 * flat,) * 3, (2.2 * flat,) * 3,
                          (0.5 * half, 0.8 * half, width))  # fmt: skip
    thin = 0.55 * width / count
    tines = [
        shapes.beam((root - 0.02 * length, y, 1.4 * flat), (0.5 * length, y, 2 * flat), 2 * thin, 1.6 * flat)
        for y in np.linspace(-width + thin, width - thin, count)
    ]  # fmt: skip
    return [*parts, Part('head', metal, [neck, *tines])]


def _scissors(
    rng: Rng, length: float, half: float, flat: float, grip: Paint, metal: Paint
) -> list[Part]:
    open_angle = rng.uniform(0.06, 0.5)
    ring = length * rng.uniform(0.07, 0.11)
    blades, bows = [], []
    for side, z in ((1, flat), (-1, 2 * flat)):
        x = np.array([-0.05, 0.1, 0.35, 0.5]) * length
        wide = half * np.array([1.0, 1.0, 0.7, 0.15])
        blade = shapes.stack(x, np.stack([wide, np.full(4, flat)], 1), z, shapes.SQUARE)
        arm = shapes.beam((0, 0, z), (-0.28 * length, -0.5 * ring, z), 1.4 * half, 2 * flat)
        bow = shapes.hoop((0, 0, 0), ring, (0.24 * ring, 1.2 * flat))
        bow = shapes.scaled(bow, (rng.uniform(1.0, 1.5), 1, 1))
        bow = shapes.moved(bow, (-0.28 * length - 0.9 * ring, -0.9 * ring, z))
        meshes = [shapes.turned(mesh, 2, open_angle / 2) for mesh in (blade, arm, bow)]
        if side < 0:
            meshes = [shapes.mirrored(mesh) for mesh in meshes]
        blades += meshes[:1]
        bows += meshes[1:]
    pin = shapes.cylinder((0, 0, 0), 0.8 * half, 3.2 * flat, 12)
    return [Part('blade', metal, [*blades, pin]), Part('handle', grip, bows)]
