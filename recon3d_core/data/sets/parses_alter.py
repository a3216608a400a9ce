"""How views of parsed scenes are altered for training: parts, mirror images, light, noise, boxes."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, Options

Floats = NDArray[np.float32]
Array = NDArray[np.float64]

_SHOWN = 0.5  # of its box: objects of which a part of an image shows less are left out
_APART = 0.25  # IoU with every object's box from which on a box is none of a false one


class AlterParses(Options):
    """How training views are altered."""

    zoom: float = option(1.5, 'Largest factor by which a part is enlarged.', ge=1.0, le=4.0)
    mirror: float = option(0.5, 'Share of views that are mirrored.', ge=0, le=1)
    colors: float = option(0.35, 'Strength of the change of brightness and colours.', ge=0, le=1)
    noise: float = option(0.03, 'Largest deviation of the noise, of full brightness.', ge=0, le=1)
    boxes: float = option(
        0.05, "Standard deviation of the boxes' edges, of their sides.", ge=0, le=0.5
    )


class Parse(NamedTuple):
    """One view of a scene, factored; n objects.

    Attributes:
        rgb: (H, W, 3) uint8.
        K: (3, 3) float64 intrinsics, pixels.
        layout: (h, w) float32 inverse depth of the empty room, 1/m, of the whole image.
        box_xyxy: (n, 4) float32 boxes of the visible pixels, outer edges.
        T_camera_object: (n, 4, 4) float32 poses of the upright boxes.
        size_m: (n, 3) float32 edges of these.
        occupancy: (n, 32, 32, 32) bool what of them is inside, indexed [x, y, z].
        is_round: (n,) bool, whether a turn about the vertical changes nothing.
        is_true: (n,) bool; False for boxes without an object.
    """

    rgb: NDArray[np.uint8]
    K: Array
    layout: Floats
    box_xyxy: Floats
    T_camera_object: Floats
    size_m: Floats
    occupancy: NDArray[np.bool_]
    is_round: NDArray[np.bool_]
    is_true: NDArray[np.bool_]

    def chosen(self, which: NDArray[np.generic]) -> Parse:
        """Return the view with some of its objects."""
        objects = Parse._fields[3:]
        return self._replace(**{name: getattr(self, name)[which] for name in objects})


def altered(view: Parse, options: AlterParses, rng: np.random.Generator) -> Parse:
    """Return a view altered at random; the one given stays as it was."""
    view = _zoomed(view, options.zoom, rng)
    if rng.random() < options.mirror:
        view = mirrored(view)
    rgb = view.rgb.astype(np.float32) / np.float32(255)
    rgb = _colored(rgb, options.colors, rng)
    rgb = rgb + rng.standard_normal(rgb.shape, np.float32) * np.float32(
        options.noise * rng.random() ** 2
    )
    pixels = np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)
    boxes = jittered(view.box_xyxy, options.boxes, view.rgb.shape[:2], rng)
    return view._replace(rgb=pixels, box_xyxy=boxes)


def mirrored(view: Parse) -> Parse:
    """Return the view in a mirror, left and right exchanged.

    A mirror turns right-handed frames into left-handed ones: the objects' y axes are turned
    round, and their shapes with them, so that poses stay rigid.
    """
    width = view.rgb.shape[1]
    K = view.K.copy()
    K[0, 2] = width - 1 - K[0, 2]
    left = np.diag((-1.0, 1.0, 1.0, 1.0)).astype(np.float32)
    own = np.diag((1.0, -1.0, 1.0, 1.0)).astype(np.float32)
    boxes = view.box_xyxy.copy()
    boxes[:, [0, 2]] = width - view.box_xyxy[:, [2, 0]]
    return view._replace(
        rgb=np.ascontiguousarray(view.rgb[:, ::-1]),
        K=K,
        layout=np.ascontiguousarray(view.layout[:, ::-1]),
        box_xyxy=boxes,
        T_camera_object=(left @ view.T_camera_object @ own).astype(np.float32),
        occupancy=np.ascontiguousarray(view.occupancy[:, :, ::-1]),
    )


def zoomed(view: Parse, x0: float, y0: float, factor: float) -> Parse:
    """Return a part of a view that is `factor` times smaller, at the size of the whole.

    Args:
        view: The view.
        x0: Left outer edge of the part, pixels.
        y0: Its upper one.
        factor: Width of the whole by that of the part, at least 1.
    """
    height, width = view.rgb.shape[:2]
    moved = np.array([[factor, 0, 0.5 * factor - 0.5], [0, factor, 0.5 * factor - 0.5], [0, 0, 1]])
    moved = moved @ np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]])
    step = width / view.layout.shape[1]
    # Pixel (u, v) of the layout has its centre at step * (u + 0.5) - 0.5 of the image.
    coarse = np.array([[step, 0, step / 2 - 0.5], [0, step, step / 2 - 0.5], [0, 0, 1]])
    small = np.linalg.inv(coarse) @ moved @ coarse
    smooth, repeat = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    rgb = cv2.warpAffine(view.rgb, moved[:2], (width, height), flags=smooth, borderMode=repeat)
    layout = cv2.warpAffine(
        view.layout, small[:2], view.layout.shape[::-1], flags=smooth, borderMode=repeat
    )
    boxes = (view.box_xyxy - np.array([x0, y0, x0, y0])) * factor
    held = clipped(boxes, (height, width))
    kept = _area(held) >= _SHOWN * _area(boxes)
    whole = view._replace(
        rgb=np.asarray(rgb, np.uint8),
        K=moved @ view.K,
        layout=np.asarray(layout, np.float32),
        box_xyxy=held.astype(np.float32),
    )
    return whole.chosen(kept)


def _zoomed(view: Parse, most: float, rng: np.random.Generator) -> Parse:
    factor = 1 + (most - 1) * max(0.0, float(rng.uniform(-0.8, 1)))
    if factor == 1:
        return view
    height, width = view.rgb.shape[:2]
    x0, y0 = rng.random(2) * np.array([width, height]) * (1 - 1 / factor)
    part = zoomed(view, float(x0), float(y0), factor)
    return part if len(part.box_xyxy) else view


def _colored(rgb: Floats, strength: float, rng: np.random.Generator) -> Floats:
    """Return an image (H, W, 3) in [0, 1] with other light, contrast and tint."""
    if strength <= 0:
        return rgb
    gain = 1 + strength * rng.uniform(-1, 1) + 0.4 * strength * rng.uniform(-1, 1, 3)
    rgb = rgb * gain.astype(np.float32)
    middle = rgb.mean(dtype=np.float32)
    rgb = middle + (rgb - middle) * np.float32(1 + strength * rng.uniform(-1, 1))
    gray = rgb.mean(2, keepdims=True)
    mixed: Floats = gray + (rgb - gray) * np.float32(rng.uniform(1 - 1.5 * strength, 1 + strength))
    return np.clip(mixed, 0, 1)


def jittered(
    boxes: NDArray[np.floating],
    strength: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Floats:
    """Return boxes (n, 4) whose edges are off as a detector's are, within an image (H, W)."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + rng.normal(0, 1, boxes.shape).clip(-2, 2) * strength * sides
    held = clipped(moved, size)
    usable = (held[:, 2:] - held[:, :2] >= 2).all(1, keepdims=True)
    return np.where(usable, held, boxes).astype(np.float32)


