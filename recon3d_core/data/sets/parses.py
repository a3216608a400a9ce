"""Scenes factored into the empty room and the shape, pose and scale of every object in view.

It is what `factored3d` is trained on: the images of the composed scenes of the set `scenes`, without
their depth, and what there is to be known of them (`parses_drawn`).
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from recon3d_core.config import option
from recon3d_core.data.scenes.composer import ComposedScene
from recon3d_core.data.sets.batches import rng_of
from recon3d_core.data.sets.composed import ComposedConfig, ComposedSet
from recon3d_core.data.sets.parses_alter import altered, AlterParses, Parse, with_false_boxes
from recon3d_core.data.sets.parses_drawn import CELLS, draw_parses, LAYOUT_STEP, record_type
from recon3d_core.errors import InputError
import torch
from torch import Tensor

LEAST_SHARE = 40 / (320 * 240)  # of the image: objects that show less are not told of


class ParsesConfig(ComposedConfig):
    """Options of the set."""

    train_scenes: int = option(300, 'Scenes to train on.', ge=1, le=800_000)
    val_scenes: int = option(30, 'Scenes to validate on.', ge=1, le=100_000)
    test_scenes: int = option(100, 'Scenes to test on.', ge=1, le=100_000)
    views: int = option(2, 'Views of each training scene; of others one is kept.', ge=1, le=64)
    false_boxes: int = option(2, 'Boxes without an object in each training view.', ge=0, le=64)
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


class ParsesSet(ComposedSet):
    """`parses`, or `parses:ROOT` with another folder of a mesh collection's `manifest.json`.

    Scenes and splits are those of the set `scenes`.
    """

    name: ClassVar[str] = 'parses'
    Config: ClassVar[type[ComposedConfig]] = ParsesConfig
    CODE = ('sets/parses_drawn.py',)

    def __init__(self, where: str = '', config: ParsesConfig | None = None) -> None:
        """Open the set, as any set of composed scenes.

        Raises:
            InputError: The size of the images is no multiple of that of the layout's pixels.
        """
        super().__init__(where, config)
        if self.config.width % LAYOUT_STEP or self.config.height % LAYOUT_STEP:
            size = f'{self.config.width}x{self.config.height}'
            raise InputError('size of the images', size, f'multiples of {LAYOUT_STEP}')

    def record_type(self, views: int) -> np.dtype[Any]:
        """Return the type of what is known of so many views."""
        return record_type(views, self.config.width, self.config.height)

    def draw(self, scene: ComposedScene, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the record (1,) of a scene."""
        return draw_parses(scene, dtype)

    def parse(self, name: str, index: int) -> Parse:
        """Return a view of a scene with the objects that enough of the image shows.

        Raises:
            InputError: There is no such scene or view.
        """
        kept = self.view_record(name, index)
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
