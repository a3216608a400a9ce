"""Features of a view that need no learning: outline, colours and directions of edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_SIZE = 64
_CELL = 8
_BINS = 9


def describe(views: Tensor) -> Tensor:
    """Return features of views; nearer features are views that look more alike.

    Three parts of equal weight: the mask at 16 x 16, the colours at 8 x 8, and histograms of
    oriented gradients (Dalal and Triggs 2005) in cells of 8 pixels with 9 unsigned directions.

    Args:
        views: (M, 4, s, s): colours in [0, 1] on white, and the mask.

    Returns:
        (M, D) float32.
    """
    if views.shape[-1] != _SIZE:
        views = functional.interpolate(views, (_SIZE,) * 2, mode='bilinear', antialias=True)
    outline = functional.adaptive_avg_pool2d(views[:, 3:], 16).flatten(1)
    colors = functional.adaptive_avg_pool2d(views[:, :3], 8).flatten(1)
    edges = oriented_gradients(views[:, :3].mean(1))
    parts = [part / math.sqrt(part.shape[1]) for part in (outline, colors)]
    return torch.cat([*parts, edges / math.sqrt(edges.shape[1] / _BINS)], 1)


def oriented_gradients(grey: Tensor) -> Tensor:
    """Return histograms of oriented gradients (M, D) of images (M, s, s), each cell of norm <= 1.

    Each pixel votes by its gradient's length, shared between the two nearest directions.
    """
    padded = functional.pad(grey[:, None], (1, 1, 1, 1), mode='replicate')[:, 0]
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    length = torch.hypot(across, down)
    turn = torch.remainder(torch.atan2(down, across), math.pi) * (_BINS / math.pi)
    low = turn.floor()
    part = turn - low
    lower, upper = low.long() % _BINS, (low.long() + 1) % _BINS
    votes = grey.new_zeros(len(grey), _BINS, *grey.shape[1:])
    votes.scatter_add_(1, lower[:, None], (length * (1 - part))[:, None])
    votes.scatter_add_(1, upper[:, None], (length * part)[:, None])
    cells = functional.avg_pool2d(votes, _CELL)
    return (cells / (cells.norm(dim=1, keepdim=True) + 0.02)).flatten(1)
