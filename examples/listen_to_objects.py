#!/usr/bin/env python3
"""Listen to the node: print id, place and size of every object that it publishes.

examples/listen_to_objects.py      # while the node runs, as after `recon3d_node`
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from recon3d_ros.conversions.clouds import points_from_cloud, xyz_from_points
from sensor_msgs.msg import PointCloud2

# The node keeps the last message for who joins late; only a listener that asks for it gets it.
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class Listener(Node):
    """Subscribes to the objects' points."""

    def __init__(self, say: Callable[[str], None] = print, **kwargs: Any) -> None:
        """Subscribe; `say` is given one line per object and message."""
        super().__init__('listen_to_objects', **kwargs)
        self._say = say
        self.create_subscription(PointCloud2, '/recon3d/objects/points', self._listen, LATCHED)

    def _listen(self, message: PointCloud2) -> None:
        points = points_from_cloud(message)
        for object_id in np.unique(points['object_id']):
            of_one = points[points['object_id'] == object_id]
            place = xyz_from_points(of_one)
            center, size = place.mean(0), np.ptp(place, axis=0)
            seen = of_one['observed'].mean()
            self._say(
                f'object {object_id} in {message.header.frame_id}: at {np.round(center, 3)} m, '
                f'{np.round(100 * size, 1)} cm along the axes, {seen:.0%} seen'
            )


def main() -> None:
    """Run until interrupted."""
    rclpy.init()
    node = Listener()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
