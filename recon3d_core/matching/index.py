"""The index of a library: what each model fills and how it looks from around, in one small file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import functools
import logging
import os
from pathlib import Path
import tempfile
import zipfile

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.scenes.library import BULKY
from recon3d_core.data.sets.cache import cache_folder, fingerprint_of
from recon3d_core.data.view_sampling import camera_pose
from recon3d_core.errors import InputError, RunError
from recon3d_core.geometry.transforms import Array
from recon3d_core.matching.descriptors import Describer
from recon3d_core.matching.models import CadModel
from recon3d_core.matching.sources import ModelLibrary, spread

logger = logging.getLogger(__name__)

VERSION = 1
AZIMUTHS = 12
ELEVATIONS_RAD = (float(np.deg2rad(18.0)), float(np.deg2rad(48.0)))
DISTANCE = 2.5  # edges of the cube
DIMENSIONS = 128
_SAY_EVERY = 50


@dataclasses.dataclass(frozen=True)
class ModelIndex:
    """Models with the features of their views.

    Attributes:
        names: (n,) names.
        categories: (n,) what they are.
        edge_m: (n,) edges of their cubes.
        metric: (n,) whether these are real.
        bits: (n, 32768) uint8 packed voxels.
        features: (m, E, A, D) float16 unit features of m entries from E elevations and A azimuths.
        owner: (m,) which model an entry is of.
        turns: (m, 3, 3) how the model rests in it; the first entry of a model is upright.
        mean: (F,) mean of the features before they were projected.
        basis: (F, D) their principal directions.
    """

    names: NDArray[np.str_]
    categories: NDArray[np.str_]
    edge_m: Array
    metric: NDArray[np.bool_]
    bits: NDArray[np.uint8]
    features: NDArray[np.float16]
    owner: NDArray[np.int64]
    turns: Array
    mean: NDArray[np.float32]
    basis: NDArray[np.float32]

    def project(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return raw features (V, F) as unit features (V, D)."""
        return _unit(np.asarray((features - self.mean) @ self.basis, np.float32))

    def model(self, entry: int, turn: Array | None = None) -> CadModel:
        """Return the model of an entry, as it rests there or as a turn (3, 3) says."""
        owner = int(self.owner[entry])
        turn = self.turns[entry] if turn is None else turn
        return _model(self, owner, turn.tobytes())

    def __hash__(self) -> int:
        """Hash by identity: an index is made once."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same one."""
        return self is other


@functools.lru_cache(maxsize=128)
def _model(index: ModelIndex, owner: int, turn: bytes) -> CadModel:
    """Return a model; those used last stay at hand with what was derived of them."""
    return CadModel(
        str(index.names[owner]), str(index.categories[owner]), float(index.edge_m[owner]),
        bool(index.metric[owner]), index.bits[owner], np.frombuffer(turn).reshape(3, 3),
    )  # fmt: skip


def camera_poses() -> Array:
    """Return the poses `T_camera_cube` (E * A, 4, 4) from which models are looked at."""
    center = np.zeros(2)
    return np.stack([
        camera_pose(2 * np.pi * k / AZIMUTHS, elevation, DISTANCE, 0.0, center)
        for elevation in ELEVATIONS_RAD
        for k in range(AZIMUTHS)
    ])  # fmt: skip


