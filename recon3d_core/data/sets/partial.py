"""`partial`: household objects of which a depth camera saw a part, with their true solid.

The objects and splits are those of `household`. Each is set on a support and seen by a noisy
camera; what `tsdf_object` makes of 1, 2, ... views is kept, in the cube that it would be
completed in. No object is in two splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.data.objects.procedural import ProceduralObjects
from recon3d_core.data.partial.drawing import observe, Observed, set_up, Setting, SUPPORT
from recon3d_core.data.partial.record import PartialSample, record_type, sample_of, store
from recon3d_core.data.partial.truth import true_occupancy
from recon3d_core.data.sets import cache
from recon3d_core.data.sets.batches import rng_of, seed_of
from recon3d_core.data.sets.household import HouseholdConfig, HouseholdSet
from recon3d_core.data.sets.preparing import make_all
from recon3d_core.errors import InputError
from recon3d_core.fusion.evidence_cube import cube_of, evidence_in
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.models.tsdf_completion.evidence import BELOW, HEIGHT
import torch
from torch import Tensor

VESSEL_FAMILIES = ('bowl', 'glass', 'mug', 'pan')
OBJECT_RESOLUTION = 48  # the pipeline's default for the grids of objects
_CODE = (
    'partial/*.py',
    'scenes/resting.py',
    'stretching.py',
    'synth/noise.py',
    '../fusion/evidence_cube.py',
    '../fusion/tsdf_object.py',
    '../fusion/_evidence.py',
    '../fusion/_grow.py',
    '../fusion/_project.py',
    '../models/tsdf_completion/evidence.py',
    '../meshing/closed.py',
    '../meshing/closing/*.py',
)
_ATTEMPTS = 10
_NO_SUPPORT = 0.1  # share of training samples without a known support


class PartialConfig(PluginConfig):
    """Options of the partial set."""

    resolution: int = option(64, 'Voxels along an edge of the cube.', ge=16, le=128)
    views: int = option(5, 'Most views of an object.', ge=1, le=16)
    draws: int = option(1, 'How often each training object is set up and seen.', ge=1, le=64)
    household_families: int = option(
        40, 'Training objects of each household family made by rule.', ge=0, le=100_000
    )
    furniture_families: int = option(
        5, 'Training objects of each of the 13 ShapeNet families.', ge=0, le=100_000
    )
    random_shapes: bool = option(True, 'Whether random shapes are among the training objects.')
    test_vessels: int = option(
        6, 'Objects of each family of vessels made by rule in the test split.', ge=0, le=10_000
    )
    cache: str = option('', 'Folder of the fused views; empty: RECON3D_CACHE or ~/.cache.')


@dataclasses.dataclass(frozen=True)
class PartialBatch:
    """Objects of a training step; all tensors are on one device.

    Attributes:
        evidence: (B, C, N, N, N) what was seen (`models.tsdf_completion.evidence`).
        occupancy: (B, N, N, N) float32 of 0 and 1.
        names: Names of the objects.
        views: How many views saw each.
    """

    evidence: Tensor
    occupancy: Tensor
    names: tuple[str, ...]
    views: int

    def to(self, device: torch.device | str) -> PartialBatch:
        """Return the batch on another device."""
        evidence = self.evidence.to(device, non_blocking=True)
        occupancy = self.occupancy.to(device, non_blocking=True)
        return PartialBatch(evidence, occupancy, self.names, self.views)


class PartialSet:
    """`partial`, or `partial:ROOT` with another folder of a `manifest.json`.

    What is returned depends on the arguments only; an instance can be sent to another process.
    """

    name: ClassVar[str] = 'partial'
    Config: ClassVar[type[PartialConfig]] = PartialConfig

    def __init__(self, where: str = '', config: PartialConfig | None = None) -> None:
        """Open the set.

        Args:
            where: Folder of the mesh collection; the recorded data's where empty.
            config: Options, the default ones where None.
        """
        self.where = where
        self.config = PartialConfig() if config is None else config
        keys = ('household_families', 'furniture_families', 'random_shapes')
        chosen = {key: getattr(self.config, key) for key in keys}
        self.household = HouseholdSet(where, HouseholdConfig(**chosen))

    def names(self, split: str) -> Sequence[str]:
        """Return the names of the objects of a split (`train`, `val`, `test`), sorted.

        Few thin-walled vessels are among the meshes of the test split: some made by rule are added,
        with numbers that no training object has.
        """
        names = self.household.names(split)
        if split == 'test':
            vessels = ProceduralObjects(VESSEL_FAMILIES, {'test': self.config.test_vessels})
            names = sorted([*names, *vessels.names('test')])
        return names

    def category(self, name: str) -> str:
        """Return what an object is, without loading it."""
        return self.household.category(name)

    @property
    def max_views(self) -> int:
        """Return how many views each object has."""
        return int(self.config.views)

    def fingerprint(self) -> str:
        """Return a hash of the objects' names, of what is drawn and of the code that draws it."""
        names = [tuple(self.names(split)) for split in ('train', 'val', 'test')]
        return cache.fingerprint_of([names, self.config.draws, self._key])

    @functools.cached_property
    def _key(self) -> str:
        size = (self.config.resolution, self.config.views)
        return cache.fingerprint_of([size, cache.code_fingerprint(_CODE)])

    def observed(self, name: str, *, evaluation: bool, draw: int = 0) -> list[PartialRow]:
        """Return an object as it was seen after 1, 2, ... views; nothing of it is kept.

        Raises:
            InputError: There is no such object, or it cannot be seen.
        """
        model = self.household.objects.load(name)
        purpose = 'evaluation' if evaluation else f'training:{draw}'
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng([seed_of(f'partial:{purpose}:{name}'), attempt])
            setting = set_up(model, rng, training=not evaluation)
            try:
                return list(self._rows(setting, rng))
            except InputError as error:
                reason = error
        raise reason

    def _rows(self, setting: Setting, rng: np.random.Generator) -> Iterable[PartialRow]:
        for seen in observe(setting, self.config.views, OBJECT_RESOLUTION, rng):
            placed = cube_of(seen.shape, SUPPORT, seen.towards_cameras, self.config.resolution)
            if placed is None or placed[1] is None:
                raise InputError(f'{setting.name} is hardly visible', 'too little surface')
            cube = placed[0]
            evidence = evidence_in(cube, seen.shape, seen.state, SUPPORT)
            truth, outside = true_occupancy(setting.vertices_m, setting.faces, cube)
            yield PartialRow(setting, seen, cube, evidence, truth, outside)

    def record(self, name: str, *, evaluation: bool, draw: int = 0) -> NDArray[Any]:
        """Return what is kept of an object, drawn first where that is not done.

        Raises:
            InputError: There is no such object.
            RunError: The file that keeps it cannot be written.
        """
        dtype = record_type(self.config.resolution, self.config.views)
        kind = 'evaluation' if evaluation else f'training-{draw}'
        folder = cache.cache_folder(self.config.cache) / f'partial-{self._key}'

        def make() -> NDArray[Any]:
            record = np.zeros(1, dtype)
            for row, one in enumerate(self.observed(name, evaluation=evaluation, draw=draw)):
                bottom = float(one.cube.T_world_grid[2, 3] / one.cube.extent_m[2])
                store(record[0], row, one.evidence, one.truth, one.outside, bottom)
            return record

        return cache.kept(Path(f'{folder / kind / name}.npy'), dtype, make)

    def sample(self, name: str, views: int) -> PartialSample:
        """Return an object for evaluation, after a number of views.

        Raises:
            InputError: No such object, or it has fewer views.
        """
        if not 1 <= views <= self.max_views:
            raise InputError(f'{name} has not so many views', views, f'1 to {self.max_views}')
        record = self.record(name, evaluation=True)[0]
        return sample_of(record, views - 1, name, self.category(name))

    def batch(self, names: Sequence[str], views: int, seed: int) -> PartialBatch:
        """Return a training batch of objects after a number of views, turned and mirrored.

        Args:
            names: Names of the objects, repeats allowed.
            views: How many views saw each.
            seed: Says everything that is drawn.

        Raises:
            InputError: An object has not so many views.
        """
        if not 1 <= views <= self.max_views:
            raise InputError('views of the partial set', views, f'1 to {self.max_views}')
        pairs = [
            self._altered(name, views, rng_of(seed, place)) for place, name in enumerate(names)
        ]
        evidence, occupancy = (torch.stack(part) for part in zip(*pairs, strict=True))
        return PartialBatch(evidence, occupancy, tuple(names), views)

    def _altered(self, name: str, views: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        record = self.record(name, evaluation=False, draw=int(rng.integers(self.config.draws)))
        sample = sample_of(record[0], views - 1, name, '')
        evidence = sample.evidence()
        if rng.random() < _NO_SUPPORT:
            evidence[[HEIGHT, BELOW]] = 0
        both = torch.cat([evidence, torch.from_numpy(sample.occupancy).float()[None]])
        both = torch.rot90(both, int(rng.integers(4)), (1, 2))
        if rng.random() < 0.5:
            both = both.flip(1)
        return both[:-1], both[-1]

    def prepare(self, split: str, workers: int = 2) -> None:
        """Fuse what is missing of a split, so that no batch waits for it later.

        Args:
            split: `train` for training records, `val` or `test` for those of evaluation.
            workers: Processes.
        """
        draws = range(self.config.draws) if split == 'train' else (-1,)
        jobs = [(name, draw) for draw in draws for name in self.names(split)]
        make_all(functools.partial(_make, self), jobs, f'{self.name} {split}, objects', workers)


@dataclasses.dataclass(frozen=True)
class PartialRow:
    """An object after some views, in its cube.

    Attributes:
        setting: The object on its support.
        seen: What was fused.
        cube: Where it is completed.
        evidence: (C, N, N, N).
        truth: (N, N, N) bool.
        outside: How many voxels of it are outside of the cube.
    """

    setting: Setting
    seen: Observed
    cube: VoxelGrid
    evidence: Tensor
    truth: NDArray[np.bool_]
    outside: int

    def seen_surface_m(self) -> NDArray[np.float64]:
        """Return the observed surface (n, 3) above the support, in the world."""
        shape = self.seen.shape
        assert shape.sdf_m is not None
        assert shape.observed is not None
        near = shape.observed & (np.abs(shape.sdf_m) < 0.75 * shape.grid.voxel_size_m)
        points = shape.grid.centers_world_m()[near].astype(np.float64)
        return points[points[:, 2] > 0.5 * shape.grid.voxel_size_m]


def _make(data: PartialSet, job: tuple[str, int]) -> None:
    name, draw = job
    data.record(name, evaluation=draw < 0, draw=max(draw, 0))
