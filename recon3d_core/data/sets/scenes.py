"""Views of cluttered scenes with the instance of every pixel: what detectors are trained on."""

from __future__ import annotations

from collections.abc import Sequence
import concurrent.futures
import dataclasses
import functools
import logging
import multiprocessing
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from recon3d_core.config import option, PluginConfig
from recon3d_core.data.scenes.composer import compose, ComposedScene, draw_view, scene_name
from recon3d_core.data.scenes.library import Library
from recon3d_core.data.sets import cache
from recon3d_core.data.sets.batches import rng_of
from recon3d_core.data.sets.scenes_alter import altered, AlterOptions, SceneImages
from recon3d_core.errors import InputError
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

DEPTH_STEP_M = 0.0002  # uint16 then reaches 13 m
_CODE = ('scenes/*.py', 'synth/rendering.py', 'synth/noise.py', 'synth/materials.py')


class ScenesConfig(PluginConfig):
    """Options of the scenes."""

    width: int = option(320, 'Width of the images.', unit='px', ge=64, le=1280)
    height: int = option(240, 'Height of the images.', unit='px', ge=48, le=960)
    train_scenes: int = option(1200, 'Scenes to train on.', ge=1, le=800_000)
    first_scene: int = option(
        0, 'First scene to train on: later ones are new to a network that goes on.', ge=0,
        le=800_000,
    )  # fmt: skip
    val_scenes: int = option(60, 'Scenes to validate on.', ge=1, le=100_000)
    test_scenes: int = option(200, 'Scenes to test on.', ge=1, le=100_000)
    views: int = option(4, 'Views of each training scene; of others one is kept.', ge=1, le=64)
    cache: str = option('', 'Folder of the rendered views; empty: RECON3D_CACHE or ~/.cache.')
    alter: AlterOptions = Field(
        default_factory=AlterOptions, description='How training views are altered.'
    )


@dataclasses.dataclass(frozen=True)
class SceneBatch:
    """Views of scenes; all tensors are on one device.

    Attributes:
        images: (B, 3, H, W) float32 RGB in [0, 1].
        depth_m: (B, 1, H, W) float32, 0 = invalid; all 0 where an image has no depth.
        instances: (B, H, W) int64 object of each pixel, 0 = background.
        names: Names of the scenes.
    """

    images: Tensor
    depth_m: Tensor
    instances: Tensor
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> SceneBatch:
        """Return the batch on another device."""
        return SceneBatch(
            self.images.to(device, non_blocking=True),
            self.depth_m.to(device, non_blocking=True),
            self.instances.to(device, non_blocking=True),
            self.names,
        )


def collate_scenes(images: Sequence[SceneImages], names: Sequence[str]) -> SceneBatch:
    """Join views of one size to a batch."""
    rgb = torch.from_numpy(np.stack([one.rgb for one in images]))
    depth = torch.from_numpy(np.stack([one.depth_m for one in images]))
    instances = torch.from_numpy(np.stack([one.instances for one in images]))
    return SceneBatch(
        rgb.permute(0, 3, 1, 2).float() / 255, depth[:, None], instances.long(), tuple(names)
    )


