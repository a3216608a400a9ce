"""Which plugin opens what, and what is said where none does."""

from __future__ import annotations

import subprocess
import sys

from bag_tools import Bag, frames, MemorySource, OPTICAL
import numpy as np
import pytest
from recon3d_core import registry
from recon3d_core.data import load_source
from recon3d_core.data.bag_writer import write_bag
from recon3d_core.data.rgbd_folder import RgbdFolderSource
from recon3d_core.data.rosbag import RosbagSource
from recon3d_core.errors import ConfigError, SourceError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'frames').mkdir()
    (tmp_path / 'frames' / 'frame-000000.depth.png').touch()
    np.savetxt(tmp_path / 'frames' / 'camera-intrinsics.txt', np.diag((60.0, 60, 1)))
    return tmp_path / 'frames'


def test_folder_by_its_files_or_by_name(folder):
    assert isinstance(load_source(folder), RgbdFolderSource)
    assert isinstance(load_source(f'rgbd_folder:{folder}'), RgbdFolderSource)


@pytest.mark.parametrize('name', ['b.mcap', 'bag'])
def test_recording_by_its_files_or_by_name(tmp_path, name):
    write_bag(MemorySource(frames(2)), tmp_path / name)
    assert isinstance(load_source(tmp_path / name), RosbagSource)
    assert isinstance(load_source(f'rosbag:{tmp_path / name}'), RosbagSource)


def test_home_is_expanded(folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder.parent))
    assert isinstance(load_source('~/frames'), RgbdFolderSource)


@pytest.mark.parametrize(
    'uri',
    [
        'nowhere',
        'nowhere/b.mcap',
        'sinthetic:tabletop',
        'rgbd_folder:nowhere',
        'rosbag:nowhere',
        '',
    ],
)
def test_missing_source_is_one_line(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as caught:
        load_source(uri)
    assert '\n' not in str(caught.value)


def test_misspelt_scheme_is_corrected():
    with pytest.raises(SourceError, match="'synthetic:'"):
        load_source('sinthetic:tabletop')


def test_unknown_kinds_say_what_was_looked_for(tmp_path):
    (tmp_path / 'notes.txt').write_text('hello')
    for path in (tmp_path, tmp_path / 'notes.txt'):
        with pytest.raises(SourceError, match=r'frame-.*rosbag2.*synthetic:NAME') as caught:
            load_source(path)
        assert '\n' not in str(caught.value)


def test_options_are_validated(folder):
    with pytest.raises(ConfigError, match='rate_hz'):
        load_source(folder, rate_hz=-1)
    with pytest.raises(ConfigError, match='depth_scale'):
        load_source(folder, depth_scal=0.001)


def test_plugin_of_somebody_else(tmp_path, monkeypatch):
    (tmp_path / 'other_source.py').write_text(
        'from recon3d_core.interfaces import Source\n'
        'class OtherSource(Source):\n'
        "    name = 'other'\n"
        '    accepts = classmethod(lambda cls, uri: uri.endswith(".other"))\n'
        '    __iter__ = lambda self: iter(())\n'
        '    __len__ = lambda self: 0\n'
    )
    (tmp_path / 'x.other').touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(
        'RECON3D_PLUGINS', 'source:other=other_source:OtherSource,source:a_broken=nowhere:Nothing'
    )
    assert type(load_source(tmp_path / 'x.other')).__name__ == 'OtherSource'
    assert 'other' in registry.names('source')


def test_recordings_are_read_without_ros(tmp_path):
    path = (
        Bag()
        .color('/c/image', 1.0)
        .info('/c/camera_info')
        .tf(np.eye(4), 'map', OPTICAL, 1.0)
        .write(tmp_path / 'b.mcap')
    )
    code = (
        'import sys; from recon3d_core.data import load_source; '
        f'frames = list(load_source({str(path)!r})); '
        'bad = {"rclpy", "sensor_msgs", "tf2_ros"} & set(sys.modules); '
        'sys.exit(len(frames) != 1 or bool(bad) or "open3d" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
