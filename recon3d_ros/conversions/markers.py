"""Markers for RViz: triangle lists, boxes and labels, light enough to be sent while running."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

from geometry_msgs.msg import Point
import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message, serialize_message
from recon3d_core.types import Mesh
from recon3d_ros.conversions import cdr
from recon3d_ros.conversions.clouds import GREY
from recon3d_ros.conversions.transforms import pose_from_matrix
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

Color = tuple[float, float, float, float]

_BOX_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2.0
_BOX_EDGES = [
    (a, b)
    for a in range(8)
    for b in range(a + 1, 8)
    if np.count_nonzero(_BOX_CORNERS[a] != _BOX_CORNERS[b]) == 1
]


@dataclasses.dataclass(frozen=True)
class BulkMarker:
    """A marker whose points and colours are arrays.

    Attributes:
        marker: Everything else.
        points_m: (N, 3) float64 in the marker's frame.
        colors: (N, 4) float32 RGBA in [0, 1]; (0, 4) where `marker.color` holds for all.
    """

    marker: Marker
    points_m: NDArray[np.float64]
    colors: NDArray[np.float32]

    def message(self) -> Marker:
        """Return the same as a plain message: equal points and colours share one object."""
        full = Marker()
        for field in Marker.get_fields_and_field_types():
            setattr(full, field, getattr(self.marker, field))
        rows, which = _distinct_rows(self.points_m)
        points = [Point(x=x, y=y, z=z) for x, y, z in rows]
        full.points = [points[i] for i in which]
        rows, which = _distinct_rows(self.colors)
        colors = [ColorRGBA(r=r, g=g, b=b, a=a) for r, g, b, a in rows]
        full.colors = [colors[i] for i in which]
        return full

    def bulk(self) -> cdr.Bulk:
        """Return the same for `cdr.serialize`."""
        return cdr.Bulk(self.marker, {'points': self.points_m, 'colors': self.colors})


def corner_colors(
    mesh: Mesh, unseen_color: Color | None = None, default_rgb: tuple[int, int, int] = (GREY,) * 3
) -> NDArray[np.float32]:
    """Return the colours (3 F, 4) RGBA in [0, 1] of a mesh's corners, face by face.

    Args:
        mesh: The mesh.
        unseen_color: Colour mixed half and half into faces that no camera saw, which also take
            its alpha; None leaves them as they are.
        default_rgb: Colour of a mesh that has none.
    """
    vertex_rgb = (
        np.full((len(mesh.vertices_m), 3), default_rgb, np.uint8)
        if mesh.colors is None
        else mesh.colors
    )
    colors = np.ones((len(mesh.faces), 3, 4), np.float32)
    colors[..., :3] = (vertex_rgb.astype(np.float32) / np.float32(255))[mesh.faces]
    if unseen_color is not None and mesh.face_observed is not None:
        unseen = ~mesh.face_observed
        colors[unseen, :, :3] = (colors[unseen, :, :3] + np.float32(unseen_color[:3])) / 2
        colors[unseen, :, 3] = unseen_color[3]
    return colors.reshape(-1, 4)


def triangle_marker(
    header: Header, namespace: str, marker_id: int, mesh: Mesh, colors: NDArray[np.float32]
) -> BulkMarker:
    """Return a TRIANGLE_LIST of a mesh in the header's frame; RViz wants one colour per corner.

    Args:
        header: Frame and stamp.
        namespace: The marker's `ns`.
        marker_id: The marker's `id`.
        mesh: The mesh.
        colors: (3 F, 4), as `corner_colors` makes.
    """
    marker = _marker(header, namespace, marker_id, Marker.TRIANGLE_LIST)
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    corners = mesh.vertices_m.astype(np.float64)[mesh.faces].reshape(-1, 3)
    return BulkMarker(marker, corners, np.asarray(colors, np.float32))


def box_marker(
    header: Header,
    namespace: str,
    marker_id: int,
    T_frame_box: NDArray[np.float64],
    size_m: NDArray[np.float64],
    color: Color,
    line_width_m: float,
) -> BulkMarker:
    """Return the twelve edges of a box as a LINE_LIST.

    Args:
        header: Frame and stamp.
        namespace: The marker's `ns`.
        marker_id: The marker's `id`.
        T_frame_box: (4, 4) pose of the box's centre.
        size_m: (3,) edges.
        color: RGBA in [0, 1].
        line_width_m: Width of the lines.
    """
    marker = _marker(header, namespace, marker_id, Marker.LINE_LIST)
    marker.pose = pose_from_matrix(T_frame_box)
    marker.scale.x = float(line_width_m)
    marker.color = _color(color)
    corners = _BOX_CORNERS[np.array(_BOX_EDGES)].reshape(-1, 3) * size_m
    return BulkMarker(marker, corners, np.empty((0, 4), np.float32))


def text_marker(
    header: Header,
    namespace: str,
    marker_id: int,
    text: str,
    position_m: NDArray[np.float64],
    height_m: float,
) -> BulkMarker:
    """Return a text that faces the viewer, at a position (3,) and of a letter height."""
    marker = _marker(header, namespace, marker_id, Marker.TEXT_VIEW_FACING)
    marker.text = text
    x, y, z = np.asarray(position_m, np.float64).tolist()
    marker.pose.position = Point(x=x, y=y, z=z)
    marker.scale.z = float(height_m)
    marker.color = _color((1.0, 1.0, 1.0, 1.0))
    return BulkMarker(marker, np.empty((0, 3)), np.empty((0, 4), np.float32))


def delete_marker(header: Header, namespace: str, marker_id: int) -> BulkMarker:
    """Return the marker that takes back the one of the same namespace and id."""
    marker = Marker(header=header, ns=namespace, id=marker_id, action=Marker.DELETE)
    return BulkMarker(marker, np.empty((0, 3)), np.empty((0, 4), np.float32))


def _marker(header: Header, namespace: str, marker_id: int, kind: int) -> Marker:
    marker = Marker(header=header, ns=namespace, id=marker_id, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    return marker


def _color(rgba: Color) -> ColorRGBA:
    r, g, b, a = map(float, rgba)
    return ColorRGBA(r=r, g=g, b=b, a=a)


def _distinct_rows(array: NDArray[Any]) -> tuple[list[list[float]], list[int]]:
    if len(array) == 0:
        return [], []
    rows = np.ascontiguousarray(array)
    as_one = rows.view(f'V{rows.strides[0]}')[:, 0]  # comparing bytes is far quicker than rows
    _, first, which = np.unique(as_one, return_index=True, return_inverse=True)
    return rows[first].tolist(), which.reshape(-1).tolist()


@functools.lru_cache(maxsize=1)
def fast_path() -> bool:
    """Return whether the middleware in use reads our bytes as it reads its own, by trying some."""
    header = Header(frame_id='map')
    mesh = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32))
    tried = [
        text_marker(header, 'label', 1, 'odd', np.ones(3), 0.1),
        triangle_marker(header, 'mesh', 2, mesh, corner_colors(mesh)),
        box_marker(header, 'box', 3, np.eye(4), np.ones(3), (1.0, 0.0, 0.0, 1.0), 0.01),
    ]
    plain = MarkerArray(markers=[item.message() for item in tried])
    if bytes(serialize_message(plain))[:4] != cdr.ENCAPSULATION:
        return False
    try:
        return bool(deserialize_message(_array_bytes(tried), MarkerArray) == plain)
    except (RuntimeError, ValueError):  # the middleware cannot read them
        return False


def _array_bytes(markers: Sequence[BulkMarker]) -> bytes:
    return cdr.serialize(cdr.Bulk(MarkerArray(), {'markers': [m.bulk() for m in markers]}))


def publishable_array(markers: Sequence[BulkMarker]) -> Any:
    """Return a MarkerArray, serialised where that is possible, for `publisher.publish`."""
    if fast_path():
        return _array_bytes(markers)
    return MarkerArray(markers=[marker.message() for marker in markers])


def publishable(marker: BulkMarker) -> Any:
    """Return a Marker, serialised where that is possible, for `publisher.publish`."""
    return cdr.serialize(marker.bulk()) if fast_path() else marker.message()
