"""Which objects lie in the scenes of a split; no object is in two splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.objects.base import LONGEST_EDGE, ObjectMesh, ObjectModel
from recon3d_core.data.objects.meshes import ManifestObjects
from recon3d_core.data.objects.procedural import FIRST_INDEX, HOUSEHOLD, make_object, PREFIX
from recon3d_core.data.scenes.resting import resting_poses, RestingPose
from recon3d_core.data.stretching import stretch_factors
from recon3d_core.errors import InputError, SourceError

RANDOM = 'random'  # shapes without any meaning
BULKY = (
    'table', 'chair', 'sofa', 'cabinet', 'shelf', 'bed', 'bench', 'stool', 'appliance', 'lamp',
    'bin', 'plant', 'display', 'loudspeaker',
)  # fmt: skip
"""Categories that stand on a floor, if anything; they never lie on their side."""

_MADE_BULKY = ('bench', 'cabinet', 'chair', 'display', 'lamp', 'loudspeaker', 'table')
_MADE_COUNT = 10_000  # objects of each family from which scenes draw
_SMALLEST_M = 0.035
# Thinner things cannot be told from their support at the distances of the cameras.
_THINNEST_M = 0.006


@dataclasses.dataclass(frozen=True)
class Item:
    """An object at its true size.

    Attributes:
        name: Its name in its set.
        category: What it is.
        mesh: In metres; its cube's centre is the origin.
        poses: How it can lie.
        recolor: Whether it has no colours of its own.
    """

    name: str
    category: str
    mesh: ObjectMesh
    poses: tuple[RestingPose, ...]
    recolor: bool


@dataclasses.dataclass(frozen=True)
class Shares:
    """How often an object is drawn from which source.

    Attributes:
        made: Household families made by rule.
        scanned: The mesh collection but for its random shapes.
        random: Random shapes.
        bulky: Part of the first two that is furniture.
    """

    made: float = 0.45
    scanned: float = 0.4
    random: float = 0.15
    bulky: float = 0.0


class Library:
    """Objects by split. Without the mesh collection, those made by rule are all."""

    def __init__(self, root: str = '') -> None:
        """Open the collection.

        Args:
            root: Folder of a `manifest.json`; the recorded data's where empty.

        Raises:
            SourceError: A folder was named, and its manifest cannot be read.
        """
        self.root = root

    @functools.cached_property
    def collection(self) -> ManifestObjects | None:
        """The mesh collection, or None where it is absent."""
        try:
            return ManifestObjects(Path(self.root) if self.root else None)
        except SourceError:
            if self.root:
                raise
            return None

    @functools.lru_cache(maxsize=8)  # noqa: B019 - a library lives as long as its process
    def _scanned(self, split: str) -> Mapping[str, Sequence[str]]:
        """Return names of the collection as `small`, `bulky` and `random`."""
        kinds: dict[str, list[str]] = {'small': [], 'bulky': [], RANDOM: []}
        for name in self.collection.names(split) if self.collection else ():
            category = self.collection.category(name) if self.collection else ''
            kind = RANDOM if category == RANDOM else 'bulky' if category in BULKY else 'small'
            kinds[kind].append(name)
        return kinds

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of the collection's objects of a split, for a fingerprint."""
        return tuple(self.collection.names(split)) if self.collection else ()

    def draw(
        self,
        split: str,
        shares: Shares,
        size_m: tuple[float, float],
        rng: np.random.Generator,
    ) -> Item:
        """Return an object whose longest extent is within a range, in metres."""
        for _ in range(200):
            model = self._model(self._name(split, shares, rng))
            stretch = stretch_factors(rng) if split == 'train' else np.ones(3)
            item = _item(model, stretch, size_m, rng)
            if item is not None:
                return item
        raise InputError(f'objects of {split}', f'none of {size_m} m', 'some of that size')

    def _name(self, split: str, shares: Shares, rng: np.random.Generator) -> str:
        scanned = self._scanned(split)
        bulky = rng.random() < shares.bulky
        weights = np.array([shares.made, shares.scanned, shares.random])
        draw = rng.random() * weights.sum()
        pool = scanned['bulky' if bulky else 'small']
        if draw >= weights[:2].sum() and scanned[RANDOM]:
            pool = scanned[RANDOM]
        elif draw < weights[0] or not pool:
            family = str(rng.choice(_MADE_BULKY if bulky else HOUSEHOLD))
            index = FIRST_INDEX[split] + int(rng.integers(_MADE_COUNT))
            return f'{PREFIX}/{family}/{index:06d}'
        return str(rng.choice(pool))

    def _model(self, name: str) -> ObjectModel:
        if name.startswith(f'{PREFIX}/'):
            return make_object(name)
        assert self.collection is not None
        return self.collection.load(name)


def _item(
    model: ObjectModel,
    stretch: NDArray[np.float64],
    size_m: tuple[float, float],
    rng: np.random.Generator,
) -> Item | None:
    """Return an object at its size, or None where it does not fit or cannot lie."""
    low, high = max(size_m[0], _SMALLEST_M), size_m[1]
    edge = model.edge_m
    if not model.metric:  # its size is made up anyhow
        edge *= float(rng.uniform(0.6, 1.5))
    vertices = model.mesh.vertices.astype(np.float64) * (edge * stretch)
    if not low <= edge * LONGEST_EDGE <= high or np.ptp(vertices, axis=0).max() < low:
        return None
    if np.ptp(vertices, axis=0).min() < _THINNEST_M:
        return None
    try:
        poses = tuple(resting_poses(vertices))
    except InputError:
        return None
    if not poses:
        return None
    mesh = dataclasses.replace(model.mesh, vertices=_float32(vertices))
    return Item(model.name, model.category, mesh, poses, model.category == RANDOM)


def _float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)
