"""Pictures of parsed scenes: the image, the empty room, and the objects' cells, true and found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.sets.parses_alter import Parse
from recon3d_core.geometry.transforms import apply
from recon3d_core.metrics.parsing import PosedObject
from recon3d_core.models.factored3d.parsing import ParsedObject, SeenImage
from recon3d_core.training.checkpoints import whole_file
from recon3d_core.training.parses_scores import found_objects, true_objects

Pixels = NDArray[np.uint8]
_LIGHT = np.array([0.35, -0.75, -0.55])  # from where cells are lit, in the camera's frame
_MOST = 2.5  # 1/m, nearest shade of a layout


def draw_parses(
    path: Path, told: Sequence[tuple[Parse, SeenImage, list[ParsedObject]]], threshold: float
) -> None:
    """Draw a row for each view: image, true room and objects, found room and objects.

    Args:
        path: PNG to write.
        told: Views with what was made of the image and of its objects.
        threshold: Probability from which a cell is inside.
    """
    rows = []
    for view, seen, objects in told:
        true = true_objects(view)
        found = found_objects(objects, threshold, true)
        size = view.rgb.shape[1::-1]
        pictures = [view.rgb, _shaded(view.layout, size), painted(view.rgb, view.K, true)]
        pictures += [_shaded(seen.layout, size), painted(view.rgb, view.K, found)]
        rows.append(np.concatenate(pictures, 1))
    encoded = cv2.imencode('.png', np.concatenate(rows)[..., ::-1])[1]
    with whole_file(path) as partial:
        partial.write_bytes(encoded.tobytes())


def _shaded(layout: NDArray[np.float32], size: tuple[int, int]) -> Pixels:
    """Return inverse depth (h, w) as colours at a size (W, H); near is bright."""
    values = np.clip(layout / _MOST, 0, 1) * 255
    large = cv2.resize(values.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS)[..., ::-1], np.uint8)


def painted(rgb: Pixels, K: NDArray[np.floating], objects: Sequence[PosedObject]) -> Pixels:
    """Return a pale image (H, W, 3) with the cells of objects before it, each in its colour."""
    picture = (0.4 * rgb + 0.6 * 255).astype(np.uint8)
    squares: list[tuple[float, int, int, int, tuple[int, int, int]]] = []
    for number, one in enumerate(objects):
        points, shades, edge_m = _outer_cells(one)
        held = points[:, 2] > 0.05
        pixels = points[held] @ np.asarray(K).T
        half = 0.6 * edge_m * K[0, 0] / points[held, 2]
        hue = np.uint8([[[number * 67 % 180, 170, 255]]])  # type: ignore[arg-type]
        color = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)
        at = np.clip(pixels[:, :2] / pixels[:, 2:], -1e4, 1e4)
        for (u, v), z, r, shade in zip(at, points[held, 2], half, shades[held], strict=True):
            r0, g, b = (int(value) for value in shade * color)
            squares.append((float(z), round(u), round(v), max(1, round(r)), (r0, g, b)))
    for _, u, v, r, tone in sorted(squares, reverse=True):
        cv2.rectangle(picture, (u - r, v - r), (u + r, v + r), tone, -1)
    return picture


def _outer_cells(
    one: PosedObject,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return centres (n, 3) of the outer cells in the camera's frame, their shades, their edge."""
    padded = np.pad(one.occupancy, 1)
    free = ~padded
    normal = np.stack(
        [np.roll(free, -1, axis) * 1.0 - np.roll(free, 1, axis) for axis in range(3)], -1
    )
    covered = np.logical_and.reduce(
        [np.roll(padded, step, axis) for axis in range(3) for step in (-1, 1)]
    )
    inner = np.s_[1:-1, 1:-1, 1:-1]
    outer = (padded & ~covered)[inner]
    count = len(one.occupancy)
    size = np.asarray(one.size_m, np.float64)
    local = ((np.argwhere(outer) + 0.5) / count - 0.5) * size
    towards = normal[inner][outer] / size @ one.T_camera_object[:3, :3].T
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-9)
    shades = 0.6 + 0.4 * (towards @ (_LIGHT / np.linalg.norm(_LIGHT)))
    points = np.asarray(apply(one.T_camera_object, local), np.float64)
    return points, shades, float(size.max() / count)
