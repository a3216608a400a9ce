"""The core never imports ROS, and the layers inside it point in one direction."""

from __future__ import annotations

import ast
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / 'recon3d_core'

# Modules of the ROS world by name, and the node's own package.
PROBE = """
import importlib, pkgutil, re, sys
import recon3d_core
failed = []
for found in pkgutil.walk_packages(recon3d_core.__path__, 'recon3d_core.'):
    if not found.name.endswith('__main__'):
        importlib.import_module(found.name)
ros = re.compile(r'^(rclpy|rosidl\\w*|rcl_interfaces|ament\\w*|tf2\\w*|cv_bridge|launch\\w*|'
                 r'message_filters|recon3d_ros|\\w+_msgs(_py)?|std_srvs|builtin_interfaces)$')
print('\\n'.join(sorted({name for name in sys.modules if ros.match(name)})))
"""
# Each layer may import itself, those before it, and what stands beside it in its own row.
LAYERS = (
    ('errors',),
    ('checks', 'registry', 'config', 'types', 'interfaces', 'geometry'),
    (
        'detection',
        'tracking',
        'models',
        'fusion',
        'mapping',
        'matching',
        'meshing',
        'metrics',
        'losses',
        'data',
    ),
    ('scene', 'training', 'viewer', 'prediction'),
    ('cli', '__main__', '__init__'),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}


def test_importing_all_of_the_core_loads_no_ros() -> None:
    done = subprocess.run(
        [sys.executable, '-c', PROBE], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def imported_parts(path: Path) -> list[str]:
    """Return which parts of the core a module imports, wherever in it the import stands."""
    parts = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == 'recon3d_core':
            names = [f'recon3d_core.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or '']
        parts += [name.split('.')[1] for name in names if name.startswith('recon3d_core.')]
    return parts


MODULES = sorted(path for path in CORE.rglob('*.py') if path != CORE / '__init__.py')


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_layers_point_in_one_direction(path: Path) -> None:
    here = path.relative_to(CORE).parts[0].removesuffix('.py')
    assert here in RANK, f'{here} has no place among the layers'
    for part in imported_parts(path):
        # A name that the package's __init__ exports, such as `Pipeline`, counts as the top.
        assert RANK.get(part, len(LAYERS)) <= RANK[here], f'{here} must not import {part}'


def test_the_check_of_layers_sees_an_import_in_a_function(tmp_path: Path) -> None:
    module = tmp_path / 'module.py'
    module.write_text('def f():\n    from recon3d_core.scene import options\n    import numpy\n')
    assert imported_parts(module) == ['scene']
    module.write_text('from recon3d_core import config, Pipeline\nimport recon3d_core.cli.main\n')
    assert imported_parts(module) == ['config', 'Pipeline', 'cli']
