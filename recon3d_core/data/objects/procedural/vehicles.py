"""Cars, airplanes and boats; front to +x."""

from __future__ import annotations

import itertools

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, Paint, pick, Rng
from recon3d_core.types import Mesh

_ROUND_BOX = shapes.outline(16, 5.0)


def car(rng: Rng) -> list[Part]:
    """Return a sedan, hatchback, estate, SUV, van, pickup, coupe, bus or truck."""
    kind = pick(
        rng,
        ('sedan', 'hatch', 'estate', 'suv', 'van', 'pickup', 'coupe', 'truck'),
        (4, 3, 1.5, 2, 1.5, 1.5, 2, 0.7),
    )
    length = {'van': 5.0, 'pickup': 5.2, 'truck': 6.5, 'hatch': 3.9}.get(kind, 4.5)
    length *= rng.uniform(0.88, 1.1)
    width = length * rng.uniform(0.36, 0.44)
    radius = length * rng.uniform(0.068, 0.085) * (1.15 if kind in ('suv', 'pickup') else 1.0)
    clear = radius * rng.uniform(0.55, 0.9)
    belt = clear + length * rng.uniform(0.1, 0.14) + (0.25 if kind in ('suv', 'truck') else 0)
    roof = belt + length * {'van': 0.2, 'truck': 0.16, 'coupe': 0.075, 'suv': 0.12}.get(kind, 0.1)
    roof *= rng.uniform(0.95, 1.06)
    paint, half = paints.car_paint(rng), width / 2
    parts = [Part('body', paint, [_lower_body(rng, length, half, clear, belt)])]
    cabin, glass = _cabin(rng, kind, length, half, belt, roof)
    parts += [Part('roof', paint, cabin), Part('window', paints.plain((34, 40, 48)), glass)]
    if kind == 'truck':
        box = shapes.block(
            (-length / 2, -half, belt * 0.8), (length * 0.18, half, roof * rng.uniform(1.0, 1.45))
        )
        parts.append(Part('cargo', paints.plastic(rng), [box]))
    base = length * rng.uniform(0.27, 0.33)
    wheel = shapes.disc((0, 0, 0), radius, 0.24 * width / 2 + 0.05, 1)
    wheels = [
        shapes.moved(wheel, (sx * base, sy * (half - 0.1 * width), radius))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    parts.append(Part('wheel', paints.plain(paints.DARK), wheels))
    if kind in ('coupe', 'sedan') and chance(rng, 0.25):
        wing = shapes.block(
            (-length / 2, -0.8 * half, belt + 0.1), (-length * 0.44, 0.8 * half, belt + 0.16)
        )
        stands = shapes.both(
            shapes.block(
                (-length * 0.48, 0.5 * half, belt - 0.1), (-length * 0.46, 0.6 * half, belt + 0.12)
            )
        )
        parts.append(Part('spoiler', paint, [wing, *stands]))
    return parts


def _lower_body(rng: Rng, length: float, half: float, clear: float, belt: float) -> Mesh:
    """Return what is below the windows: ribs from the rear bumper to the front one."""
    hood = rng.uniform(0.72, 0.95)
    places = np.array([-0.5, -0.47, -0.36, 0.0, 0.2, 0.36, 0.47, 0.5]) * length
    tops = clear + (belt - clear) * np.array([0.72, 0.92, 1, 1, 1, hood, 0.85 * hood, 0.6 * hood])
    lows = clear + (belt - clear) * np.array([0.3, 0.12, 0, 0, 0, 0, 0.1, 0.25])
    widths = half * np.array([0.84, 0.94, 1, 1, 1, 0.98, 0.9, 0.78])
    section = shapes.outline(16, rng.uniform(4.0, 9.0))
    return shapes.stack(
        places, np.stack([widths, (tops - lows) / 2], 1), (tops + lows) / 2, section
    )


def _cabin(
    rng: Rng, kind: str, length: float, half: float, belt: float, roof: float
) -> tuple[list[Mesh], list[Mesh]]:
    """Return the roof with its pillars, and the windows, which fill the rest."""
    rear, front = {
        'sedan': (-0.36, 0.2), 'coupe': (-0.38, 0.16), 'hatch': (-0.46, 0.22),
        'estate': (-0.48, 0.2), 'suv': (-0.48, 0.24), 'van': (-0.49, 0.4),
        'pickup': (-0.12, 0.24), 'truck': (0.2, 0.42),
    }[kind]  # fmt: skip
    rear, front = rear * length, front * length
    slope = (roof - belt) * rng.uniform(0.8, 1.5) * (0.45 if kind in ('van', 'truck') else 1.0)
    back = (roof - belt) * (0.25 if kind in ('van', 'estate', 'suv', 'truck', 'pickup') else 1.0)
    back *= rng.uniform(0.7, 1.3) * (1.8 if kind == 'coupe' else 1.0)
    front_top, rear_top = front - slope, rear + back
    if rear_top > front_top - 0.1 * length:
        rear_top = front_top - 0.1 * length
    inset = rng.uniform(0.82, 0.92)
    low, z_glass = belt - 0.04 * length, roof - 0.1 * (roof - belt)
    glass = shapes.frustum(
        (rear, front, -half * 0.97, half * 0.97),
        (rear_top, front_top, -half * inset, half * inset), low, z_glass,
    )  # fmt: skip
    top = shapes.frustum(
        (rear_top - 0.01, front_top + 0.01, -half * inset, half * inset),
        (rear_top + 0.05, front_top - 0.05, -half * (inset - 0.06), half * (inset - 0.06)),
        z_glass - 0.005, roof,
    )  # fmt: skip
    thick = 0.02 * length
    pillars = [
        shapes.beam((x0, half * 0.96, low), (x1, half * inset, z_glass), thick, thick)
        for x0, x1 in (
            (rear, rear_top), (front, front_top), ((rear + front) / 2, (rear_top + front_top) / 2),
        )
    ]  # fmt: skip
    meshes = [top, *shapes.both(*pillars)]
    if kind == 'pickup':
        bed = [
            shapes.block((-0.47 * length, 0.86 * half, belt - 0.1), (rear, half, belt + 0.16)),
        ]
        gate = shapes.block(
            (-0.5 * length, -half, belt - 0.1), (-0.46 * length, half, belt + 0.16)
        )
        meshes += [*shapes.both(*bed), gate]
    return meshes, [glass]


def airplane(rng: Rng) -> list[Part]:
    """Return an airliner, a fighter, a light propeller plane, a glider or a biplane."""
    kind = pick(rng, ('jet', 'fighter', 'light', 'glider', 'biplane'), (5, 2, 3, 1, 1))
    length = {'jet': 40.0, 'fighter': 15.0, 'light': 8.0, 'glider': 8.0, 'biplane': 7.0}[kind]
    length *= rng.uniform(0.7, 1.3)
    radius = length * {
        'jet': rng.uniform(0.045, 0.07), 'fighter': rng.uniform(0.045, 0.065),
        'light': rng.uniform(0.06, 0.085), 'glider': 0.045, 'biplane': 0.07,
    }[kind]  # fmt: skip
    paint = pick(rng, (paints.plain(paints.WHITE), paints.car_paint(rng), paints.metal(rng)))
    parts = [Part('fuselage', paint, [_fuselage(rng, kind, length, radius)])]
    wings = _wings(rng, kind, length, radius)
    second = paint if chance(rng, 0.6) else paints.car_paint(rng)
    parts += [Part('wing', second, wings), Part('tail', second, _tail(rng, kind, length, radius))]
    engines = _engines(rng, kind, length, radius)
    if engines:
        parts.append(Part('engine', paints.metal(rng), engines))
    if kind in ('light', 'fighter', 'glider', 'biplane'):
        canopy = shapes.ellipsoid(
            (0.18 * length, 0, 0.7 * radius), (0.11 * length, 0.62 * radius, 0.75 * radius)
        )
        parts.append(Part('canopy', paints.plain((40, 50, 60)), [canopy]))
    if kind in ('light', 'biplane') or chance(rng, 0.3):
        parts.append(_gear(length, radius))
    return parts


def _fuselage(rng: Rng, kind: str, length: float, radius: float) -> Mesh:
    nose, tail = rng.uniform(0.1, 0.2), rng.uniform(0.25, 0.45)
    if kind == 'fighter':
        nose = rng.uniform(0.25, 0.35)
    x = np.concatenate(
        [
            np.linspace(-0.5, -0.5 + tail, 6)[:-1],
            [-0.5 + tail, 0.5 - nose],
            np.linspace(0.5 - nose, 0.5, 6)[1:],
        ]
    )
    t_tail = np.clip((x + 0.5) / tail, 0, 1)
    t_nose = np.clip((0.5 - x) / nose, 0, 1)
    blunt = 1.0 if kind == 'fighter' else 0.5
    r = radius * np.minimum(0.12 + 0.88 * np.sin(np.pi / 2 * t_tail), t_nose**blunt)
    rise = (radius - r) * 0.6 * (x < 0) if kind != 'fighter' else 0 * r
    stretch = rng.uniform(0.9, 1.15)
    return shapes.stack(x * length, np.stack([r, r * stretch], 1), rise)


def _panel(
    root: tuple[float, float], tip: tuple[float, float], y: tuple[float, float],
    z: tuple[float, float], thick: tuple[float, float],
) -> Mesh:  # fmt: skip
    """Return a wing from y[0] to y[1]: (rear, front) at root and tip, heights and thicknesses."""
    rings = []
    for (back, front), side, height, half in zip((root, tip), y, z, thick, strict=True):
        chord = front - back
        rings.append(
            [
                (back, side, height), (back + 0.4 * chord, side, height - half),
                (front - 0.1 * chord, side, height - 0.6 * half), (front, side, height),
                (front - 0.1 * chord, side, height + 0.8 * half),
                (back + 0.4 * chord, side, height + half),
            ]
        )  # fmt: skip
    return shapes.loft(rings)


def _wings(rng: Rng, kind: str, length: float, radius: float) -> list[Mesh]:
    span = length * {
        'jet': rng.uniform(0.4, 0.52), 'fighter': rng.uniform(0.26, 0.38),
        'light': rng.uniform(0.5, 0.68), 'glider': rng.uniform(0.85, 1.1), 'biplane': 0.55,
    }[kind]  # fmt: skip
    chord = length * {'glider': 0.1, 'fighter': rng.uniform(0.28, 0.45)}.get(
        kind, rng.uniform(0.15, 0.22)
    )
    sweep = length * {'jet': rng.uniform(0.12, 0.25), 'fighter': rng.uniform(0.1, 0.3)}.get(
        kind, rng.uniform(-0.02, 0.03)
    )
    taper = {'jet': 0.3, 'fighter': rng.uniform(0.1, 0.4)}.get(kind, rng.uniform(0.6, 1.0))
    heights = {'light': pick(rng, (0.9, -0.7)), 'biplane': -0.8, 'glider': 0.7}.get(
        kind, pick(rng, (-0.6, -0.5, 0.75))
    )
    front = length * rng.uniform(0.1, 0.17)
    if kind == 'fighter':
        front = 0.1 * length
    rise = span * rng.uniform(0.0, 0.1)
    thick = (0.14 * chord, max(0.12 * chord * taper, 0.008 * length))
    made = []
    levels = [heights * radius] + ([1.6 * radius] if kind == 'biplane' else [])
    for z in levels:
        made.append(
            _panel(
                (front - chord, front),
                (front - sweep - chord * taper, front - sweep),
                (0.0, span), (z, z + rise), thick,
            )
        )  # fmt: skip
    if kind == 'biplane':
        z0, z1 = levels
        x = front - 0.5 * chord
        for side in (0.25, 0.8):
            made.append(
                shapes.rod(
                    (x, side * span, z0 + side * rise), (x, side * span, z1 + side * rise),
                    0.01 * length,
                )
            )  # fmt: skip
    return shapes.both(*made)


def _tail(rng: Rng, kind: str, length: float, radius: float) -> list[Mesh]:
    rear = -0.5 * length
    chord, height = length * rng.uniform(0.1, 0.16), length * rng.uniform(0.13, 0.2)
    lean = chord * rng.uniform(0.2, 0.8)
    thick = 0.016 * length
    fin = shapes.loft(
        [
            [
                (rear + s0, -w, z), (rear + s1, -w, z), (rear + s1, w, z), (rear + s0, w, z),
            ]
            for s0, s1, w, z in (
                (lean * 0.1, lean * 0.1 + 1.4 * chord, thick, 0.0),
                (-0.2 * lean, -0.2 * lean + 0.55 * chord, 0.5 * thick, height + radius * 0.5),
            )
        ]
    )  # fmt: skip
    if kind == 'fighter' and chance(rng, 0.5):
        fins = shapes.both(shapes.moved(fin, (0, 0.9 * radius, 0)))
    else:
        fins = [fin]
    high = height * 0.95 if chance(rng, 0.25) and kind != 'fighter' else 0.35 * radius
    span = length * rng.uniform(0.14, 0.2)
    plane = _panel(
        (rear, rear + 0.9 * chord), (rear - 0.3 * lean, rear - 0.3 * lean + 0.5 * chord),
        (0.0, span), (high, high), (0.012 * length, 0.008 * length),
    )  # fmt: skip
    return [*fins, *shapes.both(plane)]


def _engines(rng: Rng, kind: str, length: float, radius: float) -> list[Mesh]:
    if kind == 'jet':
        size = radius * rng.uniform(0.4, 0.6)
        pod = shapes.stack(
            np.array([-1.0, -0.3, 0.6, 0.75]) * 0.07 * length,
            np.array([[0.6, 0.6], [1, 1], [1, 1], [0.85, 0.85]]) * size,
        )
        if chance(rng, 0.2):  # at the tail
            return shapes.both(shapes.moved(pod, (-0.28 * length, radius + size, 0.3 * radius)))
        places = [rng.uniform(0.13, 0.17)] + ([0.29] if chance(rng, 0.3) else [])
        return shapes.both(
            *(
                shapes.moved(pod, ((0.08 - 0.5 * y) * length + 0.05 * length, y * length,
                                   -0.5 * radius - 0.9 * size))
                for y in places
            )
        )  # fmt: skip
    if kind in ('light', 'biplane'):
        blade = shapes.block((-0.006 * length, -0.01 * length, 0), (0.006 * length, 0.014 * length,
                             0.13 * length))  # fmt: skip
        count = pick(rng, (2, 2, 3))
        turn = rng.uniform(0, np.pi)
        blades = [shapes.turned(blade, 0, turn + k * 2 * np.pi / count) for k in range(count)]
        hub = shapes.ellipsoid((0, 0, 0), (0.05 * length, 0.3 * radius, 0.3 * radius))
        return [shapes.moved(mesh, (0.49 * length, 0, 0)) for mesh in (*blades, hub)]
    return []


def _gear(length: float, radius: float) -> Part:
    size = 0.03 * length
    low = -radius - 0.05 * length
    legs = shapes.both(
        shapes.rod((0.05 * length, 0.3 * radius, 0), (0.05 * length, 1.3 * radius, low),
                   0.01 * length),
        shapes.disc((0.05 * length, 1.3 * radius, low), size, 0.03 * length, 1),
    )  # fmt: skip
    front = [
        shapes.rod((0.36 * length, 0, 0), (0.36 * length, 0, low), 0.01 * length),
        shapes.disc((0.36 * length, 0, low), 0.8 * size, 0.025 * length, 1),
    ]
    return Part('gear', paints.plain(paints.DARK), [*legs, *front])


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
