"""From sets of objects to a packed file: `recon3d pack`. Needs the mesh libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
import dataclasses
import functools
import logging
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
from recon3d_core.data.objects.base import ObjectModel, ObjectSet, SPLITS
from recon3d_core.data.pack import encode, OCCUPANCY_RESOLUTIONS, PackedObject, write_pack
from recon3d_core.errors import InputError

logger = logging.getLogger(__name__)

KINDS = ('procedural', 'household', 'random')
"""Objects made by rule, those of the mesh collection that stand in a home, its random shapes."""


@dataclasses.dataclass(frozen=True)
class PackOptions:
    """What goes into a packed file.

    Attributes:
        kinds: Of `KINDS`, or folders of mesh files.
        count: How many objects, spread evenly over the kinds as far as they have so many.
        resolution: Voxels along an edge of the distances, a multiple of 4.
        color_resolution: Voxels along an edge of the colours, a multiple of 2.
        workers: Processes.
    """

    kinds: Sequence[str] = KINDS
    count: int = 1500
    resolution: int = 96
    color_resolution: int = 48
    workers: int = 2

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        for name, low, high, step in (
            ('count', 1, 1_000_000, 1),
            ('resolution', 32, 256, 4),
            ('color_resolution', 8, 128, 2),
            ('workers', 1, 256, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high or value % step:
                multiple = f', a multiple of {step}' if step > 1 else ''
                raise InputError(name, value, f'{low} to {high}{multiple}')
        if not self.kinds:
            raise InputError('sets to pack', 'none', f'of {", ".join(KINDS)}, or folders')


def pack(
    path: Path,
    options: PackOptions,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> int:
    """Write a packed file; objects whose files are broken are left out with a warning.

    Args:
        path: File to write.
        options: What goes into it.
        progress: Called with the objects done and their number.

    Returns:
        How many objects are in it.

    Raises:
        InputError: A set is unknown, or no object is left.
    """
    chosen = choose(options.kinds, options.count)
    work = functools.partial(_packed, options)
    done: list[tuple[PackedObject, bytes]] = []
    for number, result in enumerate(_results(work, chosen, options.workers), 1):
        if isinstance(result, str):
            logger.warning('left out: %s', result)
        else:
            done.append(result)
        progress(number, len(chosen))
    if not done:
        raise InputError('nothing to pack', f'{len(chosen)} objects, none of them usable')
    write_pack(path, done, options.resolution, options.color_resolution)
    return len(done)


def choose(kinds: Sequence[str], count: int) -> list[tuple[str, str]]:
    """Return `(kind, name)` of the objects to pack.

    Every kind gives the same number, or all that it has; within it, splits keep their shares and
    names are taken at even distances.

    Raises:
        InputError: A kind is unknown.
    """
    names = {kind: _split_names(kind) for kind in dict.fromkeys(kinds)}
    available = {kind: sum(map(len, splits)) for kind, splits in names.items()}
    wanted: dict[str, int] = {}
    for left, kind in enumerate(sorted(available, key=lambda kind: available[kind])):
        share = (count - sum(wanted.values())) // (len(available) - left)
        wanted[kind] = min(share, available[kind])
    chosen = []
    for kind, splits in names.items():
        ends = np.cumsum([0, *map(len, splits)]) * (wanted[kind] / max(1, available[kind]))
        for part, part_count in zip(splits, np.diff(ends.round().astype(int))):
            chosen += [(kind, name) for name in _spread(part, int(part_count))]
    return chosen


def _split_names(kind: str) -> list[list[str]]:
    objects = object_set(kind)
    named = [list(objects.names(split)) for split in SPLITS]
    if kind == 'household':
        return [[name for name in part if not name.startswith('random')] for part in named]
    if kind == 'random':
        return [[name for name in part if name.startswith('random')] for part in named]
    return named


def _spread(names: list[str], count: int) -> list[str]:
    places = np.linspace(0, len(names) - 1, count).round().astype(int)
    return [names[place] for place in np.unique(places)] if count else []


@functools.lru_cache(maxsize=8)
def object_set(kind: str) -> ObjectSet:
    """Return the set of a kind: one of `KINDS`, or a folder of mesh files.

    Raises:
        InputError: It is neither.
    """
    if kind == 'procedural':
        from recon3d_core.data.objects.procedural import ProceduralObjects

        return ProceduralObjects()
    from recon3d_core.data.objects.meshes import FolderObjects, ManifestObjects

    if kind in KINDS:
        return ManifestObjects()
    if not Path(kind).is_dir():
        raise InputError('set to pack', repr(kind), f'of {", ".join(KINDS)}, or a folder')
    return FolderObjects(kind)


def pack_object(model: ObjectModel, options: PackOptions) -> tuple[PackedObject, bytes]:
    """Return the description and the bytes of one object.

    Raises:
        InputError: Its mesh is unusable.
    """
    from recon3d_core.data.ground_truth import occupancy
    from recon3d_core.data.rendering.grid_builder import build_grid

    grid = build_grid(model.mesh, options.resolution, options.color_resolution)
    volumes = [occupancy(model.mesh, resolution) for resolution in OCCUPANCY_RESOLUTIONS]
    keys = [field.name for field in dataclasses.fields(PackedObject)]
    described = PackedObject(*(getattr(model, key) for key in keys))
    return described, encode(grid.sdf, grid.colors, volumes)


def _packed(options: PackOptions, item: tuple[str, str]) -> tuple[PackedObject, bytes] | str:
    kind, name = item
    try:
        return pack_object(object_set(kind).load(name), options)
    except InputError as error:
        return str(error)


def _results(
    work: Callable[[tuple[str, str]], Any], items: list[tuple[str, str]], workers: int
) -> Iterator[Any]:
    if workers == 1:
        yield from map(work, items)
        return
    # Forked processes would share Open3D's and torch's threads, which do not survive that.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(work, items, chunksize=4)
