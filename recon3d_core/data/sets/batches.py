"""What all data sets do with views of an object alone: other crops, backgrounds, batches."""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.augment import alter, AugmentOptions, compose, random_backgrounds, Views
from recon3d_core.data.crops import normalized_K
from recon3d_core.data.samples import Batch
from recon3d_core.models.cameras import ViewCameras
import torch

PARTLY_SEEN = 0.1  # share of training views that cut off a part of the object


class ObjectViews(NamedTuple):
    """Views of one object.

    Attributes:
        rgba: (V, S, S, 4) uint8, colour times coverage, and coverage.
        K: (V, 3, 3) float32 for image coordinates in [0, 1].
        T_camera_cube: (V, 4, 4) float32.
        occupancy: (N, N, N) bool.
    """

    rgba: NDArray[np.uint8]
    K: NDArray[np.float32]
    T_camera_cube: NDArray[np.float32]
    occupancy: NDArray[np.bool_]


def seed_of(text: str) -> int:
    """Return a number of 63 bits that is the same for a text everywhere."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'little') >> 1


def generator_of(text: str) -> torch.Generator:
    """Return a generator on the CPU that a text seeds."""
    return torch.Generator().manual_seed(seed_of(text))


def rng_of(seed: int, place: int) -> np.random.Generator:
    """Return the generator of one object of a batch."""
    return np.random.default_rng([seed % 2**63, place])


def times_coverage(rgb: NDArray[np.uint8], coverage: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (..., 4): colours (..., 3) times coverage (...) from 0 to 255, and the coverage."""
    product = rgb.astype(np.uint16) * coverage[..., None]
    colors = ((product + 127) // 255).astype(np.uint8)
    return np.concatenate([colors, coverage[..., None]], -1)


def draw_indices(count: int, wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `wanted` of `count` indices in random order; repeats only where they run out."""
    rounds = [rng.permutation(count) for _ in range(-(-wanted // count))]
    return np.concatenate(rounds)[:wanted]


def jitter_crops(views: ObjectViews, rng: np.random.Generator) -> ObjectViews:
    """Return views cropped a little differently each, some without a part of the object."""
    cut = [_jittered(rgba, K, rng) for rgba, K in zip(views.rgba, views.K, strict=True)]
    rgba, K = (np.stack(part) for part in zip(*cut, strict=True))
    return views._replace(rgba=rgba, K=K)


def draw_square(size: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return x0, y0 and side of another crop of a square image, pixels of its outer edges."""
    side = size * rng.uniform(0.88, 1.12)
    reach = 0.3 if rng.uniform() < PARTLY_SEEN else 0.04
    x0, y0 = (size - side) / 2 + rng.uniform(-reach, reach, 2) * size
    return float(x0), float(y0), float(side)


def cropped_K(
    K: NDArray[np.floating], size: int, square: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return intrinsics of a crop of a square image, for image coordinates in [0, 1].

    Args:
        K: (3, 3) of the whole image, for image coordinates in [0, 1].
        size: Edge of the image, pixels.
        square: x0, y0 and side of the crop, pixels of outer edges.
    """
    pixels = np.array([[size, 0, -0.5], [0, size, -0.5], [0, 0, 1]]) @ K
    return normalized_K(pixels, *square)


def _jittered(
    rgba: NDArray[np.uint8], K: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    import cv2  # packed sets are read where there is no OpenCV

    size = rgba.shape[0]
    square = x0, y0, side = draw_square(size, rng)
    step = side / size
    # Pixel (i, j) of the result looks at ((i + 0.5) * step - 0.5 + x0, ...) of the view, whose
    # own outer edges are at 0 and `size` here: x0 is one of them.
    matrix = np.array([[step, 0, x0 + step / 2 - 0.5], [0, step, y0 + step / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(np.asarray(rgba), matrix, (size, size), flags=flags)
    return np.asarray(cut, np.uint8), cropped_K(K, size, square)


def make_batch(
    objects: Sequence[ObjectViews],
    names: Sequence[str],
    categories: Sequence[str],
    options: AugmentOptions,
    seed: int,
) -> Batch:
    """Return a training batch of views of objects alone, which are altered as `seed` says."""
    rgba, K, T, occupancy = (np.stack(part) for part in zip(*objects, strict=True))
    count, views, size = rgba.shape[:3]
    pixels = torch.from_numpy(rgba).reshape(-1, size, size, 4).permute(0, 3, 1, 2)
    pixels = pixels.contiguous().float() / 255
    altered = alter(Views(pixels[:, :3], pixels[:, 3:]), options, generator_of(f'alter:{seed}'))
    return Batch(
        images=altered.images.reshape(count, views, 3, size, size),
        masks=altered.masks.reshape(count, views, 1, size, size),
        cameras=ViewCameras(torch.from_numpy(K), torch.from_numpy(T)),
        occupancy=torch.from_numpy(occupancy).float(),
        names=tuple(names),
        categories=tuple(categories),
    )


def before_backgrounds(rgba: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Return images (V, S, S, 3) of an object before backgrounds that its name says.

    Args:
        rgba: (V, S, S, 4) the first views of the object.
        name: The object's name.
    """
    count, size = rgba.shape[:2]
    pixels = torch.from_numpy(np.array(rgba)).permute(0, 3, 1, 2).float() / 255
    # Each by a seed of its own: a view does not depend on how many are asked for.
    generators = [generator_of(f'background:{name}:{view}') for view in range(count)]
    backgrounds = torch.cat([random_backgrounds(1, size, each) for each in generators])
    composed = compose(Views(pixels[:, :3], pixels[:, 3:]), backgrounds)
    images = (composed.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return np.ascontiguousarray(images.numpy())
