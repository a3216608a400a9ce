"""Photos, masks, poses and weights of small things: good ones to begin with."""

from __future__ import annotations

import functools
import json
from pathlib import Path
import tempfile

import cv2
import numpy as np
from quick_networks import OPTIONS
from recon3d_core.models import create_model
from recon3d_core.models.weights import save_weights, WeightsCard
from tabletop import Scene, tabletop
import torch


@functools.cache
def random_weights(name: str) -> Path:
    """Return a file with random weights of a small network."""
    torch.manual_seed(0)
    model = create_model(name, **OPTIONS[name])
    path = Path(tempfile.mkdtemp(prefix='recon3d_test_')) / f'{name}.safetensors'
    card = WeightsCard(name, config=model.config.model_dump(), metrics={'iou_1': 0.0})
    save_weights(path, model.state_dict(), card)
    return path


def photo(height: int = 90, width: int = 120) -> np.ndarray:
    """Return RGB (height, width, 3): a blue disc on a plain table."""
    rgb = np.full((height, width, 3), (200, 180, 160), np.uint8)
    cv2.circle(rgb, (width // 2, height // 2), height // 4, (40, 60, 150), -1)
    return rgb


def save_rgb(path: Path, rgb: np.ndarray) -> Path:
    """Write an image as its name's ending says."""
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)
    return path


def posed_photos(folder: Path, name: str, count: int) -> tuple[list[Path], list[Path], dict]:
    """Write photos and masks of a solid on a table; return them and the content of their poses."""
    scene: Scene = tabletop(name)
    images, masks, views = [], [], []
    for index, view in enumerate(scene.orbit(count, seed=None)):
        images.append(save_rgb(folder / f'{index}.png', view.frame.rgb))
        masks.append(save_rgb(folder / f'{index}.mask.png', view.mask.astype(np.uint8) * 255))
        views.append(
            {
                'K': view.frame.camera.K.tolist(),
                'T_world_camera': view.frame.T_world_camera.tolist(),
            }
        )
    return images, masks, {'views': views}


def save_json(path: Path, content: object) -> Path:
    """Write JSON; NaN as Python writes it."""
    path.write_text(json.dumps(content))
    return path
