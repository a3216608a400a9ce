"""Small pictures that repeat nowhere: grain, cloth, labels, screens; drawn with numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SIZE = 64
Weights = NDArray[np.float64]
Image = NDArray[np.float64]
Colors = tuple[Image, Image]
V, U = np.mgrid[0:SIZE, 0:SIZE] / SIZE


def _waves(rng: np.random.Generator, count: int = 5, frequency: float = 3.0) -> Weights:
    """Return smooth noise (SIZE, SIZE) of about [-1, 1]."""
    total = np.zeros((SIZE, SIZE))
    for _ in range(count):
        fu, fv = rng.normal(0, frequency, 2)
        total += np.sin(2 * np.pi * (fu * U + fv * V) + rng.uniform(0, 2 * np.pi))
    return total / np.sqrt(2 * count)


def _mix(colors: Colors, weight: Weights) -> Image:
    first, second = colors
    return first + np.clip(weight, 0, 1)[..., None] * (second - first)


def _wood(rng: np.random.Generator, colors: Colors) -> Image:
    warp = 0.06 * _waves(rng, 4, 0.8)
    rings = np.sin(2 * np.pi * rng.uniform(4, 9) * (V + warp))
    fine = rng.normal(0, 0.1, (SIZE, 1)) + rng.normal(0, 0.04, (SIZE, SIZE))
    return _mix(colors, 0.4 + 0.35 * rings + fine)


def _brushed(rng: np.random.Generator, colors: Colors) -> Image:
    return _mix(colors, 0.3 + rng.normal(0, 0.18, (SIZE, 1)) + 0.2 * _waves(rng, 3, 0.5))


def _weave(rng: np.random.Generator, colors: Colors) -> Image:
    cells = np.indices((SIZE, SIZE)).sum(0) & 1
    return _mix(colors, 0.25 + 0.3 * cells + rng.normal(0, 0.12, (SIZE, SIZE)))


def _stripes(rng: np.random.Generator, colors: Colors) -> Image:
    along = V if rng.random() < 0.5 else U
    count = int(rng.integers(4, 14))
    return _mix(colors, (along * count % 1 < rng.uniform(0.2, 0.6)) * 1.0)


def _bands(rng: np.random.Generator, colors: Colors) -> Image:
    weight = np.zeros((SIZE, SIZE))
    for _ in range(int(rng.integers(1, 4))):
        weight += np.abs(V - rng.uniform(0.1, 0.95)) < rng.uniform(0.015, 0.08)
    return _mix(colors, weight)


def _plaid(rng: np.random.Generator, colors: Colors) -> Image:
    count = int(rng.integers(3, 8))
    across = (U * count % 1 < 0.4) * 0.45
    return _mix(colors, across + (V * count % 1 < 0.4) * 0.45)


def _checker(rng: np.random.Generator, colors: Colors) -> Image:
    count = int(rng.integers(3, 9))
    return _mix(colors, ((U * count).astype(int) + (V * count).astype(int)) % 2 * 1.0)


def _dots(rng: np.random.Generator, colors: Colors) -> Image:
    count = int(rng.integers(4, 10))
    away = np.hypot(U * count % 1 - 0.5, V * count % 1 - 0.5)
    return _mix(colors, (away < rng.uniform(0.2, 0.38)) * 1.0)


def _noise(rng: np.random.Generator, colors: Colors) -> Image:
    return _mix(colors, 0.4 + 0.4 * _waves(rng, 8, float(rng.uniform(2, 7))))


def _spots(rng: np.random.Generator, colors: Colors) -> Image:
    return _mix(colors, 12 * (_waves(rng, 7, float(rng.uniform(2, 4))) - rng.uniform(0.1, 0.5)))


def _gradient(rng: np.random.Generator, colors: Colors) -> Image:
    return _mix(colors, (1 - V) ** rng.uniform(0.6, 2) + 0.04 * _waves(rng))


def _lines(rng: np.random.Generator, image: Image, color: Image, box: tuple[int, ...]) -> None:
    """Draw rows of dashes that look like small print into a box (row, column, rows, columns)."""
    row, column, rows, columns = box
    for line in range(row, row + rows - 1, 3):
        ends = np.sort(rng.integers(0, columns, 6))
        for start, end in zip(ends[::2], ends[1::2]):
            image[line : line + 2, column + start : column + end] = color


def _label(rng: np.random.Generator, colors: Colors) -> Image:
    first, second = colors
    image = np.broadcast_to(first, (SIZE, SIZE, 3)).copy()
    top, bottom = int(rng.integers(4, 18)), int(rng.integers(44, 60))
    third = rng.uniform(20, 245, 3)
    image[top:bottom] = second
    row = int(rng.integers(top + 3, top + 10))
    # A brand's name: a row of thick letters.
    for start in range(8, 52, 9):
        width = int(rng.integers(4, 9))
        image[row : row + 8, start : start + width] = third
        image[row + 3 : row + 5, start + 2 : start + width - 2] = second
    row_c, col_c = rng.integers(34, 48), rng.integers(14, 50)
    radius = rng.uniform(6, 13)
    picture = np.hypot(V * SIZE - row_c, (U * SIZE - col_c) * rng.uniform(0.6, 1.4)) < radius
    image[picture] = rng.uniform(20, 245, 3)
    _lines(rng, image, third, (bottom - 10, 4, 9, 24))
    return image


def _cover(rng: np.random.Generator, colors: Colors) -> Image:
    first, second = colors
    image = _mix(colors, 0.6 * (rng.uniform(0.3, 0.8) < V) + 0.15 * _waves(rng, 5, 1.5))
    title = second if rng.random() < 0.5 else 255 - first
    row = int(rng.integers(6, 20))
    _lines(rng, image, title, (row, 8, 12, 48))
    _lines(rng, image, title, (row + 30, 20, 6, 24))
    return image


def _screen(rng: np.random.Generator, colors: Colors) -> Image:
    style = rng.random()
    if style < 0.35:  # off
        return np.clip(25 + 18 * (U + V)[..., None] + np.zeros(3), 0, 255)
    image = _mix(colors, V + 0.25 * _waves(rng, 5, 1.0))
    if style < 0.7:  # windows of a desktop
        for _ in range(int(rng.integers(1, 4))):
            row, column = rng.integers(4, 34, 2)
            image[row : row + 26, column : column + 28] = 238
            image[row : row + 3, column : column + 28] = colors[1]
            _lines(rng, image, np.full(3, 90.0), (row + 6, column + 2, 16, 24))
    return image


def _keys(rng: np.random.Generator, colors: Colors) -> Image:
    columns, rows = int(rng.integers(3, 5)), int(rng.integers(4, 6))
    u, v = U * columns % 1, V * rows % 1
    inside = (np.abs(u - 0.5) < 0.36) & (np.abs(v - 0.5) < 0.34)
    return _mix(colors, inside * 1.0)


def _grille(rng: np.random.Generator, colors: Colors) -> Image:
    count = int(rng.integers(14, 24))
    away = np.hypot(U * count % 1 - 0.5, V * count % 1 - 0.5)
    return _mix(colors, (away < 0.3) * 0.8)


PATTERNS: dict[str, Callable[[np.random.Generator, Colors], Image]] = {
    'bands': _bands,
    'brushed': _brushed,
    'checker': _checker,
    'cover': _cover,
    'dots': _dots,
    'gradient': _gradient,
    'grille': _grille,
    'keys': _keys,
    'label': _label,
    'noise': _noise,
    'plaid': _plaid,
    'screen': _screen,
    'spots': _spots,
    'stripes': _stripes,
    'weave': _weave,
    'wood': _wood,
}


def draw(
    pattern: str, color: tuple[int, int, int], second: tuple[int, int, int], seed: int
) -> NDArray[np.uint8]:
    """Return the picture (SIZE, SIZE, 3) of a pattern in two colours, first row at the top."""
    colors = (np.array(color, np.float64), np.array(second, np.float64))
    image = PATTERNS[pattern](np.random.default_rng(seed), colors)
    return np.clip(image, 0, 255).astype(np.uint8)
