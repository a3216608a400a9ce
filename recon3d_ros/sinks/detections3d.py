"""The objects as vision_msgs: `~/objects/detections`; loads only where vision_msgs is installed."""

from __future__ import annotations

from geometry_msgs.msg import Vector3
from recon3d_core.types import ObjectEstimate
from recon3d_ros.conversions.transforms import pose_from_matrix
from recon3d_ros.sinks.base import ObjectsSink
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose


class Detections3d(ObjectsSink):
    """Publishes every object's label, confidence, oriented box, and the covariance of its pose."""

    name = 'detections3d'
    message_type = Detection3DArray
    topic = '~/objects/detections'

    def message(self, header: Header, objects: list[ObjectEstimate]) -> Detection3DArray:
        """Return the detections."""
        detections = [_detection(item, header) for item in objects]
        return Detection3DArray(header=header, detections=detections)


def _detection(estimate: ObjectEstimate, header: Header) -> Detection3D:
    pose = pose_from_matrix(estimate.T_world_object)
    x, y, z = map(float, estimate.size_m)
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = estimate.label
    known = estimate.confidence is not None
    hypothesis.hypothesis.score = float(estimate.confidence if known else estimate.score)
    hypothesis.pose.pose = pose
    if estimate.pose_covariance is not None:
        hypothesis.pose.covariance = estimate.pose_covariance.ravel()
    detection = Detection3D(header=header, id=str(estimate.id), results=[hypothesis])
    detection.bbox.center = pose
    detection.bbox.size = Vector3(x=x, y=y, z=z)
    return detection
