"""Packed objects, drawn anew in every batch: needs torch and the packed file only."""

from __future__ import annotations

from collections.abc import Sequence
import functools
import hashlib
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from recon3d_core.config import option
from recon3d_core.data.augment import alter, AugmentOptions, Views
from recon3d_core.data.crops import MARGIN
from recon3d_core.data.pack import OCCUPANCY_RESOLUTIONS, PackedObjects
from recon3d_core.data.rendering.sdf import Lights, render_sdf, RenderedViews
from recon3d_core.data.samples import Batch, Sample
from recon3d_core.data.sets.base import DataSet, DataSetConfig
from recon3d_core.data.sets.batches import (
    before_backgrounds,
    cropped_K,
    draw_square,
    rng_of,
    seed_of,
)
from recon3d_core.data.sets.cache import fingerprint_of
from recon3d_core.data.sets.drawn import draw_lighting
from recon3d_core.data.sets.packed_placing import place_points, placed_occupancy, Placing
from recon3d_core.data.sets.packed_shelf import Shelf
from recon3d_core.data.view_sampling import crop_cameras, draw_poses, spread_poses, ViewRange
from recon3d_core.errors import ConfigError, InputError, SourceError
from recon3d_core.models.cameras import ViewCameras
import torch
from torch import Tensor

EVALUATION_VIEWS = 24
NO_UPRIGHT = ('random',)  # categories that lie as they fell


class PackConfig(DataSetConfig):
    """Options of packed data sets."""

    device: str = option('cpu', 'Where views are drawn.', pattern=r'cpu|cuda(:\d+)?')
    any_pose: bool = option(False, 'Whether objects are turned and placed in other cubes.')
    only: str = option('', 'Beginnings of names to keep, comma-separated; empty: all.')
    supersample: int = option(1, 'Rays per pixel along each side.', ge=1, le=4)
    augment: AugmentOptions = Field(
        default_factory=AugmentOptions, description='How training views are altered.'
    )


