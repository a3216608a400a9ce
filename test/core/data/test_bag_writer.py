"""Recording and reading back: the same frames."""

from __future__ import annotations

import itertools

from bag_tools import CAMERA, frames, MemorySource
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.data.bag_writer import BagOptions, upright_transform, write_bag
from recon3d_core.data.bags.reader import BagReader
from recon3d_core.errors import InputError, RunError
from recon3d_core.geometry.cameras import Camera


def assert_same(got, wanted, mean_color_error=0.0):
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted):
        assert (a.stamp_ns, a.camera_name, a.camera) == (b.stamp_ns, b.camera_name, b.camera)
        np.testing.assert_allclose(a.T_world_camera, b.T_world_camera, atol=1e-9)
        np.testing.assert_array_equal(a.depth_m, b.depth_m)
        assert np.abs(a.rgb.astype(int) - b.rgb).mean() <= mean_color_error
        np.testing.assert_array_equal(a.gravity_world, (0, 0, -1))


@pytest.mark.parametrize('name', ['bag.mcap', 'folder'])
@pytest.mark.parametrize(
    ('compression', 'pose'),
    [
        ('none', 'tf'),
        ('none', 'odometry'),
        ('zstd', 'pose'),
    ],
)
def test_round_trip_is_exact(tmp_path, name, compression, pose):
    wanted = frames()
    calls = []
    report = write_bag(
        MemorySource(wanted),
        tmp_path / name,
        BagOptions(compression=compression, pose=pose),
        lambda done, total: calls.append((done, total)),
    )
    assert (report.frames, report.without_pose) == (6, 0)
    assert calls == [(i + 1, 6) for i in range(6)]
    assert report.bytes > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing temporary is left
    source = load_source(tmp_path / name)
    assert_same(list(source), wanted)
    assert len(source) == 6
    assert not source.dropped


@pytest.mark.parametrize('color', ['jpeg', 'png'])
def test_round_trip_compressed(tmp_path, color):
    wanted = frames()
    options = BagOptions(color=color, depth='compressed', storage='mcap')
    write_bag(MemorySource(wanted), tmp_path / 'bag', options)
    topics = BagReader(tmp_path / 'bag').topics
    assert {'/camera/image/compressed', '/camera/depth/compressedDepth'} <= set(topics)
    assert_same(list(load_source(tmp_path / 'bag')), wanted, 4.0 if color == 'jpeg' else 0.0)


def test_depth_in_metres_keeps_its_bits(tmp_path):
    depth = np.random.default_rng(0).uniform(0.3, 5, (30, 40)).astype(np.float32)
    depth[3:5] = 0
    wanted = frames(2, depth_m=depth)
    write_bag(MemorySource(wanted), tmp_path / 'b.mcap', BagOptions(depth_encoding='32FC1'))
    assert_same(list(load_source(tmp_path / 'b.mcap')), wanted)


def test_distorted_camera_is_kept(tmp_path):
    camera = Camera(40, 30, 35.0, 36.0, 19.0, 14.5, 'plumb_bob', (-0.2, 0.05, 1e-3, -1e-3, 0.0))
    wanted = frames(2, camera=camera)
    write_bag(MemorySource(wanted), tmp_path / 'b.mcap')
    got = next(iter(load_source(tmp_path / 'b.mcap')))
    assert got.camera == camera.rectified()
    np.testing.assert_array_equal(got.rgb, wanted[0].checked().rgb)
    np.testing.assert_array_equal(got.depth_m, wanted[0].checked().depth_m)


def test_several_cameras_come_in_order_of_time(tmp_path):
    # Left and right have the names that a driver would also give to the eyes of one camera.
    left = frames(5, name='left')
    right = frames(
        5, name='right', start_ns=3_050_000_000, camera=Camera(20, 16, 18.0, 18.0, 9.5, 7.5)
    )
    wanted = sorted(left + right, key=lambda frame: frame.stamp_ns)
    write_bag(MemorySource(wanted), tmp_path / 'b.mcap')
    assert_same(list(load_source(tmp_path / 'b.mcap')), wanted)
    assert_same(list(load_source(tmp_path / 'b.mcap', cameras=['right'])), right)


def test_world_is_turned_upright(tmp_path):
    gravity = np.array([0.1, 0.9, 0.4]) / np.linalg.norm([0.1, 0.9, 0.4])
    wanted = frames(3, gravity_world=gravity)
    write_bag(MemorySource(wanted), tmp_path / 'up.mcap')
    T = upright_transform(gravity)
    np.testing.assert_allclose(T[:3, :3] @ gravity, (0, 0, -1), atol=1e-12)
    for got, frame in zip(load_source(tmp_path / 'up.mcap'), wanted):
        np.testing.assert_allclose(got.T_world_camera, T @ frame.T_world_camera, atol=1e-9)
    write_bag(MemorySource(wanted), tmp_path / 'as_is.mcap', BagOptions(turn_upright=False))
    got = next(iter(load_source(tmp_path / 'as_is.mcap', z_up=False)))
    np.testing.assert_allclose(got.T_world_camera, wanted[0].T_world_camera, atol=1e-9)
    assert got.gravity_world is None


def test_frames_without_pose_or_colour(tmp_path):
    write_bag(MemorySource(frames(3, T_world_camera=None, rgb=None)), tmp_path / 'b.mcap')
    got = list(load_source(tmp_path / 'b.mcap', require_pose=False))
    assert [frame.inputs for frame in got] == [{'intrinsics', 'depth'}] * 3
    source = load_source(tmp_path / 'b.mcap')
    assert list(source) == []
    assert source.dropped == {'no_pose': 3}


def test_nothing_is_overwritten_and_failures_leave_nothing(tmp_path):
    target = tmp_path / 'bag.mcap'
    target.write_text('precious')
    with pytest.raises(InputError, match='exists'):
        write_bag(MemorySource(frames()), target)
    assert target.read_text() == 'precious'

    class Failing(MemorySource):
        def __iter__(self):
            yield from frames(2)
            raise RuntimeError('camera unplugged')

    with pytest.raises(RuntimeError, match='unplugged'):
        write_bag(Failing([]), tmp_path / 'other')
    with pytest.raises(RunError, match='nothing'):
        write_bag(MemorySource([]), tmp_path / 'empty.mcap')
    assert [path.name for path in tmp_path.iterdir()] == ['bag.mcap']


def test_camera_of_tests_is_not_square():
    assert CAMERA.width != CAMERA.height


@pytest.mark.data
def test_kitchen_round_trip(tmp_path, kitchen_dir):
    wanted = list(load_source(kitchen_dir, max=8))
    write_bag(MemorySource(wanted), tmp_path / 'kitchen.mcap')
    got = list(load_source(tmp_path / 'kitchen.mcap'))
    T = upright_transform(wanted[0].gravity_world)
    assert len(got) == 8
    for a, b in zip(got, wanted):
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.depth_m, b.depth_m)
        np.testing.assert_allclose(a.T_world_camera, T @ b.T_world_camera, atol=1e-6)
    assert all(a.stamp_ns < b.stamp_ns for a, b in itertools.pairwise(got))
