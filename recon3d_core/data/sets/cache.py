"""Drawn objects kept as files: each is drawn once, by whoever needs it first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import hashlib
import os
from pathlib import Path
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import RunError

DATA = Path(__file__).parent.parent
# What decides how an object and its views come out; a change of it makes new files.
SOURCES = (
    'objects/**/*.py',
    'synth/solids.py',
    'ground_truth.py',
    'orientation.py',
    'rendering/base.py',
    'rendering/raycast.py',
    'view_sampling.py',
    'sets/drawn.py',
)


def cache_folder(given: str = '') -> Path:
    """Return where drawn objects are kept: as given, or `RECON3D_CACHE`, or in the home folder."""
    chosen = given or os.environ.get('RECON3D_CACHE', '')
    return Path(chosen) if chosen else Path.home() / '.cache' / 'recon3d'


def code_fingerprint(more: Sequence[str] = ()) -> str:
    """Return a hash of the code that draws objects, comments and empty lines aside.

    Args:
        more: Patterns of other files that a set depends on.
    """
    digest = hashlib.sha256()
    for path in sorted(path for pattern in (*SOURCES, *more) for path in DATA.glob(pattern)):
        lines = (line.strip() for line in path.read_text(encoding='utf-8').splitlines())
        kept = '\n'.join(line for line in lines if line and not line.startswith('#'))
        digest.update(f'{path.name}\n{kept}\n'.encode())
    return digest.hexdigest()


def fingerprint_of(parts: Iterable[object]) -> str:
    """Return a short hash of things whose `repr` says what they are."""
    return hashlib.sha256('\n'.join(map(repr, parts)).encode()).hexdigest()[:16]


def load_record(path: Path, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return a record (1,) mapped from its file; None where it is absent or not whole."""
    try:
        record = np.load(path, mmap_mode='r', allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return record if record.dtype == dtype and record.shape == (1,) else None


def kept(path: Path, dtype: np.dtype[Any], draw: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return a record (1,) from its file, which is written first where it is absent.

    Args:
        path: The file.
        dtype: What it must hold.
        draw: Makes the record.

    Raises:
        RunError: The file cannot be written.
    """
    record = load_record(path, dtype)
    if record is None:
        record = draw()
        _write(path, record)
    return record


def _write(path: Path, record: NDArray[Any]) -> None:
    """Write a file at once or not at all; others may write the same at the same time."""
    temporary = ''
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix='.', suffix='.part', delete=False
        ) as file:
            temporary = file.name
            np.save(file, record, allow_pickle=False)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise RunError(
            f'{path} cannot be written',
            error.strerror,
            fix='Free some space, or let RECON3D_CACHE name another folder.',
        ) from error
