"""Publishes any source as a robot's topics: images, camera_info, poses, with its own timing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import dataclasses
import queue
import signal
import threading
import time
from typing import Any

from geometry_msgs.msg import PoseStamped, TransformStamped
from nav_msgs.msg import Odometry
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from recon3d_core.data.bag_writer import upright_transform
from recon3d_core.errors import InputError
from recon3d_core.interfaces import Source
from recon3d_core.types import Frame
from recon3d_ros.conversions.camera_info import info_from_camera
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.conversions.images import (
    byte_array,
    compressed_from_color,
    compressed_from_depth,
    image_from_color,
    image_from_depth,
)
from recon3d_ros.conversions.transforms import pose_from_matrix, transform_from_matrix
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # absent from the ROS wheels
    TFMessage = None

POSE_KINDS = ('auto', 'tf', 'pose', 'odometry', 'none')
_AHEAD = 16
"""Frames that are decoded before their time, about 25 MB at 640x480."""
_QOS = QoSProfile(depth=10)
_LOOP_PAUSE_NS = 100_000_000
_LATE_S = 0.1
_FIRST_NS = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class PlayerOptions:
    """How a source is published.

    Attributes:
        rate: Speed; 2 is twice as fast.
        loops: How often it is played; 0 = until interrupted.
        clock: Whether to keep the source's stamps and publish /clock; otherwise frames are
            stamped with the present time.
        compressed: Whether images are JPEG, and depth is compressedDepth.
        pose: Of `POSE_KINDS`; `auto` is TF where tf2_msgs can be imported, and otherwise `pose`.
        world_frame: Name of the source's world; made z-up where gravity is known.
        preload: Whether everything is decoded before the first frame is sent.
        wait_s: How long to wait for a first subscriber before starting.
    """

    rate: float = 1.0
    loops: int = 1
    clock: bool = False
    compressed: bool = False
    pose: str = 'auto'
    world_frame: str = 'map'
    preload: bool = False
    wait_s: float = 0.0


def pose_kind(wanted: str) -> str:
    """Return the kind of pose that is published.

    Raises:
        InputError: It is unknown, or TF is wanted but its messages are not installed.
    """
    if wanted not in POSE_KINDS:
        raise InputError('unknown kind of pose', repr(wanted), f'one of {", ".join(POSE_KINDS)}')
    if wanted == 'auto':
        return 'pose' if TFMessage is None else 'tf'
    if wanted == 'tf' and TFMessage is None:
        raise InputError(
            'TF cannot be published',
            'no module tf2_msgs',
            None,
            'Install ros-$ROS_DISTRO-tf2-msgs, or use --pose pose.',
        )
    return wanted


def level_world(gravity_world: np.ndarray | None) -> np.ndarray:
    """Return `T_map_world` (4, 4), which turns a world until gravity points along -z."""
    return np.eye(4) if gravity_world is None else upright_transform(gravity_world)


def ahead(frames: Iterator[Any], size: int = _AHEAD) -> Iterator[Any]:
    """Yield what an iterator yields, worked out in a thread that keeps `size` items ahead."""
    items: queue.Queue[Any] = queue.Queue(size)
    stopping = threading.Event()
    end = object()

    def put(item: Any) -> None:
        while not stopping.is_set():
            try:
                items.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in frames:
                put(item)
                if stopping.is_set():
                    return
            put(end)
        except BaseException as error:  # noqa: BLE001 - raised again in the other thread
            put(error)

    thread = threading.Thread(target=work, name='recon3d ahead', daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopping.set()
        thread.join(5.0)


def _mask_image(frame: Frame) -> Image:
    """Return a frame's object masks as one image of object numbers."""
    numbers = np.zeros((frame.camera.height, frame.camera.width), np.uint16)
    for instance, mask in (frame.masks or {}).items():
        numbers[mask] = instance
    message = Image(height=numbers.shape[0], width=numbers.shape[1], encoding='mono16')
    message.step = 2 * message.width
    message.data = byte_array(numbers.astype('<u2'))
    return message


