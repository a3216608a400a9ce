"""Procedural surface colours: a pattern of two colours in an object's own coordinates."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pattern = Literal['plain', 'checker', 'stripes', 'speckle', 'wood', 'label']
Color = tuple[float, float, float]
Floats = NDArray[np.float32]

# Linear reflectances; the last two are dark, as black plastic and navy cloth are.
PALETTE: tuple[Color, ...] = (
    (0.62, 0.07, 0.05),
    (0.85, 0.42, 0.08),
    (0.85, 0.68, 0.12),
    (0.16, 0.42, 0.12),
    (0.08, 0.32, 0.34),
    (0.1, 0.22, 0.55),
    (0.38, 0.14, 0.42),
    (0.8, 0.78, 0.72),
    (0.55, 0.52, 0.48),
    (0.75, 0.45, 0.42),
    (0.35, 0.6, 0.72),
    (0.42, 0.24, 0.12),
    (0.03, 0.03, 0.035),
    (0.03, 0.04, 0.09),
)
DARK_COLORS = 2


@dataclasses.dataclass(frozen=True)
class Material:
    """A pattern.

    Attributes:
        pattern: How the two colours mix.
        color_a: Linear RGB reflectance in [0, 1].
        color_b: The other one.
        scale_m: Size of the pattern's elements.
        phase: Shifts the pattern, so that equal materials differ.
    """

    pattern: Pattern
    color_a: Color
    color_b: Color
    scale_m: float = 0.03
    phase: float = 0.0

    def albedo(self, points_m: Floats) -> Floats:
        """Return the reflectance (3, N) at points (3, N) of the object's frame."""
        weight = self._weight(points_m)
        a, b = (np.array(color, np.float32)[:, None] for color in (self.color_a, self.color_b))
        mixed: Floats = a + weight * (b - a)
        return mixed

    def _weight(self, points_m: Floats) -> Floats:
        """Return how much of the second colour is at points (3, N)."""
        scaled = points_m / np.float32(self.scale_m) + np.float32(self.phase)
        x, y, z = scaled
        weight: Floats
        if self.pattern == 'checker':
            # Shifted by a part of a cell, or flat faces at 0 flicker between two cells.
            cell = np.floor(scaled + np.float32(0.37)).astype(np.int32)
            weight = (cell.sum(0) & 1).astype(np.float32)
        elif self.pattern == 'stripes':
            weight = (np.sin(np.float32(np.pi) * z) > 0.2).astype(np.float32)
        elif self.pattern == 'speckle':
            weight = np.clip(0.5 + 1.5 * _waves(x * 4, y * 4, z * 4), 0, 1)
        elif self.pattern == 'label':
            band = np.abs(z - np.round(z)) < 0.3
            weight = band * np.clip(0.7 + 1.2 * _waves(x * 2, y * 2, z * 5), 0, 1)
        elif self.pattern == 'wood':
            weight = _wood(x, y, z)
        else:
            weight = np.float32(0.15) * (1 + _waves(x, y, z))
        return weight


def _waves(x: Floats, y: Floats, z: Floats) -> Floats:
    """Return smooth noise of about [-1, 1]: a few sine waves of odd directions."""
    warp = np.sin(1.3 * x - 2.1 * z + 0.7 * y)
    total: Floats = 0.5 * np.sin(2.3 * x + 1.7 * y + warp) + 0.5 * np.sin(
        -1.9 * x + 2.9 * y + 3.1 * z + 2 * warp
    )
    return total


def _wood(x: Floats, y: Floats, z: Floats) -> Floats:
    """Return planks along x, each of another tone, with grain."""
    plank = np.floor(y)
    tone = np.sin(plank * np.float32(12.9898)) * np.float32(0.5) + np.float32(0.5)
    rings = np.sin(9 * (y + z) + np.float32(0.6) * np.sin(np.float32(0.9) * x + 5 * tone))
    fine = np.sin(np.float32(41) * y + np.float32(1.3) * np.sin(np.float32(2.7) * x + plank))
    gap = (y - plank) < 0.02
    weight: Floats = np.clip(0.45 * tone + 0.18 * rings + 0.1 * fine + 0.25, 0, 1) + gap * 0.8
    return weight


def random_material(rng: np.random.Generator, size_m: float, dark: bool = False) -> Material:
    """Return a material for an object.

    Args:
        rng: Source of randomness.
        size_m: Longest edge of the object.
        dark: Take a colour of which depth cameras see little.
    """
    patterns: tuple[Pattern, ...] = ('plain', 'checker', 'stripes', 'speckle', 'label')
    pattern = patterns[int(rng.integers(len(patterns)))]
    bright = len(PALETTE) - DARK_COLORS
    first = int(rng.integers(bright))
    second = (first + int(rng.integers(1, bright))) % bright
    if dark:
        pattern, first, second = 'plain', bright + int(rng.integers(DARK_COLORS)), bright
    return Material(
        pattern,
        PALETTE[first],
        PALETTE[second],
        size_m * float(rng.uniform(0.15, 0.3)),
        float(rng.uniform(0, 10)),
    )
