"""The folder layout of 3D-R2N2's ShapeNet renderings, which Pix2Vox and many others read.

::

    ROOT/ShapeNetRendering/<synset>/<id>/rendering/00.png .. 23.png   137 x 137 RGBA
                                                  /renderings.txt     names of the images
                                                  /rendering_metadata.txt
    ROOT/ShapeNetVox32/<synset>/<id>/model.binvox
    ROOT/ShapeNet.json                                                splits, as Pix2Vox has them

A line of the metadata says azimuth, elevation and roll in degrees, the camera's distance in
`LENGTH` and a field of view that was not used: the lens is 35 mm before a sensor of 32 mm. The
camera looks at the centre of the object's box, which is also the centre of the voxels. In the
object's frame y is up; see `recon3d_core.data.binvox` for how it becomes ours.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.view_sampling import camera_pose
from recon3d_core.errors import SourceError

IMAGE_SIZE = 137
FOCAL = 35 / 32  # of the image's width
LENGTH = 1.75  # metadata's unit of distance, in diagonals of the object's box
VIEWS = 24
FIELD_OF_VIEW = 25

SYNSETS = {
    'airplane': '02691156',
    'bench': '02828884',
    'cabinet': '02933112',
    'car': '02958343',
    'chair': '03001627',
    'display': '03211117',
    'lamp': '03636649',
    'loudspeaker': '03691459',
    'rifle': '04090263',
    'sofa': '04256520',
    'table': '04379243',
    'telephone': '04401088',
    'watercraft': '04530566',
}
CATEGORIES = {synset: category for category, synset in SYNSETS.items()}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the files of an object are."""

    root: Path

    @property
    def renderings(self) -> Path:
        """Folder of the images."""
        return self.root / 'ShapeNetRendering'

    @property
    def splits(self) -> Path:
        """File of the splits."""
        return self.root / 'ShapeNet.json'

    def views(self, synset: str, model: str) -> Path:
        """Return the folder of an object's images."""
        return self.renderings / synset / model / 'rendering'

    def voxels(self, synset: str, model: str) -> Path:
        """Return the file of its voxels."""
        return self.root / 'ShapeNetVox32' / synset / model / 'model.binvox'


def intrinsics(width: int, height: int) -> NDArray[np.float64]:
    """Return K (3, 3) in pixels, pixel centres at integers."""
    focal = FOCAL * width
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def pose_of(row: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return `T_camera_cube` (4, 4) of a line of the metadata.

    Args:
        row: Azimuth, elevation, roll in degrees, distance, field of view.
        scale: Edge of the voxels' cube in diagonals of the object's box (of the binvox file).
    """
    azimuth, elevation, roll = np.deg2rad(row[:3])
    # Their azimuth turns about y from x towards z, which is from our +x towards -y.
    distance = row[3] * LENGTH / scale
    return camera_pose(-azimuth, elevation, distance, roll, np.zeros(2))


def read_metadata(path: Path) -> NDArray[np.float64]:
    """Return the lines (V, 5) of a `rendering_metadata.txt`.

    Raises:
        SourceError: It cannot be read, or is not five finite numbers a line, distance positive.
    """
    try:
        lines = path.read_text(encoding='ascii').splitlines()
        rows = np.array([[float(word) for word in line.split()] for line in lines if line.split()])
    except (OSError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise SourceError(f'{path} cannot be read', reason, 'five numbers a line') from error
    if (
        rows.ndim != 2
        or rows.shape[1] != 5
        or not np.isfinite(rows).all()
        or rows[:, 3].min() <= 0
    ):
        raise SourceError(f'{path} says no cameras', rows.shape, 'five finite numbers a line')
    return rows


def read_splits(path: Path) -> dict[str, dict[str, list[str]]]:
    """Return `{split: {synset: [id, ...]}}` of a file as Pix2Vox has it.

    Raises:
        SourceError: It cannot be read, or has another form.
    """
    form = 'a list of {taxonomy_id, train: [id], val: [id], test: [id]}'
    splits: dict[str, dict[str, list[str]]] = {'train': {}, 'val': {}, 'test': {}}
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
        for row in rows:
            for split, by_synset in splits.items():
                models = row[split]
                if not all(isinstance(model, str) for model in models):
                    raise TypeError(f'{split} holds other things than names')
                by_synset[str(row['taxonomy_id'])] = list(models)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = ' '.join(str(error).split())
        raise SourceError(f'{path} is no file of splits', reason, form) from error
    _check_disjoint(path, splits)
    return splits


def _check_disjoint(path: Path, splits: dict[str, dict[str, list[str]]]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for split, by_synset in splits.items():
        for synset, models in by_synset.items():
            for model in models:
                other = seen.setdefault((synset, model), split)
                if other != split:
                    raise SourceError(
                        f'{path}: {synset}/{model} is in two splits', f'{other} and {split}'
                    )


def splits_json(rows: list[dict[str, Any]]) -> str:
    """Return the text of a file of splits."""
    return json.dumps(rows, indent=1) + '\n'
