"""Where to look next: `~/objects/next_views`."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PoseArray
from recon3d_core.interfaces import PluginConfig
from recon3d_core.scene.next_view import next_views, NextView, NextViewOptions
from recon3d_core.types import ObjectEstimate
from recon3d_ros.conversions.transforms import pose_from_matrix
from recon3d_ros.sinks.base import ObjectsSink, SinkConfig
from recon3d_ros.sinks.changes import ObjectCache
from std_msgs.msg import Header


class NextViewsConfig(SinkConfig, NextViewOptions):
    """Options of the next views."""


class NextViews(ObjectsSink):
    """Publishes poses of the camera's optical frame, those first that tell most.

    A pose looks at its object from `distance_m`, above its support; whether the robot can get
    there, and what stands in between, is for the planner to say.
    """

    name = 'next_views'
    Config = NextViewsConfig
    message_type = PoseArray
    topic = '~/objects/next_views'

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._cache: ObjectCache[list[NextView]] = ObjectCache(
            lambda estimate: next_views(estimate, self.config)
        )

    def message(self, header: Header, objects: list[ObjectEstimate]) -> PoseArray:
        """Return the poses of all objects, ranked."""
        options = (self.config.distance_m, self.config.views_per_object)
        found = self._cache.values({item.id: item for item in objects}, options)
        views = [view for one in found.values() for view in one]
        views.sort(key=lambda view: -view.gain_bits)
        poses = [pose_from_matrix(view.T_world_camera) for view in views]
        return PoseArray(header=header, poses=poses)
