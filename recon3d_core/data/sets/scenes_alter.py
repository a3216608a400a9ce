"""How views of scenes are altered for training: crops, light, blur, noise, missing depth."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, Options

Floats = NDArray[np.float32]


class AlterOptions(Options):
    """How training views are altered."""

    part: float = option(
        1.0, 'Part of the width and of the height that is shown: smaller ones train faster.',
        ge=0.1, le=1.0,
    )  # fmt: skip
    zoom: float = option(1.7, 'Largest factor by which a part is enlarged.', ge=1.0, le=4.0)
    colors: float = option(0.35, 'Strength of the change of brightness and colours.', ge=0, le=1)
    blur: float = option(0.5, 'Share of views that are blurred.', ge=0, le=1)
    noise: float = option(0.03, 'Largest deviation of the noise, of full brightness.', ge=0, le=1)
    no_depth: float = option(0.5, 'Share of views without any depth.', ge=0, le=1)
    holes: float = option(0.3, 'Share of views with patches of depth missing.', ge=0, le=1)


class SceneImages(NamedTuple):
    """One view of a scene.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, 0 = invalid.
        instances: (H, W) uint8 object of each pixel, 0 = background.
    """

    rgb: NDArray[np.uint8]
    depth_m: Floats
    instances: NDArray[np.uint8]


def altered(view: SceneImages, options: AlterOptions, rng: np.random.Generator) -> SceneImages:
    """Return a view altered at random; the one given stays as it was."""
    view = _zoomed(view, options.zoom, options.part, rng)
    if rng.random() < 0.5:
        view = SceneImages(view.rgb[:, ::-1], view.depth_m[:, ::-1], view.instances[:, ::-1])
    rgb = _colored(view.rgb.astype(np.float32) / np.float32(255), options.colors, rng)
    if rng.random() < options.blur:
        blurred = cv2.GaussianBlur(rgb, (5, 5), float(rng.uniform(0.3, 1.1)))
        rgb = np.asarray(blurred, np.float32)
    grain = rng.standard_normal(rgb.shape, np.float32)
    rgb = rgb + grain * np.float32(options.noise * rng.random() ** 2)
    pixels = np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)
    depth_m = _measured(np.ascontiguousarray(view.depth_m), options, rng)
    return SceneImages(pixels, depth_m, np.ascontiguousarray(view.instances))


def _zoomed(view: SceneImages, most: float, share: float, rng: np.random.Generator) -> SceneImages:
    """Return a random part of a view, of `share` of its edges, enlarged at random."""
    factor = 1 + (most - 1) * max(0.0, float(rng.uniform(-0.6, 1)))
    height, width = view.instances.shape
    # Networks halve the resolution: an even number of pixels each way.
    size = (2 * round(share * width / 2), 2 * round(share * height / 2))
    w, h = min(width, round(size[0] / factor)), min(height, round(size[1] / factor))
    if (w, h) == (width, height) == size:
        return view
    y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    part = np.s_[y : y + h, x : x + w]
    nearest = cv2.INTER_NEAREST
    smooth = cv2.INTER_AREA if size[0] < w else cv2.INTER_LINEAR
    return SceneImages(
        np.asarray(cv2.resize(view.rgb[part], size, interpolation=smooth), np.uint8),
        np.asarray(cv2.resize(view.depth_m[part], size, interpolation=nearest), np.float32),
        np.asarray(cv2.resize(view.instances[part], size, interpolation=nearest), np.uint8),
    )


def _colored(rgb: Floats, strength: float, rng: np.random.Generator) -> Floats:
    """Return an image (H, W, 3) in [0, 1] with other light, contrast and tint."""
    if strength <= 0:
        return rgb
    if rng.random() < 0.3 * strength:
        rgb = rgb[..., rng.permutation(3)]
    gain = 1 + strength * rng.uniform(-1, 1) + 0.4 * strength * rng.uniform(-1, 1, 3)
    rgb = rgb * gain.astype(np.float32)
    contrast = np.float32(1 + strength * rng.uniform(-1, 1))
    middle = rgb.mean(dtype=np.float32)
    rgb = middle + (rgb - middle) * contrast
    gray = rgb.mean(2, keepdims=True)
    saturation = np.float32(rng.uniform(1 - 1.5 * strength, 1 + strength))
    mixed: Floats = gray + (rgb - gray) * saturation
    return np.clip(mixed, 0, 1)


def _measured(depth_m: Floats, options: AlterOptions, rng: np.random.Generator) -> Floats:
    """Return a depth image with more of it missing, or all of it."""
    if rng.random() < options.no_depth:
        return np.zeros_like(depth_m)
    depth = depth_m.copy()
    if rng.random() < 0.2:
        depth[depth > rng.uniform(1.2, 4.0)] = 0
    if rng.random() < options.holes:
        height, width = depth.shape
        for _ in range(int(rng.integers(1, 6))):
            center = (int(rng.integers(width)), int(rng.integers(height)))
            axes = tuple(int(a) for a in rng.integers(4, max(5, height // 5), 2))
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(depth, center, axes, angle, 0, 360, 0.0, -1)
    return depth
