"""What a person looks at while a network trains: curves, and shapes beside their truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.samples import Sample
from recon3d_core.models.base import VolumeNetwork
from recon3d_core.training.checkpoints import whole_file
from recon3d_core.training.validation import predict
import torch
from torch import Tensor
from torch.nn import functional

logger = logging.getLogger(__name__)

_REACH = 0.75  # half the width of a drawn volume: the cube's corners stay inside
_LIGHT = (0.35, -0.75, -0.56)  # camera's optical frame: from above, a bit from the right
_SAMPLES = 96  # along a ray
_SHOWN_VIEWS = 3


def render_volume(
    volume: Tensor, threshold: float, R_camera_cube: Tensor, size: int = 128
) -> NDArray[np.uint8]:
    """Draw the surface of a volume with parallel rays, lit from above.

    Args:
        volume: (N, N, N) probabilities, indexed [x, y, z].
        threshold: Probability of the surface.
        R_camera_cube: (3, 3) rotation from the cube to the camera's optical frame.
        size: Edge of the picture in pixels.

    Returns:
        (size, size, 3) uint8 RGB on white.
    """
    volume = functional.pad(volume.float(), (1,) * 6)  # what touches the cube's faces is closed
    scale = 2 * (volume.shape[0] - 2) / volume.shape[0]
    along = torch.linspace(-_REACH, _REACH, size)
    depth = torch.linspace(-0.9, 0.9, _SAMPLES)
    v, u, z = torch.meshgrid(along, along, depth, indexing='ij')
    rays = torch.stack([u, v, z], -1) @ R_camera_cube.float()
    at = (rays * scale).flip(-1)
    values = functional.grid_sample(volume[None, None], at[None], align_corners=False)[0, 0]
    inside = values >= threshold
    hit = inside.any(-1)
    first = inside.int().argmax(-1)
    normals = _normals(volume, at.gather(2, first[..., None, None].expand(size, size, 1, 3)))
    towards = functional.normalize(normals @ R_camera_cube.float().T, dim=-1)
    light = functional.normalize(torch.tensor(_LIGHT), dim=0)
    shade = 0.35 + 0.65 * (towards @ light).clamp_min(0)
    color = shade[..., None] * torch.tensor([120.0, 165.0, 225.0])
    picture = torch.where(hit[..., None], color, torch.tensor(255.0))
    return picture.clamp(0, 255).byte().numpy()


def _normals(volume: Tensor, at: Tensor) -> Tensor:
    """Return (H, W, 3) directions away from the inside, at sampling places (H, W, 1, 3)."""
    smooth = functional.avg_pool3d(volume[None, None], 3, stride=1, padding=1)[0, 0]
    slopes = torch.stack(torch.gradient(smooth))
    found = functional.grid_sample(slopes[None], at[None], align_corners=False)[0, :, :, :, 0]
    return -found.permute(1, 2, 0)


def sample_rows(
    samples: Sequence[Sample], volumes: Tensor, views: int, threshold: float, size: int = 128
) -> NDArray[np.uint8]:
    """Return one row a sample: its first views, what was predicted, and the truth.

    Args:
        samples: The objects.
        volumes: (S, N, N, N) their predicted probabilities.
        views: How many views the network saw.
        threshold: Probability of the surface.
        size: Edge of each picture in pixels.
    """
    shown = min(views, _SHOWN_VIEWS)
    rows = []
    for sample, volume in zip(samples, volumes):
        R = torch.from_numpy(sample.T_camera_cube[0, :3, :3].astype(np.float32))
        truth = torch.from_numpy(sample.occupancy.astype(np.float32))
        tiles = [_resized(image, size) for image in sample.images[:shown]]
        tiles += [render_volume(volume, threshold, R, size), render_volume(truth, 0.5, R, size)]
        rows.append(np.concatenate(tiles, 1))
    return np.concatenate(rows)


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(tensor, (size, size), mode='bilinear', antialias=True)
    return scaled[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def draw_samples(
    path: Path, network: VolumeNetwork, samples: Sequence[Sample], views: int, threshold: float
) -> None:
    """Write a picture of what a network makes of some objects; its mode is kept."""
    if not samples:
        return
    modes = {name: module.training for name, module in network.named_modules()}
    network.eval()
    volumes = predict(network, samples, views)
    for name, module in network.named_modules():
        module.training = modes[name]
    write_png(path, sample_rows(samples, volumes, views, threshold))


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an RGB picture (H, W, 3); without OpenCV none is written."""
    try:
        import cv2
    except ImportError:
        logger.warning('OpenCV is not installed: %s is not drawn', path)
        return
    encoded = cv2.imencode('.png', picture[..., ::-1])[1]
    with whole_file(path) as partial:
        partial.write_bytes(encoded.tobytes())


def draw_curves(
    path: Path, steps: Sequence[Mapping[str, float]], validations: Sequence[Mapping[str, float]]
) -> None:
    """Write loss, learning rate, speed and IoU over the steps; without matplotlib, nothing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning('matplotlib is not installed: %s is not drawn', path)
        return
    figure = Figure(figsize=(11, 7), layout='constrained')
    loss, iou, lr, speed = figure.subplots(2, 2).flat
    _line(loss, steps, 'loss', 'loss', log=True)
    _line(lr, steps, 'lr', 'learning rate')
    _line(speed, steps, 'images_per_s', 'images per second')
    for name in sorted({key for row in validations for key in row if key.startswith('iou_')}):
        _line(iou, validations, name, 'IoU, validation', label=f'{name[4:]} views')
    if validations:
        iou.legend()
        best = max(validations, key=lambda row: row['mean'])
        iou.set_title(f'best {best["mean"]:.3f} at step {best["step"]:.0f}', fontsize=10)
    with whole_file(path) as partial:
        figure.savefig(partial, format='png', dpi=100)


def _line(
    axes: Any,
    rows: Sequence[Mapping[str, float]],
    column: str,
    title: str,
    *,
    label: str = '',
    log: bool = False,
) -> None:
    points = [
        (row['step'], row[column]) for row in rows if math.isfinite(row.get(column, math.nan))
    ]
    axes.plot([x for x, _ in points], [y for _, y in points], label=label or None, linewidth=1)
    axes.set_xlabel('step')
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)
    if log and points and min(y for _, y in points) > 0:
        axes.set_yscale('log')
