"""Libraries of models: folders of meshes, packed files, and objects made by rule."""

from __future__ import annotations

import abc
from collections.abc import Sequence
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.ground_truth import occupancy
from recon3d_core.data.objects.base import ObjectMesh, ObjectModel, ObjectSet, SPLITS
from recon3d_core.data.objects.meshes import data_directory, FolderObjects, ManifestObjects
from recon3d_core.data.objects.procedural import HOUSEHOLD, ProceduralObjects
from recon3d_core.data.pack import PackedObjects
from recon3d_core.data.rendering.base import Cameras, Lighting
from recon3d_core.data.rendering.raycast import render
from recon3d_core.data.rendering.sdf import Lights, render_sdf
from recon3d_core.data.rendering.sdf_grids import SdfGrids
from recon3d_core.data.sets.cache import code_fingerprint, fingerprint_of
from recon3d_core.data.sets.packed_shelf import support_points
from recon3d_core.data.view_sampling import crop_cameras
from recon3d_core.errors import InputError, SourceError
from recon3d_core.matching.descriptors import Seen
import torch

Array = NDArray[np.float64]

RESOLUTION = 64
PROCEDURAL = 'procedural'
RANDOM = 'random'  # shapes without any meaning, which no scene holds
_LIGHT = Lighting(
    np.array([[0.33, 0.41, 0.85], [-0.69, 0.29, 0.66]], np.float32),
    np.array([[0.5, 0.5, 0.5], [0.25, 0.25, 0.25]], np.float32),
    np.array([0.4, 0.4, 0.4], np.float32),
)


class SourceModel(abc.ABC):
    """One model of a library, in its cube [-0.5, 0.5]^3, z up.

    Attributes:
        category: What it is.
        edge_m: Edge of the cube, metres.
        metric: Whether that size is real.
    """

    category: str
    edge_m: float
    metric: bool

    @abc.abstractmethod
    def occupancy(self) -> NDArray[np.bool_]:
        """Return which voxels (64, 64, 64) it fills; right for meshes with holes, too."""

    @abc.abstractmethod
    def render(self, T_camera_cube: Array, size: int) -> Seen:
        """Return crops around it from cameras (V, 4, 4), `size` pixels large."""


class _MeshModel(SourceModel):
    """A model with a mesh."""

    def __init__(self, model: ObjectModel) -> None:
        self.category, self.edge_m, self.metric = model.category, model.edge_m, model.metric
        self._mesh: ObjectMesh = model.mesh

    def occupancy(self) -> NDArray[np.bool_]:
        return occupancy(self._mesh, RESOLUTION)

    def render(self, T_camera_cube: Array, size: int) -> Seen:
        cameras: Cameras = crop_cameras(self._mesh.vertices, T_camera_cube, size)
        seen = render(self._mesh, cameras, _LIGHT, supersample=1)
        images = np.where(seen.mask[..., None], seen.rgb, np.uint8(255))
        masks = seen.mask.astype(np.uint8) * np.uint8(255)
        return Seen(images, masks, cameras.normalized_K(), T_camera_cube.astype(np.float32))


class _PackedModel(SourceModel):
    """A model of a packed file."""

    def __init__(self, packed: PackedObjects, name: str) -> None:
        described = packed.describe(name)
        self.category, self.edge_m = described.category, described.edge_m
        self.metric = described.metric
        self._sdf, self._colors, volumes = packed.load(name)
        self._occupancy = volumes[-1]

    def occupancy(self) -> NDArray[np.bool_]:
        return self._occupancy

    def render(self, T_camera_cube: Array, size: int) -> Seen:
        K = crop_cameras(support_points(self._sdf), T_camera_cube, size).normalized_K()
        grids = SdfGrids.from_arrays(self._sdf[None], self._colors[None])
        T = T_camera_cube.astype(np.float32)
        seen = render_sdf(
            grids, torch.zeros(1, dtype=torch.long), torch.from_numpy(K)[None],
            torch.from_numpy(T)[None], Lights.stack([_LIGHT]), size,
        )  # fmt: skip
        rgb = (seen.rgb * seen.coverage + 1 - seen.coverage)[0].permute(0, 2, 3, 1)
        images = (rgb.clamp(0, 1) * 255).round().byte().numpy()
        masks = (seen.coverage[0, :, 0] * 255).round().byte().numpy()
        return Seen(images, masks, K, T)


