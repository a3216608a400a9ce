"""ShapeNet as 3D-R2N2 rendered it (Choy et al. 2016), or anything in the same folders."""

from __future__ import annotations

from collections.abc import Sequence
import functools
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from recon3d_core.checks import check_shape
from recon3d_core.config import option
from recon3d_core.data.augment import AugmentOptions
from recon3d_core.data.binvox import Binvox, read_binvox
from recon3d_core.data.crops import (
    cut_square,
    mask_box,
    normalized_K,
    resize_square,
    square_around,
)
from recon3d_core.data.objects.base import SPLITS
from recon3d_core.data.objects.meshes import percentile_of
from recon3d_core.data.samples import Batch, Sample
from recon3d_core.data.sets.base import DataSet, DataSetConfig
from recon3d_core.data.sets.batches import (
    before_backgrounds,
    draw_indices,
    jitter_crops,
    make_batch,
    ObjectViews,
    rng_of,
    times_coverage,
)
from recon3d_core.data.sets.cache import fingerprint_of
from recon3d_core.data.sets.r2n2_layout import (
    CATEGORIES,
    intrinsics,
    Layout,
    pose_of,
    read_metadata,
    read_splits,
    VIEWS,
)
from recon3d_core.errors import InputError, SourceError

VALIDATION_PERCENT = 10
TEST_PERCENT = 20


class R2n2Config(DataSetConfig):
    """Options of data sets in the R2N2 layout."""

    augment: AugmentOptions = Field(
        default_factory=AugmentOptions, description='How training views are altered.'
    )
    splits: str = option('', 'File of the splits; empty: ROOT/ShapeNet.json, or by a hash.')


