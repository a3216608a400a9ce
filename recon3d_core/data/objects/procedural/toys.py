"""Toys: animals, and things to build with; heads to +x."""

from __future__ import annotations

import dataclasses

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Color, Paint, pick, Rng
from recon3d_core.types import Mesh


@dataclasses.dataclass(frozen=True)
class _Species:
    """Proportions of a quadruped, all in lengths of its body.

    Attributes:
        body: Half width and half height of the trunk.
        leg: Length and radius of a leg.
        neck: Length of the neck and its rise, 1 = upright.
        head: Length and radius of the head.
        tail: Length and radius of the tail.
        ear: Length of an ear.
        extra: `trunk`, `horns`, `mane`, `spikes` or nothing.
        colors: What it may be coloured.
    """

    body: tuple[float, float]
    leg: tuple[float, float]
    neck: tuple[float, float]
    head: tuple[float, float]
    tail: tuple[float, float]
    ear: float
    extra: str
    colors: tuple[Color, ...]


_BROWNS: tuple[Color, ...] = ((120, 76, 44), (180, 130, 84), (70, 50, 40), (226, 210, 186))
_GREENS: tuple[Color, ...] = ((90, 140, 60), (60, 110, 90), (150, 140, 70))
_SPECIES = {
    'dog': _Species((0.17, 0.19), (0.42, 0.06), (0.25, 0.7), (0.36, 0.14), (0.4, 0.03), 0.14, '',
                    _BROWNS),
    'horse': _Species((0.16, 0.2), (0.68, 0.055), (0.52, 0.75), (0.42, 0.11), (0.5, 0.05), 0.1,
                      'mane', _BROWNS),
    'cow': _Species((0.22, 0.25), (0.42, 0.065), (0.2, 0.45), (0.38, 0.14), (0.45, 0.025), 0.12,
                    'horns', ((240, 236, 230), (130, 80, 50), (40, 36, 34))),
    'elephant': _Species((0.27, 0.3), (0.5, 0.1), (0.12, 0.4), (0.36, 0.22), (0.3, 0.025), 0.34,
                         'trunk', ((130, 132, 138), (110, 100, 96))),
    'giraffe': _Species((0.17, 0.2), (0.85, 0.055), (1.05, 0.93), (0.34, 0.09), (0.35, 0.03), 0.1,
                        'horns', ((222, 176, 90), (240, 206, 130))),
    'pig': _Species((0.24, 0.25), (0.24, 0.07), (0.1, 0.3), (0.34, 0.18), (0.15, 0.025), 0.13, '',
                    ((236, 170, 170), (90, 70, 66))),
    'bear': _Species((0.25, 0.26), (0.32, 0.1), (0.14, 0.5), (0.36, 0.2), (0.06, 0.05), 0.1, '',
                     (*_BROWNS, (240, 240, 238))),
    'dinosaur': _Species((0.2, 0.24), (0.38, 0.085), (0.7, 0.8), (0.3, 0.1), (0.95, 0.09), 0.0,
                         'spikes', _GREENS),
    'crocodile': _Species((0.18, 0.14), (0.16, 0.06), (0.1, 0.1), (0.55, 0.11), (0.9, 0.08), 0.0,
                          'spikes', _GREENS),
}  # fmt: skip


def toy_animal(rng: Rng) -> list[Part]:
    """Return a toy animal: a quadruped of one of nine kinds, or a bird."""
    if chance(rng, 0.15):
        return _bird(rng)
    species = _SPECIES[pick(rng, list(_SPECIES))]
    length = rng.uniform(0.07, 0.2)
    half_y, half_z = np.array(species.body) * length * rng.uniform(0.85, 1.2, 2)
    leg, radius = np.array(species.leg) * length * rng.uniform(0.8, 1.25, 2)
    middle = leg + 0.75 * half_z
    color = pick(rng, species.colors) if chance(rng, 0.75) else paints.any_color(rng)
    skin = paints.plain(color)
    if chance(rng, 0.45):
        second = paints.shade(color, float(rng.uniform(0.3, 0.7)))
        skin = Paint(color, second, pick(rng, ('spots', 'noise')), seed=int(rng.integers(1 << 30)))
    dark = paints.plain(paints.shade(color, 0.45))
    parts = [
        Part('body', skin, [_trunk(rng, length, half_y, half_z, middle)]),
        Part('leg', skin, _legs(rng, length, half_y, (leg, radius), middle)),
    ]
    tail_long, tail_half = np.array(species.tail) * length * rng.uniform(0.8, 1.2)
    drop = float(rng.uniform(-0.3, 0.9)) if species.extra != 'spikes' else 0.35
    path = shapes.bezier(
        [(-0.42 * length, 0, middle + 0.3 * half_z),
         (-0.5 * length - 0.5 * tail_long, 0, middle + 0.3 * half_z),
         (-0.5 * length - 0.8 * tail_long, 0, middle + 0.3 * half_z - drop * tail_long)], 6,
    )  # fmt: skip
    thick = np.linspace(1.0, 0.6, 6)[:, None] * max(tail_half, 0.045 * length)
    parts.append(Part('tail', skin, [shapes.sweep(path, thick)]))
    return parts + _head(rng, species, (length, half_y, half_z, middle), skin, dark)


