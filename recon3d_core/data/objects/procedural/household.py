"""Things of kitchen and desk; front to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, pick, Rng
from recon3d_core.data.objects.procedural.vessels import ceramic, handle, outside
from recon3d_core.types import Mesh


def can(rng: Rng) -> list[Part]:
    """Return a tin or a drink can, low or high."""
    radius, height = rng.uniform(0.025, 0.06), rng.uniform(0.03, 0.2)
    rim, neck = radius * rng.uniform(0.93, 1.04), rng.uniform(0.0, 0.12) * height
    t = rng.uniform(0.78, 1.0)
    body = shapes.lathe(
        [(0.94 * rim, 0), (radius, 0.04 * height), (radius, height - neck), (t * rim, height)]
    )
    lid = shapes.hoop((0, 0, height), 0.94 * t * rim, 0.06 * radius)
    label = rolled_print(rng)
    return [Part('body', label, [body]), Part('lid', paints.metal(rng), [lid])]


def rolled_print(rng: Rng) -> paints.Paint:
    """Return a label that goes around."""
    return paints.printed(rng, pick(rng, ('label', 'bands', 'gradient')), 'around')


def carton(rng: Rng) -> list[Part]:
    """Return a box of food or of goods, flat or high, with a gable or a lid at times."""
    x, y, z = rng.uniform((0.015, 0.03, 0.04), (0.09, 0.13, 0.28))
    paint = paints.printed(rng, pick(rng, ('label', 'cover', 'bands')))
    parts = [Part('box', paint, [shapes.block((-x, -y, 0), (x, y, z))])]
    kind = pick(rng, ('plain', 'gable', 'lid', 'cap'), (5, 1.2, 1.5, 1))
    if kind == 'gable':
        top = z + rng.uniform(0.5, 1.1) * x
        roof = shapes.frustum((-x, x, -y, y), (-0.12 * x, 0.12 * x, -y, y), z, top)
        fin = shapes.block((-0.08 * x, -y, top - 0.002), (0.08 * x, y, top + 0.25 * x))
        parts.append(Part('top', paint, [roof, fin]))
    elif kind == 'lid':
        edge, deep = 1.06, rng.uniform(0.15, 0.5) * z
        lid = shapes.block((-edge * x, -edge * y, z - deep), (edge * x, edge * y, 1.02 * z))
        parts.append(Part('lid', paints.plastic(rng), [lid]))
    elif kind == 'cap':
        cap = shapes.cylinder(
            (0, rng.uniform(-0.4, 0.4) * y, z), 0.45 * min(x, y), 0.06 * z + 0.01
        )
        parts.append(Part('cap', paints.plastic(rng), [cap]))
    return parts


def box(rng: Rng) -> list[Part]:
    """Return a cardboard box with open flaps, a crate or a box with a lid."""
    x, y, z = rng.uniform((0.06, 0.08, 0.06), (0.2, 0.25, 0.3))
    wall = 0.03 * 2 * max(x, y)
    color = pick(rng, ((186, 146, 100), (200, 164, 120), (160, 120, 80)))
    board = paints.Paint(color, paints.shade(color, 0.9), 'noise', seed=int(rng.integers(1 << 30)))
    kind = pick(rng, ('flaps', 'crate', 'lid', 'closed'), (3, 2, 2, 1))
    paint = (
        board
        if kind in ('flaps', 'closed')
        else pick(rng, (paints.wood(rng), paints.plastic(rng)))
    )
    sides = shapes.both(shapes.block((-x, y - wall, 0), (x, y, z)))
    sides += [shapes.block((a, -y, 0), (a + wall, y, z)) for a in (-x, x - wall)]
    parts = [Part('bottom', paint, [shapes.block((-x, -y, 0), (x, y, wall))])]
    if kind == 'closed':
        tape = shapes.block((-0.12 * x, -1.005 * y, 0.7 * z), (0.12 * x, 1.005 * y, 1.005 * z))
        return [Part('box', board, [shapes.block((-x, -y, 0), (x, y, z))]),
                Part('tape', paints.plain((214, 190, 140)), [tape])]  # fmt: skip
    parts.append(Part('side', paint, sides))
    if kind == 'flaps':
        flaps = []
        for half, along, turns in ((x, y, (0, 2)), (y, x, (1, 3))):
            flap = shapes.block(
                (half - wall, -along, z - wall), (half, along, z + 0.9 * min(x, y))
            )
            for quarter in turns:
                open_angle = rng.uniform(-0.3, 2.4)
                leaf = shapes.turned(flap, 1, open_angle, (half - wall / 2, 0, z - wall / 2))
                flaps.append(shapes.turned(leaf, 2, quarter * np.pi / 2))
        parts.append(Part('flap', paint, flaps))
    elif kind == 'lid':
        edge, deep = 1.04, rng.uniform(0.08, 0.3) * z
        lid = shapes.block((-edge * x, -edge * y, z - deep), (edge * x, edge * y, z + wall))
        lean = rng.uniform(-1.6, -0.6) if chance(rng, 0.4) else 0.0
        parts.append(Part('lid', paints.plastic(rng), [shapes.turned(lid, 1, lean, (-x, 0, z))]))
    elif chance(rng, 0.6):
        grip = shapes.block((-0.35 * x, y - 0.2 * wall, 0.7 * z), (0.35 * x, y + wall, 0.85 * z))
        parts.append(Part('handle', paint, shapes.both(grip)))
    return parts


def book(rng: Rng) -> list[Part]:
    """Return a book that lies or stands, or a pile of them."""
    count = int(rng.integers(1, 5)) if chance(rng, 0.35) else 1
    parts, z = [], 0.0
    for index in range(count):
        x, y, thick = rng.uniform((0.05, 0.07, 0.008), (0.11, 0.16, 0.05))
        board = 0.004
        paint = paints.printed(rng, pick(rng, ('cover', 'label', 'gradient')), 'fit')
        cover = [
            shapes.block((-x, -y, z), (x, y, z + board)),
            shapes.block((-x, -y, z + thick - board), (x, y, z + thick)),
            shapes.block((-x, -y, z), (-x + board, y, z + thick)),
        ]
        pages = shapes.block((-x + board, -y + 0.004, z + board / 2),
                             (x - 0.004, y - 0.004, z + thick - board / 2))  # fmt: skip
        turn = rng.normal(0, 0.25) if index else 0.0
        parts += [
            Part(f'cover {index + 1}', paint, [shapes.turned(m, 2, turn) for m in cover]),
            Part('pages', paints.plain((236, 230, 214)), [shapes.turned(pages, 2, turn)]),
        ]
        z += thick
    if count == 1 and chance(rng, 0.4):
        parts = [
            Part(p.name, p.paint, [shapes.turned(m, 0, np.pi / 2) for m in p.solids])
            for p in parts
        ]
    return parts


def vase(rng: Rng) -> list[Part]:
    """Return a vase, an urn or a flower pot, with handles at times."""
    height = rng.uniform(0.1, 0.35)
    radius = height * rng.uniform(0.18, 0.5)
    t = np.linspace(0, 1, 14)
    controls = rng.uniform((0.45, 0.5, 0.6, 0.25, 0.25), (0.8, 1.2, 1.4, 1.0, 0.9))
    r = radius * shapes.bezier(np.stack([controls, controls], 1), 14)[:, 0]
    outer = np.stack([r, t * height], 1)
    wall = max(0.09 * radius, 0.004)
    glaze = pick(rng, (ceramic(rng), paints.glass(rng), paints.metal(rng)))
    parts = [Part('body', glaze, [shapes.lathe(shapes.shell(outer, wall, 2 * wall))])]
    if chance(rng, 0.2):
        low, high = 0.35 * height, 0.8 * height
        place = float(np.interp((low + high) / 2, t * height, r)) - wall
        grip = handle(rng, place, low, high, 0.3 * radius, 0.09 * radius + 0.004)
        count = pick(rng, (1, 2, 2))
        parts.append(Part('handle', paints.plain(glaze.color), shapes.around(grip, count)))
    return parts


def jar(rng: Rng) -> list[Part]:
    """Return a jar or a tub with a lid."""
    radius, height = rng.uniform(0.03, 0.07), rng.uniform(0.05, 0.18)
    neck = radius * rng.uniform(0.7, 1.0)
    body = shapes.lathe(
        [(0.9 * radius, 0), (radius, 0.08 * height), (radius, 0.8 * height), (neck, 0.9 * height),
         (neck, height)]
    )  # fmt: skip
    lid = shapes.cylinder((0, 0, 0.93 * height), neck * rng.uniform(1.03, 1.12), 0.16 * height)
    glass = pick(rng, (paints.glass(rng), rolled_print(rng), paints.plastic(rng)))
    parts = [Part('body', glass, [body]), Part('lid', paints.plastic(rng), [lid])]
    if chance(rng, 0.3):
        knob = shapes.ellipsoid((0, 0, 1.12 * height), (0.25 * neck, 0.25 * neck, 0.09 * height))
        parts.append(Part('knob', paints.metal(rng), [knob]))
    return parts


def pan(rng: Rng) -> list[Part]:
    """Return a frying pan, a sauce pan or a pot with one or two handles."""
    radius = rng.uniform(0.08, 0.16)
    height = radius * (rng.uniform(0.25, 0.45) if chance(rng, 0.5) else rng.uniform(0.6, 1.5))
    flare = rng.uniform(0.75, 1.0)
    wall = 0.05 * radius
    outer = [(flare * radius, 0), (radius * (1 + flare) / 2, height / 2), (radius, height)]
    body = shapes.lathe(shapes.shell(outer, wall, 1.5 * wall))
    metal, grip = paints.metal(rng), paints.plain(paints.DARK)
    z = height * rng.uniform(0.75, 0.92)
    if height > 0.9 * radius or chance(rng, 0.2):
        ears = [
            shapes.sweep(
                shapes.bezier([(0.95 * radius, -0.3 * radius, z), (1.4 * radius, -0.3 * radius, z),
                               (1.4 * radius, 0.3 * radius, z), (0.95 * radius, 0.3 * radius, z)], 9),
                0.06 * radius, shapes.outline(8), (0, 0, 1),
            )
        ]  # fmt: skip
        handles = shapes.around(ears[0], 2)
    else:
        reach = radius * rng.uniform(2.1, 3.0)
        rise = rng.uniform(0.0, 0.4) * radius
        path = shapes.bezier([(0.95 * radius, 0, z), (1.3 * radius, 0, z + rise),
                              (reach, 0, z + rise)], 7)  # fmt: skip
        handles = [shapes.sweep(path, (0.07 * radius, 0.11 * radius), shapes.outline(10, 3))]
    parts = [Part('body', metal, [body]), Part('handle', pick(rng, (metal, grip)), handles)]
    if chance(rng, 0.25):
        lid = shapes.lathe([(1.02 * radius, height), (0.6 * radius, height * 1.08 + 0.01),
                            (0.02 * radius, height * 1.1 + 0.02)])  # fmt: skip
        knob = shapes.ellipsoid((0, 0, height * 1.1 + 0.03), (0.12 * radius,) * 3)
        parts.append(Part('lid', metal, [lid, knob]))
    return parts


def teapot(rng: Rng) -> list[Part]:
    """Return a teapot, a coffee pot, a kettle or a pitcher."""
    radius, height = rng.uniform(0.06, 0.1), rng.uniform(0.08, 0.2)
    outer = outside(rng, radius, height, rng.uniform(0.5, 0.8))
    glaze = pick(rng, (ceramic(rng), paints.metal(rng)))
    plain = paints.plain(glaze.color)
    wall = 0.05 * radius

    def reach(z: float) -> float:
        return float(np.interp(z, outer[:, 1], outer[:, 0]))

    low, high = 0.25 * height, 0.85 * height
    grip = handle(rng, min(reach(low), reach(high)) - wall, low, high, 0.45 * radius,
                  rng.uniform(0.009, 0.015))  # fmt: skip
    grip = shapes.turned(grip, 2, np.pi)
    closed = chance(rng, 0.75)
    parts = []
    if closed:
        body = shapes.lathe(outer)
        top = outer[-1, 0]
        lid = shapes.lathe(
            [(top, height), (0.7 * top, 1.08 * height), (0.05 * top, 1.13 * height)]
        )
        knob = shapes.ellipsoid((0, 0, 1.16 * height), (0.16 * radius,) * 3)
        parts.append(Part('lid', plain, [lid, knob]))
    else:
        body = shapes.lathe(shapes.shell(outer, wall, 2 * wall))
    z = rng.uniform(0.25, 0.6) * height
    start, far = reach(z) - 2 * wall, reach(z) + radius * rng.uniform(0.5, 1.0)
    path = shapes.bezier([(start, 0, z), (0.6 * far + 0.4 * start, 0, z),
                          (0.6 * far + 0.4 * start, 0, 0.9 * height), (far, 0, height)], 9)  # fmt: skip
    spout = shapes.sweep(path, np.linspace(0.24, 0.11, 9)[:, None] * radius)
    return [Part('body', glaze, [body]), Part('spout', plain, [spout]),
            Part('handle', plain, [grip]), *parts]  # fmt: skip


def drinking_glass(rng: Rng) -> list[Part]:
    """Return a tumbler, a stemmed glass or a beaker."""
    height = rng.uniform(0.08, 0.22)
    radius = height * rng.uniform(0.2, 0.4)
    wall = max(0.08 * radius, 0.0025)
    paint = pick(rng, (paints.glass(rng), paints.plastic(rng), rolled_print(rng)))
    if chance(rng, 0.5):
        outer = [(radius * rng.uniform(0.6, 0.95), 0), (radius, height)]
        return [Part('body', paint, [shapes.lathe(shapes.shell(outer, wall, 3 * wall))])]
    stem, bowl = rng.uniform(0.3, 0.55) * height, max(0.1 * radius, 0.026 * height)
    t = np.linspace(0, 1, 8)
    swell = rng.uniform(0.0, 0.4)
    r = radius * (np.sqrt(t) * (1 - swell * t**3)) + bowl
    cup = np.stack([r, stem + t * (height - stem)], 1)
    foot = shapes.lathe([(0.85 * radius, 0), (0.85 * radius, 0.02 * height), (bowl, 0.06 * height),
                         (bowl, stem + 0.04 * height)])  # fmt: skip
    return [Part('bowl', paint, [shapes.lathe(shapes.shell(cup, wall, 2 * wall))]),
            Part('foot', paint, [foot])]  # fmt: skip


def plate(rng: Rng) -> list[Part]:
    """Return a plate or a dish, a pile of plates at times."""
    radius = rng.uniform(0.07, 0.15)
    height, inner = radius * rng.uniform(0.12, 0.3), rng.uniform(0.5, 0.75)
    wall = 0.06 * radius
    outer = [(inner * radius, 0), (inner * radius * 1.05, 0.2 * height), (radius, height)]
    dish = shapes.lathe(shapes.shell(outer, wall, wall))
    count = int(rng.integers(2, 6)) if chance(rng, 0.25) else 1
    meshes = [shapes.moved(dish, (0, 0, k * 1.3 * wall)) for k in range(count)]
    return [Part('plate', ceramic(rng), meshes)]


def fruit(rng: Rng) -> list[Part]:
    """Return an apple, a pear, an orange, a banana, a lemon or a pepper."""
    kind = pick(rng, ('apple', 'pear', 'round', 'banana', 'lemon'))
    size = rng.uniform(0.025, 0.06)
    colors = {
        'apple': ((180, 30, 36), (120, 170, 50)), 'pear': ((170, 180, 60), (200, 170, 60)),
        'round': ((240, 140, 30), (200, 40, 40)), 'banana': ((240, 210, 60), (150, 180, 60)),
        'lemon': ((240, 220, 60), (110, 170, 60)),
    }  # fmt: skip
    skin = paints.plain(pick(rng, colors[kind]))
    stem = paints.plain((90, 66, 40))
    if kind == 'banana':
        path = shapes.bezier([(-2.4 * size, 0, size), (-1.2 * size, 0, 0), (1.2 * size, 0, 0),
                              (2.4 * size, 0, size * rng.uniform(1, 2))], 11)  # fmt: skip
        r = size * 0.55 * np.array([0.3, 0.6, 0.85, 1, 1, 1, 1, 0.95, 0.8, 0.5, 0.25])[:, None]
        return [Part('fruit', skin, [shapes.sweep(path, r)])]
    angle = np.linspace(-np.pi / 2, np.pi / 2, 15)
    r, z = np.cos(angle), np.sin(angle) * rng.uniform(0.8, 1.25)
    if kind == 'apple':
        z = z - 0.25 * np.exp(-((r / 0.35) ** 2)) * np.sign(z)
        r = r * (1 + 0.12 * z)
    elif kind == 'pear':
        r, z = r * (1 - 0.28 * np.clip(z + 0.3, 0, 1)), z * np.where(z > 0, 1.6, 1.0)
    elif kind == 'lemon':
        z = z * 1.35
        r = r**1.25
    r = np.maximum(r, 0)
    r[[0, -1]] = 0
    body = shapes.lathe(size * np.stack([r, z - z.min()], 1))
    top = float(body.vertices_m[:, 2].max())
    twig = shapes.rod((0, 0, 0.5 * top), (0.15 * size, 0, top + 0.3 * size), 0.07 * size)
    parts = [Part('fruit', skin, [body])]
    return [*parts, Part('stem', stem, [twig])] if kind != 'lemon' else parts


def basket(rng: Rng) -> list[Part]:
    """Return a basket, a bin, a bucket or a tray, with a handle at times."""
    x, y, z = rng.uniform((0.08, 0.08, 0.05), (0.18, 0.22, 0.3))
    flare, wall = rng.uniform(0.75, 1.0), 0.012
    section = shapes.outline(28, pick(rng, (2.0, 4.0, 12.0)))
    heights = np.array([0.0, z, z, wall * 1.5])
    scale = np.array([flare, 1.0, 1.0, flare + (1 - flare) * 0.1])
    inset = np.array([0.0, 0.0, wall, wall])
    half = np.stack([scale * x - inset, scale * y - inset], 1)
    rings = np.zeros((4, len(section), 3))
    rings[..., :2] = half[:, None] * section
    rings[..., 2] = heights[:, None]
    paint = pick(rng, (paints.wood(rng), paints.plastic(rng), paints.fabric(rng)))
    parts = [Part('body', paint, [shapes.loft(rings)])]
    if chance(rng, 0.45):
        lift = rng.uniform(0.6, 1.4) * y
        arc = shapes.bezier([(0, -0.97 * y, 0.9 * z), (0, -0.9 * y, z + 1.3 * lift),
                             (0, 0.9 * y, z + 1.3 * lift), (0, 0.97 * y, 0.9 * z)], 13)  # fmt: skip
        grip = shapes.sweep(arc, (0.008, 0.012), shapes.outline(8), (1, 0, 0))
        parts.append(Part('handle', paint, [grip]))
    return parts


def spray_bottle(rng: Rng) -> list[Part]:
    """Return a spray bottle, a detergent bottle with a grip, or a pump dispenser."""
    height = rng.uniform(0.14, 0.26)
    x, y = height * rng.uniform(0.12, 0.2), height * rng.uniform(0.16, 0.26)
    section = shapes.outline(24, pick(rng, (2.0, 3.0, 6.0)))
    waist, shoulder = rng.uniform(0.75, 1.0), rng.uniform(0.5, 0.7)
    neck = 0.07 * height
    halves = [(x, y), (x, y), (waist * x, waist * y), (x, y), (neck, neck), (neck, neck)]
    places = np.array([0, 0.25 * shoulder, 0.6 * shoulder, shoulder, 0.8, 0.88]) * height
    paint = pick(rng, (paints.plastic(rng), rolled_print(rng)))
    body = shapes.stack(places, np.array(halves), section=section, axis=2)
    cap_paint, top = paints.plastic(rng), 0.86 * height
    kind = pick(rng, ('spray', 'pump', 'grip'))
    if kind == 'grip':
        cap = [shapes.cylinder((0, 0, top), 1.3 * neck, 0.1 * height)]
        loop = handle(rng, 0.8 * y, 0.35 * shoulder * height, 0.95 * shoulder * height, 0.5 * y,
                      0.05 * height)  # fmt: skip
        return [Part('body', paint, [body, shapes.turned(loop, 2, np.pi / 2)]),
                Part('cap', cap_paint, cap)]  # fmt: skip
    head: list[Mesh] = [shapes.cylinder((0, 0, top), 1.25 * neck, 0.07 * height)]
    if kind == 'pump':
        head += [
            shapes.rod((0, 0, top), (0, 0, 1.04 * height), 0.4 * neck),
            shapes.beam((-0.05 * height, 0, 1.05 * height), (0.2 * height, 0, 1.03 * height),
                        0.06 * height, 0.04 * height),
        ]  # fmt: skip
    else:
        head += [
            shapes.profile((-0.14 * height, 0.0, 0.17 * height),
                           (0.96 * height, 0.92 * height, 0.99 * height),
                           (1.04 * height, 1.07 * height, 1.07 * height), 0.05 * height),
            shapes.beam((0.1 * height, 0, 1.0 * height), (0.13 * height, 0, 0.84 * height),
                        0.04 * height, 0.025 * height),
        ]  # fmt: skip
    return [Part('body', paint, [body]), Part('head', cap_paint, head)]
