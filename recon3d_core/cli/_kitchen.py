"""The recorded kitchen, run and counted as the benchmark of that name does."""

from __future__ import annotations

from collections.abc import Sequence
import importlib
import subprocess
import sys
from typing import Any

from recon3d_core.cli.bench import available
from recon3d_core.errors import InputError

_FRAMES = 250
_CLOSING = ('detector.plugin=depth_cluster', 'reconstructor.plugin=tsdf_object',
            'mesher.plugin=closed')  # fmt: skip


def kitchen_rows(config: str, assignments: Sequence[str], frames: int = _FRAMES) -> dict[str, Any]:
    """Return counts and times of the kitchen for the configuration and for closing.

    Args:
        config: Name or file of the configuration.
        assignments: Its options, `OPTION=VALUE` each.
        frames: Frames to read.

    Returns:
        By variant `found`, `phantoms` and `timings_ms`; or `skipped` with the reason.
    """
    try:
        benchmark = _benchmark()
    except InputError as error:
        return {'default': {'skipped': str(error)}}
    if not benchmark.KITCHEN.is_dir():
        reason = f'{benchmark.KITCHEN} is absent; set RECON3D_DATA'
        return {'default': {'skipped': reason}}
    variants = {'default': ('--config', config, *_sets(assignments)), 'closing': _sets(_CLOSING)}
    return {name: _row(benchmark, frames, options) for name, options in variants.items()}


def _sets(assignments: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for one in assignments for word in ('--set', one))


def _benchmark() -> Any:
    """Return the benchmark as a module.

    Raises:
        InputError: This is no checkout.
    """
    folder = str(available()['kitchen'].parent)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module('kitchen')
    finally:
        sys.path.remove(folder)


def _row(benchmark: Any, frames: int, options: Sequence[str]) -> dict[str, Any]:
    try:
        summary, _, _, used_s = benchmark.recon3d_run(frames, *options)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or '').strip().rpartition('\n')[2]
        return {'skipped': f'the run failed: {last}'}
    found, phantoms = benchmark.compare(summary['objects'])
    read = summary['frames']['read']
    return {
        'frames': read,
        'found': found,
        'phantoms': len(phantoms),
        'objects': len(summary['objects']),
        'processor_ms': round(1e3 * used_s / max(read, 1), 1),
        'timings_ms': summary['timings_ms'],
    }
