"""ROS 2 recordings: cameras, poses, matching in time, damage."""

from __future__ import annotations

import logging
import struct

from bag_tools import (
    Bag,
    CAMERA,
    depth_of,
    frames,
    MemorySource,
    OPTICAL,
    pose_of,
    rgb_of,
    SECOND,
)
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.data.bag_writer import BagOptions, write_bag
from recon3d_core.data.bags import messages
from recon3d_core.data.bags.assembly import Assembler
from recon3d_core.errors import ConfigError, SourceError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion

TIMES = (1.0, 1.1, 1.2, 1.3)


def plain(times=TIMES, poses=True, **kwargs):
    """Return a bag of one camera; its pose moves along x with 1 m/s."""
    bag = Bag().info('/camera/camera_info', times[0] - 0.05)
    for index, s in enumerate(times):
        bag.color('/camera/image', s, index, **kwargs).depth('/camera/depth', s, index)
    if poses:
        for s in np.arange(times[0] - 0.5, times[-1] + 0.5, 0.07):
            bag.tf(make_transform(translation=(s, 0, 0)), 'map', OPTICAL, s)
    return bag


def seconds(source):
    return [round(frame.stamp_ns / SECOND, 3) for frame in source]


def test_tf_is_interpolated_at_the_stamp(tmp_path):
    source = load_source(plain().write(tmp_path / 'b.mcap'))
    got = list(source)
    assert len(source) == 4
    for frame, s, index in zip(got, TIMES, range(4)):
        np.testing.assert_allclose(frame.T_world_camera[:3, 3], (s, 0, 0), atol=1e-9)
        np.testing.assert_array_equal(frame.depth_m, depth_of(index))
        np.testing.assert_array_equal(frame.rgb, rgb_of(index))
        np.testing.assert_array_equal(frame.gravity_world, (0, 0, -1))


def test_chains_of_static_and_moving_links(tmp_path):
    turn = make_transform(rotation_from_quaternion((0.5, -0.5, 0.5, -0.5)), (0.1, 0, 0.3))
    mast = make_transform(translation=(0, 0, 1))
    bag = plain(poses=False)
    bag.tf(turn, 'head', OPTICAL, static=True, at=1.25)  # late, yet it holds from the beginning
    bag.tf(mast, 'base', 'head', static=True, at=0.0)
    for s in np.arange(0.5, 2.0, 0.05):
        bag.tf(make_transform(translation=(s, 0, 0)), 'odom', 'base', s)
        bag.tf(make_transform(translation=(0, 2 * s, 0)), 'map', 'odom', s)
    path = bag.write(tmp_path / 'bag', mcap=False)
    for frame, s in zip(load_source(path), TIMES):
        wanted = make_transform(translation=(s, 2 * s, 0)) @ mast @ turn
        np.testing.assert_allclose(frame.T_world_camera, wanted, atol=1e-9)
    for frame, s in zip(load_source(path, world_frame='odom'), TIMES):
        np.testing.assert_allclose(frame.T_world_camera[:3, 3], (s + 0.1, 0, 1.3), atol=1e-9)


def test_images_wait_for_transforms_that_were_recorded_later(tmp_path):
    bag = plain(poses=False)
    for s in np.arange(0.9, 1.5, 0.07):
        bag.tf(make_transform(translation=(s, 0, 0)), 'map', OPTICAL, s, at=s + 0.4)
    got = list(load_source(bag.write(tmp_path / 'b.mcap')))
    np.testing.assert_allclose([f.T_world_camera[0, 3] for f in got], TIMES, atol=1e-9)


def test_pose_beyond_the_samples_is_held_for_a_bounded_time(tmp_path):
    bag = plain(poses=False)
    for s in (0.9, 1.0, 1.1, 1.17):
        bag.tf(make_transform(translation=(s, 0, 0)), 'map', OPTICAL, s)
    path = bag.write(tmp_path / 'b.mcap')
    source = load_source(path)
    assert [f.T_world_camera[0, 3] for f in source] == pytest.approx([1.0, 1.1, 1.17])
    assert source.dropped == {'tf_too_new': 1}
    source = load_source(path, require_pose=False)
    assert [f.T_world_camera is None for f in source] == [False, False, False, True]


