"""Colours and small textures of the families, drawn from the palettes of real materials."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.objects.procedural import patterns

Color = tuple[int, int, int]
Rng = np.random.Generator
Item = TypeVar('Item')

WOODS: tuple[Color, ...] = (
    (196, 154, 108),
    (160, 110, 66),
    (120, 76, 44),
    (84, 52, 32),
    (222, 188, 142),
    (140, 84, 50),
    (232, 212, 176),
    (60, 42, 32),
)
METALS: tuple[Color, ...] = (
    (196, 198, 202),
    (160, 162, 168),
    (120, 122, 128),
    (70, 72, 76),
    (182, 152, 92),
    (222, 222, 224),
    (168, 120, 84),
)
PLASTICS: tuple[Color, ...] = (
    (214, 40, 40),
    (30, 90, 180),
    (40, 150, 70),
    (240, 190, 30),
    (240, 240, 238),
    (30, 30, 32),
    (230, 110, 30),
    (120, 60, 150),
    (90, 190, 210),
    (150, 150, 154),
    (240, 150, 180),
)
FABRICS: tuple[Color, ...] = (
    (150, 140, 128),
    (90, 96, 104),
    (60, 70, 110),
    (130, 50, 46),
    (210, 198, 176),
    (80, 110, 84),
    (44, 40, 42),
    (190, 130, 60),
    (226, 222, 214),
    (110, 70, 44),
    (70, 130, 140),
)
CERAMICS: tuple[Color, ...] = (
    (244, 242, 236),
    (230, 224, 208),
    (40, 90, 140),
    (150, 60, 50),
    (60, 100, 90),
    (220, 180, 90),
    (40, 40, 44),
    (190, 110, 70),
    (170, 200, 210),
)
CARS: tuple[Color, ...] = (
    (230, 230, 232),
    (24, 24, 28),
    (150, 152, 158),
    (170, 20, 26),
    (24, 50, 120),
    (40, 80, 60),
    (240, 190, 40),
    (96, 98, 104),
    (220, 100, 30),
    (200, 190, 170),
)
GLASSES: tuple[Color, ...] = ((190, 214, 214), (70, 110, 70), (120, 74, 40), (206, 222, 228))
DARK: Color = (28, 28, 32)
WHITE: Color = (242, 242, 240)


@dataclasses.dataclass(frozen=True)
class Paint:
    """What a part looks like.

    Attributes:
        color: Its main colour, RGB.
        second: The pattern's other colour.
        pattern: A name of `patterns.PATTERNS`, or `plain`.
        mapping: `box` lays the picture on each side at one scale, `fit` stretches it over each
            side, `around` rolls it around the upright axis.
        seed: Of what is random in the pattern.
    """

    color: Color
    second: Color = DARK
    pattern: str = 'plain'
    mapping: str = 'box'
    seed: int = 0

    def texture(self) -> NDArray[np.uint8]:
        """Return the picture (h, w, 3)."""
        return patterns.draw(self.pattern, self.color, self.second, self.seed)


def pick(rng: Rng, items: Sequence[Item], weights: Sequence[float] | None = None) -> Item:
    """Return one of the items, each as likely as its weight says."""
    if weights is None:
        return items[int(rng.integers(len(items)))]
    total = np.cumsum(weights)
    return items[int(np.searchsorted(total, rng.uniform(0, total[-1]), 'right'))]


def chance(rng: Rng, probability: float) -> bool:
    """Return True with a probability."""
    return bool(rng.random() < probability)


def _near(rng: Rng, color: Color, spread: float = 14.0) -> Color:
    """Return a colour like the given one."""
    light = rng.normal(0, spread)
    r, g, b = (int(np.clip(c + light + rng.normal(0, spread / 3), 4, 251)) for c in color)
    return (r, g, b)


def shade(color: Color, factor: float) -> Color:
    """Return a colour made darker, or lighter where the factor is above 1."""
    r, g, b = (int(np.clip(c * factor, 0, 255)) for c in color)
    return (r, g, b)


def plain(color: Color) -> Paint:
    """Return one colour all over."""
    return Paint(color, color)


def any_color(rng: Rng) -> Color:
    """Return a colour of any hue, seldom a very saturated one."""
    value, saturation = rng.uniform(0.25, 0.97), rng.beta(1.6, 1.6)
    hue = rng.uniform(0, 6) + np.array((0.0, 4.0, 2.0))
    wheel = np.clip(np.abs((hue % 6) - 3) - 1, 0, 1)
    r, g, b = (255 * value * (1 - saturation * (1 - wheel))).astype(int)
    return (int(r), int(g), int(b))


def _material(
    rng: Rng, palette: Sequence[Color], named: dict[str, float], free: float = 0.15
) -> Paint:
    color = any_color(rng) if chance(rng, free) else _near(rng, pick(rng, palette))
    pattern = pick(rng, list(named), list(named.values()))
    contrast = chance(rng, 0.4)
    second = any_color(rng) if contrast else shade(color, float(rng.uniform(0.5, 0.85)))
    return Paint(color, second, pattern, seed=int(rng.integers(1 << 30)))


def wood(rng: Rng) -> Paint:
    """Return a wood, grained or painted."""
    color = _near(rng, pick(rng, WOODS), 10)
    if chance(rng, 0.2):
        return plain(pick(rng, (WHITE, DARK, any_color(rng))))
    second = shade(color, float(rng.uniform(0.6, 0.85)))
    return Paint(color, second, 'wood', seed=int(rng.integers(1 << 30)))


metal = functools.partial(_material, palette=METALS, named={'plain': 5, 'brushed': 2}, free=0.05)
plastic = functools.partial(_material, palette=PLASTICS, named={'plain': 1}, free=0.35)
fabric = functools.partial(
    _material,
    palette=FABRICS,
    named={'weave': 4, 'plain': 2, 'stripes': 1, 'plaid': 1, 'dots': 0.6, 'noise': 1},
)
ceramic = functools.partial(
    _material,
    palette=CERAMICS,
    named={'plain': 5, 'noise': 1, 'bands': 1.5, 'dots': 0.5, 'gradient': 1},
    free=0.3,
)
car_paint = functools.partial(_material, palette=CARS, named={'plain': 1}, free=0.2)
glass = functools.partial(_material, palette=GLASSES, named={'plain': 3, 'gradient': 1}, free=0.1)


def printed(rng: Rng, pattern: str = 'label', mapping: str = 'fit') -> Paint:
    """Return a print in two loud colours: a label, a cover, a screen."""
    color, second = any_color(rng), any_color(rng)
    if chance(rng, 0.35):
        color = WHITE
    return Paint(color, second, pattern, mapping, int(rng.integers(1 << 30)))


def rolled(paint: Paint) -> Paint:
    """Return a paint whose picture goes around the upright axis."""
    return dataclasses.replace(paint, mapping='around')
