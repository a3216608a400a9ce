"""Packed objects: one file of distances, colours and occupancy that needs no mesh library to read.

Layout, little-endian: 8 bytes of magic, the length of the index (u32) and its CRC-32 (u32), the
index (zlib of JSON), then the objects one after the other (LZMA). The index holds for each object
what `PackedObject` says, with its offset, length and CRC-32. The same objects give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import json
import lzma
import os
from pathlib import Path
import struct
from typing import Any, BinaryIO
import zlib

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.objects.base import SPLITS
from recon3d_core.data.rendering.sdf_grids import SdfGrids
from recon3d_core.errors import InputError, SourceError
from recon3d_core.registry import closest

MAGIC = b'R3DPACK1'
OCCUPANCY_RESOLUTIONS = (32, 64)
_HEAD = struct.Struct('<8sII')
# The files are small and of one kind: no checksum of LZMA's own, a dictionary that fits.
_FILTERS = [{'id': lzma.FILTER_LZMA2, 'preset': 6, 'dict_size': 1 << 20}]
_MAX_INDEX = 64 << 20


@dataclasses.dataclass(frozen=True)
class PackedObject:
    """What is known of an object without unpacking it.

    Attributes:
        name: Unique over all sets.
        category: What it is.
        split: Of `SPLITS`.
        edge_m: Edge of its cube in metres.
        metric: Whether that size is real or made up.
        licence: Of the mesh.
    """

    name: str
    category: str
    split: str
    edge_m: float
    metric: bool
    licence: str


def encode(
    sdf: NDArray[np.int8], colors: NDArray[np.uint8], occupancy: Sequence[NDArray[np.bool_]]
) -> bytes:
    """Return the bytes of one object.

    Args:
        sdf: (N, N, N) as in `SdfGrids`.
        colors: (M, M, M, 4) likewise.
        occupancy: True occupancy at each of `OCCUPANCY_RESOLUTIONS`.
    """
    # The third difference along all axes is 0 wherever the surface is flat.
    residual = sdf.view(np.uint8)
    for axis in range(3):
        residual = np.diff(residual, axis=axis, prepend=np.uint8(0))
    known = colors[..., 3] > 0
    rgb = colors[..., :3][known]
    rgb[:, 0] -= rgb[:, 1]
    rgb[:, 2] -= rgb[:, 1]
    rgb = np.diff(rgb, axis=0, prepend=np.zeros((1, 3), np.uint8))
    bits = [np.packbits(known), *(np.packbits(volume) for volume in occupancy)]
    parts = [residual.tobytes(), *(part.tobytes() for part in bits), rgb.T.tobytes()]
    return lzma.compress(b''.join(parts), lzma.FORMAT_RAW, filters=_FILTERS)


def decode(
    data: bytes, resolution: int, color_resolution: int
) -> tuple[NDArray[np.int8], NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Return what `encode` was given.

    Raises:
        ValueError: The bytes are not of an object of these resolutions.
        lzma.LZMAError: They cannot be decompressed.
    """
    n, m = resolution, color_resolution
    size = n**3 + m**3 // 8 + sum(r**3 // 8 for r in OCCUPANCY_RESOLUTIONS) + 3 * m**3
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    raw = np.frombuffer(unpacker.decompress(data, size), np.uint8)
    sdf = raw[: n**3].reshape(n, n, n)
    for axis in range(3):
        sdf = np.cumsum(sdf, axis, dtype=np.uint8)
    place, volumes = n**3, []
    for r in (m, *OCCUPANCY_RESOLUTIONS):
        bits = raw[place : place + r**3 // 8]
        volumes.append(np.unpackbits(bits).reshape(r, r, r).astype(bool))
        place += r**3 // 8
    known, *occupancy = volumes
    rgb = np.cumsum(raw[place:].reshape(3, -1).T, 0, dtype=np.uint8)
    rgb[:, 0] += rgb[:, 1]
    rgb[:, 2] += rgb[:, 1]
    colors = np.zeros((m, m, m, 4), np.uint8)
    colors[known] = np.concatenate([rgb, np.full((len(rgb), 1), 255, np.uint8)], 1)
    return sdf.view(np.int8), colors, occupancy


def write_pack(
    path: Path,
    objects: Iterable[tuple[PackedObject, bytes]],
    resolution: int,
    color_resolution: int,
) -> int:
    """Write encoded objects; the file appears whole or not at all.

    Args:
        path: File to write.
        objects: Descriptions with their bytes (`encode`), in any order.
        resolution: Voxels along an edge of the distances.
        color_resolution: Voxels along an edge of the colours.

    Returns:
        Its size in bytes.
    """
    rows, blobs, offset = [], [], 0
    for described, blob in sorted(objects, key=lambda item: item[0].name):
        place = {'offset': offset, 'length': len(blob), 'crc': zlib.crc32(blob)}
        rows.append({**dataclasses.asdict(described), **place})
        blobs.append(blob)
        offset += len(blob)
    index = {'resolution': resolution, 'color_resolution': color_resolution, 'objects': rows}
    packed = zlib.compress(json.dumps(index, sort_keys=True).encode(), 9)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with partial.open('wb') as file:
            file.write(_HEAD.pack(MAGIC, len(packed), zlib.crc32(packed)) + packed)
            file.writelines(blobs)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return _HEAD.size + len(packed) + offset


class PackedObjects:
    """The objects of a packed file. An instance can be sent to another process."""

    def __init__(self, path: Path | str) -> None:
        """Read the index.

        Raises:
            SourceError: The file is missing, of another kind, truncated or corrupt.
        """
        self.path = Path(path).expanduser()
        try:
            with self.path.open('rb') as file:
                self._start, index = _read_index(file)
            self.resolution = int(index['resolution'])
            self.color_resolution = int(index['color_resolution'])
            rows = index['objects']
            keys = [field.name for field in dataclasses.fields(PackedObject)]
            self.objects = {r['name']: PackedObject(*(r[key] for key in keys)) for r in rows}
            self._place = {r['name']: (r['offset'], r['length'], r['crc']) for r in rows}
            size = self._start + sum(r['length'] for r in rows)
        except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise self._broken(reason) from error
        if self.path.stat().st_size != size:
            raise self._broken(f'{self.path.stat().st_size} bytes instead of {size}')

    def _broken(self, reason: str) -> SourceError:
        fix = 'Make it again with `recon3d pack`.'
        return SourceError(f'{self.path} cannot be read', reason, 'a file of packed objects', fix)

    def names(self, split: str | None = None) -> tuple[str, ...]:
        """Return the sorted names of a split, or of all objects.

        Raises:
            InputError: There is no such split.
        """
        if split is not None and split not in SPLITS:
            raise InputError('split', repr(split), ', '.join(SPLITS))
        return tuple(
            sorted(name for name, row in self.objects.items() if split in (None, row.split))
        )

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The names of each split."""
        return {split: self.names(split) for split in SPLITS}

    def describe(self, name: str) -> PackedObject:
        """Return what is known of an object.

        Raises:
            InputError: No such object.
        """
        if name not in self.objects:
            raise InputError('no such object', repr(name), fix=closest(name, list(self.objects)))
        return self.objects[name]

    def occupancy(self, name: str, resolution: int) -> NDArray[np.bool_]:
        """Return the true occupancy (N, N, N) of an object.

        Raises:
            InputError: No such object, or another resolution is stored.
            SourceError: The file is corrupt.
        """
        if resolution not in OCCUPANCY_RESOLUTIONS:
            known = ' or '.join(map(str, OCCUPANCY_RESOLUTIONS))
            raise InputError('resolution of packed occupancy', resolution, known)
        return self.load(name)[2][OCCUPANCY_RESOLUTIONS.index(resolution)]

    def load(
        self, name: str
    ) -> tuple[NDArray[np.int8], NDArray[np.uint8], list[NDArray[np.bool_]]]:
        """Return distances, colours and the occupancies of an object, as `encode` was given them.

        Raises:
            InputError: No such object.
            SourceError: The file is corrupt.
        """
        self.describe(name)
        offset, length, crc = self._place[name]
        try:
            with self.path.open('rb') as file:
                file.seek(self._start + offset)
                data = file.read(length)
            if len(data) != length or zlib.crc32(data) != crc:
                raise ValueError(f'the checksum of {name} is wrong')
            return decode(data, self.resolution, self.color_resolution)
        except (OSError, ValueError, EOFError, lzma.LZMAError) as error:
            raise self._broken(' '.join(str(error).split())) from error

    def load_grids(self, names: Sequence[str], device: Any = 'cpu') -> SdfGrids:
        """Return the grids of objects, in the order of the names, on a device.

        Raises:
            InputError: No such object.
            SourceError: The file is corrupt.
        """
        n, m = self.resolution, self.color_resolution
        sdf = np.empty((len(names), n, n, n), np.int8)
        colors = np.empty((len(names), m, m, m, 4), np.uint8)

        def fill(row: int) -> None:
            sdf[row], colors[row], _ = self.load(names[row])

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # LZMA frees the GIL
            list(pool.map(fill, range(len(names))))
        return SdfGrids.from_arrays(sdf, colors, device)


def _read_index(file: BinaryIO) -> tuple[int, dict[str, Any]]:
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise ValueError(f'{len(head)} bytes')
    magic, length, crc = _HEAD.unpack(head)
    if magic != MAGIC:
        raise ValueError(f'it begins with {magic!r} instead of {MAGIC!r}')
    packed = file.read(min(length, _MAX_INDEX))
    if len(packed) != length or zlib.crc32(packed) != crc:
        raise ValueError('its index is truncated or corrupt')
    return _HEAD.size + length, json.loads(zlib.decompress(packed))
