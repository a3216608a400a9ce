"""Scenes factored into the empty room and the shape, pose and scale of every object in view.

It is what `factored3d` is trained on: the images of the composed scenes of the set `scenes`, without
their depth, and what there is to be known of them (`parses_drawn`).
"""

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
from recon3d_core.data.scenes.composer import compose, scene_name
from recon3d_core.data.scenes.library import Library
from recon3d_core.data.sets import cache
from recon3d_core.data.sets.batches import rng_of
from recon3d_core.data.sets.parses_alter import altered, AlterParses, Parse, with_false_boxes
from recon3d_core.data.sets.parses_drawn import CELLS, draw_parses, LAYOUT_STEP, record_type
from recon3d_core.errors import InputError
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

LEAST_SHARE = 40 / (320 * 240)  # of the image: objects that show less are not told of
_CODE = (
    'scenes/*.py',
    'synth/rendering.py',
    'synth/noise.py',
    'synth/materials.py',
    'sets/parses_drawn.py',
)


class ParsesConfig(PluginConfig):
    """Options of the set."""

    width: int = option(320, 'Width of the images.', unit='px', ge=64, le=1280)
    height: int = option(240, 'Height of the images.', unit='px', ge=48, le=960)
    train_scenes: int = option(300, 'Scenes to train on.', ge=1, le=800_000)
    val_scenes: int = option(30, 'Scenes to validate on.', ge=1, le=100_000)
    test_scenes: int = option(100, 'Scenes to test on.', ge=1, le=100_000)
    views: int = option(2, 'Views of each training scene; of others one is kept.', ge=1, le=64)
    false_boxes: int = option(2, 'Boxes without an object in each training view.', ge=0, le=64)
    cache: str = option('', 'Folder of the rendered views; empty: RECON3D_CACHE or ~/.cache.')
    alter: AlterParses = Field(
        default_factory=AlterParses, description='How training views are altered.'
    )


@dataclasses.dataclass(frozen=True)
class ParseBatch:
    """Views of scenes with all of their objects; all tensors are on one device.

    Attributes:
        images: (B, 3, H, W) float32 RGB in [0, 1].
        K: (B, 3, 3) float32 intrinsics, pixels.
        layout: (B, h, w) float32 inverse depth of the empty room, 1/m.
        image_of: (N,) int64 image of each object.
        boxes: (N, 4) float32 boxes, outer edges in pixels.
        T_camera_object: (N, 4, 4) float32 poses of the objects' upright boxes.
        size_m: (N, 3) float32 edges of these.
        occupancy: (N, 32, 32, 32) float32 what of them is inside.
        is_round: (N,) bool, whether a turn about the vertical changes nothing.
        is_true: (N,) bool; False for boxes without an object, of which all else means nothing.
        names: Names of the scenes.
    """

    images: Tensor
    K: Tensor
    layout: Tensor
    image_of: Tensor
    boxes: Tensor
    T_camera_object: Tensor
    size_m: Tensor
    occupancy: Tensor
    is_round: Tensor
    is_true: Tensor
    names: tuple[str, ...]

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        fields = (field.name for field in dataclasses.fields(self) if field.name != 'names')
        return {name: getattr(self, name) for name in fields}

    def to(self, device: torch.device | str) -> ParseBatch:
        """Return the batch on another device."""
        moved = {key: t.to(device, non_blocking=True) for key, t in self.tensors().items()}
        return ParseBatch(**moved, names=self.names)


def collate_parses(parses: Sequence[Parse], names: Sequence[str]) -> ParseBatch:
    """Join views of one size to a batch."""
    rgb = torch.from_numpy(np.stack([one.rgb for one in parses]))
    image_of = np.repeat(np.arange(len(parses)), [len(one.box_xyxy) for one in parses])

    def joined(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(one, name) for one in parses]))

    return ParseBatch(
        images=rgb.permute(0, 3, 1, 2).float() / 255,
        K=torch.from_numpy(np.stack([one.K for one in parses])).float(),
        layout=torch.from_numpy(np.stack([one.layout for one in parses])).float(),
        image_of=torch.from_numpy(image_of),
        boxes=joined('box_xyxy').float(),
        T_camera_object=joined('T_camera_object').float(),
        size_m=joined('size_m').float(),
        occupancy=joined('occupancy').float(),
        is_round=joined('is_round'),
        is_true=joined('is_true'),
        names=tuple(names),
    )


class ParsesSet:
    """`parses`, or `parses:ROOT` with another folder of a mesh collection's `manifest.json`.

    What is returned depends on the arguments only; an instance can be sent to another process.
    Scenes and splits are those of the set `scenes`.
    """

    name: ClassVar[str] = 'parses'
    Config: ClassVar[type[ParsesConfig]] = ParsesConfig

    def __init__(self, where: str = '', config: ParsesConfig | None = None) -> None:
        """Open the set.

        Args:
            where: Folder of the mesh collection; the recorded data's where empty. Without one,
                scenes hold objects made by rule only.
            config: Options, the default ones where None.

        Raises:
            InputError: The size of the images is no multiple of that of the layout's pixels.
        """
        self.where = where
        self.config = ParsesConfig() if config is None else config
        if self.config.width % LAYOUT_STEP or self.config.height % LAYOUT_STEP:
            size = f'{self.config.width}x{self.config.height}'
            raise InputError('size of the images', size, f'multiples of {LAYOUT_STEP}')
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
        return [scene_name(split, k) for k in range(getattr(self.config, f'{split}_scenes'))]

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

    def record(self, name: str) -> NDArray[Any]:
        """Return what is kept of a scene, drawn first where that is not done.

        Raises:
            InputError: There is no such scene.
            RunError: The file that keeps it cannot be written.
        """
        views = self.views_of(name)
        folder = cache.cache_folder(self.config.cache) / f'parses-{self._fingerprint}'
        dtype = record_type(views, self.config.width, self.config.height)

        def draw() -> NDArray[Any]:
            return draw_parses(compose(name, self.library), dtype)

        return cache.kept(Path(f'{folder / name}-{views}.npy'), dtype, draw)

    def parse(self, name: str, index: int) -> Parse:
        """Return a view of a scene with the objects that enough of the image shows.

        Raises:
            InputError: There is no such scene or view.
        """
        if not 0 <= index < self.views_of(name):
            raise InputError(f'view of {name}', index, f'0 to {self.views_of(name) - 1}')
        kept = self.record(name)[0]
        fx, fy, cx, cy = kept['K'][index].tolist()
        least = LEAST_SHARE * self.config.width * self.config.height
        shown = np.flatnonzero(kept['pixels'][index] >= least)
        bits = np.unpackbits(kept['shape'][shown], axis=1)
        return Parse(
            rgb=kept['rgb'][index].copy(),
            K=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
            layout=kept['layout'][index].astype(np.float32),
            box_xyxy=kept['box_xyxy'][index, shown],
            T_camera_object=kept['T_camera_object'][index, shown],
            size_m=kept['size_m'][shown],
            occupancy=bits.reshape(-1, CELLS, CELLS, CELLS).astype(bool),
            is_round=kept['is_round'][shown],
            is_true=np.ones(len(shown), bool),
        )

    def batch(self, names: Sequence[str], views: int, seed: int) -> ParseBatch:
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
                parse = altered(self.parse(name, index), self.config.alter, rng)
                drawn.append(with_false_boxes(parse, self.config.false_boxes, rng))
                drawn_names.append(name)
        return collate_parses(drawn, drawn_names)

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


def _draw(data: ParsesSet, name: str) -> None:
    cv2.setNumThreads(1)
    data.record(name)