@pytest.mark.parametrize('lead', ['color', 'depth'])
def test_other_rates_are_matched_by_the_nearest_stamp(tmp_path, lead):
    bag = plain(times=(1.0,)).info('/camera/camera_info')
    slow, fast = ('color', 'depth') if lead == 'color' else ('depth', 'color')
    topics = {'color': '/camera/image', 'depth': '/camera/depth'}
    bag.items = [item for item in bag.items if item[0] == '/tf']
    bag.info('/camera/camera_info', 0.9)
    for s in np.arange(0.9, 1.7, 0.05):
        bag.tf(np.eye(4), 'map', OPTICAL, s)
    for index, s in enumerate(np.arange(1.0, 1.45, 0.1)):
        getattr(bag, slow)(topics[slow], s, index)
    for index, s in enumerate(np.arange(0.993, 1.45, 0.0333)):
        getattr(bag, fast)(topics[fast], s, index, at=s + 0.15)  # arrives later
    got = list(load_source(bag.write(tmp_path / 'b.mcap')))
    assert seconds(got) == [1.0, 1.1, 1.2, 1.3, 1.4]
    fast_stamps = np.arange(0.993, 1.45, 0.0333)
    for index, frame in enumerate(got):
        nearest = int(np.abs(fast_stamps - frame.stamp_ns / SECOND).argmin())
        numbers = {slow: index, fast: nearest}
        np.testing.assert_array_equal(frame.rgb, rgb_of(numbers['color']))
        np.testing.assert_array_equal(frame.depth_m, depth_of(numbers['depth']))


def test_image_without_partner_is_counted_or_kept(tmp_path):
    bag = plain()
    bag.items = [
        item
        for item in bag.items
        if not (item[0] == '/camera/image' and item[1].stamp_ns == int(1.2 * SECOND))
    ]
    bag.color('/camera/image', 1.23)
    path = bag.write(tmp_path / 'b.mcap')
    source = load_source(path)
    assert seconds(source) == [1.0, 1.1, 1.3]
    assert source.dropped == {'no_color': 1}
    assert seconds(load_source(path, max_stamp_difference_s=0.05)) == [1.0, 1.1, 1.2, 1.3]
    got = list(load_source(path, require_both=False))
    assert got[2].inputs == {'intrinsics', 'depth', 'pose'}


def odometry_bag(parent='odom', child='base'):
    bag = plain(poses=False)
    offset = make_transform(translation=(0, 0, 0.5))
    bag.tf(offset, 'base', OPTICAL, static=True, at=0.0)
    for s in np.arange(0.9, 1.5, 0.05):
        T = make_transform(translation=(s, 0, 0))
        bag.add('/odometry', messages.odometry(T, parent, child, int(s * SECOND)))
    return bag


def test_odometry_of_the_base_goes_on_through_tf(tmp_path):
    for frame, s in zip(load_source(odometry_bag().write(tmp_path / 'b.mcap')), TIMES):
        np.testing.assert_allclose(frame.T_world_camera[:3, 3], (s, 0, 0.5), atol=1e-9)


def test_odometry_wins_over_tf_where_asked(tmp_path):
    bag = odometry_bag()
    for s in np.arange(0.9, 1.5, 0.05):
        bag.tf(make_transform(translation=(9, 9, 9)), 'odom', 'base', s + 0.001)
    path = bag.write(tmp_path / 'b.mcap')
    assert next(iter(load_source(path))).T_world_camera[0, 3] == pytest.approx(9)
    got = next(iter(load_source(path, pose_source='odometry')))
    np.testing.assert_allclose(got.T_world_camera[:3, 3], (1, 0, 0.5), atol=1e-9)


def test_pose_of_the_camera_or_of_a_frame_above_it(tmp_path):
    bag = plain(poses=False)
    bag.tf(make_transform(translation=(0, 0, 0.5)), 'base', OPTICAL, static=True, at=0.0)
    for s in np.arange(0.9, 1.5, 0.05):
        T = make_transform(translation=(s, 0, 0))
        bag.add('/mocap/pose', messages.pose_stamped(T, 'arena', int(s * SECOND)))
    path = bag.write(tmp_path / 'b.mcap')
    got = next(iter(load_source(path)))
    np.testing.assert_allclose(got.T_world_camera[:3, 3], (1, 0, 0), atol=1e-9)
    got = next(iter(load_source(path, camera_frame='base')))
    np.testing.assert_allclose(got.T_world_camera[:3, 3], (1, 0, 0.5), atol=1e-9)


