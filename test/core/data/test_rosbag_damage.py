"""ROS 2 recordings: malformed messages, files cut off or damaged."""

from __future__ import annotations

import logging
import struct

from bag_tools import (
    depth_of,
    frames,
    MemorySource,
    OPTICAL,
    plain_bag,
    rgb_of,
    SECOND,
    seconds,
    TIMES,
)
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.data.bag_writer import BagOptions, write_bag
from recon3d_core.data.bags import messages
from recon3d_core.errors import SourceError
from recon3d_core.geometry.cameras import Camera


def test_malformed_messages_are_counted_and_the_rest_is_as_without_them(tmp_path, caplog):
    bag = plain_bag()
    image = 'sensor_msgs/msg/Image'
    bag.add_bytes('/camera/depth', image, b'', 1.05)
    bag.add_bytes('/camera/depth', image, b'\x00\x01\x00\x00' + b'\xff' * 60, 1.06)
    short = messages.image(rgb_of(0), 'rgb8', OPTICAL, int(1.15 * SECOND))
    short.message.step = 5
    bag.add('/camera/image', short).depth('/camera/depth', 1.15)
    odd = messages.depth(depth_of(0), '16UC1', OPTICAL, int(1.17 * SECOND))
    odd.message.encoding = 'wavelet'
    bag.add('/camera/depth', odd).color('/camera/image', 1.17)
    bag.depth('/camera/depth', 1.26, depth=depth_of(0)[:20]).color('/camera/image', 1.26)
    bag.tf(np.full((4, 4), np.nan), 'map', OPTICAL, 1.123)
    bag.add_bytes('/tf', 'tf2_msgs/msg/TFMessage', struct.pack('<I', 1 << 31), 1.05)
    with caplog.at_level(logging.WARNING):
        source = load_source(bag.write(tmp_path / 'b.mcap'))
        got = list(source)
    assert seconds(got) == list(TIMES)
    np.testing.assert_allclose([f.T_world_camera[0, 3] for f in got], TIMES, atol=1e-9)
    assert source.dropped == {
        'bad_message': 2,
        'bad_image': 1,
        'bad_encoding': 1,
        'camera_info_size': 1,
    }
    assert all('\n' not in record.getMessage() for record in caplog.records)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize('compression', ['none', 'zstd'])
def test_unfinished_mcap_is_read_as_far_as_it_goes(tmp_path, compression, caplog):
    camera = Camera(320, 240, 300.0, 300.0, 160.0, 120.0)
    wanted = frames(12, camera=camera)
    for frame in wanted:  # noise: the file must not shrink to one chunk
        frame.rgb[:] = np.random.default_rng(0).integers(0, 256, frame.rgb.shape)
    path = tmp_path / 'b.mcap'
    write_bag(MemorySource(wanted), path, BagOptions(compression=compression))
    whole = list(load_source(path))
    cut(path, 0.6)
    with caplog.at_level(logging.WARNING):
        source = load_source(path)
    got = list(source)
    assert 3 <= len(got) < len(whole)
    for a, b in zip(got, whole):
        assert a.stamp_ns == b.stamp_ns
        np.testing.assert_array_equal(a.depth_m, b.depth_m)
        np.testing.assert_allclose(a.T_world_camera, b.T_world_camera)
    assert 'unfinished' in caplog.text


def test_damaged_chunk_in_the_middle_costs_only_its_messages(tmp_path, caplog):
    camera = Camera(320, 240, 300.0, 300.0, 160.0, 120.0)
    wanted = frames(12, camera=camera)
    for frame in wanted:
        frame.rgb[:] = np.random.default_rng(0).integers(0, 256, frame.rgb.shape)
    path = tmp_path / 'b.mcap'
    write_bag(MemorySource(wanted), path, BagOptions(compression='zstd'))
    data = bytearray(path.read_bytes())
    chunk = data.index(b'\x28\xb5\x2f\xfd', len(data) // 4)  # where a zstd frame begins
    data[chunk : chunk + 4] = b'oops'
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        got = list(load_source(path))
    assert len(got) >= 6
    assert got[-1].stamp_ns == wanted[-1].stamp_ns
    assert 'damaged' in caplog.text


@pytest.mark.parametrize('content', [b'', b'MCAP', b'\x89MCAP0\r\n', b'SQLite format 3\x00' * 9])
@pytest.mark.parametrize('suffix', ['.mcap', '.db3'])
def test_no_recording_at_all(tmp_path, content, suffix):
    path = tmp_path / f'b{suffix}'
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert '\n' not in str(caught.value)


def test_truncated_sqlite_is_one_line(tmp_path):
    path = plain_bag().write(tmp_path / 'bag', mcap=False)
    cut(next(path.glob('*.db3')), 0.5)
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert '\n' not in str(caught.value)


def test_folder_without_metadata_is_read(tmp_path):
    path = plain_bag().write(tmp_path / 'bag', mcap=False)
    (path / 'metadata.yaml').unlink()
    assert seconds(load_source(path)) == list(TIMES)
    assert seconds(load_source(next(path.glob('*.db3')))) == list(TIMES)
