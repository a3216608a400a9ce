"""What the benchmarks share: where the data are, the machine's description, the JSON file."""

from __future__ import annotations

import json
import os
from pathlib import Path
import platform
from typing import Any

import open3d as o3d
import torch

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get('RECON3D_DATA', ROOT.parent / 'shared' / 'data'))
KITCHEN = DATA / 'rgbd' / 'redkitchen'


def machine() -> dict[str, Any]:
    """Describe the machine; a load far above zero makes times worthless."""
    return {
        'system': platform.platform(),
        'processor': _processor(),
        'cores': os.cpu_count(),
        'load': round(os.getloadavg()[0], 2),
        'python': platform.python_version(),
        'open3d': o3d.__version__,
        'torch': torch.__version__,
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()


def write_json(path: Path | None, benchmark: str, content: dict[str, Any]) -> None:
    """Write a benchmark's results with the machine's description, where a file is given.

    Args:
        path: The file; its folder is made.
        benchmark: Name of the benchmark.
        content: The results. A `machine` in it, as it was at the start, is taken as it is.
    """
    if path is not None:
        full = {'schema': 1, 'benchmark': benchmark, 'machine': machine(), **content}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(full, indent=2) + '\n', encoding='utf-8')


def verdict(good: bool) -> str:
    """Return how a table says whether a bar is met."""
    return 'ok' if good else 'MISSED'
