"""Poses that come as topics, one per camera: PoseStamped of the camera, or Odometry of a body."""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Sequence
import copy
from typing import Any, ClassVar

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
import numpy as np
import pydantic
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from recon3d_core.config import option
from recon3d_core.errors import FrameError
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.conversions.transforms import matrix_from_pose
from recon3d_ros.pose_sources.base import PoseBuffer, PoseSource, PoseSourceConfig, Transform

# Best effort accepts reliable publishers too; the depth bridges a busy moment at 200 Hz.
_POSE_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


class TopicPoseConfig(PoseSourceConfig):
    """Options of poses by topic."""

    max_gap_s: float = option(
        0.5,
        'Poses further apart than this are not interpolated between.',
        unit='s',
        ge=0.0,
        le=10.0,
    )


class TopicPoseSource(PoseSource, abc.ABC):
    """What both kinds share: a buffer per camera, and a check of each message."""

    Config = TopicPoseConfig
    message_type: ClassVar[type]
    topic: ClassVar[str]

    def start(self, cameras: Sequence[str]) -> None:
        """Subscribe to `<camera>/<topic>` of each camera."""
        self.buffers = {camera: PoseBuffer(self.config.max_gap_s) for camera in cameras}
        self.refused: Counter[str] = Counter()
        self._last_error: dict[str, FrameError] = {}
        self._subscriptions = [
            self.node.create_subscription(
                self.message_type,
                f'{camera}/{self.topic}',
                self._listener(camera),
                copy.copy(_POSE_QOS),  # overrides of QoS are written into it
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for camera in cameras
        ]

    def _listener(self, camera: str) -> Any:
        def listen(message: Any) -> None:
            try:
                self._accept(camera, message)
            except FrameError as error:
                self.refused[error.reason] += 1
                self._last_error[camera] = error

        return listen

    def _accept(self, camera: str, message: Any) -> None:
        frame_id = message.header.frame_id
        if frame_id not in ('', self.world_frame):
            raise FrameError(
                'pose_frame',
                f'{camera}/{self.topic} is in the frame',
                repr(frame_id),
                f'{self.world_frame!r}',
                f'Set world_frame to {frame_id!r}.',
            )
        self.buffers[camera].add(ns_from_time(message.header.stamp), self.transform(message))
        self._last_error.pop(camera, None)

    @abc.abstractmethod
    def transform(self, message: Any) -> Transform:
        """Return `T_world_camera` of a message.

        Raises:
            FrameError: The pose is not finite or its quaternion is zero.
        """

    def lookup(self, camera: str, frame_id: str, stamp_ns: int) -> Transform:  # noqa: ARG002
        """Return the pose interpolated at the stamp; a refused message's reason goes first."""
        try:
            return self.buffers[camera].lookup(stamp_ns, self.config.timeout_s)
        except FrameError:
            refusal = self._last_error.get(camera)
            if refusal is not None:
                raise FrameError(
                    refusal.reason, refusal.what, refusal.got, refusal.expected, refusal.fix
                ) from refusal
            raise

    def topics(self) -> list[tuple[str, str]]:
        """Return the topic of each camera and its type."""
        package = self.message_type.__module__.split('.')[0]
        kind = f'{package}/msg/{self.message_type.__name__}'
        return [(subscription.topic_name, kind) for subscription in self._subscriptions]

    def reset(self) -> None:
        """Forget all poses."""
        for buffer in self.buffers.values():
            buffer.reset()
        self._last_error.clear()

    def stop(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)
        self._subscriptions = []


class PosePoseSource(TopicPoseSource):
    """PoseStamped of the camera's optical frame on `<camera>/pose`."""

    name = 'pose'
    message_type = PoseStamped
    topic = 'pose'

    def transform(self, message: PoseStamped) -> Transform:
        """Return the message's pose."""
        return matrix_from_pose(message.pose)


class OdometryConfig(TopicPoseConfig):
    """Options of poses by odometry: where the camera sits on the body that is tracked."""

    mount_translation_m: list[float] = option(
        [0.0, 0.0, 0.0], "Position of the optical frame in the odometry's child frame.", unit='m'
    )
    mount_rotation_xyzw: list[float] = option(
        [0.0, 0.0, 0.0, 1.0],
        "Rotation of the optical frame in the odometry's child frame, as a quaternion.",
    )

    @pydantic.field_validator('mount_translation_m', 'mount_rotation_xyzw')
    @classmethod
    def _finite(cls, values: list[float], info: pydantic.ValidationInfo) -> list[float]:
        count = 3 if info.field_name == 'mount_translation_m' else 4
        if len(values) != count or not np.isfinite(values).all():
            raise ValueError(f'{count} finite numbers')
        if count == 4 and np.linalg.norm(values) < 1e-6:
            raise ValueError('a quaternion that is not zero')
        return values


class OdometryPoseSource(TopicPoseSource):
    """Odometry of the body that carries the camera, on `<camera>/odom`."""

    name = 'odometry'
    Config = OdometryConfig
    message_type = Odometry
    topic = 'odom'

    def transform(self, message: Odometry) -> Transform:
        """Return the body's pose times the camera's place on it."""
        x, y, z, w = self.config.mount_rotation_xyzw
        T_body_camera = make_transform(
            rotation_from_quaternion((w, x, y, z)), self.config.mount_translation_m
        )
        return matrix_from_pose(message.pose.pose) @ T_body_camera
