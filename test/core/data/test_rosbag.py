"""ROS 2 recordings: poses and images matched in time."""

from __future__ import annotations

from bag_tools import (
    depth_of,
    OPTICAL,
    plain_bag,
    pose_of,
    rgb_of,
    SECOND,
    seconds,
    TIMES,
)
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.data.bags import messages
from recon3d_core.data.bags.assembly import Assembler
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion


def test_tf_is_interpolated_at_the_stamp(tmp_path):
    source = load_source(plain_bag().write(tmp_path / 'b.mcap'))
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
    bag = plain_bag(poses=False)
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
    bag = plain_bag(poses=False)
    for s in np.arange(0.9, 1.5, 0.07):
        bag.tf(make_transform(translation=(s, 0, 0)), 'map', OPTICAL, s, at=s + 0.4)
    got = list(load_source(bag.write(tmp_path / 'b.mcap')))
    np.testing.assert_allclose([f.T_world_camera[0, 3] for f in got], TIMES, atol=1e-9)


def test_pose_beyond_the_samples_is_held_for_a_bounded_time(tmp_path):
    bag = plain_bag(poses=False)
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
    bag = plain_bag(times=(1.0,)).info('/camera/camera_info')
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
    bag = plain_bag()
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
    bag = plain_bag(poses=False)
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
    bag = plain_bag(poses=False)
    bag.tf(make_transform(translation=(0, 0, 0.5)), 'base', OPTICAL, static=True, at=0.0)
    for s in np.arange(0.9, 1.5, 0.05):
        T = make_transform(translation=(s, 0, 0))
        bag.add('/mocap/pose', messages.pose_stamped(T, 'arena', int(s * SECOND)))
    path = bag.write(tmp_path / 'b.mcap')
    got = next(iter(load_source(path)))
    np.testing.assert_allclose(got.T_world_camera[:3, 3], (1, 0, 0), atol=1e-9)
    got = next(iter(load_source(path, camera_frame='base')))
    np.testing.assert_allclose(got.T_world_camera[:3, 3], (1, 0, 0.5), atol=1e-9)


def test_part_of_the_frames(tmp_path):
    path = plain_bag().write(tmp_path / 'b.mcap')
    source = load_source(path, start=1, stride=2, max=1)
    assert seconds(source) == [1.1]
    assert len(source) == 1
    assert seconds(load_source(path, start=1, stride=2, prefetch=0)) == [1.1, 1.3]


def test_images_older_than_a_given_frame_are_dropped(tmp_path):
    bag = plain_bag(times=(1.0, 1.1, 1.2, 3.5, 3.6))
    bag.items = [i for i in bag.items if i[0] != '/tf']
    bag.tf(np.eye(4), 'map', OPTICAL, static=True)
    bag.depth('/camera/depth', 1.15, at=1.08).color('/camera/image', 1.15, at=1.09)  # before 1.1
    bag.depth('/camera/depth', 1.05, at=3.55).color('/camera/image', 1.05, at=3.55)
    source = load_source(bag.write(tmp_path / 'b.mcap'))
    assert seconds(source) == [1.0, 1.15, 1.2, 3.5, 3.6]
    assert source.dropped == {'out_of_order': 2}


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
