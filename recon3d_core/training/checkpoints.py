"""All of a training's state in one file, which is there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import errno
import os
from pathlib import Path
from typing import Any

from recon3d_core.errors import InputError, RunError
import torch

NAME = 'checkpoint.pt'
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_VERSION = 1


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the place for a file that becomes `path` only when it is complete.

    Raises:
        RunError: It cannot be written, for lack of space perhaps.
    """
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        yield partial
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def cannot_write(path: Path, error: Exception) -> RunError:
    """Return the error of a file that cannot be written."""
    cause = error
    while not isinstance(cause, OSError) and cause.__context__ is not None:
        cause = cause.__context__  # type: ignore[assignment]
    full = isinstance(cause, OSError) and cause.errno in _FULL
    reason = ' '.join(str(getattr(cause, 'strerror', None) or cause).split())[:120]
    fix = 'Free some space, then go on with --resume.' if full else ''
    return RunError(f'{path} cannot be written', reason, fix=fix)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state, and make sure that it is on the disk before it takes the old one's place.

    Raises:
        RunError: It cannot be written; the old one is still there.
    """
    with whole_file(path) as partial, partial.open('wb') as file:
        torch.save({'recon3d_checkpoint': _VERSION, **state}, file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a state; nothing in the file is run.

    Raises:
        InputError: It is missing, broken, or no checkpoint of this library.
    """
    if not path.is_file():
        fix = 'Start without --resume, or give the folder of the run as --out.'
        raise InputError('nothing to go on with', f'no file {path}', fix=fix)
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch and zip raise whatever the bytes lead to
        reason = ' '.join(str(error).split())[:160]
        raise InputError(f'{path} cannot be read', reason, 'a checkpoint') from error
    if not isinstance(state, dict) or state.get('recon3d_checkpoint') != _VERSION:
        raise InputError(f'{path} is no checkpoint of a training', type(state).__name__)
    return state
