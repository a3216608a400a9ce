"""Views of cluttered scenes with the instance of every pixel: what detectors are trained on."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from recon3d_core.config import option
from recon3d_core.data.scenes.composer import ComposedScene, draw_view
from recon3d_core.data.sets.batches import rng_of
from recon3d_core.data.sets.composed import ComposedConfig, ComposedSet
from recon3d_core.data.sets.scenes_alter import altered, AlterOptions, SceneImages
import torch
from torch import Tensor

DEPTH_STEP_M = 0.0002  # uint16 then reaches 13 m


class ScenesConfig(ComposedConfig):
    """Options of the scenes."""

    train_scenes: int = option(1200, 'Scenes to train on.', ge=1, le=800_000)
    val_scenes: int = option(60, 'Scenes to validate on.', ge=1, le=100_000)
    test_scenes: int = option(200, 'Scenes to test on.', ge=1, le=100_000)
    views: int = option(4, 'Views of each training scene; of others one is kept.', ge=1, le=64)
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


class ScenesSet(ComposedSet):
    """`scenes`, or `scenes:ROOT` with another folder of a mesh collection's `manifest.json`."""

    name: ClassVar[str] = 'scenes'
    Config: ClassVar[type[ComposedConfig]] = ScenesConfig
    CODE = ('sets/scenes.py',)

    def record_type(self, views: int) -> np.dtype[Any]:
        """Return the type of images, depth in steps and instances of so many views."""
        size = (views, self.config.height, self.config.width)
        return np.dtype(
            [('rgb', np.uint8, (*size, 3)), ('depth', np.uint16, size), ('ids', np.uint8, size)]
        )

    def draw(self, scene: ComposedScene, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the record (1,) of a scene."""
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
        kept = self.view_record(name, index)
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