def clipped(boxes: NDArray[np.floating], size: tuple[int, int]) -> Array:
    """Return the parts (n, 4) of boxes within an image (H, W)."""
    most = np.array([size[1], size[0], size[1], size[0]], np.float64)
    return np.clip(np.asarray(boxes, np.float64), 0, most)


def _area(boxes: NDArray[np.floating]) -> Array:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1), np.float64)


def with_false_boxes(view: Parse, count: int, rng: np.random.Generator) -> Parse:
    """Return a view with up to `count` boxes more that hold no object, sized as objects' are."""
    if not len(view.box_xyxy) or not count:
        return view
    height, width = view.rgb.shape[:2]
    like = rng.integers(len(view.box_xyxy), size=count)
    sides = (view.box_xyxy[:, 2:] - view.box_xyxy[:, :2])[like] * rng.uniform(0.6, 1.6, (count, 2))
    corner = rng.random((count, 2)) * np.maximum(np.array([width, height]) - sides, 0)
    boxes = clipped(np.concatenate([corner, corner + sides], 1), (height, width))
    free = _best_iou(boxes, view.box_xyxy) < _APART
    joined = view.chosen(np.concatenate([np.arange(len(view.box_xyxy)), like[free]]))
    of_objects = len(view.box_xyxy)
    joined.box_xyxy[of_objects:] = boxes[free]
    joined.is_true[of_objects:] = False
    return joined


def _best_iou(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> Array:
    """Return the largest IoU (n,) of boxes (n, 4) with others (m, 4), m >= 1."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    union = _area(boxes)[:, None] + _area(others)[None] - common
    best: Array = (common / union).max(1)
    return best
