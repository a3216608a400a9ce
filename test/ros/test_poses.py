"""Sources of poses: the buffer against a reference, and each source on a real graph."""

from __future__ import annotations

import importlib.util
import threading
import time

from geometry_msgs.msg import PoseStamped, TransformStamped
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from node_graph import DOMAIN_ID
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from recon3d_core import registry
from recon3d_core.config import validate
from recon3d_core.errors import ConfigError, FrameError, PluginError
from recon3d_core.geometry.transforms import interpolate, look_at, make_transform
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.conversions.transforms import pose_from_matrix, transform_from_matrix
from recon3d_ros.pose_sources.base import PoseBuffer

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
NO_TF = importlib.util.find_spec('tf2_msgs') is None
T_A = look_at((1, 0, 1), (0, 0, 0))
T_B = look_at((0.9, 0.3, 1.1), (0, 0, 0))


def at(x: float) -> np.ndarray:
    return make_transform(translation=(x, 0, 0))


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12, unique=True), st.integers(-5, 105))
def test_buffer_equals_the_reference(stamps, wanted):
    buffer = PoseBuffer(max_gap_s=1)
    for stamp in stamps:
        buffer.add(stamp, at(stamp))
    if min(stamps) <= wanted <= max(stamps):
        np.testing.assert_allclose(buffer.lookup(wanted, 0.0), at(wanted), atol=1e-12)
    else:
        with pytest.raises(FrameError):
            buffer.lookup(wanted, 0.0)