def test_namespaces_of_usual_drivers(tmp_path):
    small = Camera(20, 15, 17.5, 18.0, 9.25, 7.0)
    bag = Bag()
    for topic, camera in (('color', CAMERA), ('depth', small), ('aligned_depth_to_color', CAMERA)):
        bag.info(f'/robot/front/{topic}/camera_info', 0.9, camera)
    for index, s in enumerate(TIMES):
        bag.color('/robot/front/color/image_raw', s, index)
        bag.depth('/robot/front/depth/image_rect_raw', s, depth=np.ones((15, 20), np.float32))
        bag.depth('/robot/front/aligned_depth_to_color/image_raw', s, index)
        gray = messages.image(np.zeros((15, 20), np.uint8), 'mono8', 'ir', int(s * SECOND))
        bag.add('/robot/front/infra1/image_rect_raw', gray)
        bag.color('/detector/debug_image', s, 99)
        bag.tf(np.eye(4), 'map', OPTICAL, s)
    path = bag.write(tmp_path / 'b.mcap')
    got = list(load_source(path))
    assert [f.camera_name for f in got] == ['front'] * 4
    np.testing.assert_array_equal(got[1].depth_m, depth_of(1))
    got = list(load_source(path, depth_topic='/robot/front/depth/image_rect_raw'))
    assert got[0].camera == small
    assert got[0].rgb.shape == (15, 20, 3)
    only = list(load_source(path, depth_topic='none'))
    assert only[0].inputs == {'intrinsics', 'rgb', 'pose'}


def test_rectified_topic_uses_p(tmp_path):
    bag = Bag()
    info = messages.camera_info(
        Camera(40, 30, 30.0, 30.0, 18.0, 13.0, 'plumb_bob', (-0.3, 0.1, 0, 0, 0)), OPTICAL, SECOND
    )
    info.message.p[:] = [35, 0, 19, 0, 0, 36, 14.5, 0, 0, 0, 1, 0]
    bag.add('/cam/camera_info', info).color('/cam/image_rect', 1.0).tf(
        np.eye(4), 'map', OPTICAL, 1
    )
    bag.color('/plain/image', 1.0).add('/plain/camera_info', info)
    got = {f.camera_name: f for f in load_source(bag.write(tmp_path / 'b.mcap'))}
    assert got['cam'].camera == CAMERA
    assert got['plain'].camera.fx == 30
    assert not np.array_equal(got['plain'].rgb, rgb_of(0))  # undistorted


def test_depth_camera_beside_the_colour_camera_is_registered(tmp_path):
    """A box at 1 m before a plane at 2 m, seen from 0.1 m to the left of the depth camera."""
    depth = np.full((30, 40), 2.0, np.float32)
    depth[10:20, 15:25] = 1.0
    bag = Bag().info('/c/color/camera_info', frame='color').info('/c/depth/camera_info', frame='d')
    bag.color('/c/color/image_raw', 1.0, frame='color')
    bag.depth('/c/depth/image_raw', 1.0, depth=depth, frame='d')
    bag.tf(np.eye(4), 'map', 'color', 1.0)
    path = bag.write(tmp_path / 'same.mcap')  # equal intrinsics, no transform: taken as one
    np.testing.assert_array_equal(next(iter(load_source(path))).depth_m, depth)
    bag.tf(make_transform(translation=(0.1, 0, 0)), 'color', 'd', static=True)
    frame = next(iter(load_source(bag.write(tmp_path / 'apart.mcap'))))
    near, far = 4, 2  # 35 px * 0.1 m / 1 m = 3.5 px, and 1.75 px at 2 m
    assert (frame.depth_m[10:20, 15 + near : 25 + near] == 1.0).all()
    assert (frame.depth_m[:10, far:] == 2.0).all()
    assert (frame.depth_m[:, :far] == 0).all()
    assert (frame.depth_m[10:20, 15 + far : 15 + near] == 0).sum() <= 20  # what colour alone sees


