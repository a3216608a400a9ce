"""Training of networks that find instances: their loss, and average precision as the judge."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.sets.scenes import collate_scenes
from recon3d_core.data.sets.scenes_alter import SceneImages
from recon3d_core.metrics.instances import match_instances, verdicts
from recon3d_core.models.base import Network
from recon3d_core.models.centermask.grouping import group, Instances
from recon3d_core.models.centermask.model import CenterMask
from recon3d_core.training.checkpoints import whole_file
from recon3d_core.training.task import Task
import torch
from torch import nn, Tensor

IOUS = (0.5, 0.75)
INPUTS = ('rgb', 'rgbd')
LEAST_PX = 40  # of an image of 320 x 240: smaller objects do not count
_BINS = 100  # of the score: sums over images can then be added over devices


@dataclasses.dataclass(frozen=True)
class InstanceVerdict:
    """Average precision with colour only and with depth.

    Attributes:
        ap: (2, 2) by `INPUTS` and `IOUS`.
        threshold: Score with the best F1 at IoU 0.5, over both inputs.
        images: How many images were looked at.
    """

    ap: NDArray[np.float64]
    threshold: float
    images: int

    @property
    def mean(self) -> float:
        """Mean of all four."""
        return float(self.ap.mean())

    def values(self) -> dict[str, float]:
        """Return the columns of the table of validations."""
        return dict(zip(columns(), self.ap.ravel().tolist(), strict=True))

    def in_words(self) -> str:
        """Return it for a person."""
        return ', '.join(f'{key} {value:.3f}' for key, value in self.values().items())

    def summary(self) -> dict[str, Any]:
        """Return what goes into a weights card."""
        rounded = {key: round(value, 4) for key, value in self.values().items()}
        return {**rounded, 'mean': round(self.mean, 4), 'images': self.images}


def columns() -> list[str]:
    """Return the names of the figures: `ap50_rgb` and so on."""
    return [f'ap{round(100 * iou)}_{inputs}' for inputs in INPUTS for iou in IOUS]


class _Loss(nn.Module):
    """A network's loss as a module, so that it can be wrapped for several devices."""

    def __init__(self, network: CenterMask) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, depth_m: Tensor, instances: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        return self.network.loss(images, depth_m, instances)


class InstanceTask(Task):
    """Images of scenes to instance masks."""

    @property
    def columns(self) -> list[str]:
        """Return the names of the average precisions."""
        return columns()

    def objective(self, network: Network) -> nn.Module:
        """Return the network's own loss."""
        assert isinstance(network, CenterMask)
        return _Loss(network)

    def tensors(self, batch: Any) -> dict[str, Tensor]:
        """Return images, depth and instances."""
        return {
            'images': batch.images,
            'depth_m': batch.depth_m,
            'instances': batch.instances,
        }

    def count_images(self, batch: Any) -> int:
        """Return the size of the batch."""
        return len(batch.images)

    def load(self, names: Sequence[str]) -> list[Any]:
        """Return a view of each scene, unaltered."""
        return [self.data.images(name, 0) for name in names]

    @torch.no_grad()
    def sums(self, network: Network, samples: Sequence[Any]) -> Tensor:
        """Return counts of true and false predictions by score, and of objects.

        Returns:
            (2, 2, `_BINS` + 1, 2) by inputs, IoU, bin of the score and false or true; the last
            bin holds the number of objects.
        """
        assert isinstance(network, CenterMask)
        modes = {name: module.training for name, module in network.named_modules()}
        network.eval()
        counts = torch.zeros(len(INPUTS), len(IOUS), _BINS + 1, 2, dtype=torch.float64)
        for sample in samples:
            for row, inputs in enumerate(INPUTS):
                found = segment(network, sample, depth=inputs == 'rgbd')
                truth = sample.instances.astype(np.int32)
                match = match_instances(found.masks, found.scores, truth, LEAST_PX)
                for column, iou in enumerate(IOUS):
                    scores, hits = verdicts([match], iou)
                    bins = np.clip((scores * _BINS).astype(int), 0, _BINS - 1)
                    np.add.at(counts[row, column].numpy(), (bins, hits.astype(int)), 1)
                    counts[row, column, _BINS, 1] += match.ious.shape[1]
        for name, module in network.named_modules():
            module.training = modes[name]
        return counts

    def verdict(self, sums: Tensor, samples: int) -> InstanceVerdict:
        """Return the average precisions, and the score with the best F1."""
        counts = sums.numpy()
        total = np.maximum(counts[..., _BINS, 1], 1)
        # From the highest score down.
        false, true = (counts[..., _BINS - 1 :: -1, k].cumsum(-1) for k in (0, 1))
        precision = true / np.maximum(true + false, 1)
        precision = np.maximum.accumulate(precision[..., ::-1], -1)[..., ::-1]
        gained = np.diff(true, axis=-1, prepend=0)
        ap = (precision * gained).sum(-1) / total
        f1 = 2 * true / np.maximum(true + false + total[..., None], 1)
        best = int(f1[:, 0].mean(0).argmax())
        threshold = (_BINS - 1 - best) / _BINS
        return InstanceVerdict(ap, min(max(threshold, 0.01), 0.99), samples)

    def draw(self, path: Path, network: Network, samples: Sequence[Any], threshold: float) -> None:
        """Draw images, their true instances, and those found with colour and with depth."""
        assert isinstance(network, CenterMask)
        training = network.training
        network.eval()
        rows = []
        for sample in samples:
            found = [segment(network, sample, depth=depth) for depth in (False, True)]
            labels = [sample.instances, *(_labels(one, threshold) for one in found)]
            rows.append(np.concatenate([sample.rgb, *map(_painted, labels)], 1))
        network.train(training)
        encoded = cv2.imencode('.png', np.concatenate(rows)[..., ::-1])[1]
        with whole_file(path) as partial:
            partial.write_bytes(encoded.tobytes())


@torch.no_grad()
def segment(network: CenterMask, sample: SceneImages, *, depth: bool) -> Instances:
    """Return the instances that a network in `eval` mode finds in a view."""
    batch = collate_scenes([sample], ['']).to(network.device)
    inputs = network.preprocess(batch.images, batch.depth_m if depth else None)
    return group(network(inputs), sample.instances.shape)


def _labels(found: Instances, threshold: float) -> NDArray[np.int64]:
    labels = np.zeros(found.masks.shape[1:], np.int64)
    for number, mask in enumerate(found.masks[found.scores >= threshold], 1):
        labels[mask] = number
    return labels


def _painted(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) with a colour for each instance on black."""
    hues = (labels.astype(np.int64) * 67 % 180).astype(np.uint8)
    value = np.where(labels > 0, 235, 0).astype(np.uint8)
    hsv = np.stack([hues, np.full_like(hues, 190), value], -1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
