"""Objects from mesh files: the collection with a manifest, and plain folders."""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.objects.base import LONGEST_EDGE, ObjectModel, ObjectSet, SPLITS, to_cube
from recon3d_core.data.objects.household import is_household, kind_of
from recon3d_core.data.objects.mesh_files import load_mesh, SUFFIXES
from recon3d_core.data.orientation import without_inner_twins
from recon3d_core.errors import InputError, SourceError
from recon3d_core.registry import closest

VALIDATION_PERCENT = 8
TEST_PERCENT = 10
_ROOT = Path(__file__).resolve().parents[3]


def data_directory() -> Path:
    """Return the folder of recorded data: RECON3D_DATA, or the default beside the project."""
    return Path(os.environ.get('RECON3D_DATA') or _ROOT / '../shared/data').expanduser().resolve()


def percentile_of(name: str) -> int:
    """Return a number in 0..99 that depends on the name only: it draws fixed splits."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100


def is_closed(faces: NDArray[np.integer]) -> bool:
    """Return whether every edge of the faces (F, 3) belongs to two of them, in opposite senses."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    there = edges[np.lexsort(edges.T)]
    back = edges[:, ::-1]
    return bool(np.array_equal(there, back[np.lexsort(back.T)]))


class _FileObjects(ObjectSet):
    """Objects by name, each a row that says where its file is."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {split: [] for split in SPLITS}

    def names(self, split: str) -> Sequence[str]:
        """Return the sorted names of a split.

        Raises:
            InputError: There is no such split.
        """
        if split not in self._names:
            raise InputError('split', repr(split), ', '.join(SPLITS))
        return tuple(sorted(self._names[split]))

    def _unknown(self, name: str) -> InputError:
        known = [known for names in self._names.values() for known in names]
        return InputError('no such object', repr(name), fix=closest(name, known))


class ManifestObjects(_FileObjects):
    """The collection of meshes that a `manifest.json` lists.

    Its `dev` rows are our test split and are never trained on; of the others, a fixed share is
    chosen for validation by a hash of the name.
    """

    def __init__(self, root: Path | str | None = None, *, household: bool = True) -> None:
        """Read the manifest.

        Args:
            root: Folder of `manifest.json`; `meshes` of the recorded data where None.
            household: Whether only what could stand in a home is kept, random shapes included.

        Raises:
            SourceError: The manifest is missing or broken.
        """
        super().__init__()
        self.root = data_directory() / 'meshes' if root is None else Path(root)
        self._rows: dict[str, dict[str, Any]] = {}
        for row in _manifest(self.root):
            longest = max(row['extent'])
            size_m = float(longest) if row['metric'] else None
            if household and not is_household(row['name'], row['set'], size_m):
                continue
            name = f'{row["set"]}/{row["name"]}'
            self._rows[name] = row
            self._names[_split(name, row['split'])].append(name)

    def category(self, name: str) -> str:
        """Return what an object is, without loading it.

        Raises:
            InputError: No such object.
        """
        if name not in self._rows:
            raise self._unknown(name)
        row = self._rows[name]
        return kind_of(row['name'], row['set']).category

    def load(self, name: str) -> ObjectModel:
        """Return an object.

        Raises:
            InputError: No such object, or its file cannot be read.
        """
        if name not in self._rows:
            raise self._unknown(name)
        row = self._rows[name]
        mesh, edge = to_cube(load_mesh(self.root / row['path'], row['up']))
        kind = kind_of(row['name'], row['set'])
        return ObjectModel(
            name=name,
            category=kind.category,
            split=_split(name, row['split']),
            mesh=without_inner_twins(mesh),
            edge_m=edge if row['metric'] else kind.size_m / LONGEST_EDGE,
            metric=bool(row['metric']),
            watertight=bool(row['watertight']),
            licence=f'{row["licence"]} ({row["source"]})',
        )


_KEYS = {
    'path': str,
    'set': str,
    'name': str,
    'split': str,
    'licence': str,
    'source': str,
    'up': str,
    'watertight': bool,
    'extent': list,
    'metric': bool,
}


def _manifest(root: Path) -> list[dict[str, Any]]:
    path = root / 'manifest.json'
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise SourceError(
            f'{path} cannot be read', reason, 'the list of the meshes', 'Set RECON3D_DATA.'
        ) from error
    if not isinstance(rows, list):
        raise SourceError(f'{path} is no list', type(rows).__name__, 'a list of meshes')
    for number, row in enumerate(rows):
        for key, kind in _KEYS.items():
            value = row.get(key) if isinstance(row, dict) else None
            if not isinstance(value, kind):
                raise SourceError(f'{path}: row {number}: {key}', repr(value), kind.__name__)
    return rows


def _split(name: str, manifest_split: str) -> str:
    if manifest_split != 'train':
        return 'test'
    return 'val' if percentile_of(name) < VALIDATION_PERCENT else 'train'


class FolderObjects(_FileObjects):
    """All mesh files below a folder; the first folder below it is the category.

    Splits are drawn by a hash of the relative path.
    """

    def __init__(self, root: Path | str, *, up: str = 'auto', unit_m: float | None = None) -> None:
        """List the files.

        Args:
            root: The folder.
            up: Which axis points up, `x`, `y` or `z`; `auto` takes y for glTF and OBJ, else z.
            unit_m: Metres per unit of the files; None where their size is arbitrary.

        Raises:
            SourceError: There is no such folder, or no mesh file is in it.
            InputError: The axis is none of these, or the unit is not positive.
        """
        super().__init__()
        self.root = Path(root).expanduser()
        if up not in ('auto', 'x', 'y', 'z'):
            raise InputError('up axis', repr(up), 'auto, x, y or z')
        if unit_m is not None and not 0 < unit_m < np.inf:
            raise InputError('unit of the meshes', unit_m, 'metres per unit, positive')
        if not self.root.is_dir():
            raise SourceError('no folder of meshes', self.root, 'a folder of GLB, OBJ, PLY or STL')
        self._up, self._unit_m = up, unit_m
        files = [path for path in self.root.rglob('*') if path.suffix.lower() in SUFFIXES]
        self._files = {path.relative_to(self.root).as_posix(): path for path in sorted(files)}
        if not self._files:
            raise SourceError(f'no mesh in {self.root}', '0 files', ' '.join(SUFFIXES))
        for name in self._files:
            self._names[self._split_of(name)].append(name)

    @staticmethod
    def _split_of(name: str) -> str:
        place = percentile_of(name)
        if place < VALIDATION_PERCENT:
            return 'val'
        return 'test' if place < VALIDATION_PERCENT + TEST_PERCENT else 'train'

    def category(self, name: str) -> str:
        """Return the first folder of a name, or `object`."""
        return name.split('/')[0] if '/' in name else 'object'

    def load(self, name: str) -> ObjectModel:
        """Return an object.

        Raises:
            InputError: No such object, or its file cannot be read.
        """
        if name not in self._files:
            raise self._unknown(name)
        path = self._files[name]
        y_up = path.suffix.lower() in ('.glb', '.gltf', '.obj')
        up = ('y' if y_up else 'z') if self._up == 'auto' else self._up
        mesh, edge = to_cube(load_mesh(path, up))
        return ObjectModel(
            name=name,
            category=self.category(name),
            split=self._split_of(name),
            mesh=without_inner_twins(mesh),
            edge_m=edge * self._unit_m if self._unit_m else 0.25 / LONGEST_EDGE,
            metric=self._unit_m is not None,
            watertight=is_closed(mesh.faces),
            licence='unknown',
        )