def test_unregistered_depth_of_other_intrinsics_is_dropped(tmp_path):
    bag = Bag().info('/c/color/camera_info', frame='color')
    bag.info('/c/depth/camera_info', camera=Camera(40, 30, 50.0, 50.0, 20, 15), frame='d')
    bag.color('/c/color/image_raw', 1.0, frame='color').depth('/c/depth/image_raw', 1.0, frame='d')
    bag.tf(np.eye(4), 'map', 'color', 1.0)
    source = load_source(bag.write(tmp_path / 'b.mcap'))
    assert list(source) == []
    assert source.dropped == {'not_registered': 1}


def test_part_of_the_frames(tmp_path):
    path = plain().write(tmp_path / 'b.mcap')
    source = load_source(path, start=1, stride=2, max=1)
    assert seconds(source) == [1.1]
    assert len(source) == 1
    assert seconds(load_source(path, start=1, stride=2, prefetch=0)) == [1.1, 1.3]


@pytest.mark.parametrize(
    'options',
    [
        {'color_topic': '/camera/imag'},
        {'depth_topic': 'camera/dept'},
        {'info_topic': '/info'},
        {'pose_source': 'odometry'},
        {'pose_topic': '/pose'},
        {'cameras': ['left']},
    ],
)
def test_unknown_topics_list_those_of_the_bag(tmp_path, options):
    path = plain().write(tmp_path / 'b.mcap')
    with pytest.raises(SourceError) as caught:
        load_source(path, **options)
    assert '\n' not in str(caught.value)
    assert 'camera' in str(caught.value)


def test_unknown_option(tmp_path):
    path = plain().write(tmp_path / 'b.mcap')
    with pytest.raises(ConfigError, match='color_topic'):
        load_source(path, colour_topic='/camera/image')


def test_uncalibrated_camera_is_refused(tmp_path):
    bag = plain()
    info = messages.camera_info(CAMERA, OPTICAL, SECOND)
    info.message.k[:] = 0
    bag.items = [i for i in bag.items if i[0] != '/camera/camera_info']
    path = bag.add('/camera/camera_info', info).write(tmp_path / 'b.mcap')
    with pytest.raises(SourceError, match=r'K\[0\] = 0'):
        load_source(path)


def test_bag_without_images_or_camera_info(tmp_path):
    path = Bag().tf(np.eye(4), 'map', 'x', 1.0).write(tmp_path / 'a.mcap')
    with pytest.raises(SourceError, match='no images'):
        load_source(path)
    path = Bag().color('/camera/image', 1.0).write(tmp_path / 'b.mcap')
    with pytest.raises(SourceError, match='no camera_info'):
        load_source(path)


def test_malformed_messages_are_counted_and_the_rest_is_as_without_them(tmp_path, caplog):
    bag = plain()
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


def test_images_older_than_a_given_frame_are_dropped(tmp_path):
    bag = plain(times=(1.0, 1.1, 1.2, 3.5, 3.6))
    bag.items = [i for i in bag.items if i[0] != '/tf']
    bag.tf(np.eye(4), 'map', OPTICAL, static=True)
    bag.depth('/camera/depth', 1.15, at=1.08).color('/camera/image', 1.15, at=1.09)  # before 1.1
    bag.depth('/camera/depth', 1.05, at=3.55).color('/camera/image', 1.05, at=3.55)
    source = load_source(bag.write(tmp_path / 'b.mcap'))
    assert seconds(source) == [1.0, 1.15, 1.2, 3.5, 3.6]
    assert source.dropped == {'out_of_order': 2}


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
    path = plain().write(tmp_path / 'bag', mcap=False)
    cut(next(path.glob('*.db3')), 0.5)
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert '\n' not in str(caught.value)


def test_folder_without_metadata_is_read(tmp_path):
    path = plain().write(tmp_path / 'bag', mcap=False)
    (path / 'metadata.yaml').unlink()
    assert seconds(load_source(path)) == list(TIMES)
    assert seconds(load_source(next(path.glob('*.db3')))) == list(TIMES)


def test_assembler_holds_a_bounded_number_of_images():
    assembler = Assembler([('/lead', '/other')], 10, 10**18)
    given = 0
    for number in range(3000):
        assembler.push('/lead', number, number, None)
        given += sum(1 for _ in assembler.ready(lambda *_: False))
    assert given >= 3000 - 513
    assert given + sum(1 for _ in assembler.ready(lambda *_: False, finished=True)) == 3000


def test_poses_of_tools_differ():
    assert not np.allclose(pose_of(SECOND), pose_of(2 * SECOND))
