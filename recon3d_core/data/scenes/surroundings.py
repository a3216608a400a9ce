"""What objects stand on and what is around them: a table, a floor or a shelf in a room."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.synth import solids
from recon3d_core.data.synth.materials import Material, Pattern
from recon3d_core.data.synth.rendering import Light, Part

Corner = tuple[float, float, float]
Kind = Literal['table', 'floor', 'shelf']

WALL_HEIGHT_M = 2.7
_BOARD_M = 0.025


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """A support and its room; the support's middle is at x = y = 0.

    Attributes:
        kind: `table`, `floor` or `shelf`.
        parts: Meshes of the background.
        lights: Its lights.
        support_m: Height of the surface on which objects stand.
        half_size_m: Half edges of that surface.
        room_m: (2, 2) lowest and highest x and y of the room.
        clear_m: Height that is free above the support.
    """

    kind: Kind
    parts: tuple[Part, ...]
    lights: tuple[Light, ...]
    support_m: float
    half_size_m: tuple[float, float]
    room_m: NDArray[np.float64]
    clear_m: float


def draw_surroundings(kind: Kind, rng: np.random.Generator) -> Surroundings:
    """Return a support of a kind in a room, of any size and colour that is usual."""
    room = np.array([[-1, -1], [1, 1]]) * rng.uniform(1.6, 3.2, (2, 2))
    if kind == 'floor':
        support, half, blocks = 0.0, (1.1, 1.1), []
        clear = 2.0
    elif kind == 'table':
        support = float(rng.uniform(0.4, 1.0))
        half = (float(rng.uniform(0.35, 0.8)), float(rng.uniform(0.3, 0.5)))
        blocks, clear = _table(half, support, rng), 0.7
    else:
        support = float(rng.uniform(0.3, 1.3))
        half = (float(rng.uniform(0.3, 0.55)), float(rng.uniform(0.13, 0.22)))
        clear = float(rng.uniform(0.28, 0.45))
        blocks = _shelf(half, support, clear)
        room[1, 1] = half[1] + rng.uniform(0.01, 0.05)
    wood = random_surface(rng)
    parts = [_part(blocks, wood)] if blocks else []
    parts += _room(room, rng)
    return Surroundings(kind, tuple(parts), _lights(room, rng), support, half, room, clear)


def random_surface(rng: np.random.Generator) -> Material:
    """Return the look of furniture, a floor or a wall: any colour, mostly dull."""
    patterns: tuple[Pattern, ...] = ('wood', 'plain', 'speckle', 'checker', 'stripes')
    pattern = patterns[int(rng.choice(len(patterns), p=[0.35, 0.33, 0.16, 0.1, 0.06]))]
    base = np.clip(rng.uniform(0.03, 0.9) * rng.dirichlet((8, 8, 8)) * 3, 0.02, 0.95)
    if pattern == 'wood':
        base = np.clip(rng.uniform(0.2, 1.0) * np.array([0.75, 0.48, 0.27]), 0, 1)
    other = np.clip(base * rng.uniform(0.4, 1.1, 3), 0.01, 0.95)
    a, b = ((float(c[0]), float(c[1]), float(c[2])) for c in (base, other))
    return Material(pattern, a, b, float(rng.uniform(0.04, 0.4)), float(rng.uniform(0, 10)))


def _part(blocks: Sequence[tuple[Corner, Corner]], material: Material) -> Part:
    return Part(solids.blocks(list(blocks)), material, np.eye(4))


def _table(
    half: tuple[float, float], top: float, rng: np.random.Generator
) -> list[tuple[Corner, Corner]]:
    x, y = half
    thick = float(rng.uniform(0.02, 0.06))
    blocks: list[tuple[Corner, Corner]] = [((-x, -y, top - thick), (x, y, top))]
    leg = float(rng.uniform(0.03, 0.08))
    for a in (-x, x - leg):
        for b in (-y, y - leg):
            blocks.append(((a, b, 0.0), (a + leg, b + leg, top - thick)))
    return blocks


def _shelf(half: tuple[float, float], board: float, clear: float) -> list[tuple[Corner, Corner]]:
    """Return boards, sides and a back; the shelf is open towards -y."""
    (x, y), t = half, _BOARD_M
    levels = [board - clear - t, board, board + clear + t, board + 2 * (clear + t)]
    levels = [level for level in levels if level > 0.05]
    top = levels[-1]
    blocks: list[tuple[Corner, Corner]] = [
        ((-x, -y, level - t), (x, y, level)) for level in levels
    ]
    blocks += [((-x - t, -y, 0.0), (-x, y, top)), ((x, -y, 0.0), (x + t, y, top))]
    return [*blocks, ((-x, y - 0.008, 0.0), (x, y, top))]


def _room(room: NDArray[np.float64], rng: np.random.Generator) -> list[Part]:
    (x0, y0), (x1, y1) = room
    thick, top = 0.1, WALL_HEIGHT_M
    slabs: list[tuple[Corner, Corner]] = [
        ((x0 - thick, y0, 0.0), (x0, y1, top)),
        ((x1, y0, 0.0), (x1 + thick, y1, top)),
        ((x0, y0 - thick, 0.0), (x1, y0, top)),
        ((x0, y1, 0.0), (x1, y1 + thick, top)),
    ]
    paint = random_surface(rng)
    if rng.random() < 0.75:
        paint = dataclasses.replace(paint, pattern='plain', scale_m=0.9)
    floor: tuple[Corner, Corner] = ((x0, y0, -0.1), (x1, y1, 0.0))
    return [_part([floor], random_surface(rng)), _part(slabs, paint)]


def _lights(room: NDArray[np.float64], rng: np.random.Generator) -> tuple[Light, ...]:
    """Return one to three lamps below the ceiling, of which one or two cast shadows."""
    count = int(rng.integers(1, 4))
    lights = []
    for index in range(count):
        x, y = rng.uniform(0.9 * room[0], 0.9 * room[1])
        power = float(rng.uniform(0.35, 0.9)) / count**0.5
        place = (float(x), float(y), float(rng.uniform(1.7, WALL_HEIGHT_M - 0.1)))
        lights.append(Light(place, power, shadows=index < 2))
    return tuple(lights)