def _trunk(rng: Rng, length: float, half_y: float, half_z: float, middle: float) -> Mesh:
    t = np.array([-0.5, -0.47, -0.36, -0.15, 0.1, 0.32, 0.46, 0.5])
    swell = np.array([0.0, 0.55, 0.9, 1.0, 0.95, 1.0, 0.6, 0.0])
    swell[2:6] *= rng.uniform(0.88, 1.1, 4)
    sides = np.stack([half_y * swell, half_z * swell], 1)
    return shapes.stack(t * length, sides, middle, shapes.outline(14, rng.uniform(2, 2.8)))


def _legs(
    rng: Rng, length: float, half_y: float, size: tuple[float, float], middle: float
) -> list[Mesh]:
    """Return four legs, standing or striding."""
    leg, radius = size
    stride = float(rng.uniform(0.0, 0.35)) * leg * chance(rng, 0.5)
    made = []
    for front in (-1, 1):
        for side in (-1, 1):
            step = front * side * stride
            top = (front * 0.34 * length, side * 0.55 * half_y, middle)
            foot = (front * 0.36 * length + step, side * 0.7 * half_y, 0.0)
            made.append(shapes.rod(foot, top, 0.8 * radius, 1.3 * radius))
    return made


def _head(
    rng: Rng, species: _Species, box: tuple[float, float, float, float], skin: Paint, dark: Paint
) -> list[Part]:
    """Return the neck, the head with its ears, and what only some animals have."""
    length, half_y, half_z, middle = box
    reach, rise = species.neck[0] * length, species.neck[1] * rng.uniform(0.7, 1.1)
    long, radius = np.array(species.head) * length * rng.uniform(0.85, 1.2, 2)
    root = np.array((0.4 * length, 0.0, middle + 0.3 * half_z))
    end = root + reach * np.array((np.sqrt(max(1 - rise**2, 0.04)), 0, rise))
    neck = shapes.rod(root, end, 0.75 * half_y + 0.2 * radius, 0.75 * radius)
    nod = float(rng.uniform(-0.1, 0.6))
    head = shapes.stack(
        np.array([-0.35, -0.2, 0.1, 0.4, 0.62, 0.68]) * long,
        np.array([0.0, 0.8, 1.0, 0.62, 0.5, 0.0])[:, None] * radius,
    )
    top = end + np.array((0, 0, 0.8 * radius))
    ear = max(species.ear * length, 0.001)
    ears = shapes.both(
        shapes.ellipsoid((0, 0.85 * radius + 0.3 * ear, 0.3 * ear), (0.25 * ear, 0.6 * ear, 0.7 * ear),
                         2, 8, 5)
    )  # fmt: skip
    solids = [shapes.moved(shapes.turned(head, 1, nod), end)]
    parts = [Part('neck', skin, [neck]), Part('head', skin, solids)]
    if species.ear:
        parts.append(Part('ear', dark, [shapes.moved(mesh, end) for mesh in ears]))
    if species.extra == 'trunk':
        tip = end + np.array((0.6 * long, 0, 0))
        down = rng.uniform(0.5, 1.1) * end[2]
        path = shapes.bezier([tip - np.array((0.2 * long, 0, 0)), tip + np.array((0.15 * long, 0, -0.3 * down)),
                              tip + np.array((rng.uniform(-0.1, 0.5) * long, 0, -down))], 7)  # fmt: skip
        parts.append(Part('trunk', skin, [
            shapes.sweep(path, np.linspace(0.45, 0.25, 7)[:, None] * radius)]))  # fmt: skip
    elif species.extra == 'horns':
        horn = shapes.rod((0, 0.4 * radius, 0), (0, 0.9 * radius, 0.9 * radius), 0.2 * radius,
                          0.08 * radius)  # fmt: skip
        parts.append(Part('horn', dark, [shapes.moved(mesh, top) for mesh in shapes.both(horn)]))
    elif species.extra == 'mane':
        parts.append(Part('mane', dark, [shapes.beam(root + np.array((-0.1 * length, 0, half_z)), top,
                                                     0.05 * length, 0.12 * length)]))  # fmt: skip
    elif species.extra == 'spikes' and chance(rng, 0.6):
        spikes = [
            shapes.frustum((x - 0.05 * length, x + 0.05 * length, -0.02 * length, 0.02 * length),
                           (x - 0.02 * length, x, -0.012 * length, 0.012 * length),
                           middle + 0.85 * half_z, middle + half_z + 0.12 * length)
            for x in np.linspace(-0.36, 0.3, int(rng.integers(4, 8))) * length
        ]  # fmt: skip
        parts.append(Part('spike', dark, spikes))
    return parts


