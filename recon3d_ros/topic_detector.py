"""Objects that another node finds: vision_msgs/Detection2DArray, matched to frames by stamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import logging
import math
import threading
import time
from typing import Any

import numpy as np
from recon3d_core.config import option, PluginConfig
from recon3d_core.detection.adapters.base import BoxesConfig, BoxesDetector, Found, needed
from recon3d_core.errors import FrameError, RunError
from recon3d_core.types import Detections, Frame

logger = logging.getLogger(__name__)

_KEPT = 50
_SILENT_S = 2.0
_MANY = 30  # frames in a row without boxes, while boxes arrive


class TopicConfig(BoxesConfig):
    """Options of `topic`."""

    min_score: float = option(0.0, 'Least score of an object.', ge=0.0, le=1.0, live=True)
    topic: str = option(
        'detections',
        "Topic of the boxes, in the camera's namespace.",
        pattern='^[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*$',
    )
    tolerance_s: float = option(
        0.005,
        'Largest difference of the stamps of boxes and frame; more than the jitter of stamps only '
        'where the camera stands still.',
        unit='s',
        ge=0.0,
        le=5.0,
        live=True,
    )
    timeout_s: float = option(
        0.2,
        'How long a frame waits for its boxes; it is mapped before that.',
        unit='s',
        ge=0.0,
        le=5.0,
        live=True,
    )
    boxes_width_px: int = option(
        0,
        'Width of the image that the boxes are of, where it is another size than the frames; '
        "0 = the frames'.",
        unit='px',
        ge=0,
        le=16384,
        live=True,
    )
    boxes_height_px: int = option(
        0, 'Height of that image; 0 = of the frames.', unit='px', ge=0, le=16384, live=True
    )


class TopicDetector(BoxesDetector):
    """Boxes that another node finds in the same images; masks are made of them."""

    name = 'topic'
    Config = TopicConfig
    needs = frozenset({'intrinsics'})
    libraries = {'vision_msgs': 'apt install ros-$ROS_DISTRO-vision-msgs'}

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Hear nothing yet.

        Raises:
            PluginError: vision_msgs is missing.
        """
        super().__init__(config, device)
        self.message_type = self.import_message()
        self._changed = threading.Condition()
        self._heard: dict[str, deque[tuple[int, Any]]] = {}
        self._heard_s: dict[str, float] = {}
        self._missed = 0

    def import_message(self) -> type:
        """Return the type of the messages; only a ROS installation has it."""
        module = needed('vision_msgs.msg', type(self))
        kind: type = module.Detection2DArray
        return kind

    def listener(self, camera: str) -> Callable[[int, Any], None]:
        """Return what takes the messages of a camera, with their stamps; it never waits."""
        with self._changed:
            heard = self._heard.setdefault(camera, deque(maxlen=_KEPT))
            self._heard_s[camera] = time.monotonic()

        def listen(stamp_ns: int, message: Any) -> None:
            with self._changed:
                heard.append((stamp_ns, message))
                self._heard_s[camera] = time.monotonic()
                self._changed.notify_all()

        return listen

    def reset(self) -> None:
        """Forget all messages."""
        with self._changed:
            for heard in self._heard.values():
                heard.clear()

    def detect(self, frame: Frame) -> Detections:
        """Return the boxes of the frame's stamp with their masks; waits for them a moment.

        Raises:
            RunError: Nothing arrives any more.
            FrameError: The message is unsound; the frame is dropped.
        """
        message = self._wait(frame)
        self._missed = 0 if message is not None else self._missed + 1
        if message is None:
            if self._missed == _MANY:
                logger.warning(
                    'boxes arrive on %s/%s, but of the last %d frames none had its own within '
                    'timeout_s = %g s: give it more, or let the detector look at fewer frames',
                    *(frame.camera_name, self.config.topic, _MANY, self.config.timeout_s),
                )
            return Detections(looked=False)
        size = (frame.camera.width, frame.camera.height)
        sent = (self.config.boxes_width_px or size[0], self.config.boxes_height_px or size[1])
        found = found_of(message, (size[0] / sent[0], size[1] / sent[1]))
        return self.detections(frame, found)

    def _wait(self, frame: Frame) -> Any:
        """Return the message of a frame, or None where it has none."""
        camera, deadline = frame.camera_name, time.monotonic() + self.config.timeout_s
        tolerance_ns = round(1e9 * self.config.tolerance_s)
        with self._changed:
            while True:
                heard = self._heard.get(camera, ())
                near = min(heard, key=lambda one: abs(one[0] - frame.stamp_ns), default=None)
                if near is not None and abs(near[0] - frame.stamp_ns) <= tolerance_ns:
                    return near[1]
                # Boxes come in the order of their frames: after a later one, none will.
                if heard and heard[-1][0] > frame.stamp_ns + tolerance_ns:
                    return None
                now = time.monotonic()
                # Only after the wait: after a pause of the camera, boxes come with its next frame.
                if now >= deadline:
                    if now - self._heard_s.get(camera, -math.inf) > _SILENT_S:
                        raise RunError(f'nothing arrives on {camera}/{self.config.topic}')
                    return None
                self._changed.wait(deadline - now)


def found_of(message: Any, scale_xy: tuple[float, float] = (1.0, 1.0)) -> Found:
    """Return what a Detection2DArray says; of several hypotheses the best one.

    A box that is turned becomes the upright one around it. Without a hypothesis it is an `object`
    of score 1.

    Args:
        message: The message.
        scale_xy: Pixels of the frame per pixel of the image that the boxes are of.

    Raises:
        FrameError: A size is negative.
    """
    boxes, scores, labels = [], [], []
    for item in message.detections:
        middle, turn = item.bbox.center.position, item.bbox.center.theta
        width, height = item.bbox.size_x, item.bbox.size_y
        if width < 0 or height < 0:
            raise FrameError('bad_detections', 'size of a box', f'{width:g} x {height:g}', '>= 0')
        cos, sin = (
            abs(f(turn)) if math.isfinite(turn) else math.nan for f in (math.cos, math.sin)
        )
        half_x, half_y = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
        boxes.append((middle.x - half_x, middle.y - half_y, middle.x + half_x, middle.y + half_y))
        best = max((one.hypothesis for one in item.results), key=lambda h: h.score, default=None)
        labels.append((best.class_id if best else '') or 'object')
        scores.append(best.score if best else 1.0)
    edges = np.array(boxes, np.float64).reshape(-1, 4) * np.tile(scale_xy, 2)
    return Found(edges, np.array(scores, np.float64), labels)
