"""Requests to forget a part of the scene: `~/clear_box`, `~/clear_object`, and octomap's service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
import importlib
from typing import Any

from geometry_msgs.msg import PolygonStamped
import numpy as np
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.worker import Worker
from std_msgs.msg import UInt32

_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def octomap_service() -> Any:
    """Return the type `octomap_msgs/srv/BoundingBoxQuery`, or None where it is not installed."""
    try:
        return importlib.import_module('octomap_msgs.srv').BoundingBoxQuery
    except Exception:  # noqa: BLE001 - a broken package is as good as none
        return None


class ClearRequests:
    """Takes boxes whose content, and objects that shall be forgotten.

    A topic has no answer, so that what was done, or why not, is in the log.
    """

    def __init__(
        self, node: Any, worker: Callable[[], Worker | None], world_frame: Callable[[], str]
    ) -> None:
        """Subscribe, and offer the service where its package is installed.

        Args:
            node: The rclpy node.
            worker: Returns the worker, or None while the node is not active.
            world_frame: Returns the frame of the service's boxes, which carry none.
        """
        self._node = node
        self._worker = worker
        self._world_frame = world_frame
        self._subscription = node.create_subscription(
            PolygonStamped, '~/clear_box', self.on_polygon, _QOS
        )
        self._objects = node.create_subscription(UInt32, '~/clear_object', self.on_object, _QOS)
        kind = octomap_service()
        self._service = (
            None if kind is None else node.create_service(kind, '~/clear_bbx', self.on_query)
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_subscription(self._objects)
        if self._service is not None:
            self._node.destroy_service(self._service)

    def on_polygon(self, message: Any) -> None:
        """Forget the bounding box of the polygon's points, along the axes of its frame."""
        header = message.header
        self._clear(message.polygon.points, header.frame_id, ns_from_time(header.stamp))

    def on_query(self, request: Any, response: Any) -> Any:
        """Forget the box between two corners in the world's frame."""
        self._clear((request.min, request.max), self._world_frame(), 0)
        return response

    def on_object(self, message: UInt32) -> None:
        """Forget the object of an id, and the surface inside its box."""
        worker = self._worker()
        if worker is None:
            self._node.get_logger().warning('nothing is cleared: the node is not active')
            return
        worker.clear_object(int(message.data)).add_done_callback(self._tell)

    def _clear(self, points: Sequence[Any], frame_id: str, stamp_ns: int) -> None:
        worker = self._worker()
        if worker is None:
            self._node.get_logger().warning('nothing is cleared: the node is not active')
            return
        corners: NDArray[np.float64] = np.array([(p.x, p.y, p.z) for p in points], np.float64)
        worker.clear_box(corners, frame_id, stamp_ns).add_done_callback(self._tell)

    def _tell(self, done: Future[str]) -> None:
        logger = self._node.get_logger()
        if done.cancelled():
            logger.warning('nothing is cleared: the node was deactivated')
        elif done.exception() is not None:
            logger.warning(f'nothing is cleared: {done.exception()}')
        else:
            logger.info(done.result())
