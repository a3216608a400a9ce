"""What the sets of composed scenes share: which scenes there are, and records of their views."""

from __future__ import annotations

import abc
from collections.abc import Sequence
import functools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.data.scenes.composer import compose, ComposedScene, scene_name
from recon3d_core.data.scenes.library import Library
from recon3d_core.data.sets import cache
from recon3d_core.data.sets.preparing import make_all
from recon3d_core.errors import InputError

_CODE = (
    'scenes/*.py',
    'stretching.py',
    'synth/rendering.py',
    'synth/noise.py',
    'synth/materials.py',
    'synth/truth.py',
)


class ComposedConfig(PluginConfig):
    """Options that all sets of composed scenes have."""

    width: int = option(320, 'Width of the images.', unit='px', ge=64, le=1280)
    height: int = option(240, 'Height of the images.', unit='px', ge=48, le=960)
    first_scene: int = option(
        0, 'First scene to train on: later ones are new to a network that goes on.', ge=0,
        le=800_000,
    )  # fmt: skip
    cache: str = option('', 'Folder of the rendered views; empty: RECON3D_CACHE or ~/.cache.')


class ComposedSet(abc.ABC):
    """Scenes of a split, and what is kept of each.

    What is returned depends on the arguments only; an instance can be sent to another process.
    No object and no scene is in two splits.

    Attributes:
        name: Name by which `load_dataset` finds it.
        Config: Its options: `train_scenes`, `val_scenes`, `test_scenes` and `views` too.
        CODE: Files of code that decide what is drawn, beside those of the scenes.
    """

    name: ClassVar[str]
    Config: ClassVar[type[ComposedConfig]]
    CODE: ClassVar[tuple[str, ...]] = ()

    def __init__(self, where: str = '', config: ComposedConfig | None = None) -> None:
        """Open the set.

        Args:
            where: Folder of the mesh collection; the recorded data's where empty. Without one,
                scenes hold objects made by rule only.
            config: Options, the default ones where None.
        """
        self.where = where
        self.config: Any = self.Config() if config is None else config
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
        code = cache.code_fingerprint((*_CODE, *self.CODE))
        return cache.fingerprint_of([objects, size, code])

    @abc.abstractmethod
    def record_type(self, views: int) -> np.dtype[Any]:
        """Return the type of the record of a scene of so many views."""

    @abc.abstractmethod
    def draw(self, scene: ComposedScene, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the record (1,) of a scene."""

    def record(self, name: str) -> NDArray[Any]:
        """Return what is kept of a scene (1,), drawn first where that is not done.

        Raises:
            InputError: There is no such scene.
            RunError: The file that keeps it cannot be written.
        """
        views = self.views_of(name)
        folder = cache.cache_folder(self.config.cache) / f'{self.name}-{self._fingerprint}'
        dtype = self.record_type(views)

        def draw() -> NDArray[Any]:
            return self.draw(compose(name, self.library), dtype)

        return cache.kept(Path(f'{folder / name}-{views}.npy'), dtype, draw)

    def view_record(self, name: str, index: int) -> Any:
        """Return what is kept of a scene, which has a view of that number.

        Raises:
            InputError: There is no such scene or view.
        """
        if not 0 <= index < self.views_of(name):
            raise InputError(f'view of {name}', index, f'0 to {self.views_of(name) - 1}')
        return self.record(name)[0]

    def prepare(self, split: str, workers: int = 2) -> None:
        """Draw what is missing of a split, so that no batch waits for it later.

        Args:
            split: `train`, `val` or `test`.
            workers: Processes.
        """
        draw = functools.partial(_record, self)
        make_all(draw, self.names(split), f'{self.name} {split}, scenes', workers)


def _record(data: ComposedSet, name: str) -> None:
    """Draw a scene; nothing of it goes back to another process."""
    data.record(name)
