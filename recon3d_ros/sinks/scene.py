"""The surface of the scene: `~/scene/points`, `~/scene/mesh` and `~/occupancy_grid`."""

from __future__ import annotations

import dataclasses
from typing import Any

from nav_msgs.msg import OccupancyGrid
import numpy as np
from recon3d_core.config import option
from recon3d_core.interfaces import PluginConfig
from recon3d_core.types import PointCloud
from recon3d_ros.conversions import clouds, markers, meshes
from recon3d_ros.conversions.grids import occupancy_grid_message
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.sinks.base import Sink, SinkConfig, Snapshot
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker

_NAMESPACE = 'scene'
_UNKNOWN = -1  # of nav_msgs/OccupancyGrid


class ScenePointsConfig(SinkConfig):
    """Options of the scene's cloud."""

    max_rate_hz: float = option(
        1.0, 'Upper bound of the rate of publishing.', unit='Hz', ge=0.1, le=100.0, live=True
    )
    max_points: int = option(
        300_000,
        'More points than this are thinned evenly.',
        ge=1,
        le=10_000_000,
        live=True,
    )


class ScenePoints(Sink):
    """Publishes the surface of the scene as points with colours."""

    name = 'scene_points'
    Config = ScenePointsConfig
    parts = frozenset({'cloud'})

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = self.advertise(PointCloud2, '~/scene/points')
        self._last: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the cloud, where the snapshot has one."""
        if snapshot.scene.cloud is None:
            return
        self._last = snapshot
        self._send(snapshot, thinned(snapshot.scene.cloud, self.config.max_points))

    def reset(self) -> None:
        """Publish an empty cloud."""
        if self._last is not None:
            self._send(self._last, PointCloud(np.empty((0, 3), np.float32)))
            self._last = None

    def _send(self, snapshot: Snapshot, cloud: PointCloud) -> None:
        points = clouds.scene_points(cloud.points_m, cloud.colors)
        header = make_header(snapshot.frame_id, snapshot.stamp_ns)
        self._publisher.publish(clouds.cloud_message(points, header))


def thinned(cloud: PointCloud, max_points: int) -> PointCloud:
    """Return at most `max_points` points of a cloud, evenly chosen along its order."""
    count = len(cloud.points_m)
    if count <= max_points:
        return cloud
    chosen = np.arange(max_points) * count // max_points
    return PointCloud(
        cloud.points_m[chosen], None if cloud.colors is None else cloud.colors[chosen]
    )


class SceneMeshConfig(SinkConfig):
    """Options of the scene's mesh."""

    max_rate_hz: float = option(
        1.0, 'Upper bound of the rate of publishing.', unit='Hz', ge=0.1, le=100.0, live=True
    )
    max_triangles: int = option(
        100_000,
        'A finer mesh is coarsened to about this many triangles; a triangle takes 120 bytes.',
        ge=100,
        le=5_000_000,
        live=True,
    )


class SceneMesh(Sink):
    """Publishes the surface of the scene as a marker of triangles."""

    name = 'scene_mesh'
    Config = SceneMeshConfig
    parts = frozenset({'mesh'})

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = self.advertise(Marker, '~/scene/mesh')
        self._last: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the mesh, where the snapshot has one."""
        mesh = snapshot.scene.mesh
        if mesh is None:
            return
        if len(mesh.faces) == 0:  # RViz reports a list without triangles as an error
            self.reset()
            return
        self._last = snapshot
        mesh = meshes.clustered(mesh, self.config.max_triangles)
        header = make_header(snapshot.frame_id, snapshot.stamp_ns)
        marker = markers.triangle_marker(header, _NAMESPACE, 0, mesh, markers.corner_colors(mesh))
        self._publisher.publish(markers.publishable(marker))

    def reset(self) -> None:
        """Delete the marker."""
        if self._last is not None:
            header = make_header(self._last.frame_id, self._last.stamp_ns)
            marker = markers.delete_marker(header, _NAMESPACE, 0)
            self._publisher.publish(markers.publishable(marker))
            self._last = None


class OccupancyGridConfig(SinkConfig):
    """Options of the map; its cells and heights are options of the pipeline."""

    max_rate_hz: float = option(
        1.0, 'Upper bound of the rate of publishing.', unit='Hz', ge=0.1, le=100.0, live=True
    )


class OccupancyGridSink(Sink):
    """Publishes the map for navigation, the unseen half of known objects included."""

    name = 'occupancy_grid'
    Config = OccupancyGridConfig
    parts = frozenset({'occupancy_grid'})

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = self.advertise(OccupancyGrid, '~/occupancy_grid')
        self._last: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the map, where the snapshot has one with cells."""
        grid = snapshot.scene.occupancy_grid
        if grid is None or grid.cells.size == 0:
            return
        self._last = snapshot
        self._publisher.publish(occupancy_grid_message(grid, snapshot.frame_id, snapshot.stamp_ns))

    def reset(self) -> None:
        """Publish that nothing is known of the cells of before."""
        last, self._last = self._last, None
        if last is None or last.scene.occupancy_grid is None:
            return
        grid = last.scene.occupancy_grid
        unknown = dataclasses.replace(grid, cells=np.full_like(grid.cells, _UNKNOWN))
        self._publisher.publish(occupancy_grid_message(unknown, last.frame_id, last.stamp_ns))
