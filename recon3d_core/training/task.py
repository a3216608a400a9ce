"""What of a training depends on what is trained: the data, the loss, the judgement, the pictures.

The loop, the plan, the checkpoints and the logs are the same for all networks.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from recon3d_core.data.sets import load_dataset
from recon3d_core.errors import InputError
from recon3d_core.models.base import Network, VolumeNetwork
from recon3d_core.models.factored3d.model import Factored3d
from recon3d_core.models.point_completion.model import PointCompletion
from recon3d_core.models.tsdf_completion.model import TsdfCompletion
from recon3d_core.training import validation
from recon3d_core.training.objective import Objective
from recon3d_core.training.recipe import Recipe
from torch import nn, Tensor


class Verdict(Protocol):
    """Result of a validation."""

    @property
    def threshold(self) -> float:
        """The best threshold."""

    @property
    def mean(self) -> float:
        """What says which weights are best; larger is better."""

    def values(self) -> dict[str, float]:
        """Return the columns of the table of validations."""

    def in_words(self) -> str:
        """Return it for a person."""

    def summary(self) -> dict[str, Any]:
        """Return what goes into a weights card."""


class Task(abc.ABC):
    """One kind of training.

    Attributes:
        recipe: What is trained and how.
        data: The data set: `names`, `batch` and `fingerprint` as a `DataSet` has them.
    """

    def __init__(self, recipe: Recipe, data: Any) -> None:
        """Keep the recipe and the data set."""
        self.recipe = recipe
        self.data = data

    @property
    @abc.abstractmethod
    def columns(self) -> list[str]:
        """Return the names of `Verdict.values`."""

    @abc.abstractmethod
    def objective(self, network: Network) -> nn.Module:
        """Return the module that makes a loss of what `tensors` returns, by name."""

    @abc.abstractmethod
    def tensors(self, batch: Any) -> dict[str, Tensor]:
        """Return the tensors of a batch, which are all that the loss depends on."""

    @abc.abstractmethod
    def count_images(self, batch: Any) -> int:
        """Return how many images a batch has."""

    @abc.abstractmethod
    def load(self, names: Sequence[str]) -> list[Any]:
        """Return samples of the validation split."""

    @abc.abstractmethod
    def sums(self, network: Network, samples: Sequence[Any]) -> Tensor:
        """Return figures of samples that can be added to those of others; the mode is kept."""

    @abc.abstractmethod
    def verdict(self, sums: Tensor, samples: int) -> Verdict:
        """Return the result of all sums over a number of samples."""

    @abc.abstractmethod
    def draw(self, path: Path, network: Network, samples: Sequence[Any], threshold: float) -> None:
        """Draw what the network makes of some samples."""


class VolumeTask(Task):
    """Views of an object to its volume."""

    @property
    def columns(self) -> list[str]:
        """Return a column for each number of views."""
        return [f'iou_{views}' for views in self.recipe.validation.views]

    def objective(self, network: Network) -> nn.Module:
        """Return the network's loss and those from images."""
        assert isinstance(network, VolumeNetwork)
        return Objective(network, self.recipe.loss)

    def tensors(self, batch: Any) -> dict[str, Tensor]:
        """Return images, masks, cameras and the true volume."""
        return {
            'images': batch.images,
            'masks': batch.masks,
            'K': batch.cameras.K,
            'T_camera_cube': batch.cameras.T_camera_cube,
            'occupancy': batch.occupancy,
        }

    def count_images(self, batch: Any) -> int:
        """Return objects times views."""
        return int(batch.images.shape[0] * batch.images.shape[1])

    def load(self, names: Sequence[str]) -> list[Any]:
        """Return objects with as many views as the validation wants."""
        return validation.load_samples(self.data, names, self.recipe.validation.views[-1])

    def sums(self, network: Network, samples: Sequence[Any]) -> Tensor:
        """Return sums of the IoU by number of views and threshold."""
        assert isinstance(network, VolumeNetwork)
        return validation.iou_sums(network, samples, self.recipe.validation.views)

    def verdict(self, sums: Tensor, samples: int) -> Verdict:
        """Return the mean IoU at the best threshold."""
        return validation.choose_threshold(sums, self.recipe.validation.views, samples)

    def draw(self, path: Path, network: Network, samples: Sequence[Any], threshold: float) -> None:
        """Draw shapes beside their truth."""
        from recon3d_core.training.pictures import draw_samples

        assert isinstance(network, VolumeNetwork)
        draw_samples(path, network, samples, self.recipe.validation.views[-1], threshold)


def make_task(recipe: Recipe, network: Network) -> Task:
    """Return the task of a network, with its data set opened.

    Raises:
        InputError: The data do not fit the network.
    """
    options = dict(recipe.data.options)
    if isinstance(network, TsdfCompletion):
        from recon3d_core.training.completion import CompletionTask

        size = {'resolution': network.resolution}
        return CompletionTask(recipe, _open(recipe, {**size, **options}, tuple(size.items())))
    if isinstance(network, PointCompletion):
        from recon3d_core.training.point_completion import PointCompletionTask

        size = {'resolution': network.resolution}
        return PointCompletionTask(recipe, _open(recipe, {**size, **options}, tuple(size.items())))
    if isinstance(network, Factored3d):
        from recon3d_core.training.parses import ParseTask

        size = {'width': network.config.width, 'height': network.config.height}
        return ParseTask(recipe, _open(recipe, {**size, **options}, tuple(size.items())))
    if not isinstance(network, VolumeNetwork):
        from recon3d_core.training.instances import InstanceTask

        size = {'width': network.config.width, 'height': network.config.height}
        return InstanceTask(recipe, _open(recipe, {**size, **options}, tuple(size.items())))
    size = {'resolution': network.resolution}
    return VolumeTask(recipe, _open(recipe, {**size, **options}, tuple(size.items())))


def _open(recipe: Recipe, options: dict[str, Any], wanted: tuple[tuple[str, int], ...]) -> Any:
    data = load_dataset(recipe.data.set, **options)
    for name, value in wanted:
        found = getattr(data.config, name, 'none')
        if found != value:
            raise InputError(f'{name} of the data', found, f"{value}, the model's")
    return data