class ModelLibrary(abc.ABC):
    """Models by name.

    Attributes:
        names: Their names, sorted.
        key: Hash of what the library holds.
        note: What it is, for people.
    """

    names: tuple[str, ...]
    key: str
    note: str

    @abc.abstractmethod
    def load(self, name: str) -> SourceModel:
        """Return a model.

        Raises:
            InputError: Its file is broken.
        """


class _ObjectLibrary(ModelLibrary):
    """A library of a set of objects."""

    def __init__(
        self, objects: ObjectSet, names: Sequence[str], stamp: Sequence[object], note: str
    ) -> None:
        self._objects, self.note = objects, note
        self.names = tuple(sorted(names))
        self.key = fingerprint_of(['objects', *stamp, *self.names])

    def load(self, name: str) -> SourceModel:
        return _MeshModel(self._objects.load(name))


class _PackedLibrary(ModelLibrary):
    """A library of a packed file."""

    def __init__(self, path: Path) -> None:
        self._packed = PackedObjects(path)
        described = self._packed.objects
        self.names = tuple(n for n in self._packed.names() if described[n].category != RANDOM)
        self.key = fingerprint_of(['pack', *_stat(path), *self.names])
        self.note = f'{len(self.names)} objects of {path.name}'

    def load(self, name: str) -> SourceModel:
        return _PackedModel(self._packed, name)


def open_library(where: str, made: int = 8) -> ModelLibrary:
    """Open a library.

    Args:
        where: A folder of meshes, with or without `manifest.json`; a file of `recon3d pack`;
            `procedural`; or empty for the mesh collection of the recorded data, and
            `procedural` where that is absent.
        made: How many objects of each family are made by rule.

    Raises:
        SourceError: There is no such folder or file, or it cannot be read.
        InputError: It holds no model.
    """
    path = Path(where).expanduser()
    if where == PROCEDURAL or (not where and not _collection().is_file()):
        library = _made_library(made)
    elif not where or (path / 'manifest.json').is_file():
        library = _collected(path if where else None)
    elif path.is_file():
        library = _PackedLibrary(path)
    else:
        folder = FolderObjects(path)
        names = [name for split in SPLITS for name in folder.names(split)]
        stamp = [_stat(folder.root / name) for name in sorted(names)]
        library = _ObjectLibrary(folder, names, stamp, f'{len(names)} meshes of {path.name}')
    if not library.names:
        raise InputError(f'library {where!r}', 'no model', 'at least one')
    return library


def _collection() -> Path:
    return data_directory() / 'meshes' / 'manifest.json'


def _made_library(count: int) -> ModelLibrary:
    objects = ProceduralObjects(HOUSEHOLD, {'train': count})
    note = f'{count} objects of each of {len(HOUSEHOLD)} household families, made by rule'
    return _ObjectLibrary(objects, objects.names('train'), [code_fingerprint()], note)


def _collected(root: Path | None) -> ModelLibrary:
    objects = ManifestObjects(root)
    names = [
        name
        for split in SPLITS
        for name in objects.names(split)
        if objects.category(name) != RANDOM
    ]
    manifest = objects.root / 'manifest.json'
    try:
        stamp = hashlib.sha256(manifest.read_bytes()).hexdigest()
    except OSError as error:
        raise SourceError(f'{manifest} cannot be read', error.strerror) from error
    return _ObjectLibrary(objects, names, [stamp], f'{len(names)} collected meshes')


def _stat(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return path.name, found.st_size, found.st_mtime_ns


def spread(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Return at most `count` names, taken at even distances."""
    if len(names) <= count:
        return tuple(names)
    places = np.linspace(0, len(names) - 1, count).round().astype(int)
    return tuple(names[place] for place in np.unique(places))
