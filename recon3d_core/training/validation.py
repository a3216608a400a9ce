"""How good a network is on objects that it does not train on, and from which probability on."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any, TypeVar

import numpy as np
from recon3d_core.checks import check_finite
from recon3d_core.data.samples import Batch, collate, Sample
from recon3d_core.data.sets.base import DataSet
from recon3d_core.errors import InputError
from recon3d_core.metrics import iou
from recon3d_core.models.base import VolumeNetwork
from recon3d_core.models.cameras import ViewCameras
import torch
from torch import Tensor

Item = TypeVar('Item')
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(2, 19))
_TOGETHER = 8


def spread(names: Sequence[Item], count: int) -> list[Item]:
    """Return at most `count` of the items, evenly spread over their order."""
    if len(names) <= count:
        return list(names)
    return [names[int(k)] for k in np.linspace(0, len(names) - 1, count).round()]


def load_samples(data: DataSet, names: Sequence[str], views: int) -> list[Sample]:
    """Return objects with their first views, without what only the final evaluation needs.

    Raises:
        InputError: A sample has values that are not finite, or too few views.
    """
    if views > data.max_views:
        raise InputError('views', views, f'at most {data.max_views}, as data set {data.name} has')
    return [light(checked(data.sample(name, views))) for name in names]


def checked(sample: Sample) -> Sample:
    """Return a sample after checking its cameras.

    Raises:
        InputError: A camera has values that are not finite.
    """
    check_finite(f'intrinsics of {sample.name}', sample.K)
    check_finite(f'poses of {sample.name}', sample.T_camera_cube)
    return sample


def light(sample: Sample) -> Sample:
    """Return a sample without depth and surface."""
    return dataclasses.replace(sample, depth=None, surface=None, normals=None)


def first_views(batch: Batch, views: int) -> Batch:
    """Return a batch with the first of its views only."""
    cameras = ViewCameras(batch.cameras.K[:, :views], batch.cameras.T_camera_cube[:, :views])
    return dataclasses.replace(
        batch, images=batch.images[:, :views], masks=batch.masks[:, :views], cameras=cameras
    )


@torch.no_grad()
def predict(network: VolumeNetwork, samples: Sequence[Sample], views: int) -> Tensor:
    """Return probabilities (S, N, N, N), on the CPU, of samples by their first views."""
    volumes = []
    for first in range(0, len(samples), _TOGETHER):
        batch = first_views(collate(samples[first : first + _TOGETHER]), views)
        batch = batch.to(network.device)
        prepared = network.preprocess(batch.images, batch.masks)
        volumes.append(network(prepared, batch.cameras).float().cpu())
    return torch.cat(volumes)


@dataclasses.dataclass(frozen=True)
class Validation:
    """Result of one validation.

    Attributes:
        iou: `{views: mean IoU at the threshold}`.
        threshold: The one of `THRESHOLDS` with the best mean.
        mean: Mean IoU over the numbers of views at that threshold.
        objects: How many objects were looked at.
    """

    iou: dict[int, float]
    threshold: float
    mean: float
    objects: int

    def values(self) -> dict[str, float]:
        """Return the columns of the table of validations."""
        return {f'iou_{views}': value for views, value in self.iou.items()}

    def in_words(self) -> str:
        """Return it for a person."""
        return f'IoU {", ".join(f"{v:.3f} at {views}" for views, v in self.iou.items())} views'

    def summary(self) -> dict[str, Any]:
        """Return what goes into a weights card."""
        iou = {str(views): round(value, 4) for views, value in self.iou.items()}
        return {'iou': iou, 'mean': round(self.mean, 4), 'objects': self.objects}


def choose_threshold(sums: Tensor, views: Sequence[int], objects: int) -> Validation:
    """Return the best threshold and what it gives.

    Args:
        sums: (len(views), T) sums of the IoU over the objects.
        views: The numbers of views.
        objects: How many objects were summed over.
    """
    means = sums / max(1, objects)
    best = int(means.mean(0).argmax())
    iou = {count: float(means[row, best]) for row, count in enumerate(views)}
    return Validation(iou, THRESHOLDS[best], float(means[:, best].mean()), objects)


@torch.no_grad()
def iou_sums(network: VolumeNetwork, samples: Sequence[Sample], views: Sequence[int]) -> Tensor:
    """Return (len(views), T) float64 sums of the IoU over samples; the mode is kept."""
    sums = torch.zeros(len(views), len(THRESHOLDS), dtype=torch.float64)
    if not samples:
        return sums
    modes = {name: module.training for name, module in network.named_modules()}
    network.eval()
    truth = torch.from_numpy(np.stack([sample.occupancy for sample in samples]))
    for row, count in enumerate(views):
        volumes = predict(network, samples, count)
        sums[row] = torch.as_tensor(iou(volumes, truth, THRESHOLDS)).sum(0)
    for name, module in network.named_modules():
        module.training = modes[name]
    return sums
