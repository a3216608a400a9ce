"""The registry knows names without importing, and survives what is broken."""

from __future__ import annotations

from collections.abc import Iterator
import logging
import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest
from recon3d_core import registry
from recon3d_core.errors import PluginError, UnknownPluginError
from recon3d_core.interfaces import Detector

SAMPLE = 'recon3d_sample_plugin.color_blob:ColorBlobDetector'


@pytest.fixture(autouse=True)
def fresh_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the table before and after: a test may change what is installed."""
    monkeypatch.delenv('RECON3D_PLUGINS', raising=False)
    registry._table.cache_clear()
    yield
    registry._table.cache_clear()


def install(folder: Path, package: str, group: str, points: dict[str, str]) -> None:
    """Write what pip leaves of an installed package with entry points."""
    info = folder / f'{package}-1.0.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n')
    lines = [f'{name} = {target}' for name, target in points.items()]
    (info / 'entry_points.txt').write_text('\n'.join([f'[{group}]', *lines, '']))


def test_every_builtin_has_a_kind_and_a_target_with_an_attribute() -> None:
    assert set(registry.BUILTINS) == set(registry.KINDS)
    for entry in registry.entries():
        module, _, attribute = entry.target.partition(':')
        assert attribute.isidentifier()
        assert module.startswith(('recon3d_core.', 'recon3d_ros.')) or entry.origin != 'built-in'


def test_unknown_name_lists_the_known_and_the_closest() -> None:
    with pytest.raises(UnknownPluginError) as caught:
        registry.load('detector', 'depth_clustr')
    assert "Did you mean 'depth_cluster'?" in str(caught.value)
    assert all(name in str(caught.value) for name in registry.names('detector'))


def test_plugin_from_the_environment(monkeypatch: pytest.MonkeyPatch, root_dir: Path) -> None:
    monkeypatch.syspath_prepend(str(root_dir / 'examples/sample_plugin'))
    monkeypatch.setenv('RECON3D_PLUGINS', f'detector:color_blob={SAMPLE}')
    assert issubclass(registry.load('detector', 'color_blob'), Detector)
    [entry] = [e for e in registry.entries('detector') if e.name == 'color_blob']
    assert entry.origin == 'environment'


@pytest.mark.parametrize(
    'text', ['color_blob', 'detector:x', 'detector:x=module', 'nonsense:x=a:b', 'x=a:b']
)
def test_environment_of_the_wrong_form(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RECON3D_PLUGINS', text)
    with pytest.raises(PluginError, match='RECON3D_PLUGINS.*kind:name=module:attribute'):
        registry.names('detector')


def test_name_taken_twice_is_an_error_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, 'greedy', 'recon3d.detector', {'depth_cluster': 'greedy:Detector'})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match="two detector plugins.*'depth_cluster'.*greedy"):
        registry.names('detector')


def test_the_same_plugin_seen_twice_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ('a', 'b'):  # an editable install can be on the path twice
        install(tmp_path / folder, 'twin', 'recon3d.detector', {'twin': 'twin:Detector'})
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    assert registry.names('detector').count('twin') == 1


def test_broken_external_plugin_is_skipped_with_a_warning_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    points = {'no_module': 'nowhere_at_all:X', 'raises': 'raising:X', 'lacks': 'raising_not:Y'}
    install(tmp_path, 'clumsy', 'recon3d.source', points)
    (tmp_path / 'raising.py').write_text('raise RuntimeError("no licence")')
    (tmp_path / 'raising_not.py').write_text('')
    monkeypatch.syspath_prepend(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        found = registry.loadable('source')
    assert not set(points) & set(found)
    assert 'synthetic' in found, 'the others are still there'
    for name in points:
        assert any(f"'{name}' from clumsy" in line for line in caplog.messages)
    assert any('RuntimeError: no licence' in line for line in caplog.messages)


def test_loading_a_broken_plugin_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RECON3D_PLUGINS', 'mesher:absent=not_there:X')
    with pytest.raises(PluginError) as caught:
        registry.load('mesher', 'absent')
    assert 'ModuleNotFoundError' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_listing_names_imports_nothing() -> None:
    code = (
        'import sys; from recon3d_core import registry; registry.entries();'
        'assert not [m for m in sys.modules if m.split(".")[0] in ("torch", "open3d", "cv2")]'
    )
    done = subprocess.run([sys.executable, '-c', code], check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.slow
def test_installed_sample_plugin_is_found_and_finds_a_red_block(
    tmp_path: Path, root_dir: Path
) -> None:
    target = tmp_path / 'site'
    sample = tmp_path / 'sample'  # a copy: the build leaves files in its source
    shutil.copytree(root_dir / 'examples/sample_plugin', sample)
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation']
    subprocess.run([*pip, '--no-index', '--target', str(target), str(sample)], check=True)
    code = """
import numpy as np
from recon3d_core import registry
from recon3d_core.geometry.cameras import Camera
from recon3d_core.types import Frame
[entry] = [e for e in registry.entries('detector') if e.name == 'color_blob']
assert entry.origin == 'recon3d-sample-plugin', entry
rgb = np.full((48, 64, 3), 128, np.uint8)
rgb[10:30, 20:50] = 200, 20, 20
frame = Frame(0, Camera(64, 48, 60, 60, 32, 24), rgb=rgb)
[blob] = registry.load('detector', 'color_blob')().detect(frame).items
assert blob.box_xyxy == (20, 10, 49, 29) and blob.mask.sum() == 600 and not blob.truncated
"""
    environment = {**os.environ, 'PYTHONPATH': f'{target}{os.pathsep}{root_dir}'}
    command = [sys.executable, '-c', code]
    assert subprocess.run(command, check=False, env=environment, timeout=100).returncode == 0
