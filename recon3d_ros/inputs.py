"""From the cameras' topics to frames: callbacks that only store, pairing by stamp, conversion.

A callback keeps a reference and returns. The pairing takes microseconds under a lock of its own.
What is slow, the conversion, is done by `RawFrame.to_frame` in the worker's thread.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
import dataclasses
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from recon3d_core.errors import FrameError
from recon3d_core.types import Frame
from recon3d_ros.conversions.camera_info import camera_from_info
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.conversions.images import (
    color_from_compressed,
    color_from_image,
    depth_from_compressed,
    depth_from_image,
)
from recon3d_ros.parameters import NodeConfig
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

_WAITING = 8
"""Images per stream that wait for their partner."""


@dataclasses.dataclass(frozen=True)
class RawFrame:
    """Messages that belong together, not yet converted.

    Attributes:
        camera: Name of the camera.
        stamp_ns: Stamp of the depth image, or of the colour image where there is no depth.
        frame_id: Frame of that image, optical.
        info: Its camera_info.
        image: Colour image, or None.
        depth: Depth image, or None.
    """

    camera: str
    stamp_ns: int
    frame_id: str
    info: CameraInfo
    image: Any = None
    depth: Any = None

    def to_frame(self, options: NodeConfig) -> Frame:
        """Return the frame without pose.

        Raises:
            FrameError: A message is malformed, or sizes differ; the text names the topic.
        """
        rgb = depth_m = None
        part = 'camera_info'
        try:
            if self.image is not None:
                part = 'image'
                rgb = _color(self.image)
            if self.depth is not None:
                part = 'depth'
                depth_m = _in_range(_depth(self.depth), options)
            if rgb is not None and depth_m is not None and rgb.shape[:2] != depth_m.shape:
                raise FrameError(
                    'size_mismatch',
                    'depth is of another size than the colour image',
                    f'{depth_m.shape[1]}x{depth_m.shape[0]}',
                    f'{rgb.shape[1]}x{rgb.shape[0]}',
                    'Register the depth to the colour camera (depth_image_proc).',
                )
            part = 'camera_info'
            size = rgb.shape[:2] if rgb is not None else depth_m.shape  # type: ignore[union-attr]
            camera = camera_from_info(self.info, rectified=options.rectified, image_size=size)
        except FrameError as error:
            text = f'{self.camera}/{part}: {error.what}'
            raise FrameError(error.reason, text, error.got, error.expected, error.fix) from error
        return Frame(self.stamp_ns, camera, rgb, depth_m, camera_name=self.camera)


def _color(message: Image | CompressedImage) -> NDArray[np.uint8]:
    return (
        color_from_image(message)
        if isinstance(message, Image)
        else (color_from_compressed(message))
    )


def _depth(message: Image | CompressedImage) -> NDArray[np.float32]:
    return (
        depth_from_image(message)
        if isinstance(message, Image)
        else (depth_from_compressed(message))
    )


def _in_range(depth_m: NDArray[np.float32], options: NodeConfig) -> NDArray[np.float32]:
    if options.max_range_m == 0.0 and options.min_range_m == 0.0:
        return depth_m
    keep = depth_m >= options.min_range_m
    if options.max_range_m:
        keep &= depth_m <= options.max_range_m
    return np.where(keep, depth_m, np.float32(0))


class PairMatcher:
    """Pairs two streams by stamp: each image with the nearest of the other one, within a slop.

    Never waits. A pair is given out as soon as both parts are there; what is older than a pair
    that was given out can no longer find a partner and is dropped.
    """

    def __init__(self) -> None:
        """Make a matcher without images."""
        self._waiting: tuple[deque[tuple[int, Any]], ...] = (
            deque(maxlen=_WAITING),
            deque(maxlen=_WAITING),
        )
        self.unpaired = 0

    def add(
        self, stream: int, stamp_ns: int, message: Any, slop_ns: int
    ) -> tuple[Any, Any] | None:
        """Take an image; return the pair (stream 0, stream 1) that it completes, or None."""
        others = self._waiting[1 - stream]
        best = min(others, key=lambda item: abs(item[0] - stamp_ns), default=None)
        if best is None or abs(best[0] - stamp_ns) > slop_ns:
            own = self._waiting[stream]
            self.unpaired += len(own) == own.maxlen
            own.append((stamp_ns, message))
            return None
        self._drop_until(1 - stream, best[0], paired=True)
        self._drop_until(stream, stamp_ns, paired=False)
        return (message, best[1]) if stream == 0 else (best[1], message)

    def _drop_until(self, stream: int, stamp_ns: int, *, paired: bool) -> None:
        waiting = self._waiting[stream]
        kept = [item for item in waiting if item[0] > stamp_ns]
        self.unpaired += len(waiting) - len(kept) - paired
        waiting.clear()
        waiting.extend(kept)

    def clear(self) -> None:
        """Forget what waits."""
        for waiting in self._waiting:
            waiting.clear()


@dataclasses.dataclass
class TopicState:
    """What is known of a subscribed topic, for the report that nothing arrives.

    Attributes:
        subscription: The rclpy subscription.
        kind: Type of its messages.
        count: How many arrived.
        arrived_s: Monotonic time of the last one.
    """

    subscription: Any
    kind: str
    count: int = 0
    arrived_s: float | None = None

    def touch(self) -> None:
        """Count a message."""
        self.count += 1
        self.arrived_s = time.monotonic()


class CameraInput:
    """The subscriptions of one camera, and the newest complete set of its messages."""

    def __init__(
        self, node: Any, camera: str, settings: Callable[[], NodeConfig], ready: Callable[[], None]
    ) -> None:
        """Subscribe.

        Args:
            node: The rclpy node.
            camera: Name of the camera, a namespace.
            settings: Returns the options in force.
            ready: Called when a set is complete; must not wait.
        """
        self.camera = camera
        self.counts: Counter[str] = Counter()
        self.topics: dict[str, TopicState] = {}
        self._node = node
        self._settings = settings
        self._ready = ready
        self._lock = threading.Lock()
        self._matcher = PairMatcher()
        self._info: CameraInfo | None = None
        self._latest: RawFrame | None = None
        options = settings()
        self.streams = (['image'] if options.use_color else []) + (
            ['depth'] if options.use_depth else []
        )
        for stream in self.streams:
            transport = options.image_transport if stream == 'image' else options.depth_transport
            topic = f'{camera}/{stream}' + ('' if transport == 'raw' else f'/{transport}')
            kind = Image if transport == 'raw' else CompressedImage
            self._subscribe(stream, kind, topic, self._listener(stream))
        self._subscribe('camera_info', CameraInfo, f'{camera}/camera_info', self._take_info)

    def _subscribe(
        self, key: str, kind: type, topic: str, callback: Callable[[Any], None]
    ) -> None:
        subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            qos_profile_sensor_data,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.topics[key] = TopicState(subscription, f'sensor_msgs/msg/{kind.__name__}')

    def _take_info(self, message: CameraInfo) -> None:
        self.topics['camera_info'].touch()
        self._info = message

    def _listener(self, stream: str) -> Callable[[Any], None]:
        state = self.topics
        index = self.streams.index(stream)

        def listen(message: Any) -> None:
            state[stream].touch()
            stamp_ns = ns_from_time(message.header.stamp)
            if len(self.streams) == 1:
                self._offer(stamp_ns, {stream: message})
                return
            slop_ns = int(self._settings().sync_slop_s * 1e9)
            with self._lock:
                pair = self._matcher.add(index, stamp_ns, message, slop_ns)
            if pair is not None:
                image, depth = pair
                self._offer(ns_from_time(depth.header.stamp), {'image': image, 'depth': depth})

        return listen

    def _offer(self, stamp_ns: int, messages: dict[str, Any]) -> None:
        """Put a set into the slot; what is in it still is displaced."""
        if self._info is None:
            self.counts['no_camera_info'] += 1
            return
        frame_id = (messages.get('depth') or messages['image']).header.frame_id
        raw = RawFrame(self.camera, stamp_ns, frame_id, self._info, **messages)
        with self._lock:
            self.counts['complete'] += 1
            self.counts['displaced'] += self._latest is not None
            self._latest = raw
        self._ready()

    def peek_stamp_ns(self) -> int | None:
        """Return the stamp of the set that waits, or None."""
        latest = self._latest
        return None if latest is None else latest.stamp_ns

    def take(self) -> RawFrame | None:
        """Return the newest complete set, once."""
        with self._lock:
            raw, self._latest = self._latest, None
        return raw

    @property
    def unpaired(self) -> int:
        """How many images found no partner."""
        return self._matcher.unpaired

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._matcher.clear()
            self._latest = None

    def close(self) -> None:
        """Unsubscribe."""
        for state in self.topics.values():
            self._node.destroy_subscription(state.subscription)
        self.clear()


def take_oldest(inputs: list[CameraInput]) -> RawFrame | None:
    """Return the oldest of the sets that wait, so that no camera starves another."""
    waiting = [
        (stamp, camera) for camera in inputs if (stamp := camera.peek_stamp_ns()) is not None
    ]
    if not waiting:
        return None
    return min(waiting, key=lambda item: item[0])[1].take()
