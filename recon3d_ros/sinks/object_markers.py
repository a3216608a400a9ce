"""The objects as markers for RViz: `~/objects/markers`."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from recon3d_core.config import option
from recon3d_core.interfaces import PluginConfig
from recon3d_core.types import ObjectEstimate
from recon3d_ros.conversions import markers, meshes
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.conversions.markers import BulkMarker
from recon3d_ros.sinks.base import Sink, SinkConfig, Snapshot
from recon3d_ros.sinks.changes import Gone, ObjectCache, Resend
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

NAMESPACES = ('mesh', 'box', 'label')
"""Namespaces of an object's markers; the marker's id is the object's."""

_UNSEEN_RGB = (0.30, 0.50, 1.0)
_GOLDEN_RATIO = 0.6180339887


class ObjectMarkersConfig(SinkConfig):
    """Options of the objects' markers."""

    max_rate_hz: float = option(
        5.0, 'Upper bound of the rate of publishing.', unit='Hz', ge=0.1, le=100.0, live=True
    )
    max_triangles: int = option(
        20_000,
        'A finer mesh is coarsened to about this many triangles.',
        ge=100,
        le=1_000_000,
        live=True,
    )
    unseen_alpha: float = option(
        0.6,
        'Opacity of the part that no camera saw, which is also tinted blue.',
        ge=0.05,
        le=1.0,
        live=True,
    )
    label_height_m: float = option(
        0.03, 'Height of the letters of labels.', unit='m', ge=0.001, le=1.0, live=True
    )
    line_width_m: float = option(
        0.002, 'Width of the edges of boxes.', unit='m', ge=0.0001, le=0.1, live=True
    )


class ObjectMarkers(Sink):
    """Publishes every object's mesh, box and label.

    Each message holds all objects, so that whoever joins late sees all; removed objects are
    deleted one by one. What did not change is neither built nor sent again.
    """

    name = 'object_markers'
    Config = ObjectMarkersConfig

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = self.advertise(MarkerArray, '~/objects/markers')
        self._cache: ObjectCache[list[BulkMarker]] = ObjectCache(self._markers)
        self._resend = Resend()
        self._gone = Gone()
        self._last: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Publish all markers, unless nothing changed since they were published."""
        objects = snapshot.scene.objects
        options = tuple(self.config.model_dump().values())
        gone = tuple(self._gone.update(set(objects), snapshot.stamp_ns))
        revisions = frozenset((object_id, item.revision) for object_id, item in objects.items())
        content = (snapshot.frame_id, options, gone, revisions)
        if not self._resend.due(content, self.subscribers(), snapshot.stamp_ns):
            return
        self._last = snapshot
        header = make_header(snapshot.frame_id, snapshot.stamp_ns)
        message = [
            marker for made in self._cache.values(objects, options).values() for marker in made
        ]
        for marker in message:
            marker.marker.header = header
        self._publisher.publish(markers.publishable_array(message + _deletions(header, gone)))

    def reset(self) -> None:
        """Delete all markers."""
        self._cache.clear()
        self._resend.clear()
        if self._last is not None:
            gone = self._gone.update(set(), self._last.stamp_ns)
            header = make_header(self._last.frame_id, self._last.stamp_ns)
            self._publisher.publish(markers.publishable_array(_deletions(header, tuple(gone))))
            self._last = None

    def _markers(self, estimate: ObjectEstimate) -> list[BulkMarker]:
        mesh_namespace, box_namespace, label_namespace = NAMESPACES
        header, config = Header(), self.config  # the header is set whenever they are sent
        red, green, blue = _object_rgb(estimate.id)
        top = estimate.T_world_object @ (0.0, 0.0, float(estimate.size_m[2]) / 2, 1.0)
        up = estimate.T_world_object[:3, 2] * config.label_height_m
        made = [
            markers.box_marker(
                header,
                box_namespace,
                estimate.id,
                estimate.T_world_object,
                estimate.size_m,
                (red, green, blue, 1.0),
                config.line_width_m,
            ),
            markers.text_marker(
                header,
                label_namespace,
                estimate.id,
                label_text(estimate),
                top[:3] + up,
                config.label_height_m,
            ),
        ]
        if len(estimate.mesh.faces):
            mesh = meshes.clustered(estimate.mesh, config.max_triangles)
            colors = markers.corner_colors(mesh, (*_UNSEEN_RGB, config.unseen_alpha))
            made.append(markers.triangle_marker(header, mesh_namespace, estimate.id, mesh, colors))
        return made


def label_text(estimate: ObjectEstimate) -> str:
    """Return what the label of an object says."""
    size_cm = ' x '.join(f'{edge:.1f}' for edge in np.asarray(estimate.size_m) * 100)
    change = estimate.expected_change
    return (
        f'{estimate.id} {estimate.label} {estimate.score:.2f}\n'
        f'{size_cm} cm, {estimate.seen_fraction:.0%} seen\n'
        f'{estimate.views_used} views' + ('' if change is None else f', may change {change:.0%}')
    )


def _object_rgb(object_id: int) -> tuple[float, float, float]:
    """Return a colour that neighbouring ids do not share."""
    return colorsys.hsv_to_rgb(object_id * _GOLDEN_RATIO % 1.0, 0.8, 1.0)


def _deletions(header: Header, gone: tuple[int, ...]) -> list[BulkMarker]:
    return [
        markers.delete_marker(header, namespace, object_id)
        for object_id in gone
        for namespace in NAMESPACES
    ]
