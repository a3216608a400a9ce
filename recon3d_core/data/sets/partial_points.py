"""`partial_points`: the objects of `partial` as point clouds, seen and whole.

What `partial` keeps of an object is turned into clouds once; batches of them are quick to make.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.partial.record import PartialSample, sample_of
from recon3d_core.data.sets import cache
from recon3d_core.data.sets.batches import draw_indices, rng_of, seed_of
from recon3d_core.data.sets.partial import PartialSet
from recon3d_core.errors import InputError
from recon3d_core.models.point_completion.clouds import FEATURES, seen_cloud, solid_cloud
from recon3d_core.models.tsdf_completion.evidence import undecided
import torch
from torch import Tensor

_KEPT = {'seen': 2048, 'surface': 4096, 'places': 4096}
SEEN, SURFACE, PLACES = 1024, 1024, 768
"""How many points of each cloud are in a batch."""

_NO_SUPPORT = 0.1  # share of training samples without a known support
_CODE = ('../models/point_completion/clouds.py',)


@dataclasses.dataclass(frozen=True)
class PointsBatch:
    """Objects of a training step; all tensors are on one device.

    Attributes:
        seen: (B, SEEN, FEATURES) visible points (`models.point_completion.clouds`).
        surface: (B, SURFACE, 3) the whole surface.
        places: (B, PLACES, 3) places that the evidence leaves open.
        inside: (B, PLACES) float32, 1 where a place is in the object.
        names: Names of the objects.
        views: How many views saw each.
    """

    seen: Tensor
    surface: Tensor
    places: Tensor
    inside: Tensor
    names: tuple[str, ...]
    views: int

    def to(self, device: torch.device | str) -> PointsBatch:
        """Return the batch on another device."""
        tensors = (self.seen, self.surface, self.places, self.inside)
        seen, surface, places, inside = (one.to(device, non_blocking=True) for one in tensors)
        return PointsBatch(seen, surface, places, inside, self.names, self.views)


class PartialPointsSet(PartialSet):
    """`partial_points`, or `partial_points:ROOT`: options and splits are those of `partial`."""

    name: ClassVar[str] = 'partial_points'

    def batch(self, names: Sequence[str], views: int, seed: int) -> Any:
        """Return a training batch (`PointsBatch`), turned, mirrored, scaled and shifted a little.

        Args:
            names: Names of the objects, repeats allowed.
            views: How many views saw each.
            seed: Says everything that is drawn.

        Raises:
            InputError: An object has not so many views.
        """
        if not 1 <= views <= self.max_views:
            raise InputError('views of the partial set', views, f'1 to {self.max_views}')
        rows = [self._drawn(name, views, rng_of(seed, place)) for place, name in enumerate(names)]
        seen, surface, places, inside = (
            torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)
        )
        return PointsBatch(seen, surface, places, inside, tuple(names), views)

    def _drawn(self, name: str, views: int, rng: np.random.Generator) -> list[NDArray[np.float32]]:
        draw = int(rng.integers(self.config.draws))
        clouds = self.clouds(name, draw)[0]
        parts = []
        for key, count in (('seen', SEEN), ('surface', SURFACE), ('places', PLACES)):
            rows = clouds[key][views - 1]
            parts.append(rows[draw_indices(len(rows), count, rng)].astype(np.float32))
        seen, surface, places = parts
        places, inside = places[:, :3], places[:, 3].copy()
        turn = _turn(rng)
        shift = np.append(rng.normal(0, 0.02, 2), 0).astype(np.float32)
        scale = np.float32(rng.uniform(0.93, 1.05))
        foot = np.array([0, 0, -0.5], np.float32)  # heights scale too: the support stays
        surface, places = (
            (one - foot) @ turn.T * scale + foot + shift for one in (surface, places)
        )
        seen[:, :3] = (seen[:, :3] - foot) @ turn.T * scale + foot + shift
        seen[:, 3:6] = seen[:, 3:6] @ turn.T
        seen[:, 6] *= scale
        if rng.random() < _NO_SUPPORT:
            seen[:, 6:] = 0
        return [seen, surface, places, inside]

    @functools.cached_property
    def _clouds_key(self) -> str:
        return cache.fingerprint_of([self._key, _KEPT, cache.code_fingerprint(_CODE)])

    def clouds(self, name: str, draw: int = 0) -> NDArray[Any]:
        """Return the clouds of a training object (1,), made first where that is not done.

        Raises:
            InputError: There is no such object.
            RunError: The file that keeps them cannot be written.
        """
        columns = {'seen': FEATURES, 'surface': 3, 'places': 4}
        dtype = np.dtype(
            [(key, np.float16, (self.max_views, _KEPT[key], n)) for key, n in columns.items()]
        )
        folder = cache.cache_folder(self.config.cache) / f'partial_points-{self._clouds_key}'

        def make() -> NDArray[Any]:
            record, made = self.record(name, evaluation=False, draw=draw), np.zeros(1, dtype)
            rng = np.random.default_rng(seed_of(f'partial_points:{draw}:{name}'))
            for row in range(self.max_views):
                sample = sample_of(record[0], row, name, '')
                for part, rows in zip(_KEPT, clouds_of(sample), strict=True):
                    made[0][part][row] = rows[draw_indices(len(rows), _KEPT[part], rng)]
            return made

        return cache.kept(Path(f'{folder / f"training-{draw}" / name}.npy'), dtype, make)


def clouds_of(
    sample: PartialSample,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return visible points (n, FEATURES), the surface (m, 3), and places (k, 4) with the truth.

    The places are the voxels that the evidence leaves open; their last column is 1 inside.
    """
    evidence = sample.evidence()
    truth = torch.from_numpy(sample.occupancy)
    surface = solid_cloud(truth)
    if not len(surface):
        surface = torch.zeros(1, 3)
    open_ = undecided(evidence[None])[0]
    index = open_.nonzero() if open_.any() else torch.zeros(1, 3, dtype=torch.long)
    inside = truth[index.unbind(1)].float()[:, None]
    places = torch.cat([(index + 0.5) / len(truth) - 0.5, inside], 1)
    return seen_cloud(evidence).numpy(), surface.numpy(), places.numpy()


def _turn(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a turn about z (3, 3), every other one with a mirror."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    mirror = -1 if rng.random() < 0.5 else 1
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32) * np.array(
        (mirror, 1, 1), np.float32
    )