def _bird(rng: Rng) -> list[Part]:
    """Return a duck, a hen or a penguin, sitting or standing."""
    size = rng.uniform(0.03, 0.08)
    color = pick(rng, ((240, 210, 60), (240, 240, 236), (120, 80, 50), paints.any_color(rng)))
    skin, beak = paints.plain(color), paints.plain((230, 120, 30))
    tall = rng.uniform(0.7, 1.8)
    build = np.array((1.0 if tall > 1.2 else 1.3, 0.8, tall)) * size
    build *= rng.uniform(0.85, 1.15, 3)
    lift = size * rng.uniform(0.0, 0.6) if chance(rng, 0.6) else 0.0
    body = shapes.ellipsoid((0, 0, build[2] + lift), build, 2.2)
    radius = size * rng.uniform(0.45, 0.7)
    top = np.array((0.35 * build[0], 0, lift + 2 * build[2] + radius * rng.uniform(0.2, 0.9)))
    neck = shapes.rod((0.3 * build[0], 0, lift + build[2]), top, 0.55 * radius)
    bill = shapes.rod(top + np.array((0.7 * radius, 0, 0)), top + np.array((1.7 * radius, 0, -0.1 * radius)), 0.3 * radius,
                      0.12 * radius)  # fmt: skip
    wing = shapes.ellipsoid((-0.15 * build[0], 0.95 * build[1], build[2] + lift),
                            (0.6 * build[0], 0.2 * build[1], 0.5 * build[2]), 2, 12, 7)  # fmt: skip
    tail = shapes.beam((-0.7 * build[0], 0, 1.1 * build[2] + lift),
                       (-1.35 * build[0], 0, 1.4 * build[2] + lift), 0.7 * size, 0.12 * size)  # fmt: skip
    parts = [
        Part('body', skin, [body, neck]),
        Part('head', skin, [shapes.ellipsoid(top, (radius,) * 3)]),
        Part('beak', beak, [bill]),
        Part('wing', paints.plain(paints.shade(color, 0.7)), shapes.both(wing)),
        Part('tail', skin, [tail]),
    ]
    if lift:
        leg = shapes.rod(
            (0, 0.4 * build[1], 0), (0, 0.4 * build[1], lift + 0.4 * size), 0.12 * size
        )
        foot = shapes.block((-0.1 * size, 0.2 * size, 0), (0.5 * size, 0.5 * size, 0.1 * size))
        parts.append(Part('leg', beak, shapes.both(leg, foot)))
    return parts