class R2n2Set(DataSet):
    """`r2n2:ROOT`, objects named `r2n2/<synset>/<id>`."""

    name: ClassVar[str] = 'r2n2'
    Config: ClassVar[type[R2n2Config]] = R2n2Config
    canonical: ClassVar[bool] = True

    def __init__(self, where: str = '', config: DataSetConfig | None = None) -> None:
        """Open the set.

        Args:
            where: The root folder.
            config: Options.

        Raises:
            SourceError: It is not in this layout, or its file of splits is broken.
        """
        super().__init__(where, config)
        self.layout = Layout(Path(where or '.').expanduser())
        if not self.layout.renderings.is_dir():
            raise SourceError(
                'no renderings', self.layout.renderings, 'a folder', 'Give r2n2:ROOT, its parent.'
            )
        self._names = self._list()

    def _list(self) -> dict[str, tuple[str, ...]]:
        chosen = Path(self.config.splits) if self.config.splits else self.layout.splits
        found: dict[str, list[str]] = {split: [] for split in SPLITS}
        if self.config.splits or chosen.is_file():
            for split, by_synset in read_splits(chosen).items():
                found[split] = [
                    f'r2n2/{synset}/{model}'
                    for synset, models in by_synset.items()
                    for model in models
                    if self.layout.views(synset, model).is_dir()
                ]
        else:
            for path in self.layout.renderings.glob('*/*/rendering'):
                name = f'r2n2/{path.parent.parent.name}/{path.parent.name}'
                found[split_of(name)].append(name)
        if not any(found.values()):
            raise SourceError(
                f'no object below {self.layout.renderings}', '0 folders', '1 or more'
            )
        return {split: tuple(sorted(names)) for split, names in found.items()}

    def names(self, split: str) -> Sequence[str]:
        """Return the names of the objects of a split (`train`, `val`, `test`), sorted."""
        if split not in self._names:
            raise InputError('unknown split', repr(split), f'of {", ".join(SPLITS)}')
        return self._names[split]

    def category(self, name: str) -> str:
        """Return what an object is: the name of its synset, or its folder where that is none."""
        synset = name.split('/')[1] if name.count('/') == 2 else name
        return CATEGORIES.get(synset, synset)

    @functools.cached_property
    def categories(self) -> tuple[str, ...]:  # type: ignore[override]
        """All categories, sorted."""
        names = [name for names in self._names.values() for name in names]
        return tuple(sorted({self.category(name) for name in names}))

    @property
    def max_views(self) -> int:
        """Return how many views each object has."""
        return VIEWS

    def fingerprint(self) -> str:
        """Return a hash of the objects' names and of the options."""
        options = [self.config.image_size, self.config.resolution]
        return fingerprint_of([self.name, sorted(self._names.items()), options])

    def sample(self, name: str, views: int) -> Sample:
        """Return an object with its first `views` views; it has neither depth nor surface."""
        grid = self._voxels(name)
        seen = self._views(name, grid, np.arange(views))
        return Sample(
            name=name,
            category=self.category(name),
            images=before_backgrounds(seen.rgba, name),
            masks=seen.rgba[..., 3].copy(),
            K=seen.K,
            T_camera_cube=seen.T_camera_cube,
            occupancy=seen.occupancy,
            edge_m=grid.scale,
        )

    def batch(self, names: Sequence[str], views: int, seed: int) -> Batch:
        """Return a training batch of objects with `views` randomly drawn and altered views each."""
        objects = []
        for place, name in enumerate(names):
            rng = rng_of(seed, place)
            chosen = draw_indices(VIEWS, views, rng)
            objects.append(jitter_crops(self._views(name, self._voxels(name), chosen), rng))
        categories = [self.category(name) for name in names]
        return make_batch(objects, names, categories, self.config.augment, seed)

    def _parts(self, name: str) -> tuple[str, str]:
        parts = name.split('/')
        known = len(parts) == 3 and parts[0] == 'r2n2' and '..' not in parts
        if not known or not self.layout.views(parts[1], parts[2]).is_dir():
            raise InputError('no such object', repr(name), 'r2n2/<synset>/<id>')
        return parts[1], parts[2]

    def _voxels(self, name: str) -> Binvox:
        return read_binvox(self.layout.voxels(*self._parts(name)))

    def _views(self, name: str, grid: Binvox, chosen: NDArray[np.int64]) -> ObjectViews:
        folder = self.layout.views(*self._parts(name))
        rows = read_metadata(folder / 'rendering_metadata.txt')
        if not len(chosen) > 0 or chosen.max() >= len(rows):
            raise InputError(f'{name} has not so many views', len(chosen), f'1 to {len(rows)}')
        cut = [self._crop(folder / f'{index:02d}.png') for index in chosen]
        return ObjectViews(
            np.stack([rgba for rgba, _ in cut]),
            np.stack([K for _, K in cut]),
            np.stack([pose_of(rows[k], grid.scale) for k in chosen]).astype(np.float32),
            to_resolution(grid.occupancy, self.config.resolution),
        )

    def _crop(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        image = read_rgba(path)
        x0, y0, side = square_around(mask_box(image[..., 3] > 127))
        K = normalized_K(intrinsics(image.shape[1], image.shape[0]), x0, y0, side)
        return resize_square(cut_square(image, x0, y0, side), self.config.image_size), K


def split_of(name: str) -> str:
    """Return the split of an object of which no file says it, by a hash of its name."""
    place = percentile_of(name)
    if place < VALIDATION_PERCENT:
        return 'val'
    return 'test' if place < VALIDATION_PERCENT + TEST_PERCENT else 'train'


def read_rgba(path: Path) -> NDArray[np.uint8]:
    """Return a PNG (H, W, 4) of an object alone: colour times coverage, and coverage.

    Raises:
        SourceError: It cannot be read, has no alpha channel, or shows nothing.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise SourceError(f'{path} cannot be read', 'no image', 'a PNG')
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise SourceError(f'{path} has no alpha', (image.shape, image.dtype.name), '8-bit RGBA')
    if not (image[..., 3] > 127).any():
        raise SourceError(f'{path} shows nothing', 'no opaque pixel', 'an object')
    return times_coverage(np.ascontiguousarray(image[..., 2::-1], np.uint8), image[..., 3])


def to_resolution(occupancy: NDArray[np.bool_], resolution: int) -> NDArray[np.bool_]:
    """Return an occupancy at a resolution that divides its own, or is a multiple of it.

    A coarse voxel is occupied where any fine one is.

    Raises:
        InputError: It is neither.
    """
    n = occupancy.shape[0]
    check_shape('occupancy', occupancy, (n, n, n))
    if resolution % n == 0:
        times = resolution // n
        return occupancy.repeat(times, 0).repeat(times, 1).repeat(times, 2)
    if n % resolution:
        raise InputError('resolution', resolution, f'a multiple or a divisor of {n}')
    k = n // resolution
    blocks = occupancy.reshape(resolution, k, resolution, k, resolution, k)
    return np.asarray(blocks.any((1, 3, 5)))
