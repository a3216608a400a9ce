"""What a data set of objects and their views does."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

from recon3d_core.config import option, PluginConfig
from recon3d_core.data.samples import Batch, Sample


class DataSetConfig(PluginConfig):
    """Options that every data set has."""

    image_size: int = option(128, 'Edge of the square images.', unit='px', ge=32, le=512)
    resolution: int = option(32, 'Voxels along an edge of the true occupancy.', ge=8, le=256)


class DataSet(abc.ABC):
    """Objects by split, each with fixed views for evaluation and drawn ones for training.

    What is returned depends on the arguments only, not on what was asked before or on how many
    processes ask. An instance can be sent to another process.

    Attributes:
        name: Name by which `load_dataset` finds it.
        Config: Its options.
        canonical: Whether objects of a category stand in one pose; without, networks need poses.
    """

    name: ClassVar[str]
    Config: ClassVar[type[DataSetConfig]] = DataSetConfig
    canonical: ClassVar[bool] = True

    def __init__(self, where: str = '', config: DataSetConfig | None = None) -> None:
        """Open the set.

        Args:
            where: What follows `name:`, such as a folder.
            config: Options, the default ones where None.
        """
        self.where = where
        self.config: Any = self.Config() if config is None else config

    @abc.abstractmethod
    def names(self, split: str) -> Sequence[str]:
        """Return the names of the objects of a split (`train`, `val`, `test`), sorted.

        Raises:
            InputError: There is no such split.
        """

    @abc.abstractmethod
    def category(self, name: str) -> str:
        """Return what an object is, without loading it."""

    @property
    @abc.abstractmethod
    def categories(self) -> tuple[str, ...]:
        """Return all categories, sorted."""

    @property
    @abc.abstractmethod
    def max_views(self) -> int:
        """Return how many evaluation views each object has."""

    @abc.abstractmethod
    def sample(self, name: str, views: int) -> Sample:
        """Return an object with the first `views` of its evaluation views, with depth and surface.

        Raises:
            InputError: No such object, or it has fewer views.
        """

    @abc.abstractmethod
    def batch(self, names: Sequence[str], views: int, seed: int) -> Batch:
        """Return a training batch of objects with `views` randomly drawn and altered views each.

        Args:
            names: Names of the objects, repeats allowed.
            views: Views of each.
            seed: Says everything that is drawn.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of what the set consists of; it goes into the weights."""
