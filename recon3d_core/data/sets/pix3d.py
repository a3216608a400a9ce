"""Pix3D: photos of furniture with masks, voxels and poses (Sun et al. 2018).

::

    ROOT/pix3d.json                         a list of the photos
    ROOT/img/<category>/0001.png            photo
    ROOT/mask/<category>/0001.png           mask of the object
    ROOT/model/<category>/<model>/voxel.mat 128^3 `voxel`, or a .binvox beside it

Of a photo, `rot_mat` and `trans_mat` take the model's frame (y up) to a camera's frame of which x
points left, y up and z forward; `focal_length` is in millimetres on a sensor 32 mm wide; the
voxels fill the cube of edge 1 around the model's origin.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools
import json
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from recon3d_core.config import option
from recon3d_core.data.augment import AugmentOptions
from recon3d_core.data.binvox import read_binvox
from recon3d_core.data.crops import crop_view
from recon3d_core.data.objects.base import SPLITS
from recon3d_core.data.samples import Batch, Sample
from recon3d_core.data.sets.base import DataSet, DataSetConfig
from recon3d_core.data.sets.batches import (
    jitter_crops,
    make_batch,
    ObjectViews,
    rng_of,
    times_coverage,
)
from recon3d_core.data.sets.cache import fingerprint_of
from recon3d_core.data.sets.r2n2 import split_of, to_resolution
from recon3d_core.errors import InputError, SourceError

SENSOR_MM = 32.0
FLAWS = ('truncated', 'occluded', 'slightly_occluded')
# Their frames to ours: the model's y up becomes z up, the camera's x left, y up are turned over.
MODEL_FROM_CUBE = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
OPTICAL_FROM_CAMERA = np.diag([-1.0, -1.0, 1.0])


class Pix3dConfig(DataSetConfig):
    """Options of Pix3D."""

    augment: AugmentOptions = Field(
        default_factory=AugmentOptions, description='How training views are altered.'
    )
    whole: bool = option(True, 'Whether photos of hidden or cut objects are left out.')


class Pix3dSet(DataSet):
    """`pix3d:ROOT`, photos named `pix3d/<category>/<number>`, each the one view of its object."""

    name: ClassVar[str] = 'pix3d'
    Config: ClassVar[type[Pix3dConfig]] = Pix3dConfig
    canonical: ClassVar[bool] = True

    def __init__(self, where: str = '', config: DataSetConfig | None = None) -> None:
        """Open the set.

        Args:
            where: The root folder.
            config: Options.

        Raises:
            SourceError: Its list of photos is missing or broken.
        """
        super().__init__(where, config)
        self.root = Path(where or '.').expanduser()
        self._rows: dict[str, dict[str, Any]] = {}
        for row in _read_rows(self.root / 'pix3d.json'):
            if not (self.config.whole and any(row.get(flaw) for flaw in FLAWS)):
                self._rows[f'pix3d/{row["category"]}/{Path(row["img"]).stem}'] = row

    def names(self, split: str) -> Sequence[str]:
        """Return the names of the photos of a split; a model is in one split only."""
        if split not in SPLITS:
            raise InputError('unknown split', repr(split), f'of {", ".join(SPLITS)}')
        rows = self._rows.items()
        return tuple(sorted(n for n, row in rows if split_of(f'pix3d/{row["model"]}') == split))

    def category(self, name: str) -> str:
        """Return what an object is."""
        return str(self._row(name)['category'])

    @functools.cached_property
    def categories(self) -> tuple[str, ...]:  # type: ignore[override]
        """All categories, sorted."""
        return tuple(sorted({str(row['category']) for row in self._rows.values()}))

    @property
    def max_views(self) -> int:
        """Return how many views each object has."""
        return 1

    def fingerprint(self) -> str:
        """Return a hash of the photos' names and of the options."""
        options = [self.config.image_size, self.config.resolution]
        return fingerprint_of([self.name, sorted(self._rows), options])

    def sample(self, name: str, views: int) -> Sample:
        """Return the photo of an object, with its own background."""
        if views != 1:
            raise InputError(f'{name} has not so many views', views, '1')
        image, mask, K = self._photo(name)
        return Sample(
            name=name,
            category=self.category(name),
            images=image[None],
            masks=mask[None],
            K=K[None],
            T_camera_cube=self._pose(name)[None],
            occupancy=self._occupancy(name),
            edge_m=1.0,
        )

    def batch(self, names: Sequence[str], views: int, seed: int) -> Batch:
        """Return a training batch; several views are the one photo, altered in several ways."""
        objects = []
        for place, name in enumerate(names):
            image, mask, K = self._photo(name)
            seen = ObjectViews(
                np.stack([times_coverage(image, mask)] * views),
                np.stack([K] * views),
                np.stack([self._pose(name)] * views),
                self._occupancy(name),
            )
            objects.append(jitter_crops(seen, rng_of(seed, place)))
        categories = [self.category(name) for name in names]
        return make_batch(objects, names, categories, self.config.augment, seed)

    def _row(self, name: str) -> dict[str, Any]:
        if name not in self._rows:
            raise InputError('no such object', repr(name), 'pix3d/<category>/<number>')
        return self._rows[name]

    def _photo(
        self, name: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
        row = self._row(name)
        bgr = _read_image(self.root / row['img'], cv2.IMREAD_COLOR)
        mask = _read_image(self.root / row['mask'], cv2.IMREAD_GRAYSCALE)
        height, width = bgr.shape[:2]
        focal = float(row['focal_length']) / SENSOR_MM * width
        K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        rgb = np.ascontiguousarray(bgr[..., ::-1])
        image, cut, unit_K = crop_view(rgb, mask, K, self.config.image_size)
        assert cut is not None
        assert unit_K is not None
        return image, cut, unit_K

    def _pose(self, name: str) -> NDArray[np.float32]:
        row = self._row(name)
        pose = np.eye(4)
        rotation = np.asarray(row['rot_mat'], np.float64)
        pose[:3, :3] = OPTICAL_FROM_CAMERA @ rotation @ MODEL_FROM_CUBE
        pose[:3, 3] = OPTICAL_FROM_CAMERA @ np.asarray(row['trans_mat'], np.float64)
        return pose.astype(np.float32)

    def _occupancy(self, name: str) -> NDArray[np.bool_]:
        path = self.root / self._row(name)['voxel']
        voxels = read_binvox(path).occupancy if path.suffix == '.binvox' else _read_mat(path)
        return to_resolution(voxels, self.config.resolution)


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
        for row in rows:
            for key in ('img', 'mask', 'category', 'voxel', 'model'):
                if not isinstance(row[key], str):
                    raise TypeError(f'{key} is no text')
            numbers = [*np.ravel(row['rot_mat']), *row['trans_mat'], row['focal_length']]
            if len(numbers) != 13 or not np.isfinite(np.array(numbers, np.float64)).all():
                raise ValueError(f'{row["img"]} has no camera')
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f'{type(error).__name__} {" ".join(str(error).split())}'
        raise SourceError(f'{path} is no list of photos', reason, 'pix3d.json') from error
    if not rows:
        raise SourceError(f'{path} lists nothing', '0 photos', '1 or more')
    return list(rows)


def _read_image(path: Path, how: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), how)
    if image is None:
        raise SourceError(f'{path} cannot be read', 'no image', 'a PNG or JPEG')
    return np.asarray(image, np.uint8)


def _read_mat(path: Path) -> NDArray[np.bool_]:
    """Return the voxels of a .mat file, [x, y, z] of the model with y up, as [x, y, z], z up."""
    from scipy.io import loadmat

    try:
        voxels = np.asarray(loadmat(str(path), variable_names=['voxel'])['voxel'])
    except Exception as error:
        reason = f'{type(error).__name__} {" ".join(str(error).split())}'
        raise SourceError(f'{path} holds no voxels', reason, 'a .mat with voxel') from error
    if voxels.ndim != 3 or len(set(voxels.shape)) != 1 or voxels.dtype.kind not in 'bfiu':
        raise SourceError(f'{path} holds no cube of voxels', voxels.shape, '(N, N, N) numbers')
    return np.ascontiguousarray(voxels.transpose(0, 2, 1)[:, ::-1] > 0.5)
