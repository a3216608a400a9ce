"""The objects in standard messages: `~/objects/points` and `~/objects/poses`."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PoseArray
import numpy as np
from recon3d_core.config import option
from recon3d_core.interfaces import PluginConfig
from recon3d_core.types import ObjectEstimate
from recon3d_ros.conversions import clouds
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.conversions.objects import object_cloud
from recon3d_ros.conversions.transforms import pose_from_matrix
from recon3d_ros.sinks.base import ObjectsSink, Sink, SinkConfig, Snapshot
from recon3d_ros.sinks.changes import ObjectCache, Resend
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header


class ObjectPointsConfig(SinkConfig):
    """Options of the objects' points."""

    max_rate_hz: float = option(
        5.0, 'Upper bound of the rate of publishing.', unit='Hz', ge=0.1, le=100.0, live=True
    )
    spacing_m: float = option(
        0.004,
        'Distance of neighbouring points.',
        unit='m',
        ge=0.0005,
        le=0.1,
        live=True,
    )
    max_points: int = option(
        20_000,
        'Upper bound of the points of one object; a large one is sampled more coarsely.',
        ge=10,
        le=1_000_000,
        live=True,
    )


class ObjectPoints(Sink):
    """Publishes points on every object's whole surface, the part that no camera saw included.

    Beside x, y, z and rgb a point has `object_id`, `p_occ` (probability that the object is solid
    just beneath it) and `observed` (1 where a camera saw it).
    """

    name = 'object_points'
    Config = ObjectPointsConfig

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = self.advertise(PointCloud2, '~/objects/points')
        self._cache: ObjectCache[clouds.Structured] = ObjectCache(self._points)
        self._resend = Resend()
        self._last: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the points, unless nothing changed since they were published."""
        objects = snapshot.scene.objects
        options = (self.config.spacing_m, self.config.max_points)
        content = (
            snapshot.frame_id,
            options,
            frozenset((object_id, item.revision) for object_id, item in objects.items()),
        )
        if not self._resend.due(content, self.subscribers(), snapshot.stamp_ns):
            return
        self._last = snapshot
        self._send(snapshot, list(self._cache.values(objects, options).values()))

    def reset(self) -> None:
        """Publish an empty cloud."""
        self._cache.clear()
        self._resend.clear()
        if self._last is not None:
            self._send(self._last, [])
            self._last = None

    def _points(self, estimate: ObjectEstimate) -> clouds.Structured:
        return object_cloud(estimate, self.config.spacing_m, self.config.max_points)

    def _send(self, snapshot: Snapshot, parts: list[clouds.Structured]) -> None:
        points = np.concatenate([np.empty(0, clouds.OBJECT_DTYPE), *parts])
        header = make_header(snapshot.frame_id, snapshot.stamp_ns)
        self._publisher.publish(clouds.cloud_message(points, header))


class ObjectPoses(ObjectsSink):
    """Publishes the pose of every object's box, in the order of their ids."""

    name = 'object_poses'
    message_type = PoseArray
    topic = '~/objects/poses'

    def message(self, header: Header, objects: list[ObjectEstimate]) -> PoseArray:
        """Return the poses."""
        poses = [pose_from_matrix(item.T_world_object) for item in objects]
        return PoseArray(header=header, poses=poses)
