"""Markers: what RViz asks of them, and that the fast way says the same as plain messages."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from rclpy.serialization import deserialize_message, serialize_message
from recon3d_core.geometry.transforms import look_at
from recon3d_core.types import Mesh
from recon3d_ros.conversions import cdr, markers
from recon3d_ros.conversions.headers import make_header
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.ros

HEADER = make_header('map', 3_000_000_007)


def some_mesh(faces=7, seed=0):
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(faces + 2, 3)).astype(np.float32)
    corners = np.stack([np.arange(faces) + i for i in range(3)], 1).astype(np.int32)
    return Mesh(
        vertices, corners, rng.integers(0, 256, (faces + 2, 3), np.uint8), rng.random(faces) > 0.5
    )


def some_markers():
    mesh = some_mesh()
    colors = markers.corner_colors(mesh, (0.2, 0.4, 1.0, 0.5))
    pose = look_at((1, 2, 3), (0, 0, 0))
    size = np.array([0.1, 0.2, 0.3])
    return [
        markers.text_marker(HEADER, 'label', 4, 'a mug µ', np.array([1.0, 2, 3]), 0.03),
        markers.triangle_marker(HEADER, 'mesh', 4, mesh, colors),
        markers.delete_marker(HEADER, 'mesh', 9),
        markers.box_marker(HEADER, 'box', 4, pose, size, (1.0, 0.5, 0.0, 1.0), 0.002),
    ]


def test_corners_and_colors_face_by_face():
    mesh = some_mesh()
    tint = (0.2, 0.4, 1.0, 0.5)
    marker = markers.triangle_marker(
        HEADER, 'mesh', 1, mesh, markers.corner_colors(mesh, tint)
    ).message()
    assert marker.type == Marker.TRIANGLE_LIST
    assert (marker.scale.x, marker.scale.y, marker.scale.z) == (1, 1, 1)
    assert len(marker.points) == len(marker.colors) == 3 * len(mesh.faces)
    at = 0
    for face, seen in zip(mesh.faces, mesh.face_observed):
        for vertex in face:
            point, color = marker.points[at], marker.colors[at]
            assert [point.x, point.y, point.z] == mesh.vertices_m[vertex].astype(float).tolist()
            rgb = mesh.colors[vertex] / 255
            want = [*rgb, 1.0] if seen else [*((rgb + tint[:3]) / 2), 0.5]
            np.testing.assert_allclose([color.r, color.g, color.b, color.a], want, atol=1e-6)
            at += 1


def test_a_mesh_without_colors_is_gray():
    mesh = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32))
    colors = markers.corner_colors(mesh, (0, 0, 1, 0.5))
    np.testing.assert_allclose(colors, [[markers.GREY / 255] * 3 + [1]] * 3)


def test_box_edges():
    size = np.array([0.1, 0.2, 0.3])
    marker = markers.box_marker(HEADER, 'box', 1, np.eye(4), size, (1, 0, 0, 1), 0.01).message()
    points = np.array([[p.x, p.y, p.z] for p in marker.points]).reshape(12, 2, 3)
    lengths = np.linalg.norm(points[:, 0] - points[:, 1], axis=1)
    np.testing.assert_allclose(sorted(lengths), [0.1] * 4 + [0.2] * 4 + [0.3] * 4)
    np.testing.assert_allclose(np.abs(points), np.broadcast_to(size / 2, points.shape))


@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_fast_bytes_are_read_back_as_the_plain_message(count):
    # Each start shifts the alignment of the markers behind it.
    for first in range(4):
        chosen = (some_markers() * 2)[first : first + count]
        plain = MarkerArray(markers=[item.message() for item in chosen])
        data = markers.publishable_array(chosen)
        assert isinstance(data, bytes)
        assert len(data) == len(serialize_message(plain))
        assert deserialize_message(data, MarkerArray) == plain


def test_a_single_fast_marker():
    for item in some_markers():
        data = markers.publishable(item)
        assert deserialize_message(data, Marker) == item.message()


def test_plain_messages_where_the_fast_way_is_not_safe(monkeypatch):
    monkeypatch.setattr(cdr, 'ENCAPSULATION', b'\x00\x00\x00\x00')
    markers.fast_path.cache_clear()
    try:
        assert not markers.fast_path()
        chosen = some_markers()
        assert markers.publishable_array(chosen).markers[1] == chosen[1].message()
        assert markers.publishable(chosen[0]) == chosen[0].message()
    finally:
        markers.fast_path.cache_clear()
