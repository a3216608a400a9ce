"""The objects as object_recognition_msgs: `~/objects/recognized`; loads only where installed."""

from __future__ import annotations

import json
from typing import Any

from object_recognition_msgs.msg import RecognizedObject, RecognizedObjectArray
from recon3d_core.config import option
from recon3d_core.geometry.transforms import invert
from recon3d_core.interfaces import PluginConfig
from recon3d_core.types import ObjectEstimate
from recon3d_ros.conversions import clouds, meshes
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.conversions.objects import object_cloud
from recon3d_ros.conversions.transforms import pose_from_matrix
from recon3d_ros.sinks.base import Sink, SinkConfig, Snapshot
from recon3d_ros.sinks.changes import ObjectCache
from std_msgs.msg import Header


class RecognizedObjectsConfig(SinkConfig):
    """Options of the recognised objects."""

    max_rate_hz: float = option(
        1.0, 'Upper bound of the rate of publishing.', unit='Hz', ge=0.1, le=100.0, live=True
    )
    max_triangles: int = option(
        1000,
        'A finer mesh is simplified to about this many triangles.',
        ge=20,
        le=100_000,
        live=True,
    )
    spacing_m: float = option(
        0.005, 'Distance of neighbouring points.', unit='m', ge=0.0005, le=0.1, live=True
    )
    max_points: int = option(
        10_000, 'Upper bound of the points of one object.', ge=10, le=1_000_000, live=True
    )


class RecognizedObjects(Sink):
    """Publishes every object's type, confidence, points, mesh (in its pose's frame) and pose."""

    name = 'recognized_objects'
    Config = RecognizedObjectsConfig

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = self.advertise(RecognizedObjectArray, '~/objects/recognized')
        self._cache: ObjectCache[tuple[RecognizedObject, clouds.Structured]] = ObjectCache(
            self._recognized
        )
        self._last: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the objects."""
        self._last = snapshot
        options = tuple(self.config.model_dump().values())
        made = self._cache.values(snapshot.scene.objects, options)
        header = make_header(snapshot.frame_id, snapshot.stamp_ns)
        for item, points in made.values():
            item.header = item.pose.header = header
            item.point_clouds = [clouds.cloud_message(points, header)]
        self._send(header, [item for item, _ in made.values()])

    def reset(self) -> None:
        """Publish no objects."""
        self._cache.clear()
        if self._last is not None:
            self._send(make_header(self._last.frame_id, self._last.stamp_ns), [])
            self._last = None

    def _send(self, header: Header, objects: list[RecognizedObject]) -> None:
        self._publisher.publish(RecognizedObjectArray(header=header, objects=objects))

    def _recognized(self, estimate: ObjectEstimate) -> tuple[RecognizedObject, clouds.Structured]:
        known = estimate.confidence is not None
        item = RecognizedObject(confidence=float(estimate.confidence if known else estimate.score))
        item.type.key = estimate.label
        item.type.db = json.dumps({'type': 'recon3d', 'id': estimate.id})
        small = meshes.simplified(estimate.mesh, self.config.max_triangles)
        local = meshes.transformed(small, invert(estimate.T_world_object))
        item.bounding_mesh = meshes.mesh_message(local)
        item.pose.pose.pose = pose_from_matrix(estimate.T_world_object)
        if estimate.pose_covariance is not None:
            item.pose.pose.covariance = estimate.pose_covariance.ravel()
        return item, object_cloud(estimate, self.config.spacing_m, self.config.max_points)
