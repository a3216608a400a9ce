"""What a source of camera poses must do, and the buffer that those by topic share."""

from __future__ import annotations

import abc
import bisect
from collections.abc import Sequence
import math
import threading
import time
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import FrameError
from recon3d_core.geometry.transforms import interpolate
from recon3d_core.interfaces import Plugin

Transform = NDArray[np.float64]

_KEPT_POSES = 2000
_BACK_NS = 1_000_000_000
_RESTART_S = 2.0


class PoseSourceConfig(PluginConfig):
    """Options that every source of poses has."""

    timeout_s: float = option(
        0.1,
        'How long to wait for the pose of an image before it is dropped.',
        unit='s',
        ge=0.0,
        le=5.0,
        live=True,
    )


class PoseSource(Plugin):
    """Gives the pose of a camera at the stamp of an image."""

    Config = PoseSourceConfig
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, node: Any, world_frame: str, config: PluginConfig | None = None) -> None:
        """Keep what is needed; nothing is subscribed to yet.

        Args:
            node: The rclpy node on which to subscribe.
            world_frame: Frame in which poses are wanted.
            config: Options.
        """
        super().__init__(config)
        self.node = node
        self.world_frame = world_frame

    @abc.abstractmethod
    def start(self, cameras: Sequence[str]) -> None:
        """Subscribe to what is needed for these cameras.

        Raises:
            InputError: The configuration does not fit the cameras.
        """

    @abc.abstractmethod
    def lookup(self, camera: str, frame_id: str, stamp_ns: int) -> Transform:
        """Return `T_world_camera` (4, 4) at a stamp; waits at most `timeout_s`.

        Called by the worker, never in a callback.

        Args:
            camera: Name of the camera.
            frame_id: Frame of its images, optical.
            stamp_ns: Stamp of the image.

        Raises:
            FrameError: There is no such pose; the reason counts.
        """

    def locate(self, frame_id: str, stamp_ns: int) -> Transform:  # noqa: ARG002
        """Return the pose (4, 4) in `world_frame` of any frame, as somebody may name it.

        Args:
            frame_id: The frame.
            stamp_ns: Time; 0 = the newest that is known.

        Raises:
            FrameError: This source does not know such frames, or not this one.
        """
        raise FrameError(
            'unknown_frame',
            f'pose source {self.name} knows only the frame of its results',
            repr(frame_id),
            repr(self.world_frame),
            'The pose source tf knows every frame of TF.',
        )

    def output_frame(self, frame_id: str) -> str:  # noqa: ARG002 - part of the interface
        """Return the frame of the results made of images in `frame_id`."""
        return self.world_frame

    @property
    def knows_world(self) -> bool:
        """Whether poses are relative to `world_frame`, whose axes are known."""
        return True

    @abc.abstractmethod
    def topics(self) -> list[tuple[str, str]]:
        """Return name and type of the topics that it listens to."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget all poses, since time went back."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Unsubscribe."""


class PoseBuffer:
    """Stamped poses of one thing, in order of time; safe to use from several threads."""

    def __init__(self, max_gap_s: float = 0.5) -> None:
        """Make an empty buffer.

        Args:
            max_gap_s: Poses further apart than this are not interpolated between.
        """
        self.max_gap_ns = int(max_gap_s * 1e9)
        self._changed = threading.Condition()
        self._stamps_ns: list[int] = []
        self._poses: list[Transform] = []
        self._last_ns: int | None = None
        self._restarted_s = -math.inf

    def add(self, stamp_ns: int, T_world_body: Transform) -> None:
        """Insert a pose; one of the same stamp is replaced.

        Where stamps go back by more than a second, time began again: older poses are forgotten.
        """
        with self._changed:
            if self._last_ns is not None and stamp_ns < self._last_ns - _BACK_NS:
                self._stamps_ns.clear()
                self._poses.clear()
                self._restarted_s = time.monotonic()
            self._last_ns = stamp_ns
            index = bisect.bisect_left(self._stamps_ns, stamp_ns)
            if index < len(self._stamps_ns) and self._stamps_ns[index] == stamp_ns:
                self._poses[index] = T_world_body
            else:
                self._stamps_ns.insert(index, stamp_ns)
                self._poses.insert(index, T_world_body)
            if len(self._stamps_ns) > _KEPT_POSES:
                del self._stamps_ns[0], self._poses[0]
            self._changed.notify_all()

    def reset(self) -> None:
        """Forget the poses from before time went back; the first new ones may be here already."""
        with self._changed:
            if time.monotonic() - self._restarted_s > _RESTART_S:
                self._stamps_ns.clear()
                self._poses.clear()
                self._last_ns = None

    def lookup(self, stamp_ns: int, timeout_s: float) -> Transform:
        """Return the pose (4, 4) at a stamp, interpolated; waits at most `timeout_s` for it.

        Raises:
            FrameError: `no_pose` where there is none yet, `pose_too_old` or `pose_gap` where
                those that there are do not enclose the stamp closely.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._stamps_ns or self._stamps_ns[-1] < stamp_ns:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            return self._at(stamp_ns)

    def _at(self, stamp_ns: int) -> Transform:
        if not self._stamps_ns:
            raise FrameError('no_pose', 'no pose arrived yet')
        index = bisect.bisect_left(self._stamps_ns, stamp_ns)
        if index == len(self._stamps_ns):
            late = (stamp_ns - self._stamps_ns[-1]) / 1e9
            raise FrameError('no_pose', f'the newest pose is {late:.3f} s older than the image')
        after = self._stamps_ns[index]
        if after == stamp_ns:
            return self._poses[index]
        if index == 0:
            early = (after - stamp_ns) / 1e9
            raise FrameError('pose_too_old', f'the image is {early:.3f} s older than all poses')
        before = self._stamps_ns[index - 1]
        if after - before > self.max_gap_ns:
            gap = (after - before) / 1e9
            raise FrameError('pose_gap', f'the poses around the image are {gap:.3f} s apart')
        fraction = (stamp_ns - before) / (after - before)
        return interpolate(self._poses[index - 1], self._poses[index], fraction)
