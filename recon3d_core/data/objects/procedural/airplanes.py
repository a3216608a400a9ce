"""Airplanes; nose to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, pick, Rng
from recon3d_core.types import Mesh


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
    wings, plane = _wings(rng, kind, length, radius)
    second = paint if chance(rng, 0.6) else paints.car_paint(rng)
    parts += [Part('wing', second, wings), Part('tail', second, _tail(rng, kind, length, radius))]
    engines = _engines(rng, kind, length, radius, plane)
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


def _wings(
    rng: Rng, kind: str, length: float, radius: float
) -> tuple[list[Mesh], tuple[float, float]]:
    """Return the wings, and the height and slope of the lowest."""
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
    return shapes.both(*made), (levels[0], rise / span)


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


def _engines(
    rng: Rng, kind: str, length: float, radius: float, plane: tuple[float, float]
) -> list[Mesh]:
    """Return jet engines below the wings or at the tail, or a propeller."""
    level, slope = plane
    if kind == 'jet':
        size = radius * rng.uniform(0.4, 0.6)
        pod = shapes.stack(
            np.array([-1.0, -0.3, 0.6, 0.75]) * 0.07 * length,
            np.array([[0.6, 0.6], [1, 1], [1, 1], [0.85, 0.85]]) * size,
        )
        if chance(rng, 0.2):  # at the tail
            return shapes.both(
                shapes.moved(pod, (-0.28 * length, 0.8 * radius + 0.6 * size, 0.3 * radius))
            )
        places = [rng.uniform(0.13, 0.17)] + ([0.29] if chance(rng, 0.3) else [])
        return shapes.both(
            *(
                shapes.moved(pod, ((0.08 - 0.5 * y) * length + 0.05 * length, y * length,
                                   level + slope * y * length - 0.9 * size))
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