def test_buffer_says_what_is_wrong():
    buffer = PoseBuffer(max_gap_s=0.1)
    with pytest.raises(FrameError, match='no pose arrived') as none:
        buffer.lookup(5, 0.0)
    buffer.add(SECOND, T_A)
    buffer.add(2 * SECOND, T_B)
    for stamp, reason in (
        (SECOND // 2, 'pose_too_old'),
        (3 * SECOND // 2, 'pose_gap'),
        (3 * SECOND, 'no_pose'),
    ):
        with pytest.raises(FrameError) as caught:
            buffer.lookup(stamp, 0.0)
        assert caught.value.reason == reason
    assert none.value.reason == 'no_pose'


def test_buffer_waits_for_a_pose_that_is_on_its_way_and_no_longer():
    buffer = PoseBuffer()
    threading.Timer(0.05, lambda: buffer.add(7, T_A)).start()
    np.testing.assert_array_equal(buffer.lookup(7, 5.0), T_A)
    begin = time.monotonic()
    with pytest.raises(FrameError):
        buffer.lookup(8, 0.1)
    assert 0.09 < time.monotonic() - begin < 2.0


def test_buffer_is_bounded():
    buffer = PoseBuffer()
    for stamp in range(5000):
        buffer.add(stamp, T_A)
    assert len(buffer._stamps_ns) == len(buffer._poses) <= 2000


def test_poses_of_the_new_time_survive_the_reset():
    buffer = PoseBuffer()
    buffer.add(100 * SECOND, T_A)
    buffer.add(50 * SECOND, T_B)  # a bag begins again before the node notices
    buffer.reset()
    np.testing.assert_array_equal(buffer.lookup(50 * SECOND, 0.0), T_B)
    with pytest.raises(FrameError):
        buffer.lookup(100 * SECOND, 0.0)
    buffer = PoseBuffer()
    buffer.add(100 * SECOND, T_A)
    buffer.reset()
    with pytest.raises(FrameError):
        buffer.lookup(100 * SECOND, 0.0)


class Ears:
    """A node with a source of poses, and a publisher."""

    def __init__(self, plugin, cameras=('camera',), **values):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN_ID)
        self.node = Node('poses', context=self.context)
        kind = registry.load('pose_source', plugin)
        self.source = kind(self.node, 'map', validate(kind.Config, values))
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._stopping = False
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        try:
            self.source.start(cameras)
        except Exception:
            self.close()
            raise

    def _spin(self):
        while not self._stopping:
            self.executor.spin_once(timeout_sec=0.02)

    def publisher(self, kind, topic):
        publisher = self.node.create_publisher(kind, topic, 10)
        deadline = time.monotonic() + 10
        while not publisher.get_subscription_count():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return publisher

    def close(self):
        self._stopping = True
        self._thread.join(5)
        self.executor.shutdown(timeout_sec=0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.source.stop()
        self.close()


def pose_message(T, stamp_ns, frame_id='map'):
    return PoseStamped(header=make_header(frame_id, stamp_ns), pose=pose_from_matrix(T))


def test_pose_source_interpolates():
    with Ears('pose', timeout_s=5.0) as ears:
        publisher = ears.publisher(PoseStamped, 'camera/pose')
        publisher.publish(pose_message(T_A, 10 * SECOND))
        publisher.publish(pose_message(T_B, 10 * SECOND + 100))
        found = ears.source.lookup('camera', 'optical', 10 * SECOND + 25)
        np.testing.assert_allclose(found, interpolate(T_A, T_B, 0.25), atol=1e-9)
        assert ears.source.topics() == [('/camera/pose', 'geometry_msgs/msg/PoseStamped')]


def test_refused_messages_give_their_reason():
    with Ears('pose', timeout_s=0.5) as ears:
        publisher = ears.publisher(PoseStamped, 'camera/pose')
        publisher.publish(pose_message(T_A, SECOND, frame_id='odom'))
        with pytest.raises(FrameError, match="'odom'") as caught:
            ears.source.lookup('camera', 'optical', SECOND)
        assert caught.value.reason == 'pose_frame'
        broken = pose_message(T_A, SECOND)
        broken.pose.position.x = float('nan')
        publisher.publish(broken)
        with pytest.raises(FrameError) as caught:
            ears.source.lookup('camera', 'optical', SECOND)
        assert caught.value.reason == 'bad_pose'
        zero = pose_message(T_A, SECOND)
        zero.pose.orientation.w = zero.pose.orientation.x = 0.0
        zero.pose.orientation.y = zero.pose.orientation.z = 0.0
        publisher.publish(zero)
        publisher.publish(pose_message(T_A, SECOND))
        ears.source.config.timeout_s = 5.0
        np.testing.assert_allclose(ears.source.lookup('camera', '', SECOND), T_A, atol=1e-9)


def test_odometry_carries_the_camera_on_its_mount():
    mount = {'mount_translation_m': [0.1, 0.0, 0.5], 'mount_rotation_xyzw': [-0.5, 0.5, -0.5, 0.5]}
    with Ears('odometry', timeout_s=5.0, **mount) as ears:
        publisher = ears.publisher(Odometry, 'camera/odom')
        message = Odometry(header=make_header('map', SECOND))
        message.pose.pose = pose_from_matrix(at(2.0))
        publisher.publish(message)
        found = ears.source.lookup('camera', 'optical', SECOND)
        np.testing.assert_allclose(found[:3, 3], (2.1, 0.0, 0.5), atol=1e-9)
        # REP-103: the optical z axis is the body's x, the optical x axis the body's -y.
        np.testing.assert_allclose(found[:3, 2], (1, 0, 0), atol=1e-9)
        np.testing.assert_allclose(found[:3, 0], (0, -1, 0), atol=1e-9)


def test_static_in_camera_frame_and_in_the_world():
    with Ears('static') as ears:
        np.testing.assert_array_equal(ears.source.lookup('camera', 'optical', 1), np.eye(4))
        assert ears.source.output_frame('optical') == 'optical'
        assert not ears.source.knows_world
    with Ears('static', in_camera_frame=False, translation_m=[1, 2, 3]) as ears:
        np.testing.assert_allclose(
            ears.source.lookup('camera', '', 1), make_transform(translation=(1, 2, 3))
        )
        assert ears.source.output_frame('optical') == 'map'
    with pytest.raises(ConfigError, match='2 cameras'):
        Ears('static', cameras=('a', 'b'))


@pytest.mark.skipif(not NO_TF, reason='tf2_msgs is installed')
def test_without_tf_messages_the_error_says_what_to_do():
    kind = registry.load('pose_source', 'tf')
    with pytest.raises(PluginError, match='pose_source.plugin to pose'):
        kind(None, 'map')


def test_only_tf_places_any_frame():
    with Ears('static') as ears, pytest.raises(FrameError, match="'moon'") as caught:
        ears.source.locate('moon', 0)
    assert caught.value.reason == 'unknown_frame'


@pytest.mark.skipif(NO_TF, reason='tf2_msgs is not installed')
@pytest.mark.parametrize('library', ['tf2_ros', 'stand-in'])
def test_tf_at_the_stamp(library, monkeypatch):
    from recon3d_ros.pose_sources import tf
    from tf2_msgs.msg import TFMessage

    if library == 'tf2_ros' and tf.tf2_ros is None:
        pytest.skip('tf2_ros is not installed')
    if library == 'stand-in':
        monkeypatch.setattr(tf, 'tf2_ros', None)
    with Ears('tf', timeout_s=5.0) as ears:
        publisher = ears.publisher(TFMessage, '/tf')
        for stamp, T in ((SECOND, T_A), (SECOND + 100_000_000, T_B)):
            item = TransformStamped(header=make_header('map', stamp), child_frame_id='optical')
            item.transform = transform_from_matrix(T)
            publisher.publish(TFMessage(transforms=[item]))
        found = ears.source.lookup('camera', 'optical', SECOND + 25_000_000)
        np.testing.assert_allclose(found, interpolate(T_A, T_B, 0.25), atol=1e-6)
        ears.source.config.timeout_s = 0.05
        for frame, stamp, reason in (
            ('nowhere', SECOND, 'tf_unknown_frame'),
            ('optical', 5 * SECOND, 'tf_too_new'),
            ('optical', SECOND // 2, 'tf_too_old'),
            ('', SECOND, 'no_frame_id'),
        ):
            with pytest.raises(FrameError) as caught:
                ears.source.lookup('camera', frame, stamp)
            assert caught.value.reason == reason
        # Who names a frame without a time means the newest.
        np.testing.assert_allclose(ears.source.locate('optical', 0), T_B, atol=1e-6)
        ears.source.reset()
        with pytest.raises(FrameError):
            ears.source.lookup('camera', 'optical', SECOND)