class PackSet(DataSet):
    """`pack:FILE` of `recon3d pack`: canonical poses, or any with the option `any_pose`."""

    name: ClassVar[str] = 'pack'
    Config: ClassVar[type[PackConfig]] = PackConfig

    def __init__(self, where: str = '', config: DataSetConfig | None = None) -> None:
        """Open the file.

        Args:
            where: The packed file.
            config: Options.

        Raises:
            SourceError: The file cannot be read.
            ConfigError: There is no such device, or the file holds no such resolution.
            InputError: No name begins as wanted.
        """
        super().__init__(where, config)
        self.packed = PackedObjects(where)
        # Whether objects stand in one pose is a choice here, not a property of all packs.
        self.canonical = not self.config.any_pose  # type: ignore[misc]
        if self.config.device != 'cpu' and not torch.cuda.is_available():
            raise ConfigError('option pack.device', self.config.device, 'cpu, without CUDA here')
        if not self.config.any_pose and self.config.resolution not in OCCUPANCY_RESOLUTIONS:
            known = ' or '.join(map(str, OCCUPANCY_RESOLUTIONS))
            raise ConfigError('option pack.resolution', self.config.resolution, known)
        starts = tuple(part.strip() for part in self.config.only.split(',') if part.strip())
        kept = [name for name in self.packed.names() if not starts or name.startswith(starts)]
        if not kept:
            raise InputError('no object of the pack is kept', f'only={self.config.only!r}')
        self._kept = frozenset(kept)
        self._shelf = Shelf(self.packed, kept, self.config.device)

    def names(self, split: str) -> Sequence[str]:
        """Return the names of the objects of a split (`train`, `val`, `test`), sorted."""
        return tuple(name for name in self.packed.names(split) if name in self._kept)

    def category(self, name: str) -> str:
        """Return what an object is."""
        return self.packed.describe(name).category

    @functools.cached_property
    def categories(self) -> tuple[str, ...]:  # type: ignore[override]
        """All categories, sorted."""
        return tuple(sorted({self.category(name) for name in self._kept}))

    @property
    def max_views(self) -> int:
        """Return how many evaluation views each object has."""
        return EVALUATION_VIEWS

    @functools.cached_property
    def _view_range(self) -> ViewRange:
        if self.canonical:
            return ViewRange()
        elevation = (0.0, float(np.deg2rad(75.0)))
        return ViewRange(elevation=elevation, off_axis=float(np.deg2rad(25.0)))

    @functools.cached_property
    def _stamp(self) -> str:
        try:
            return hashlib.sha256(self.packed.path.read_bytes()).hexdigest()
        except OSError as error:
            raise SourceError(f'{self.packed.path} cannot be read', error.strerror) from error

    def fingerprint(self) -> str:
        """Return a hash of the file and of the options."""
        options = self.config.model_dump(exclude={'device', 'augment'})
        return fingerprint_of([self.name, sorted(self._kept), self._stamp, options])

    def batch(self, names: Sequence[str], views: int, seed: int) -> Batch:
        """Return a training batch of objects, drawn by new cameras in new light.

        Args:
            names: Names of the objects, repeats allowed.
            views: Views of each.
            seed: Says everything that is drawn.
        """
        rngs = [rng_of(seed, place) for place in range(len(names))]
        placings = [self._place(name, rng, jitter=True) for name, rng in zip(names, rngs)]
        poses = [draw_poses(views, rng, self._view_range) for rng in rngs]
        seen, cameras = self._render(names, placings, poses, rngs, jitter=True)
        generator = torch.Generator(self.config.device)
        generator.manual_seed(seed_of(f'alter:{seed}'))
        flat = Views((seen.rgb * seen.coverage).flatten(0, 1), seen.coverage.flatten(0, 1))
        altered = alter(flat, self.config.augment, generator)
        return Batch(
            images=altered.images.reshape(seen.rgb.shape),
            masks=altered.masks.reshape(seen.coverage.shape),
            cameras=cameras.to(self.config.device),
            occupancy=self._truth(names, placings),
            names=tuple(names),
            categories=tuple(self.category(name) for name in names),
        )

    def sample(self, name: str, views: int) -> Sample:
        """Return an object with the first `views` of its evaluation views, with depth.

        Raises:
            InputError: No such object, or it has fewer views.
        """
        if not 1 <= views <= EVALUATION_VIEWS:
            raise InputError(f'{name} has not so many views', views, f'1 to {EVALUATION_VIEWS}')
        rng = np.random.default_rng(seed_of(f'evaluation:{name}'))
        placing = self._place(name, rng, jitter=False)
        poses = spread_poses(EVALUATION_VIEWS, rng, self._view_range)[:views]
        seen, cameras = self._render([name], [placing], [poses], [rng], jitter=False)
        rgba = torch.cat([seen.rgb * seen.coverage, seen.coverage], 2)[0] * 255
        pixels = rgba.round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return Sample(
            name=name,
            category=self.category(name),
            images=before_backgrounds(pixels, name),
            masks=pixels[..., 3].copy(),
            K=cameras.K[0].numpy(),
            T_camera_cube=cameras.T_camera_cube[0].numpy(),
            occupancy=self._truth([name], [placing])[0].cpu().numpy() > 0,
            edge_m=self.packed.describe(name).edge_m * placing.edge,
            depth=seen.depth[0, :, 0].cpu().numpy() / np.float32(placing.edge),
        )

    def _place(self, name: str, rng: np.random.Generator, *, jitter: bool) -> Placing:
        if self.canonical:
            return Placing()
        upright = self.category(name) not in NO_UPRIGHT
        return place_points(self._shelf.support(name), rng, upright, jitter=jitter)

    def _render(
        self,
        names: Sequence[str],
        placings: Sequence[Placing],
        poses: Sequence[NDArray[np.float64]],
        rngs: Sequence[np.random.Generator],
        *,
        jitter: bool,
    ) -> tuple[RenderedViews, ViewCameras]:
        size, drawn_K, drawn_T, lights = self.config.image_size, [], [], []
        for name, placing, pose, rng in zip(names, placings, poses, rngs):
            old = placing.old_poses(pose)
            points = self._shelf.support(name)
            K = crop_cameras(points, old, size, MARGIN).normalized_K()
            if jitter:
                K = np.stack([cropped_K(each, size, draw_square(size, rng)) for each in K])
            drawn_K.append(K)
            drawn_T.append(old.astype(np.float32))
            lights.append(placing.old_lighting(draw_lighting(rng)))
        indices, grids = self._shelf.grids(names)
        K_all = torch.from_numpy(np.stack(drawn_K))
        T_old = torch.from_numpy(np.stack(drawn_T))
        stacked = Lights.stack(lights, self.config.device)
        seen = render_sdf(
            grids, indices, K_all, T_old, stacked, size, supersample=self.config.supersample
        )
        T = torch.from_numpy(np.stack(poses).astype(np.float32))
        return seen, ViewCameras(K_all, T)

    def _truth(self, names: Sequence[str], placings: Sequence[Placing]) -> Tensor:
        n = self.config.resolution
        if self.canonical:
            volumes = np.stack([self._shelf.occupancy(name, n) for name in names])
            return torch.from_numpy(volumes).to(self.config.device).float()
        indices, grids = self._shelf.grids(names)
        return placed_occupancy(grids, indices, placings, n)
