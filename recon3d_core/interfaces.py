"""What a plugin of each kind must do; the algorithms live in the packages of their own.

A plugin declares `name`, `Config` and `needs` as class attributes and is made with its validated
configuration. Its options may change while it runs (`live` ones): read them from `self.config`
whenever they are used.
"""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import PluginError
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.regions import Box
from recon3d_core.types import (
    Detection,
    Detections,
    Frame,
    INPUTS,
    Mesh,
    Plane,
    PointCloud,
    Shape,
    View,
)


class Plugin(abc.ABC):
    """Base of all plugins.

    Attributes:
        name: Name by which a configuration chooses it.
        Config: Its options.
        needs: Which inputs of a frame it cannot do without, of `rgb depth mask intrinsics pose`.
        libraries: Modules that it imports when it is made, since they may be missing, each with
            the command that installs it.
    """

    name: ClassVar[str]
    Config: ClassVar[type[PluginConfig]] = PluginConfig
    needs: ClassVar[frozenset[str]] = frozenset()
    libraries: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Keep the configuration, the default one where None, and the device to compute on.

        Args:
            config: Options of this plugin.
            device: `cpu` or `cuda:N`; the pipeline resolved `auto` before.
        """
        self.config: Any = self.Config() if config is None else config
        self.device = device

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check a concrete plugin's declarations.

        Raises:
            PluginError: `Config` is no PluginConfig, or `needs` names no input.
        """
        super().__init_subclass__(**kwargs)
        if not issubclass(cls.Config, PluginConfig):
            raise PluginError(f'{cls.__name__}.Config', cls.Config, 'a PluginConfig')
        unknown = set(cls.needs) - INPUTS
        if unknown:
            raise PluginError(f'{cls.__name__}.needs', sorted(unknown), f'of {sorted(INPUTS)}')


class Source(Plugin):
    """Frames from a recording or a simulation, in order of time; iterating again starts over.

    Attributes:
        dropped: How many frames were unusable, by reason; filled while iterating.
    """

    def __init__(self, uri: str, config: PluginConfig | None = None) -> None:
        """Open `uri`: a path, or what follows `name:`.

        Raises:
            SourceError: It cannot be read at all.
        """
        super().__init__(config)
        self.uri = uri
        self.dropped: Counter[str] = Counter()

    @classmethod
    @abc.abstractmethod
    def accepts(cls, uri: str) -> bool:
        """Return whether this looks like a source of this kind, without reading much."""

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield the usable frames; others are counted in `dropped` and logged once a reason."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return how many frames there are at most."""

    def close(self) -> None:
        """Release files."""


class Mapper(Plugin):
    """The surface of the whole scene."""

    @abc.abstractmethod
    def integrate(self, frame: Frame) -> None:
        """Add a frame that has what the mapper needs, its pose among it."""

    @abc.abstractmethod
    def mesh(self) -> Mesh:
        """Return the surface as a mesh, possibly empty."""

    @abc.abstractmethod
    def cloud(self) -> PointCloud:
        """Return the surface as points, possibly empty."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget everything."""

    @abc.abstractmethod
    def save(self, path: Path) -> None:
        """Write the state to a file; may be called while another thread integrates."""

    @abc.abstractmethod
    def load(self, path: Path) -> None:
        """Read the state that `save` wrote; may be called while another thread integrates."""

    def clear_box(self, box: Box) -> None:  # noqa: ARG002 - part of the interface
        """Forget the surface inside a box.

        Raises:
            PluginError: This mapper cannot.
        """
        raise PluginError(f'mapper {self.name} cannot forget a part', fix='Reset all of it.')

    @abc.abstractmethod
    def stats(self) -> dict[str, float]:
        """Return numbers for the diagnostics, such as used and allowed blocks."""


class DetectorConfig(PluginConfig):
    """Options that every detector has."""

    rate_hz: float = option(
        5.0,
        'How often the detector runs on a camera, in the time of its frames.',
        unit='Hz',
        ge=0.1,
        le=60.0,
        live=True,
    )


class Detector(Plugin):
    """Finds objects in a frame."""

    Config = DetectorConfig

    @abc.abstractmethod
    def detect(self, frame: Frame) -> Detections:
        """Return the objects and support planes seen in a frame."""

    def reset(self) -> None:
        """Forget what earlier frames taught."""


class Tracker(Plugin):
    """Says which track each detection belongs to, and which tracks live."""

    @abc.abstractmethod
    def associate(self, frame: Frame, detections: Detections) -> TrackUpdate:
        """Match the detections of a frame to tracks."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget all tracks; ids do not start again."""

    def forget(self, track_ids: Iterable[int]) -> None:  # noqa: ARG002 - part of the interface
        """Forget some tracks; what stands there is a new object when it is seen again.

        Raises:
            PluginError: This tracker cannot.
        """
        raise PluginError(f'tracker {self.name} cannot forget a track', fix='Reset all of them.')

    def join(self, kept_id: int, gone_id: int) -> None:  # noqa: ARG002 - part of the interface
        """Take two tracks for one from now on; what is known of the second may be lost.

        Raises:
            PluginError: This tracker cannot.
        """
        self.forget([gone_id])


class TrackUpdate:
    """What an association changed.

    Attributes:
        matches: `[(track id, detection)]`, also of tracks that are not yet confirmed.
        confirmed: Ids of the tracks that are objects by now, in order.
        removed: Ids of tracks that are gone; a merged track is among them.
        merged: `{gone id: id that took it over}`.
        restarted: Ids of tracks that turned out to be two objects: what they saw is void.
        points_world_m: `{id: (N, 3) float32}` surface points of every live track.
        supports: `{id: plane or None}`.
        labels: `{id: label}`.
        scores: `{id: confidence in [0, 1]}`.
    """

    def __init__(self) -> None:
        """Make an empty update."""
        self.matches: list[tuple[int, Detection]] = []
        self.confirmed: list[int] = []
        self.removed: list[int] = []
        self.merged: dict[int, int] = {}
        self.restarted: list[int] = []
        self.points_world_m: dict[int, NDArray[np.float32]] = {}
        self.supports: dict[int, Plane | None] = {}
        self.labels: dict[int, str] = {}
        self.scores: dict[int, float] = {}


class Reconstructor(Plugin):
    """Fuses views of one object, one after the other (docs/architecture.md).

    The cost of `observe` and the size of the state do not grow with the views already seen.
    """

    @abc.abstractmethod
    def start(self, grid: VoxelGrid) -> Any:
        """Return the state of an object of which nothing was seen yet."""

    @abc.abstractmethod
    def observe(self, state: Any, view: View) -> Any:
        """Return the state after one view more; the old state may be changed and reused."""

    @abc.abstractmethod
    def shape(self, state: Any) -> Shape:
        """Return what is known of the object."""

    def seen_shape(self, state: Any) -> Shape:
        """Return what was seen of the object alone, where telling the rest is dear."""
        return self.shape(state)

    def close(self) -> None:
        """Give memory back, such as a network's; it is not used after that."""


class Mesher(Plugin):
    """Makes an object's mesh of what is known on its grid."""

    @abc.abstractmethod
    def mesh(self, shape: Shape, support: Plane | None) -> tuple[Mesh, Shape]:
        """Return the closed mesh, and the shape with the unseen part filled in."""

    @abc.abstractmethod
    def observed_mesh(self, shape: Shape) -> Mesh:
        """Return the observed surface only, closed by a thin back behind what was seen."""
