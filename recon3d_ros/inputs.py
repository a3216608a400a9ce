"""From the cameras' topics to frames: callbacks that only store, and pairing by stamp.

A callback keeps a reference and returns. The pairing takes microseconds under a lock of its own.
What is slow, the conversion, is done by `RawFrame.to_frame` in the worker's thread.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
import copy
import dataclasses
import threading
import time
from typing import Any

from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.parameters import NodeConfig
from recon3d_ros.raw_frame import RawFrame
from recon3d_ros.topic_detector import TopicDetector
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

_WAITING = 8
"""Images per stream that wait for their partner."""


class Matcher:
    """Puts the images of several streams together by stamp: the nearest ones, within a slop.

    Never waits. A set is given out as soon as its last part is there; what is older than a set
    that was given out can no longer find partners and is dropped.
    """

    def __init__(self, streams: int) -> None:
        """Make a matcher of a number of streams."""
        self._waiting: list[deque[tuple[int, Any]]] = [
            deque(maxlen=_WAITING) for _ in range(streams)
        ]
        self.unpaired = 0

    def add(
        self, stream: int, stamp_ns: int, message: Any, slop_ns: int
    ) -> tuple[Any, ...] | None:
        """Take an image; return the set that it completes, one per stream, or None."""
        own = self._waiting[stream]
        self.unpaired += len(own) == own.maxlen
        own.append((stamp_ns, message))
        chosen = []
        for waiting in self._waiting:
            best = min(waiting, key=lambda item: abs(item[0] - stamp_ns), default=None)
            if waiting is own:
                best = own[-1]
            if best is None or abs(best[0] - stamp_ns) > slop_ns:
                return None
            chosen.append(best)
        for waiting, (used_ns, _) in zip(self._waiting, chosen):
            kept = [item for item in waiting if item[0] > used_ns]
            self.unpaired += len(waiting) - len(kept) - 1
            waiting.clear()
            waiting.extend(kept)
        return tuple(message for _, message in chosen)

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
    """The subscriptions of one camera, and the newest complete sets of its messages."""

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
        self._info: CameraInfo | None = None
        self._early: dict[str, Any] | None = None
        self._displaced_before = 0
        options = settings()
        self._ready_sets: deque[RawFrame] = deque(maxlen=options.queue_size)
        self.streams = wanted_streams(options)
        self._matcher = Matcher(len(self.streams))
        try:
            self._subscribe_to_all(options)
        except Exception:
            self.close()
            raise

    def _subscribe_to_all(self, options: NodeConfig) -> None:
        camera = self.camera
        # First, since an executor serves what is ready in the order of creation.
        self._subscribe('camera_info', CameraInfo, f'{camera}/camera_info', self._take_info)
        for stream in self.streams:
            transport = _transport(stream, options)
            topic = f'{camera}/{stream}' + ('' if transport == 'raw' else f'/{transport}')
            kind = Image if transport == 'raw' else CompressedImage
            self._subscribe(stream, kind, topic, self._listener(stream))

    def _subscribe(
        self, key: str, kind: type, topic: str, callback: Callable[[Any], None]
    ) -> None:
        subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            copy.copy(qos_profile_sensor_data),  # overrides of QoS are written into it
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        package = kind.__module__.partition('.')[0]
        self.topics[key] = TopicState(subscription, f'{package}/msg/{kind.__name__}')

    def hear(self, detector: TopicDetector) -> None:
        """Subscribe to what another node finds in this camera's images."""
        listener = detector.listener(self.camera)

        def listen(message: Any) -> None:
            self.topics['detections'].touch()
            listener(ns_from_time(message.header.stamp), message)

        topic = f'{self.camera}/{detector.config.topic}'
        self._subscribe('detections', detector.message_type, topic, listen)

    def _take_info(self, message: CameraInfo) -> None:
        self.topics['camera_info'].touch()
        self._info = message
        early, self._early = self._early, None
        if early is not None:
            self._offer(early)

    def _listener(self, stream: str) -> Callable[[Any], None]:
        state = self.topics
        index = self.streams.index(stream)

        def listen(message: Any) -> None:
            state[stream].touch()
            stamp_ns = ns_from_time(message.header.stamp)
            slop_ns = int(self._settings().sync_slop_s * 1e9)
            with self._lock:
                found = self._matcher.add(index, stamp_ns, message, slop_ns)
            if found is not None:
                self._offer(dict(zip(self.streams, found)))

        return listen

    def _offer(self, messages: dict[str, Any]) -> None:
        """Let a set wait for the worker; where too many wait, the oldest is displaced."""
        if self._info is None:
            self.counts['no_camera_info'] += self._early is not None
            self._early = messages
            return
        # The pose is looked up for the stamp of the depth, where there is depth.
        header = (messages.get('depth') or messages.get('image') or messages['mask']).header
        stamp_ns = ns_from_time(header.stamp)
        raw = RawFrame(self.camera, stamp_ns, header.frame_id, self._info, **messages)
        with self._lock:
            self.counts['complete'] += 1
            self.counts['displaced'] += len(self._ready_sets) == self._ready_sets.maxlen
            self._ready_sets.append(raw)
        self._ready()

    def peek_stamp_ns(self) -> int | None:
        """Return the stamp of the oldest set that waits, or None."""
        with self._lock:
            return self._ready_sets[0].stamp_ns if self._ready_sets else None

    def take(self) -> RawFrame | None:
        """Return the oldest complete set that waits, once."""
        with self._lock:
            return self._ready_sets.popleft() if self._ready_sets else None

    @property
    def waiting(self) -> int:
        """How many complete sets wait."""
        return len(self._ready_sets)

    @property
    def unpaired(self) -> int:
        """How many images found no partner."""
        return self._matcher.unpaired

    @property
    def displaced(self) -> int:
        """How many complete sets were displaced since the last `clear`."""
        return self.counts['displaced'] - self._displaced_before

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._matcher.clear()
            self._ready_sets.clear()
            self._early = None
            self._displaced_before = self.counts['displaced']

    def close(self) -> None:
        """Unsubscribe."""
        for state in self.topics.values():
            self._node.destroy_subscription(state.subscription)
        self.clear()


def open_cameras(
    node: Any, settings: Callable[[], NodeConfig], ready: Callable[[], None], detector: Any
) -> list[CameraInput]:
    """Return the inputs of all cameras; the detector `topic` hears what is found in them.

    Where one cannot be made, those made before it are closed.
    """
    cameras: list[CameraInput] = []
    try:
        for name in settings().cameras:
            cameras.append(CameraInput(node, name, settings, ready))
            if isinstance(detector, TopicDetector):
                cameras[-1].hear(detector)
    except Exception:
        for camera in cameras:
            camera.close()
        raise
    return cameras


def take_oldest(inputs: list[CameraInput]) -> RawFrame | None:
    """Return the oldest of the sets that wait, so that no camera starves another."""
    waiting = [
        (stamp, camera) for camera in inputs if (stamp := camera.peek_stamp_ns()) is not None
    ]
    if not waiting:
        return None
    return min(waiting, key=lambda item: item[0])[1].take()


def wanted_streams(options: NodeConfig) -> list[str]:
    """Return which images of a camera are subscribed to."""
    wanted = {'image': options.use_color, 'depth': options.use_depth, 'mask': options.use_masks}
    return [stream for stream, use in wanted.items() if use]


def _transport(stream: str, options: NodeConfig) -> str:
    named = {'image': options.image_transport, 'depth': options.depth_transport}
    return named.get(stream, 'raw')
