"""From embeddings to masks: objects begin at the best seeds and take what points to them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.models.centermask.model import Embedding

Floats = NDArray[np.float32]

_MOST = 60  # objects in an image
_LEAST_CELLS = 4
_NEW = 0.5  # an object has at least this part of its pixels for itself
_SEED = 0.4  # lower seeds begin no object; their masks still take such pixels


@dataclasses.dataclass(frozen=True)
class Instances:
    """Objects of one image; each pixel belongs to one at most.

    Attributes:
        masks: (P, H, W) bool.
        scores: (P,) float64 in [0, 1].
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float64]


def group(embedding: Embedding, size: tuple[int, int], least_score: float = 0.0) -> Instances:
    """Return the objects of an embedding of one image.

    The best free seed begins an object, whose Gaussian is around that seed's place; what is
    likelier than one half belongs to it. Then the next one, until no good seed is left. Where
    two Gaussians reach a pixel, the higher one has it.

    Args:
        embedding: Of one image (1, ..., h, w).
        size: Height and width of the masks.
        least_score: Objects with a lower score are left out.
    """
    places = embedding.places[0].detach().cpu().numpy()
    sharpness = np.exp(embedding.log_sharpness[0, 0].detach().cpu().numpy())
    seeds = embedding.seed_logits[0, 0].detach().sigmoid().cpu().numpy()
    best = np.zeros(size, np.float32)
    owner = np.zeros(size, np.int32)
    scores: list[float] = []
    for likeness in _likenesses(places, sharpness, seeds):
        inside = likeness > 0.5
        score = float(seeds[inside].mean())
        if score >= least_score:
            scores.append(score)
            _claim(likeness, inside, len(scores), best, owner)
    kept = [k for k in range(1, len(scores) + 1) if (owner == k).any()]
    masks = np.stack([owner == k for k in kept]) if kept else np.zeros((0, *size), bool)
    return Instances(masks, np.array([scores[k - 1] for k in kept], np.float64))


def _likenesses(places: Floats, sharpness: Floats, seeds: Floats) -> list[Floats]:
    """Return the Gaussians (h, w) of the objects, the best seed's first."""
    shape = seeds.shape
    # Only pixels that may belong to something: the others are most of the image.
    chosen = np.flatnonzero(seeds > 0.5 * _SEED)
    x, y = places.reshape(2, -1)[:, chosen]
    seed, sharp = seeds.ravel()[chosen], sharpness.ravel()[chosen]
    free = seed > _SEED
    found: list[Floats] = []
    taken = np.zeros(len(chosen), bool)
    while free.any() and len(found) < _MOST:
        k = int(np.argmax(np.where(free, seed, -1.0)))
        squared = (x - x[k]) ** 2 + (y - y[k]) ** 2
        likeness = np.exp(-squared * sharp[k])
        inside = likeness > 0.5
        free[k] = False
        new = inside & ~taken
        free &= ~inside
        taken |= inside
        if inside.sum() < _LEAST_CELLS or new.sum() < _NEW * inside.sum():
            continue
        full = np.zeros(shape, np.float32)
        full.ravel()[chosen] = likeness
        found.append(full)
    return found


def _claim(
    likeness: Floats,
    inside: NDArray[np.bool_],
    number: int,
    best: Floats,
    owner: NDArray[np.int32],
) -> None:
    """Give an object the pixels at full resolution where it is likelier than those before."""
    (h, w), (height, width) = likeness.shape, best.shape
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    y0, y1 = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 2, h)
    x0, x1 = max(int(columns[0]) - 1, 0), min(int(columns[-1]) + 2, w)
    # The box at full resolution, and where its pixels' centres are among the cells, which are
    # centred on every second pixel of the network's image.
    top, bottom = y0 * height // h, y1 * height // h
    left, right = x0 * width // w, x1 * width // w
    to_cells = np.array(
        [
            [w / width, 0, (left + 0.5) * w / width - 0.25],
            [0, h / height, (top + 0.5) * h / height - 0.25],
        ]
    )
    large = cv2.warpAffine(
        likeness,
        to_cells,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    part = np.s_[top:bottom, left:right]
    wins = (large > 0.5) & (large > best[part])
    best[part][wins] = large[wins]
    owner[part][wins] = number