class CameraTopics:
    """The publishers of one camera, and its frames as messages."""

    def __init__(self, node: Node, camera: str, options: PlayerOptions) -> None:
        """Advertise the topics of a camera."""
        self._options = options
        self._kind = pose_kind(options.pose)
        self._frame_id = f'{camera}_optical_frame'
        image = CompressedImage if options.compressed else Image
        suffixes = ('/compressed', '/compressedDepth') if options.compressed else ('', '')
        make = node.create_publisher
        self.image = make(image, f'{camera}/image{suffixes[0]}', _QOS)
        self.depth = make(image, f'{camera}/depth{suffixes[1]}', _QOS)
        self.mask = make(Image, f'{camera}/mask', _QOS)
        self.info = make(CameraInfo, f'{camera}/camera_info', _QOS)
        self.pose: Any = None
        if self._kind == 'tf':
            self.pose = make(TFMessage, '/tf', QoSProfile(depth=100))
        elif self._kind == 'pose':
            self.pose = make(PoseStamped, f'{camera}/pose', _QOS)
        elif self._kind == 'odometry':
            self.pose = make(Odometry, f'{camera}/odom', _QOS)

    def messages(self, frame: Frame, T_map_world: np.ndarray) -> list[tuple[Any, Any]]:
        """Return `[(publisher, message)]` of a frame without stamps; poses come first."""
        found: list[tuple[Any, Any]] = []
        if frame.T_world_camera is not None and self.pose is not None:
            found.append((self.pose, self._pose_message(T_map_world @ frame.T_world_camera)))
        found.append((self.info, info_from_camera(frame.camera)))
        packed = self._options.compressed
        if frame.rgb is not None:
            make = compressed_from_color if packed else image_from_color
            found.append((self.image, make(frame.rgb)))
        if frame.depth_m is not None:
            make_depth = compressed_from_depth if packed else image_from_depth
            found.append((self.depth, make_depth(frame.depth_m)))
        if frame.masks is not None:
            found.append((self.mask, _mask_image(frame)))
        return found

    def _pose_message(self, T_map_camera: np.ndarray) -> Any:
        if self._kind == 'tf':
            item = TransformStamped(child_frame_id=self._frame_id)
            item.transform = transform_from_matrix(T_map_camera)
            return TFMessage(transforms=[item])
        if self._kind == 'pose':
            return PoseStamped(pose=pose_from_matrix(T_map_camera))
        message = Odometry(child_frame_id=self._frame_id)
        message.pose.pose = pose_from_matrix(T_map_camera)
        return message

    def send(self, messages: list[tuple[Any, Any]], stamp_ns: int) -> None:
        """Publish the messages of a frame with a stamp."""
        for publisher, message in messages:
            if publisher is self.pose:
                header = make_header(self._options.world_frame, stamp_ns)
                if self._kind == 'tf':
                    message.transforms[0].header = header
                else:
                    message.header = header
            else:
                message.header = make_header(self._frame_id, stamp_ns)
            publisher.publish(message)


