"""Cabinets, benches, sofas, and what stands on them: displays, telephones, loudspeakers, lamps."""

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
            middle = (right + left) / 2 if rows > 1 else right - 0.12 * (right - left)
            place = (x + 0.4 * thick, middle, (top + bottom) / 2)
            if bar == 'knob':
                knobs.append(shapes.ellipsoid(place, (0.7 * thick,) * 3, 2, 10, 7))
            elif bar == 'bar':
                half = 0.2 * (right - left)
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
        meshes += (
            frames.rungs(rng, (depth, width), 0.3 * height, thick) if chance(rng, 0.4) else []
        )
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
    feet = frames.legs(rng, (0.92 * depth, 0.92 * (width + 2 * arm)), low + 0.03, 0.06)
    return [*parts, Part('leg', pick(rng, (paints.wood(rng), paints.metal(rng))), feet)]


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
        parts.append(Part('lid', shell, [lid]))
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
    if side:
        path = [(-reach, side, high + 0.015), (0, side, (low + high) / 2 + 0.04),
                (reach, side, low + 0.015)]  # fmt: skip
    else:
        path = [(-0.5 * x, -1.1 * y, high + 0.015), (-0.5 * x, 0, high + 0.035),
                (-0.5 * x, 1.1 * y, high + 0.015)]  # fmt: skip
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
        cord = shapes.rod((0, 0, 0.9 * tall), (0, 0, height), thin)
        cap = shapes.cylinder((0, 0, height - 0.03 * height), 4 * thin, 0.03 * height)
        if chance(rng, 0.3):
            count, reach = int(rng.integers(3, 7)), radius
            arm = shapes.rod((0, 0, 0.75 * height), (reach, 0, 0.3 * height), thin)
            small = shapes.moved(shapes.scaled(shade, (0.45,) * 3), (reach, 0, 0.1 * height))
            return [Part('arm', metal, [cord, cap, *shapes.around(arm, count)]),
                    Part('shade', cloth, shapes.around(small, count))]  # fmt: skip
        return [Part('shade', cloth, [shade]), Part('cord', metal, [cord, cap])]
    if kind == 'lantern':
        return [Part('shade', cloth, [shade]),
                Part('base', metal, [shapes.cylinder((0, 0, -0.05 * tall), 0.5 * radius, 0.2 * tall)])]  # fmt: skip
    base = max(radius * rng.uniform(0.5, 0.95), 4 * thin)
    foot = frames.pedestal(rng, base, height - 0.4 * tall, thin)
    if kind == 'table' and chance(rng, 0.6):
        t = np.linspace(0, 1, 10)
        belly = 0.35 * base * (0.4 + np.abs(np.sin(np.pi * t * rng.uniform(0.8, 2.2))))
        foot.append(shapes.lathe(np.stack([belly, t * (height - tall)], 1)))
    up = height - tall
    return [Part('base', metal, foot), Part('shade', cloth, [shapes.moved(shade, (0, 0, up))])]


def _shade(rng: Rng, radius: float, tall: float) -> Mesh:
    """Return a shade that is open below: a cone, a drum, a dome or a globe, standing on z = 0."""
    kind = pick(rng, ('cone', 'drum', 'dome', 'globe'), (4, 3, 2, 1))
    if kind == 'globe':
        return shapes.ellipsoid((0, 0, radius * 0.8), (0.8 * radius,) * 3)
    wall = 0.09 * radius
    if kind == 'dome':
        angle = np.linspace(0, np.pi / 2 * 0.96, 8)
        outer = np.stack([radius * np.cos(angle), tall * np.sin(angle)], 1)
    else:
        top = rng.uniform(0.25, 0.7) if kind == 'cone' else rng.uniform(0.85, 1.0)
        outer = np.array([(radius, 0), ((1 + top) / 2 * radius, tall / 2), (top * radius, tall)])
    inner = np.stack([np.maximum(outer[::-1, 0] - wall, 0.03 * radius),
                      np.minimum(outer[::-1, 1], tall - wall)], 1)  # fmt: skip
    return shapes.lathe(np.concatenate([outer, inner]))


def _desk_lamp(rng: Rng, height: float, thin: float, metal: Paint) -> list[Part]:
    base = height * rng.uniform(0.16, 0.26)
    elbow = np.array((-rng.uniform(0.1, 0.35) * height, 0, rng.uniform(0.5, 0.75) * height))
    tip = elbow + np.array((rng.uniform(0.35, 0.7), 0, rng.uniform(0.05, 0.4))) * height
    foot = shapes.cylinder((0, 0, 0), base, 0.06 * height)
    joint = shapes.ellipsoid(elbow, (2.2 * thin,) * 3, 2, 10, 7)
    arms = [shapes.rod((0, 0, 0), elbow, 1.2 * thin), shapes.rod(elbow, tip, 1.2 * thin), joint]
    size = height * rng.uniform(0.12, 0.2)
    head = shapes.turned(
        _shade(rng, size, size * rng.uniform(0.9, 1.5)), 1, rng.uniform(-0.7, 0.1)
    )
    top = head.vertices_m[:, 2].max()
    return [
        Part('base', metal, [foot]), Part('arm', metal, arms),
        Part('shade', paints.plastic(rng), [shapes.moved(head, (*tip[:2], tip[2] - 0.8 * top))]),
    ]  # fmt: skip
