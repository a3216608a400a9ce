"""The objects for MoveIt: `~/collision_objects`; loads only where moveit_msgs is installed."""

from __future__ import annotations

import dataclasses
from typing import Any

from geometry_msgs.msg import Pose
from moveit_msgs.msg import CollisionObject
import numpy as np
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from recon3d_core.config import option
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.interfaces import PluginConfig
from recon3d_core.types import ObjectEstimate
from recon3d_ros.conversions import meshes
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.conversions.transforms import pose_from_matrix
from recon3d_ros.sinks.base import Sink, SinkConfig, Snapshot
from shape_msgs.msg import SolidPrimitive

_QUEUE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
"""One message is one object, so a depth of 1 would lose all but the last of a snapshot."""

_SAME_GEOMETRY_M = 1e-4
_SAME_POSE = 1e-5


class CollisionObjectsConfig(SinkConfig):
    """Options of the collision objects."""

    max_rate_hz: float = option(
        2.0, 'Upper bound of the rate of publishing.', unit='Hz', ge=0.1, le=100.0, live=True
    )
    geometry: str = option(
        'mesh',
        '`mesh`: the closed mesh; `box`: the oriented box, much quicker to plan with.',
        pattern='^(mesh|box)$',
        live=True,
    )
    max_triangles: int = option(
        1000,
        'A finer mesh is simplified to about this many triangles.',
        ge=20,
        le=100_000,
        live=True,
    )


@dataclasses.dataclass(frozen=True)
class _Sent:
    """What the listeners know of an object: `vertices_m` are in the object's own frame."""

    revision: int
    options: tuple[Any, ...]
    T_world_object: NDArray[np.float64]
    size_m: NDArray[np.float64]
    vertices_m: NDArray[np.float32]
    faces: NDArray[np.int32]

    def same_geometry(self, other: _Sent) -> bool:
        """Return whether two differ in their pose at most."""
        return (
            self.options == other.options
            and np.array_equal(self.faces, other.faces)
            and self.vertices_m.shape == other.vertices_m.shape
            and np.allclose(self.vertices_m, other.vertices_m, rtol=0, atol=_SAME_GEOMETRY_M)
            and np.allclose(self.size_m, other.size_m, rtol=0, atol=_SAME_GEOMETRY_M)
        )


class CollisionObjects(Sink):
    """Keeps a planning scene up to date: ADD once, MOVE when only the pose changed, REMOVE.

    When somebody joins, all objects are added again: ADD replaces what has the same id.
    """

    name = 'collision_objects'
    Config = CollisionObjectsConfig

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = node.create_lifecycle_publisher(
            CollisionObject, '~/collision_objects', _QUEUE
        )
        self.publishers.append(self._publisher)
        self._sent: dict[int, _Sent] = {}
        self._joined = 0
        self._last: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Publish what changed."""
        subscribers = self.subscribers()
        if self._last is not None and self._last.frame_id != snapshot.frame_id:
            self.reset()
        for object_id in sorted(set(self._sent) - set(snapshot.scene.objects)):
            self._remove(object_id, snapshot)
        if subscribers > self._joined:
            self._sent.clear()
        self._joined, self._last = subscribers, snapshot
        for _, estimate in sorted(snapshot.scene.objects.items()):
            self._update(estimate, snapshot)

    def reset(self) -> None:
        """Remove all objects."""
        if self._last is not None:
            for object_id in sorted(self._sent):
                self._remove(object_id, self._last)
            self._last = None

    def _update(self, estimate: ObjectEstimate, snapshot: Snapshot) -> None:
        old = self._sent.get(estimate.id)
        options = (self.config.geometry, self.config.max_triangles)
        if old is not None and (old.revision, old.options) == (estimate.revision, options):
            return
        local = apply(invert(estimate.T_world_object), estimate.mesh.vertices_m)
        new = _Sent(
            estimate.revision,
            options,
            estimate.T_world_object,
            estimate.size_m,
            local.astype(np.float32),
            estimate.mesh.faces,
        )
        self._sent[estimate.id] = new
        if old is None or not old.same_geometry(new):
            self._add(estimate, new, snapshot)
        elif not np.allclose(old.T_world_object, new.T_world_object, rtol=0, atol=_SAME_POSE):
            message = self._message(estimate.id, snapshot, CollisionObject.MOVE)
            message.pose = pose_from_matrix(estimate.T_world_object)
            self._publisher.publish(message)

    def _add(self, estimate: ObjectEstimate, new: _Sent, snapshot: Snapshot) -> None:
        message = self._message(estimate.id, snapshot, CollisionObject.ADD)
        message.pose = pose_from_matrix(estimate.T_world_object)
        message.type.key = estimate.label
        identity = Pose()
        identity.orientation.w = 1.0
        if self.config.geometry == 'box' or len(new.faces) == 0:
            box = SolidPrimitive(type=SolidPrimitive.BOX)
            box.dimensions = [float(edge) for edge in estimate.size_m]
            message.primitives, message.primitive_poses = [box], [identity]
        else:
            small = meshes.simplified(
                meshes.Mesh(new.vertices_m, new.faces), self.config.max_triangles
            )
            message.meshes, message.mesh_poses = [meshes.mesh_message(small)], [identity]
        self._publisher.publish(message)

    def _remove(self, object_id: int, snapshot: Snapshot) -> None:
        del self._sent[object_id]
        self._publisher.publish(self._message(object_id, snapshot, CollisionObject.REMOVE))

    @staticmethod
    def _message(object_id: int, snapshot: Snapshot, operation: bytes) -> CollisionObject:
        message = CollisionObject(id=f'object_{object_id}', operation=operation)
        message.header = make_header(snapshot.frame_id, snapshot.stamp_ns)
        return message
