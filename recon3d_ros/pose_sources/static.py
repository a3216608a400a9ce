"""The camera does not move: its pose is configured, or the results are in its own frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pydantic
from recon3d_core.config import option
from recon3d_core.errors import ConfigError
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion
from recon3d_ros.pose_sources.base import PoseSource, PoseSourceConfig, Transform


class StaticPoseConfig(PoseSourceConfig):
    """Options of a fixed camera."""

    in_camera_frame: bool = option(
        True, "Whether results are in the camera's own frame; otherwise the pose below holds."
    )
    translation_m: list[float] = option(
        [0.0, 0.0, 0.0], 'Position of the camera in world_frame.', unit='m'
    )
    rotation_xyzw: list[float] = option(
        [0.0, 0.0, 0.0, 1.0], 'Rotation of the optical frame in world_frame, as a quaternion.'
    )

    @pydantic.field_validator('translation_m', 'rotation_xyzw')
    @classmethod
    def _finite(cls, values: list[float], info: pydantic.ValidationInfo) -> list[float]:
        count = 3 if info.field_name == 'translation_m' else 4
        if len(values) != count or not np.isfinite(values).all():
            raise ValueError(f'{count} finite numbers')
        if count == 4 and np.linalg.norm(values) < 1e-6:
            raise ValueError('a quaternion that is not zero')
        return values


class StaticPoseSource(PoseSource):
    """A pose that never changes."""

    name = 'static'
    Config = StaticPoseConfig

    def start(self, cameras: Sequence[str]) -> None:
        """Check that there is one camera only, since there is one pose only."""
        if len(cameras) > 1:
            raise ConfigError(
                'pose_source static',
                f'{len(cameras)} cameras',
                'one',
                'Publish a static transform per camera and use the pose source tf.',
            )

    def lookup(self, camera: str, frame_id: str, stamp_ns: int) -> Transform:  # noqa: ARG002
        """Return the configured pose, or the identity in the camera's own frame."""
        if self.config.in_camera_frame:
            return np.eye(4)
        x, y, z, w = self.config.rotation_xyzw
        return make_transform(rotation_from_quaternion((w, x, y, z)), self.config.translation_m)

    def output_frame(self, frame_id: str) -> str:
        """Return the camera's frame, or the world's where a pose is configured."""
        return frame_id if self.config.in_camera_frame else self.world_frame

    @property
    def knows_world(self) -> bool:
        """Whether a pose is configured."""
        return not self.config.in_camera_frame

    def topics(self) -> list[tuple[str, str]]:
        """Return nothing: no topic is listened to."""
        return []

    def reset(self) -> None:
        """Do nothing: the pose does not depend on time."""

    def stop(self) -> None:
        """Do nothing: nothing is subscribed to."""
