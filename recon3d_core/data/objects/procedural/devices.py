"""Displays, telephones and loudspeakers; front to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng
from recon3d_core.types import Mesh


def display(rng: Rng) -> list[Part]:
    """Return a monitor, a television on a stand, a curved or an old deep one, or a laptop."""
    kind = pick(rng, ('flat', 'flat', 'deep', 'laptop', 'twin'), (5, 3, 1.5, 1.2, 2))
    width = rng.uniform(0.35, 1.3)
    height = width * rng.uniform(0.52, 0.8)
    shell = paints.plain(pick(rng, (paints.DARK, (60, 60, 64), (200, 200, 204), paints.WHITE)))
    screen = paints.printed(rng, pick(rng, ('cover', 'gradient', 'label')))
    if chance(rng, 0.5):
        screen = paints.plain((18, 20, 24))
    if kind == 'laptop':
        return _laptop(rng, min(width, 0.42), shell, screen)
    thick = width * (rng.uniform(0.03, 0.06) if kind != 'deep' else rng.uniform(0.06, 0.1))
    lift = height * (rng.uniform(0.12, 0.35) if kind != 'deep' else rng.uniform(0.02, 0.12))
    y, rim = width / 2, width * rng.uniform(0.01, 0.05)
    panel = shapes.block((-thick / 2, -y, lift), (thick / 2, y, lift + height))
    glass = shapes.block((thick * 0.4, -y + rim, lift + rim * rng.uniform(1, 2.5)),
                         (thick * 0.56, y - rim, lift + height - rim))  # fmt: skip
    body = [panel]
    if kind == 'deep':
        body.append(
            shapes.stack((-thick / 2 - 0.7 * height * rng.uniform(0.7, 1.1), -thick / 2),
                         [(0.5 * y, 0.28 * height), (0.95 * y, 0.48 * height)],
                         lift + height / 2, shapes.outline(16, 8))
        )  # fmt: skip
    parts = [Part('body', shell, body), Part('screen', screen, [glass])]
    foot, stem = width * rng.uniform(0.14, 0.22), width * rng.uniform(0.025, 0.05)
    if kind == 'twin':
        legs = shapes.both(
            shapes.beam((-0.8 * foot, 0.7 * y, 0.5 * stem), (0.8 * foot, 0.75 * y, 0.5 * stem),
                        stem, stem),
            shapes.beam((0, 0.72 * y, 0), (0, 0.7 * y, lift + 0.1 * height), stem, stem),
        )  # fmt: skip
        return [*parts, Part('stand', shell, legs)]
    plate = pick(rng, ('round', 'square', 'vee'))
    if plate == 'round':
        stand = [shapes.cylinder((0, 0, 0), foot, 0.5 * stem)]
    elif plate == 'square':
        stand = [shapes.block((-0.8 * foot, -1.4 * foot, 0), (0.8 * foot, 1.4 * foot, 0.6 * stem))]
    else:
        stand = shapes.both(
            shapes.beam((-0.2 * foot, 0, stem / 2), (foot, 1.5 * foot, stem / 2), stem, stem)
        )
    neck = shapes.beam(
        (-0.7 * thick, 0, 0), (-0.7 * thick, 0, lift + 0.4 * height), 2.4 * stem, stem
    )
    return [*parts, Part('stand', shell, [*stand, neck])]


def _laptop(rng: Rng, width: float, shell: Paint, screen: Paint) -> list[Part]:
    depth, thick, y = width * rng.uniform(0.62, 0.72), width * 0.045, width / 2
    angle = rng.uniform(0.0, 0.7)
    base = shapes.block((-depth / 2, -y, 0), (depth / 2, y, thick))
    keys = shapes.block((-0.4 * depth, -0.85 * y, thick), (0.1 * depth, 0.85 * y, 1.15 * thick))
    hinge = (-depth / 2, 0.0, thick)
    lid = shapes.block((-depth / 2 - thick, -y, thick), (-depth / 2, y, thick + depth))
    glass = shapes.block((-depth / 2 - 0.1 * thick, -0.92 * y, thick + 0.06 * depth),
                         (-depth / 2 + 0.15 * thick, 0.92 * y, thick + 0.94 * depth))  # fmt: skip
    lid, glass = (shapes.turned(mesh, 1, -angle, hinge) for mesh in (lid, glass))
    return [
        Part('base', shell, [base]), Part('keyboard', paints.plain(paints.DARK), [keys]),
        Part('body', shell, [lid]), Part('screen', screen, [glass]),
    ]  # fmt: skip


def telephone(rng: Rng) -> list[Part]:
    """Return a smartphone, a phone with keys, a folding phone, a desk phone or a handset."""
    kind = pick(rng, ('slab', 'keys', 'fold', 'desk', 'cordless'), (4, 3, 1.5, 2, 1))
    shell, dark = paints.plastic(rng), paints.plain(paints.DARK)
    if kind == 'desk':
        return _desk_phone(rng, shell)
    height = rng.uniform(0.1, 0.17)
    width = height * (rng.uniform(0.4, 0.64) if kind == 'slab' else rng.uniform(0.34, 0.48))
    thick = height * {'slab': 0.075, 'keys': 0.13, 'fold': 0.09, 'cordless': 0.16}[kind]
    thick *= rng.uniform(0.7, 1.4)
    y, x = width / 2, thick / 2
    corner = pick(rng, (5.0, 9.0, 20.0))
    section = shapes.outline(24, corner)

    def slab(low: float, high: float) -> Mesh:
        half = ((y, (high - low) / 2), (y, (high - low) / 2))
        return shapes.stack((-x, x), half, (high + low) / 2, section)

    top = height if kind != 'fold' else 0.5 * height
    parts = [Part('body', shell, [slab(0, top)])]
    share = 0.9 if kind == 'slab' else rng.uniform(0.3, 0.5)
    z0 = top * (0.05 if kind == 'slab' else 0.92 - share)
    glass = shapes.block((0.9 * x, -0.88 * y, z0), (1.12 * x, 0.88 * y, z0 + share * top))
    if kind == 'fold':
        lid = shapes.turned(slab(0.5 * height, height), 1, rng.uniform(0.2, 0.9),
                            (x, 0, 0.5 * height))  # fmt: skip
        hinge = (0.8 * x, 0.7 * y, 0.5 * height)
        knuckle = shapes.rod((hinge[0], -hinge[1], hinge[2]), hinge, 0.8 * x)
        parts.append(Part('lid', shell, [lid, knuckle]))
    if kind != 'fold':
        parts.append(Part('screen', pick(rng, (dark, paints.printed(rng))), [glass]))
    if kind in ('keys', 'fold', 'cordless'):
        limit = 0.42 * top if kind != 'fold' else 0.8 * top
        keys = [
            shapes.block((0.9 * x, c * 0.5 * y - 0.17 * y, z), (1.25 * x, c * 0.5 * y + 0.17 * y,
                         z + 0.05 * height))
            for z in np.linspace(0.08 * height, limit, 4)
            for c in (-1, 0, 1)
        ]  # fmt: skip
        parts.append(Part('key', paints.plain((200, 200, 204)), keys))
    if kind in ('keys', 'cordless') and chance(rng, 0.5):
        rod = shapes.rod((0, 0.7 * y, 0.9 * height), (0, 0.7 * y, 1.2 * height), 0.3 * x + 0.002)
        parts.append(Part('antenna', dark, [rod]))
    if kind == 'slab' and chance(rng, 0.4):
        bump = shapes.block((-1.5 * x, 0.2 * y, 0.8 * height), (-0.8 * x, 0.85 * y, 0.95 * height))
        parts.append(Part('camera', dark, [bump]))
    return parts


def _desk_phone(rng: Rng, shell: Paint) -> list[Part]:
    width, depth = rng.uniform(0.16, 0.24), rng.uniform(0.16, 0.24)
    low, high = rng.uniform(0.02, 0.04), rng.uniform(0.06, 0.11)
    x, y = depth / 2, width / 2
    body = shapes.profile((-x, 0.0, x), (0, 0, 0), (high, (low + high) / 2, low), y)
    parts = [Part('body', shell, [body])]
    side = 0.66 * y if chance(rng, 0.6) else 0.0
    reach = 0.9 * x
    back, front, across = np.interp((-reach, reach, -0.5 * x), (-x, x), (high, low)) + 0.012
    if side:
        path = [(-reach, side, back), (0, side, (low + high) / 2 + 0.04), (reach, side, front)]
    else:
        path = [(-0.5 * x, -1.1 * y, across), (-0.5 * x, 0, across + 0.025),
                (-0.5 * x, 1.1 * y, across)]  # fmt: skip
    curve = shapes.bezier(path, 9)
    ends = np.array([1.5, 1.4, 1, 0.9, 0.9, 0.9, 1, 1.4, 1.5])[:, None]
    normal = (0, 1, 0) if side else (1, 0, 0)
    handset = shapes.sweep(curve, ends * np.array([[0.012, 0.02]]), shapes.outline(12, 3), normal)
    parts.append(Part('handset', shell, [handset]))
    middle = -0.3 * y if side else 0.0
    if chance(rng, 0.3):
        dial = shapes.cylinder((0.25 * x, middle, (low + high) / 2 - 0.01), 0.55 * y, 0.025)
        return [*parts, Part('dial', paints.metal(rng), [dial])]
    keys = []
    for px in np.linspace(-0.05, 0.7, 4) * x:
        z = np.interp(px, (-x, x), (high, low))
        for c in (-1, 0, 1):
            py = middle + c * 0.25 * y
            keys.append(shapes.block((px - 0.07 * x, py - 0.09 * y, z - 0.01),
                                     (px + 0.07 * x, py + 0.09 * y, z + 0.008)))  # fmt: skip
    return [*parts, Part('key', paints.plain((190, 190, 196)), keys)]


def loudspeaker(rng: Rng) -> list[Part]:
    """Return a shelf, floor or tower speaker, on a stand at times, a cylinder or a sound bar."""
    kind = pick(rng, ('box', 'tower', 'round', 'bar', 'stand'), (4, 3, 1.2, 0.8, 1.5))
    width, depth, height = rng.uniform((0.15, 0.15, 0.25), (0.4, 0.4, 0.6))
    if kind == 'tower':
        height = width * rng.uniform(2.6, 5.0)
    elif kind == 'bar':
        width, height, depth = height * 2, rng.uniform(0.07, 0.12), rng.uniform(0.07, 0.12)
    low = rng.uniform(0.4, 0.9) if kind == 'stand' else 0.0
    x, y = depth / 2, width / 2
    shell = pick(rng, (paints.wood(rng), paints.plain(paints.DARK), paints.plastic(rng)))
    cone = paints.plain(pick(rng, ((50, 50, 54), (160, 160, 164), (150, 120, 70))))
    if kind == 'round':
        body = shapes.lathe(
            [(0.9 * y, 0), (y, 0.1 * height), (y, 0.9 * height), (0.8 * y, height)]
        )
        grille = shapes.cylinder((0, 0, 0.15 * height), 1.03 * y, rng.uniform(0.3, 0.6) * height)
        return [Part('body', shell, [body]), Part('grille', cone, [grille])]
    if chance(rng, 0.3):
        t = rng.uniform(0.7, 0.95)
        body = shapes.frustum((-x, x, -y, y), (-x, t * x, -t * y, t * y), low, low + height)
    else:
        section = shapes.outline(20, pick(rng, (5.0, 12.0, 60.0)))
        body = shapes.stack((low, low + height), (x, y), section=section, axis=2)
    drivers, rings = [], []
    count = int(rng.integers(1, 5)) if kind != 'bar' else int(rng.integers(2, 6))
    for place in np.linspace(-0.8, 0.8, count) if count > 1 else (0.0,):
        radius = min(0.85 * y, 0.42 * height / count) * rng.uniform(0.5, 1.0)
        where = (x, 0.0, low + height / 2 + place * (height / 2 - 0.5 * height / count))
        if kind == 'bar':
            radius = 0.4 * height * rng.uniform(0.6, 1.0)
            where = (x, place * 0.85 * y, low + height / 2)
        drivers.append(shapes.disc(where, 0.85 * radius, 0.04 * depth, 0))
        rings.append(shapes.hoop(where, radius, 0.1 * radius + 0.002, 0))
    parts = [Part('body', shell, [body]), Part('driver', cone, drivers),
             Part('ring', paints.metal(rng), rings)]  # fmt: skip
    if low:
        stem = shapes.cylinder((0, 0, 0), 0.12 * width + 0.01, low)
        foot = shapes.block((-x, -y, 0), (x, y, 0.03))
        parts.append(Part('stand', paints.plain(paints.DARK), [stem, foot]))
    elif kind == 'tower' and chance(rng, 0.4):
        parts.append(Part('stand', paints.plain(paints.DARK),
                          [shapes.block((-1.15 * x, -1.15 * y, 0), (1.15 * x, 1.15 * y, 0.04))]))  # fmt: skip
    return parts
