"""The player: what it sends, when it sends it, and node and player as two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

from geometry_msgs.msg import PoseArray, PoseStamped
from nav_msgs.msg import Odometry
from node_graph import DOMAIN_ID
from node_processes import Output, ROOT, start
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from recon3d_core.data import load_source
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import apply
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.conversions.images import color_from_image, depth_from_image
from recon3d_ros.conversions.transforms import matrix_from_pose
from recon3d_ros.player import ahead, level_world, Player, PlayerOptions, pose_kind
from recon3d_ros.sinks.base import LATCHED
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros
SOURCE = 'synthetic:single_box?frames=6&width=64&height=48&path=arc'


def collect(topics, source=SOURCE, **options):
    """Play a source in this process; return the messages of each topic."""
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN_ID)
    sender, ears = Node('player', context=context), Node('ears', context=context)
    heard = {topic: [] for topic in topics}
    times = []
    for topic, kind in topics.items():
        ears.create_subscription(kind, topic, heard[topic].append, 100)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(ears)
    values = {'pose': 'pose', 'wait_s': 10.0, 'preload': True, **options}
    player = Player(sender, load_source(source), PlayerOptions(**values))
    thread = threading.Thread(target=lambda: player.play(lambda n: times.append(time.monotonic())))
    thread.start()
    while thread.is_alive():
        executor.spin_once(timeout_sec=0.02)
    for _ in range(20):
        executor.spin_once(timeout_sec=0.02)
    executor.shutdown()
    sender.destroy_node()
    ears.destroy_node()
    rclpy.shutdown(context=context)
    return heard, times


def test_messages_are_the_frames():
    frames = list(load_source(SOURCE))
    heard, _ = collect(
        {
            'camera/image': Image,
            'camera/depth': Image,
            'camera/camera_info': CameraInfo,
            'camera/pose': PoseStamped,
        },
        rate=4.0,
    )
    assert {len(messages) for messages in heard.values()} == {len(frames)}
    for frame, image, depth, info, pose in zip(frames, *heard.values()):
        stamps = {ns_from_time(m.header.stamp) for m in (image, depth, info, pose)}
        assert len(stamps) == 1
        assert image.header.frame_id == depth.header.frame_id == 'camera_optical_frame'
        assert pose.header.frame_id == 'map'
        np.testing.assert_array_equal(color_from_image(image), frame.rgb)
        np.testing.assert_allclose(depth_from_image(depth), frame.depth_m, atol=0.00051)
        np.testing.assert_allclose(matrix_from_pose(pose.pose), frame.T_world_camera, atol=1e-9)
        assert info.k[0] == frame.camera.fx


def test_timing_and_clock_are_those_of_the_source():
    frames = list(load_source(SOURCE))
    heard, times = collect({'camera/image': Image, '/clock': Clock}, clock=True, rate=0.5)
    wanted = [frame.stamp_ns for frame in frames]
    assert [ns_from_time(m.header.stamp) for m in heard['camera/image']] == wanted
    assert [ns_from_time(m.clock) for m in heard['/clock']] == wanted
    took_s = times[-1] - times[0]
    assert took_s == pytest.approx((wanted[-1] - wanted[0]) / 1e9 / 0.5, rel=0.3)


def test_loops_follow_each_other_in_time():
    heard, _ = collect({'camera/image': Image}, loops=3, rate=4.0)
    stamps = [ns_from_time(m.header.stamp) for m in heard['camera/image']]
    assert len(stamps) == 18
    assert all(np.diff(stamps) > 0)


def test_compressed_and_odometry():
    heard, _ = collect(
        {
            'camera/image/compressed': CompressedImage,
            'camera/depth/compressedDepth': CompressedImage,
            'camera/odom': Odometry,
        },
        compressed=True,
        pose='odometry',
        rate=4.0,
    )
    assert all(len(messages) == 6 for messages in heard.values())
    assert heard['camera/odom'][0].child_frame_id == 'camera_optical_frame'


def test_a_world_that_is_not_level_is_turned_upright():
    down = np.array([0.1, 0.98, -0.2]) / np.linalg.norm([0.1, 0.98, -0.2])
    T = level_world(down)
    np.testing.assert_allclose(apply(T, down[None])[0], (0, 0, -1), atol=1e-12)
    np.testing.assert_array_equal(level_world(np.array([0, 0, -1.0])), np.eye(4))
    np.testing.assert_array_equal(level_world(None), np.eye(4))


def test_reading_ahead_keeps_order_and_raises_what_went_wrong():
    assert list(ahead(iter(range(50)), size=3)) == list(range(50))

    def broken():
        yield 1
        raise InputError('a broken source')

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(InputError, match='a broken source'):
        next(items)


def test_reading_ahead_stops_with_its_reader():
    made = []

    def endless():
        while True:
            made.append(1)
            yield 1

    items = ahead(endless(), size=4)
    next(items)
    items.close()
    assert len(made) < 20


def test_unknown_kind_of_pose():
    with pytest.raises(InputError, match='tf, pose'):
        pose_kind('imu')


def test_play_without_the_right_source_is_one_line():
    done = subprocess.run(
        [sys.executable, '-m', 'recon3d_core', 'play', 'synthetic:tabel'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2
    assert done.stderr.startswith('error:')
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_node_and_player_as_two_processes(tmp_path):
    out = tmp_path / 'saved'
    node = start(tmp_path / 'node.log', '-p', f'save_directory:={out}', env=os.environ)
    player = None
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN_ID)
    ears = Node('ears', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(ears)
    poses = []
    ears.create_subscription(PoseArray, '/recon3d/objects/poses', poses.append, LATCHED)
    try:
        Output(tmp_path / 'node.log', node).wait_for('active:')
        player = start(
            tmp_path / 'player.log',
            'play',
            'synthetic:single_mug?frames=20&path=arc',
            '--wait',
            '30',
            '--preload',
            '--pose',
            'pose',
            '--loop',
            '0',
            env=os.environ,
            module='recon3d_core',
        )
        deadline = time.monotonic() + 100
        while not (poses and poses[-1].poses):
            assert time.monotonic() < deadline, (tmp_path / 'node.log').read_text()
            assert player.poll() is None, (tmp_path / 'player.log').read_text()
            executor.spin_once(timeout_sec=0.1)
        client = ears.create_client(Trigger, '/recon3d/save')
        assert client.wait_for_service(10)
        future = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(future, 60)
        assert future.result().success, future.result().message
        summary = json.loads((out / 'summary.json').read_text())
        assert summary['objects']
        assert summary['frames']['integrated'] >= 3
    finally:
        for process in filter(None, (player, node)):
            process.terminate()
        codes = [process.wait(30) for process in filter(None, (player, node))]
        executor.shutdown()
        ears.destroy_node()
        rclpy.shutdown(context=context)
    assert codes == [0, 0]