class Player:
    """Publishes the frames of a source when they are due."""

    def __init__(self, node: Node, source: Source, options: PlayerOptions) -> None:
        """Prepare to play; topics are advertised with the first frame of each camera."""
        if not options.rate > 0:  # NaN too
            raise InputError('--rate', options.rate, 'above 0')
        self._node = node
        self._source = source
        self._options = options
        self._cameras: dict[str, CameraTopics] = {}
        self._stop = threading.Event()
        self._T_map_world: np.ndarray | None = None
        self._zero_ns: int | None = None
        self._clock = node.create_publisher(Clock, '/clock', _QOS) if options.clock else None
        self._loaded: list[tuple[str, int, list[tuple[Any, Any]]]] | None = None
        self.sent = 0

    def stop(self) -> None:
        """End playing soon; may be called from a signal handler."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def play(self, progress: Callable[[int], None] | None = None) -> int:
        """Play to the end and return how many frames were sent.

        Args:
            progress: Told the number of frames sent so far.
        """
        if self._options.preload:
            self._loaded = list(self._converted())
        loop = 0
        offset_ns = 0
        while not self._stop.is_set() and (self._options.loops == 0 or loop < self._options.loops):
            offset_ns += self._play_once(offset_ns, progress)
            loop += 1
        return self.sent

    def _converted(self) -> Iterator[tuple[str, int, list[tuple[Any, Any]]]]:
        for frame in self._source:
            if self._stop.is_set():
                return
            if self._T_map_world is None:
                self._T_map_world = level_world(frame.gravity_world)
            camera = self._cameras.get(frame.camera_name)
            if camera is None:
                camera = CameraTopics(self._node, frame.camera_name, self._options)
                self._cameras[frame.camera_name] = camera
            if self._zero_ns is None:  # in ROS, a time of 0 is no time
                self._zero_ns = 0 if frame.stamp_ns > 0 else _FIRST_NS - frame.stamp_ns
            messages = camera.messages(frame, self._T_map_world)
            yield frame.camera_name, frame.stamp_ns + self._zero_ns, messages

    def _play_once(self, offset_ns: int, progress: Callable[[int], None] | None) -> int:
        """Send every frame once; return how long that is in the source's time."""
        frames = iter(self._loaded) if self._loaded is not None else ahead(self._converted())
        first_ns: int | None = None
        stamp_ns = 0
        for camera, stamp_ns, messages in frames:
            if first_ns is None:
                first_ns = stamp_ns
                self._begin(offset_ns)
            passed_ns = int((stamp_ns - first_ns) / self._options.rate)
            if not self._sleep_until(passed_ns):
                break
            stamp = stamp_ns if self._options.clock else self._begin_ns + passed_ns
            if self._clock is not None:
                self._clock.publish(Clock(clock=make_header('', stamp).stamp))
            self._cameras[camera].send(messages, stamp)
            self.sent += 1
            if progress is not None:
                progress(self.sent)
        if first_ns is None:
            raise InputError(
                f'{self._source.uri} has no frame to play', dict(self._source.dropped), 'frames'
            )
        return stamp_ns - first_ns + _LOOP_PAUSE_NS

    def _begin(self, offset_ns: int) -> None:
        """Set the zero of time, at the first frame that is ready."""
        if self.sent:
            # A loop follows the one before without a gap or a jump in the stamps.
            self._begin_s = max(
                time.monotonic(), self._first_s + offset_ns / 1e9 / self._options.rate
            )
        else:
            self._wait_for_subscriber()
            self._first_s = self._begin_s = time.monotonic() + 0.05
        ahead_s = self._begin_s - time.monotonic()
        self._begin_ns = self._node.get_clock().now().nanoseconds + int(ahead_s * 1e9)

    def _wait_for_subscriber(self) -> None:
        deadline = time.monotonic() + self._options.wait_s
        topics = [t for c in self._cameras.values() for t in (c.image, c.depth)]
        while time.monotonic() < deadline and not self._stop.is_set():
            if any(topic.get_subscription_count() for topic in topics):
                time.sleep(0.3)  # so that the other topics are connected too
                return
            time.sleep(0.02)

    def _sleep_until(self, passed_ns: int) -> bool:
        """Wait until a time after the beginning; False where playing was stopped."""
        left_s = self._begin_s + passed_ns / 1e9 - time.monotonic()
        if left_s < -_LATE_S:  # decoding cannot keep up: stamps tell when frames really went out
            self._begin_s -= left_s
            self._begin_ns -= int(left_s * 1e9)
        return not (self._stop.wait(left_s) if left_s > 0 else self._stop.is_set())


def play(
    source: Source, options: PlayerOptions, progress: Callable[[int], None] | None = None
) -> int:
    """Publish a source in a node of its own until it ends or a signal comes.

    Returns:
        How many frames were sent.

    Raises:
        InputError: The options do not fit, or the source has no frame.
    """
    pose_kind(options.pose)
    own_context = not rclpy.ok()
    if own_context:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('recon3d_player')
    player = Player(node, source, options)
    handlers = {
        number: signal.signal(number, lambda *_: player.stop())
        for number in (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is threading.main_thread()
    }
    try:
        sent = player.play(progress)
        if not player.stopped:
            time.sleep(0.3)  # for the last messages to leave
        return sent
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        node.destroy_node()
        source.close()
        if own_context:
            rclpy.try_shutdown()
