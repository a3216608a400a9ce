"""Voxels in the run-length format of binvox, as ShapeNet's and Pix3D's occupancies come.

A file's voxels run with y (up) fastest, then z, then x: [x_file, z_file, y_file]. Turned about the
x axis until z points up, they are ours: (x, y, z) = (x_file, -z_file, y_file). ShapeNet's objects
look along +x_file, hence along our +x. This is the only place that knows both orders.

Format: Patrick Min, https://www.patrickmin.com/binvox/binvox.html.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import SourceError

MAX_EDGE = 1024  # voxels; a header that asks for more is broken
LONGEST_RUN = 255
HEADER_BYTES = 1024


@dataclasses.dataclass(frozen=True)
class Binvox:
    """What a binvox file holds.

    Attributes:
        occupancy: (nx, ny, nz) bool, indexed [x, y, z] with z up.
        translate: Lower corner of the object's bounding box, x, y, z of the file (y up).
        scale: Longest edge of the grid in the object's units.
    """

    occupancy: NDArray[np.bool_]
    translate: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0


def _broken(path: Path, got: object, expected: str) -> SourceError:
    return SourceError(f'{path} is no good binvox file', got, expected)


def _header(path: Path, lines: list[bytes]) -> tuple[list[int], list[float], float]:
    if not lines or not lines[0].startswith(b'#binvox'):
        raise _broken(
            path, repr(lines[0][:20]) if lines else 'nothing', 'the first line #binvox 1'
        )
    fields = {line.split()[0]: line.split()[1:] for line in lines[1:] if line.split()}
    try:
        dims = [int(word) for word in fields[b'dim']]
        translate = [float(word) for word in fields.get(b'translate', [b'0'] * 3)]
        scale = float(fields.get(b'scale', [b'1'])[0])
    except (KeyError, ValueError, IndexError) as error:
        raise _broken(path, f'header {lines[1:4]}', 'lines dim, translate, scale') from error
    if len(dims) != 3 or not all(0 < dim <= MAX_EDGE for dim in dims):
        raise _broken(path, f'dim {dims}', f'three sizes of 1 to {MAX_EDGE}')
    if len(translate) != 3 or not np.isfinite([*translate, scale]).all() or scale <= 0:
        raise _broken(path, f'translate {translate}, scale {scale}', 'finite ones, scale > 0')
    return dims, translate, scale


def read_binvox(path: Path) -> Binvox:
    """Read a binvox file.

    Raises:
        SourceError: It cannot be read, or is not a complete binvox file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f'{path} cannot be read', error.strerror) from error
    head, mark, data = content[:HEADER_BYTES].partition(b'\ndata\n')
    if not mark:
        raise _broken(path, 'no line data', f'it within {HEADER_BYTES} bytes')
    dims, translate, scale = _header(path, head.split(b'\n'))
    data = content[len(head) + len(mark) :]
    pairs = np.frombuffer(data[: len(data) // 2 * 2], np.uint8).reshape(-1, 2)
    total, wanted = int(pairs[:, 1].sum(dtype=np.int64)), int(np.prod(dims))
    if total != wanted or len(data) % 2:
        raise _broken(path, f'{total} voxels', f'{wanted}, as dim says')
    if (pairs[:, 0] > 1).any():
        raise _broken(path, f'voxel value {pairs[:, 0].max()}', '0 or 1')
    voxels = np.repeat(pairs[:, 0], pairs[:, 1]).reshape(dims).astype(bool)
    occupancy = np.ascontiguousarray(voxels[:, ::-1])
    return Binvox(occupancy, (translate[0], translate[1], translate[2]), scale)


def write_binvox(path: Path, grid: Binvox) -> None:
    """Write a binvox file; reading it gives the same back.

    Raises:
        SourceError: It cannot be written.
    """
    voxels = np.ascontiguousarray(grid.occupancy[:, ::-1], np.uint8).ravel()
    starts = np.flatnonzero(np.diff(voxels, prepend=1 - voxels[:1]))
    lengths = np.diff(starts, append=voxels.size)
    pieces = -(-lengths // LONGEST_RUN)
    runs = np.full((int(pieces.sum()), 2), LONGEST_RUN, np.uint8)
    runs[:, 0] = np.repeat(voxels[starts], pieces)
    runs[np.cumsum(pieces) - 1, 1] = lengths - (pieces - 1) * LONGEST_RUN
    nx, ny, nz = grid.occupancy.shape
    translate = ' '.join(f'{value:.9g}' for value in grid.translate)
    header = (
        f'#binvox 1\ndim {nx} {ny} {nz}\ntranslate {translate}\nscale {grid.scale:.9g}\ndata\n'
    )
    try:
        path.write_bytes(header.encode() + runs.tobytes())
    except OSError as error:
        raise SourceError(f'{path} cannot be written', error.strerror) from error
