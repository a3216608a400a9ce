"""Cars; front to +x."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.procedural import paints, shapes
from recon3d_core.data.objects.procedural.assembly import Part
from recon3d_core.data.objects.procedural.paints import chance, pick, Rng
from recon3d_core.types import Mesh


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
    radius = min(radius, 0.47 * belt)  # a wheel ends below the windows
    roof = belt + length * {'van': 0.2, 'truck': 0.16, 'coupe': 0.075, 'suv': 0.12}.get(kind, 0.1)
    roof *= rng.uniform(0.95, 1.06)
    paint, half = paints.car_paint(rng), width / 2
    parts = [Part('body', paint, [_lower_body(rng, length, half, (clear, belt), radius)])]
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


def _lower_body(
    rng: Rng, length: float, half: float, levels: tuple[float, float], radius: float
) -> Mesh:
    """Return what is below the windows: ribs from the rear bumper to the front one."""
    clear, belt = levels
    # The hood covers the wheels below it.
    hood = max(rng.uniform(0.72, 0.95), min((2.04 * radius - clear) / (belt - clear), 1.0))
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
