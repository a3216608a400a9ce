"""Poses from TF at the stamp of the image, through tf2_ros or, without it, a stand-in."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import importlib
import time
from typing import Any, Protocol

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import FrameError, PluginError
from recon3d_core.geometry.tf_tree import TransformTree
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.conversions.transforms import matrix_from_transform
from recon3d_ros.pose_sources.base import PoseSource, PoseSourceConfig, Transform

try:
    import tf2_ros
except Exception:  # noqa: BLE001 - a broken binary fails in any way; the stand-in is as good
    tf2_ros = None

_POLL_S = 0.004


class TfBuffer(Protocol):
    """The seam: what is needed of a TF buffer."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """Return `T_target_source` (4, 4) at a stamp, without waiting; FrameError otherwise.

        A stamp of 0 takes the newest time at which all links are known.
        """

    def clear(self) -> None:
        """Forget what was received, except for static transforms."""

    def stop(self) -> None:
        """Unsubscribe."""


def _reason_of(error: Exception) -> str:
    """Return the reason under which an exception of tf2 is counted."""
    if isinstance(error, tf2_ros.LookupException):
        return 'tf_unknown_frame'
    if isinstance(error, tf2_ros.ConnectivityException):
        return 'tf_disconnected'
    if isinstance(error, tf2_ros.ExtrapolationException):
        return 'tf_too_new' if 'future' in str(error) else 'tf_too_old'
    return 'tf_failed'


class Tf2RosBuffer:
    """TF by the tf2_ros library."""

    def __init__(self, node: Any, cache_s: float) -> None:
        """Subscribe to /tf and /tf_static on the node, in its own executor."""
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=cache_s), node=None)
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """Return `T_target_source` (4, 4) at a stamp, without waiting.

        Raises:
            FrameError: With the reasons of `TransformTree.lookup` and tf2's own words.
        """
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except tf2_ros.TransformException as error:
            raise FrameError(_reason_of(error), ' '.join(str(error).split())) from error
        return matrix_from_transform(found.transform)

    def clear(self) -> None:
        """Forget what was received, except for static transforms."""
        self._buffer.clear()

    def stop(self) -> None:
        """Unsubscribe."""
        self._listener.unregister()


def tf_message() -> Any:
    """Return the type `tf2_msgs/msg/TFMessage`.

    Raises:
        PluginError: It cannot be imported.
    """
    try:
        return importlib.import_module('tf2_msgs.msg').TFMessage
    except Exception as error:  # a broken package is as good as none
        raise PluginError(
            'pose_source tf needs tf2_ros or tf2_msgs',
            str(error),
            None,
            'Install ros-$ROS_DISTRO-tf2-ros-py, or set pose_source.plugin to pose, odometry or '
            'static.',
        ) from error


class TreeBuffer:
    """TF by the transform tree of the core, for machines without tf2_ros."""

    def __init__(self, node: Any, cache_s: float) -> None:
        """Subscribe to /tf and /tf_static on the node, in its own executor.

        Raises:
            PluginError: The message package is missing.
        """
        kind = tf_message()
        self._node = node
        self._tree = TransformTree(cache_s)
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(kind, '/tf', self._listen, QoSProfile(depth=100)),
            node.create_subscription(kind, '/tf_static', self._listen_static, latched),
        ]

    def _listen(self, message: Any, static: bool = False) -> None:
        for item in message.transforms:
            with contextlib.suppress(FrameError):  # a lookup names the link that is missing
                self._tree.add(
                    item.header.frame_id,
                    item.child_frame_id,
                    ns_from_time(item.header.stamp),
                    matrix_from_transform(item.transform),
                    static,
                )

    def _listen_static(self, message: Any) -> None:
        self._listen(message, static=True)

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """Return `T_target_source` (4, 4) at a stamp, without waiting; FrameError otherwise."""
        return self._tree.lookup(target, source, stamp_ns or None)

    def clear(self) -> None:
        """Forget what was received, except for static transforms, which are sent only once."""
        self._tree.clear(keep_static=True)

    def stop(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []


class TfPoseConfig(PoseSourceConfig):
    """Options of poses from TF."""

    cache_s: float = option(
        10.0, 'How much of the past is remembered.', unit='s', ge=1.0, le=600.0
    )


class TfPoseSource(PoseSource):
    """TF from the image's frame to world_frame, at the stamp of the image."""

    name = 'tf'
    Config = TfPoseConfig

    def __init__(self, node: Any, world_frame: str, config: PluginConfig | None = None) -> None:
        """Keep what is needed.

        Raises:
            PluginError: Neither tf2_ros nor the messages of TF are installed.
        """
        super().__init__(node, world_frame, config)
        if tf2_ros is None:
            tf_message()

    def start(self, cameras: Sequence[str]) -> None:  # noqa: ARG002
        """Subscribe to TF."""
        make = Tf2RosBuffer if tf2_ros is not None else TreeBuffer
        self._buffer: TfBuffer = make(self.node, self.config.cache_s)

    def lookup(self, camera: str, frame_id: str, stamp_ns: int) -> Transform:
        """Return the pose at the stamp, waiting for it at most `timeout_s`."""
        if not frame_id:
            raise FrameError(
                'no_frame_id',
                f'images of {camera} have an empty frame_id',
                fix='Have the driver fill header.frame_id.',
            )
        return self.locate(frame_id, stamp_ns)

    def locate(self, frame_id: str, stamp_ns: int) -> Transform:
        """Return the pose of a frame, asking again until it is there or time is up."""
        # The wait is in real time: a simulation that stands still must not block the worker.
        deadline = time.monotonic() + self.config.timeout_s
        while True:
            try:
                return self._buffer.lookup(self.world_frame, frame_id.lstrip('/'), stamp_ns)
            except FrameError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_POLL_S)

    def topics(self) -> list[tuple[str, str]]:
        """Return the topics of TF."""
        return [('/tf', 'tf2_msgs/msg/TFMessage'), ('/tf_static', 'tf2_msgs/msg/TFMessage')]

    def reset(self) -> None:
        """Forget all but static transforms."""
        self._buffer.clear()

    def stop(self) -> None:
        """Unsubscribe."""
        self._buffer.stop()
