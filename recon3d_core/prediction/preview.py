"""The picture of a prediction: what the network saw, and the shape from four sides."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.fusion._crops import SOLID
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import look_at
from recon3d_core.meshing.render import render_mesh
from recon3d_core.prediction.confidence import in_words
from recon3d_core.prediction.predict import Prediction
from recon3d_core.prediction.views import ObjectView
from recon3d_core.types import Mesh

TILE = 192
SHOWN_VIEWS = 8
AZIMUTHS = np.deg2rad([-60.0, 30.0, 120.0, 210.0])
ELEVATION = np.deg2rad(25.0)
_DISTANCE = 2.4  # edges of the cube
_FOCAL = 2.1  # tiles
_OUTLINE = (230, 30, 90)
_BAR = 26


def preview_png(prediction: Prediction) -> bytes:
    """Return the picture as PNG: crops with the masks' outlines, then the shape, then a line."""
    crops = [_crop_tile(view) for view in prediction.views[:SHOWN_VIEWS]]
    sides = _sides(prediction.mesh, prediction.grid)
    rows = -(-len(crops) // 4)
    left = _tiled(crops, min(4, len(crops)))
    right = _tiled(sides, 4 if rows == 1 else 2)
    height = max(left.shape[0], right.shape[0])
    picture = np.concatenate([_padded(part, height) for part in (left, right)], 1)
    bar = np.full((_BAR, picture.shape[1], 3), 255, np.uint8)
    text = (
        f'{prediction.model}, {in_words(len(prediction.views))}, '
        f'confidence {prediction.confidence.value:.2f}'
    )
    cv2.putText(bar, text, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    encoded = cv2.imencode('.png', np.concatenate([picture, bar])[..., ::-1])[1]
    return bytes(encoded.tobytes())


def _crop_tile(view: ObjectView) -> NDArray[np.uint8]:
    image = cv2.resize(view.crop.image, (TILE, TILE), interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(view.crop.mask, (TILE, TILE), interpolation=cv2.INTER_LINEAR)
    faded = np.where(mask[..., None] >= SOLID, image, image // 2 + 127).astype(np.uint8)
    lines, _ = cv2.findContours(
        (mask >= SOLID).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(faded, lines, -1, _OUTLINE, 1)
    return faded


def _sides(mesh: Mesh, grid: VoxelGrid) -> list[NDArray[np.uint8]]:
    camera = Camera(TILE, TILE, _FOCAL * TILE, _FOCAL * TILE, (TILE - 1) / 2, (TILE - 1) / 2)
    edge = float(grid.extent_m.max())
    axes = grid.T_world_grid[:3, :3]
    center = grid.T_world_grid[:3, 3] + axes @ (grid.extent_m / 2)
    tiles = []
    for azimuth in AZIMUTHS:
        flat = np.cos(ELEVATION) * np.array([np.cos(azimuth), np.sin(azimuth)])
        eye = center + axes @ (_DISTANCE * edge * np.array([*flat, np.sin(ELEVATION)]))
        T = look_at(eye, center, axes[:, 2])
        tiles.append(render_mesh([mesh], camera, T)[0])
    return tiles


def _tiled(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    blank = np.full((TILE, TILE, 3), 255, np.uint8)
    filled = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [np.concatenate(filled[i : i + columns], 1) for i in range(0, len(filled), columns)]
    return np.concatenate(rows)


def _padded(picture: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    missing = height - picture.shape[0]
    return np.pad(picture, ((0, missing), (0, 8), (0, 0)), constant_values=255)
