"""Training of networks that factor a scene: their loss, and Factored3D's criteria as the judge."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.sets.parses_alter import Parse
from recon3d_core.metrics.parsing import (
    Limits,
    PosedObject,
    rotation_error_rad,
    scale_error_log2,
    shape_iou,
)
from recon3d_core.models.base import Network
from recon3d_core.models.factored3d.loss import parse_loss
from recon3d_core.models.factored3d.model import Factored3d
from recon3d_core.models.factored3d.parsing import ParsedObject, see_image, SeenImage, tell_objects
from recon3d_core.training.parses_scores import found_objects, true_objects
from recon3d_core.training.task import Task
import torch
from torch import nn, Tensor

THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
_KINDS = ('right', 'iou', 'rotation', 'translation', 'scale')
_LAYOUT, _OBJECTS = len(_KINDS), len(_KINDS) + 1  # rows of the sums beside those


@dataclasses.dataclass(frozen=True)
class ParseVerdict:
    """How objects in true boxes, and rooms, are told.

    Attributes:
        shares: Shares of objects within the limits of Factored3D by `_KINDS` at the best
            threshold; `iou` is the mean IoU of the shapes.
        layout_error: Mean error of the layout's inverse depth, 1/m.
        threshold: Probability from which a cell is inside, with the best mean IoU.
        objects: How many objects were looked at.
    """

    shares: NDArray[np.float64]
    layout_error: float
    threshold: float
    objects: int

    @property
    def mean(self) -> float:
        """Mean of the share with everything right and of the shapes' IoU."""
        return float(self.shares[:2].mean())

    def values(self) -> dict[str, float]:
        """Return the columns of the table of validations."""
        return {**dict(zip(_KINDS, self.shares.tolist())), 'layout_error': self.layout_error}

    def in_words(self) -> str:
        """Return it for a person."""
        return ', '.join(f'{key} {value:.3f}' for key, value in self.values().items())

    def summary(self) -> dict[str, Any]:
        """Return what goes into a weights card."""
        rounded = {key: round(value, 4) for key, value in self.values().items()}
        return {**rounded, 'mean': round(self.mean, 4), 'objects': self.objects}


class _Loss(nn.Module):
    """A network's loss as a module, so that it can be wrapped for several devices."""

    def __init__(self, network: Factored3d) -> None:
        super().__init__()
        self.network = network

    def forward(self, **batch: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        return parse_loss(self.network, batch)


class ParseTask(Task):
    """Images with boxes to rooms and objects."""

    @property
    def columns(self) -> list[str]:
        """Return the names of the figures."""
        return [*_KINDS, 'layout_error']

    def objective(self, network: Network) -> nn.Module:
        """Return the network's own loss."""
        assert isinstance(network, Factored3d)
        return _Loss(network)

    def tensors(self, batch: Any) -> dict[str, Tensor]:
        """Return all of the batch."""
        tensors: dict[str, Tensor] = batch.tensors()
        return tensors

    def count_images(self, batch: Any) -> int:
        """Return the size of the batch."""
        return len(batch.images)

    def load(self, names: Sequence[str]) -> list[Any]:
        """Return a view of each scene, unaltered."""
        return [self.data.parse(name, 0) for name in names]

    def sums(self, network: Network, samples: Sequence[Any]) -> Tensor:
        """Return counts of objects within each limit by threshold, and sums of errors.

        Returns:
            (7, thresholds): `_KINDS`, the layouts' errors, and the number of objects.
        """
        assert isinstance(network, Factored3d)
        modes = {name: module.training for name, module in network.named_modules()}
        network.eval()
        sums = torch.zeros(len(_KINDS) + 2, len(THRESHOLDS), dtype=torch.float64)
        for view in samples:
            seen, objects = parse_view(network, view)
            true = true_objects(view)
            sums[_LAYOUT] += float(np.abs(seen.layout - view.layout).mean())
            sums[_OBJECTS] += len(true)
            for column, threshold in enumerate(THRESHOLDS):
                found = found_objects(objects, threshold, true)
                for a, b in zip(found, true, strict=True):
                    sums[:_LAYOUT, column] += torch.from_numpy(_judged(a, b))
        for name, module in network.named_modules():
            module.training = modes[name]
        return sums

    def verdict(self, sums: Tensor, samples: int) -> ParseVerdict:
        """Return the shares at the threshold with the best IoU."""
        values = sums.numpy()
        objects = values[_OBJECTS, 0]
        best = int(values[1].argmax())
        shares = values[:_LAYOUT, best] / max(objects, 1.0)
        error = float(values[_LAYOUT, 0]) / max(samples, 1)
        return ParseVerdict(shares, error, THRESHOLDS[best], int(objects))

    def draw(self, path: Path, network: Network, samples: Sequence[Any], threshold: float) -> None:
        """Draw images, rooms and objects, true and found."""
        from recon3d_core.training.parses_pictures import draw_parses

        assert isinstance(network, Factored3d)
        training = network.training
        network.eval()
        told = [(view, *parse_view(network, view)) for view in samples]
        network.train(training)
        draw_parses(path, told, threshold)


def parse_view(network: Factored3d, view: Parse) -> tuple[SeenImage, list[ParsedObject]]:
    """Return what a network in `eval` mode tells of a view with its true boxes."""
    seen = see_image(network, view.rgb, view.K)
    return seen, tell_objects(network, seen, view.box_xyxy.tolist())


def _judged(found: PosedObject, true: PosedObject) -> NDArray[np.float64]:
    """Return all right, IoU, and whether rotation, translation and scale are right."""
    limits = Limits()
    iou = shape_iou(found, true)
    shift = found.T_camera_object[:3, 3] - true.T_camera_object[:3, 3]
    right = (
        rotation_error_rad(found, true) < limits.rotation_rad,
        float(np.linalg.norm(shift)) < limits.translation_m,
        scale_error_log2(found, true) < limits.scale_log2,
    )
    everything = all(right) and iou > limits.shape_iou
    return np.array([everything, iou, *right], np.float64)