def build(
    library: ModelLibrary,
    describer: Describer,
    *,
    most: int,
    poses: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> ModelIndex:
    """Make an index; models whose files are broken are left out with a warning.

    Args:
        library: The models.
        describer: Makes features.
        most: How many models at most, evenly spread over the library.
        poses: In how many poses each is looked at: upright, then as it likeliest falls.
        progress: Called with the models done and their number.

    Raises:
        InputError: No model is usable.
    """
    names = spread(library.names, most)
    rows: list[CadModel] = []
    raw, turns, owner = [], [], []
    cameras = camera_poses()
    for number, name in enumerate(names, 1):
        try:
            source = library.load(name)
            bits = np.packbits(source.occupancy())
        except InputError as error:
            logger.warning('left out of the library: %s', error)
            continue
        model = CadModel(name, source.category, source.edge_m, source.metric, bits, np.eye(3))
        if not model.occupancy.any():
            logger.warning('left out of the library: %s fills no voxel', name)
            continue
        count = 1 if model.category in BULKY else poses
        for turn in model.resting[:count]:
            turned = cameras.copy()
            turned[:, :3, :3] = cameras[:, :3, :3] @ turn
            raw.append(describer(source.render(turned, describer.size)))
            turns.append(turn)
            owner.append(len(rows))
        rows.append(model)
        progress(number, len(names))
    if not rows:
        raise InputError('library', f'{len(names)} models, none of them usable', 'at least one')
    features, mean, basis = _compressed(np.stack(raw))
    grid = (len(raw), len(ELEVATIONS_RAD), AZIMUTHS, -1)
    return ModelIndex(
        np.array([row.name for row in rows]), np.array([row.category for row in rows]),
        np.array([row.edge_m for row in rows]), np.array([row.metric for row in rows]),
        np.stack([row.bits for row in rows]), features.reshape(grid).astype(np.float16),
        np.array(owner), np.stack(turns), mean, basis,
    )  # fmt: skip


def _compressed(
    raw: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return unit features (m, V, D) of raw ones (m, V, F), their mean (F,) and basis (F, D)."""
    flat = raw.reshape(-1, raw.shape[-1])
    mean = flat.mean(0)
    centered = flat - mean
    count = min(DIMENSIONS, *flat.shape)
    # Randomised subspace iteration (Halko, Martinsson, Tropp 2011): all of them would be slow.
    drawn = np.random.default_rng(0).normal(size=(flat.shape[1], min(count + 16, *flat.shape)))
    subspace = drawn.astype(np.float32)
    for _ in range(3):
        subspace = np.linalg.qr(centered.T @ (centered @ subspace))[0]
    _, _, rows = np.linalg.svd(centered @ subspace, full_matrices=False)
    basis = np.ascontiguousarray(subspace @ rows[:count].T)
    return _unit((raw - mean) @ basis), mean, basis


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-9), np.float32)


def kept_index(
    library: ModelLibrary,
    describer: Describer,
    *,
    most: int,
    poses: int = 1,
    cache: str = '',
) -> ModelIndex:
    """Return the index of a library from its file, which is made first where it is absent.

    Args:
        library: The models.
        describer: Makes features.
        most: How many models at most.
        poses: In how many poses each is looked at.
        cache: Folder of the cache; `RECON3D_CACHE`, or one in the home folder, where empty.

    Raises:
        InputError: No model is usable.
        RunError: The file cannot be written.
    """
    key = fingerprint_of(['im2cad', VERSION, library.key, describer.key, most, poses])
    path = cache_folder(cache) / 'im2cad' / f'{key}.npz'
    found = read(path)
    if found is None:
        count = len(spread(library.names, most))
        logger.warning('im2cad: making the index of %d models once, about %.0f s: %s', count,
                       1 + 0.8 * count * max(1, 0.6 * poses), path)  # fmt: skip
        found = build(library, describer, most=most, poses=poses, progress=_say)
        write(path, found)
    return found


def _say(done: int, of: int) -> None:
    if done % _SAY_EVERY == 0 or done == of:
        logger.info('im2cad: %d of %d models', done, of)


def read(path: Path) -> ModelIndex | None:
    """Return an index from its file; None where it is absent or not whole."""
    fields: Sequence[str] = [field.name for field in dataclasses.fields(ModelIndex)]
    try:
        with np.load(path, allow_pickle=False) as stored:
            return ModelIndex(**{name: stored[name] for name in fields})
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def write(path: Path, index: ModelIndex) -> None:
    """Write an index; the file appears whole or not at all.

    Raises:
        RunError: It cannot be written.
    """
    arrays = {field.name: getattr(index, field.name) for field in dataclasses.fields(index)}
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(suffix='.part', dir=path.parent)
        with os.fdopen(handle, 'wb') as file:
            np.savez_compressed(file, **arrays)
        Path(partial).replace(path)
    except OSError as error:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        raise RunError(f'{path} cannot be written', error.strerror) from error