def toy(rng: Rng) -> list[Part]:
    """Return a building brick, a tower of blocks, a ring stacker, a puzzle cube or a ball."""
    kind = pick(rng, ('brick', 'tower', 'rings', 'cube', 'ball'), (3, 3, 2, 0.7, 0.5))
    if kind == 'brick':
        return _brick(rng)
    if kind == 'tower':
        return _tower(rng)
    if kind == 'rings':
        count, radius = int(rng.integers(3, 8)), rng.uniform(0.03, 0.07)
        height, taper = radius * rng.uniform(0.2, 0.5), rng.uniform(0.35, 0.95)
        parts = [
            Part('base', paints.wood(rng), [shapes.cylinder((0, 0, 0), 1.1 * radius, height)])
        ]
        for k in range(count):
            r = radius * (1 - (1 - taper) * k / count)
            ring = shapes.ellipsoid((0, 0, height * (k + 1.5)), (r, r, 0.55 * height), 3)
            parts.append(Part(f'ring {k + 1}', paints.plastic(rng), [ring]))
        knob = shapes.ellipsoid((0, 0, height * (count + 1.6)), (0.35 * radius,) * 3)
        return [*parts, Part('knob', paints.plastic(rng), [knob])]
    if kind == 'cube':
        edge, count = rng.uniform(0.05, 0.08), int(rng.integers(2, 5))
        skin = Paint(paints.any_color(rng), paints.any_color(rng), 'checker', 'fit')
        low, high = np.array((-0.5, -0.5, 0)) * edge, np.array((0.5, 0.5, 1)) * edge
        layers = np.linspace(0, edge, count + 1)
        turn = rng.uniform(0.2, 1.3) if chance(rng, 0.6) else 0.0
        blocks = [
            shapes.block((low[0], low[1], a), (high[0], high[1], a + 0.97 * edge / count))
            for a in layers[:-1]
        ]
        blocks[-1] = shapes.turned(blocks[-1], 2, turn)
        core = shapes.block(0.9 * low, 0.9 * high)
        return [Part('cube', skin, blocks), Part('core', paints.plain(paints.DARK), [core])]
    radii = rng.uniform(0.02, 0.12) * np.array((rng.uniform(1.0, 1.7), 1, 1))
    color, second = paints.any_color(rng), paints.any_color(rng)
    pattern = pick(rng, ('plain', 'bands', 'checker', 'spots'))
    skin = Paint(color, second, pattern, 'around', int(rng.integers(1 << 30)))
    return [Part('ball', skin, [shapes.ellipsoid((0, 0, 0), radii, 2, 24, 15)])]


def _brick(rng: Rng) -> list[Part]:
    """Return a pile of one to three bricks with studs."""
    pitch = rng.uniform(0.008, 0.03)
    height, parts = pitch * rng.uniform(0.5, 1.3), []
    for level in range(int(rng.integers(1, 4))):
        nx, ny = int(rng.integers(1, 3)), int(rng.integers(1, 5))
        if level == 0:
            nx, ny = 2, int(rng.integers(2, 5))
        shift = pitch * np.array((rng.integers(-1, 2) / 2, rng.integers(-1, 2) / 2)) * (level > 0)
        x, y, z = nx * pitch / 2, ny * pitch / 2, level * height
        body = shapes.block(
            (shift[0] - x, shift[1] - y, z), (shift[0] + x, shift[1] + y, z + height)
        )
        studs = [
            shapes.cylinder((shift[0] - x + (a + 0.5) * pitch, shift[1] - y + (b + 0.5) * pitch, z),
                            0.32 * pitch, height + 0.22 * pitch, 12)
            for a in range(nx)
            for b in range(ny)
        ]  # fmt: skip
        parts.append(
            Part(f'brick {level + 1}', paints.plain(paints.any_color(rng)), [body, *studs])
        )
    return parts


def _tower(rng: Rng) -> list[Part]:
    """Return wooden blocks, one on the other: bars, cubes, cylinders, a roof or a bridge."""
    edge, z = rng.uniform(0.03, 0.05), 0.0
    parts = []
    for level in range(int(rng.integers(1, 5))):
        x, y, high = edge * rng.uniform((0.4, 0.4, 0.4), (1.4, 1.4, 1.2))
        kind = pick(rng, ('box', 'cylinder', 'roof', 'pair'))
        if kind == 'cylinder':
            solids = [shapes.cylinder((0, 0, z), min(x, y), high)]
        elif kind == 'roof':
            solids = [shapes.frustum((-x, x, -y, y), (-0.03 * x, 0.03 * x, -y, y), z, z + high)]
        elif kind == 'pair':
            post = shapes.block((-x, 0.5 * y, z), (x, 1.1 * y, z + 0.6 * high))
            solids = [
                *shapes.both(post),
                shapes.block((-x, -1.1 * y, z + 0.55 * high), (x, 1.1 * y, z + high)),
            ]
        else:
            solids = [shapes.block((-x, -y, z), (x, y, z + high))]
        turn = float(rng.normal(0, 0.4))
        solids = [shapes.turned(mesh, 2, turn) for mesh in solids]
        paint = pick(rng, (paints.wood(rng), paints.plain(paints.any_color(rng))))
        parts.append(Part(f'block {level + 1}', paint, solids))
        z += high
        if kind == 'roof':
            break
    return parts
