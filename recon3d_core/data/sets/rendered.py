"""Data sets whose views are rendered from meshes, once, and altered anew in every batch."""

from __future__ import annotations

import abc
from collections.abc import Sequence
import functools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from recon3d_core.config import option
from recon3d_core.data.augment import AugmentOptions
from recon3d_core.data.objects.base import ObjectSet
from recon3d_core.data.samples import Batch, Sample
from recon3d_core.data.sets import cache
from recon3d_core.data.sets.base import DataSet, DataSetConfig
from recon3d_core.data.sets.batches import (
    before_backgrounds,
    draw_indices,
    jitter_crops,
    make_batch,
    ObjectViews,
    rng_of,
)
from recon3d_core.data.sets.drawn import DEPTH_STEP, draw_object, Drawing
from recon3d_core.data.sets.preparing import make_all
from recon3d_core.data.view_sampling import ViewRange
from recon3d_core.errors import InputError

EVALUATION_VIEWS = 24


class RenderedConfig(DataSetConfig):
    """Options of data sets whose views are rendered once and kept."""

    draws: int = option(2, 'How often each object is posed and lit for training.', ge=1, le=64)
    views_per_draw: int = option(6, 'Views rendered of each draw.', ge=1, le=64)
    cache: str = option('', 'Folder of the rendered views; empty: RECON3D_CACHE or ~/.cache.')
    augment: AugmentOptions = Field(
        default_factory=AugmentOptions, description='How training views are altered.'
    )


class RenderedSet(DataSet):
    """Views of an object set's meshes; each object is rendered when it is first needed."""

    Config: ClassVar[type[RenderedConfig]] = RenderedConfig
    view_range: ClassVar[ViewRange] = ViewRange()

    @property
    @abc.abstractmethod
    def objects(self) -> ObjectSet:
        """The objects."""

    def upright(self, name: str) -> bool:  # noqa: ARG002
        """Return whether an object stands on a ground; others are turned any way."""
        return True

    @property
    def max_views(self) -> int:
        """Return how many evaluation views each object has."""
        return EVALUATION_VIEWS

    def drawing(self, *, evaluation: bool) -> Drawing:
        """Return what is drawn of each object."""
        return Drawing(
            size=self.config.image_size,
            resolution=self.config.resolution,
            draws=1 if evaluation else self.config.draws,
            views=EVALUATION_VIEWS if evaluation else self.config.views_per_draw,
            canonical=self.canonical,
            evaluation=evaluation,
            range=self.view_range,
        )

    def fingerprint(self) -> str:
        """Return a hash of the objects' names, of what is drawn and of the code that draws it."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        names = [tuple(self.names(split)) for split in ('train', 'val', 'test')]
        drawings = [self.drawing(evaluation=value) for value in (False, True)]
        return cache.fingerprint_of([self.name, names, drawings, cache.code_fingerprint()])

    @functools.cached_property
    def _folder(self) -> Path:
        drawings = [self.drawing(evaluation=value) for value in (False, True)]
        key = cache.fingerprint_of([drawings, cache.code_fingerprint()])
        return cache.cache_folder(self.config.cache) / f'{self.name}-{key}'

    def record(self, name: str, *, evaluation: bool) -> NDArray[Any]:
        """Return what was drawn of an object, and draw it before where that is not done.

        Raises:
            InputError: There is no such object.
            RunError: The file that keeps it cannot be written.
        """
        drawing = self.drawing(evaluation=evaluation)
        path = self._folder / ('evaluation' if evaluation else 'training') / f'{name}.npy'

        def draw() -> NDArray[Any]:
            return draw_object(self.objects.load(name), drawing, self.upright(name))

        return cache.kept(path, drawing.record, draw)

    def prepare(self, split: str, workers: int = 2) -> None:
        """Render what is missing of a split, so that no batch waits for it later.

        Args:
            split: `train` for training views, `val` or `test` for evaluation views.
            workers: Processes.
        """
        render = functools.partial(_render, self, split != 'train')
        make_all(render, self.names(split), f'{self.name} {split}, objects', workers)

    def sample(self, name: str, views: int) -> Sample:
        """Return an object with the first `views` of its evaluation views, with depth and surface.

        Raises:
            InputError: No such object, or it has fewer views.
        """
        if not 1 <= views <= EVALUATION_VIEWS:
            raise InputError(f'{name} has not so many views', views, f'1 to {EVALUATION_VIEWS}')
        record = self.record(name, evaluation=True)[0]
        rgba = record['rgba'][0, :views]
        return Sample(
            name=name,
            category=self.category(name),
            images=before_backgrounds(rgba, name),
            masks=rgba[..., 3].copy(),
            K=record['K'][0, :views].copy(),
            T_camera_cube=record['T_camera_cube'][0, :views].copy(),
            occupancy=self._occupancy(record, 0),
            edge_m=float(record['edge_m'][0]),
            depth=record['depth'][0, :views] * np.float32(DEPTH_STEP),
            surface=record['surface'][0].copy(),
            normals=record['normals'][0].copy(),
        )

    def batch(self, names: Sequence[str], views: int, seed: int) -> Batch:
        """Return a training batch of objects with `views` randomly drawn and altered views each.

        Args:
            names: Names of the objects, repeats allowed.
            views: Views of each.
            seed: Says everything that is drawn.
        """
        objects = [
            self._training_views(name, views, rng_of(seed, place))
            for place, name in enumerate(names)
        ]
        categories = [self.category(name) for name in names]
        return make_batch(objects, names, categories, self.config.augment, seed)

    def _training_views(self, name: str, views: int, rng: np.random.Generator) -> ObjectViews:
        record = self.record(name, evaluation=False)[0]
        draw = int(rng.integers(self.config.draws))
        chosen = draw_indices(self.config.views_per_draw, views, rng)
        rgba, K, T = (record[key][draw, chosen] for key in ('rgba', 'K', 'T_camera_cube'))
        return jitter_crops(ObjectViews(rgba, K, T, self._occupancy(record, draw)), rng)

    def _occupancy(self, record: Any, draw: int) -> NDArray[np.bool_]:
        n = self.config.resolution
        bits = np.unpackbits(record['occupancy'][draw], count=n**3)
        return bits.reshape(n, n, n).astype(bool)


def _render(dataset: RenderedSet, evaluation: bool, name: str) -> None:
    dataset.record(name, evaluation=evaluation)
