"""The objects as vision_msgs: `~/objects/detections`; loads only where vision_msgs is installed."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import Vector3
from recon3d_core.interfaces import PluginConfig
from recon3d_core.types import ObjectEstimate
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.conversions.transforms import pose_from_matrix
from recon3d_ros.sinks.base import Sink, Snapshot
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose


class Detections3d(Sink):
    """Publishes every object's label, score and oriented box."""

    name = 'detections3d'

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = self.advertise(Detection3DArray, '~/objects/detections')
        self._last: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the detections."""
        self._last = snapshot
        self._send(snapshot, [item for _, item in sorted(snapshot.scene.objects.items())])

    def reset(self) -> None:
        """Publish no detections."""
        if self._last is not None:
            self._send(self._last, [])
            self._last = None

    def _send(self, snapshot: Snapshot, objects: list[ObjectEstimate]) -> None:
        header = make_header(snapshot.frame_id, snapshot.stamp_ns)
        message = Detection3DArray(header=header)
        message.detections = [_detection(item, header) for item in objects]
        self._publisher.publish(message)


def _detection(estimate: ObjectEstimate, header: Header) -> Detection3D:
    pose = pose_from_matrix(estimate.T_world_object)
    x, y, z = map(float, estimate.size_m)
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = estimate.label
    hypothesis.hypothesis.score = float(estimate.score)
    hypothesis.pose.pose = pose
    detection = Detection3D(header=header, id=str(estimate.id), results=[hypothesis])
    detection.bbox.center = pose
    detection.bbox.size = Vector3(x=x, y=y, z=z)
    return detection