class ScenesSet:
    """`scenes`, or `scenes:ROOT` with another folder of a mesh collection's `manifest.json`.

    What is returned depends on the arguments only; an instance can be sent to another process.
    No object and no scene is in two splits.
    """

    name: ClassVar[str] = 'scenes'
    Config: ClassVar[type[ScenesConfig]] = ScenesConfig

    def __init__(self, where: str = '', config: ScenesConfig | None = None) -> None:
        """Open the set.

        Args:
            where: Folder of the mesh collection; the recorded data's where empty. Without one,
                scenes hold objects made by rule only.
            config: Options, the default ones where None.
        """
        self.where = where
        self.config = ScenesConfig() if config is None else config
        self.library = Library(where)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the opened collection here: another process opens it itself."""
        return {'where': self.where, 'config': self.config, '_fingerprint': self._fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the set as another process had it."""
        self.__dict__.update(state)
        self.library = Library(self.where)

    def names(self, split: str) -> Sequence[str]:
        """Return the names of the scenes of a split (`train`, `val`, `test`), sorted.

        Raises:
            InputError: There is no such split.
        """
        scene_name(split, 0)
        first = self.config.first_scene if split == 'train' else 0
        count = getattr(self.config, f'{split}_scenes')
        return [scene_name(split, k) for k in range(first, first + count)]

    def views_of(self, name: str) -> int:
        """Return how many views of a scene are kept."""
        return int(self.config.views) if name.startswith('scenes/train/') else 1

    def fingerprint(self) -> str:
        """Return a hash of the objects, of what is drawn and of the code that draws it."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        objects = [self.library.names(split) for split in ('train', 'val', 'test')]
        size = (self.config.width, self.config.height)
        return cache.fingerprint_of([objects, size, cache.code_fingerprint(_CODE)])

    def _dtype(self, views: int) -> np.dtype[Any]:
        size = (views, self.config.height, self.config.width)
        return np.dtype(
            [('rgb', np.uint8, (*size, 3)), ('depth', np.uint16, size), ('ids', np.uint8, size)]
        )

    def record(self, name: str) -> NDArray[Any]:
        """Return what is kept of a scene, drawn first where that is not done.

        Raises:
            InputError: There is no such scene.
            RunError: The file that keeps it cannot be written.
        """
        views = self.views_of(name)
        folder = cache.cache_folder(self.config.cache) / f'scenes-{self._fingerprint}'
        dtype = self._dtype(views)

        def draw() -> NDArray[Any]:
            return self._drawn(compose(name, self.library), dtype)

        return cache.kept(Path(f'{folder / name}-{views}.npy'), dtype, draw)

    def _drawn(self, scene: ComposedScene, dtype: np.dtype[Any]) -> NDArray[Any]:
        record = np.zeros(1, dtype)
        for index in range(len(record[0]['ids'])):
            view = draw_view(scene, index, (self.config.width, self.config.height))
            record[0]['rgb'][index] = view.rgb
            steps = np.round(view.depth_m / DEPTH_STEP_M)
            record[0]['depth'][index] = np.clip(steps, 0, 65535).astype(np.uint16)
            record[0]['ids'][index] = view.seen.instances
        return record

    def images(self, name: str, index: int) -> SceneImages:
        """Return a view of a scene as it was drawn.

        Raises:
            InputError: There is no such scene or view.
        """
        if not 0 <= index < self.views_of(name):
            raise InputError(f'view of {name}', index, f'0 to {self.views_of(name) - 1}')
        kept = self.record(name)[0]
        depth = kept['depth'][index].astype(np.float32) * np.float32(DEPTH_STEP_M)
        return SceneImages(kept['rgb'][index].copy(), depth, kept['ids'][index].copy())

    def batch(self, names: Sequence[str], views: int, seed: int) -> SceneBatch:
        """Return a training batch: `views` randomly drawn and altered views of each scene.

        Args:
            names: Names of the scenes, repeats allowed.
            views: Views of each.
            seed: Says everything that is drawn.
        """
        drawn, drawn_names = [], []
        for place, name in enumerate(names):
            rng = rng_of(seed, place)
            for _ in range(views):
                index = int(rng.integers(self.views_of(name)))
                drawn.append(altered(self.images(name, index), self.config.alter, rng))
                drawn_names.append(name)
        return collate_scenes(drawn, drawn_names)

    def prepare(self, split: str, workers: int = 2) -> None:
        """Draw what is missing of a split, so that no batch waits for it later.

        Args:
            split: `train`, `val` or `test`.
            workers: Processes.
        """
        names = list(self.names(split))
        draw = functools.partial(_draw, self)
        if workers == 1:
            self._count(map(draw, names), split, len(names))
            return
        context = multiprocessing.get_context('spawn')
        with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
            self._count(pool.map(draw, names, chunksize=4), split, len(names))

    def _count(self, drawn: Any, split: str, total: int) -> None:
        for done, _ in enumerate(drawn, 1):
            if done % max(total // 20, 1) == 0 or done == total:
                logger.info('%s %s: %d of %d scenes', self.name, split, done, total)


def _draw(data: ScenesSet, name: str) -> None:
    cv2.setNumThreads(1)
    data.record(name)
