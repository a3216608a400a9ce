"""Content of the scene's topics."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from geometry_msgs.msg import PoseArray
from nav_msgs.msg import OccupancyGrid
from recon3d_core.types import Mesh, PointCloud
from recon3d_ros.conversions import clouds
from recon3d_ros.sinks.objects import ObjectPoints, ObjectPoses
from recon3d_ros.sinks.scene import OccupancyGridSink, SceneMesh, ScenePoints, ScenePointsConfig
from sensor_msgs.msg import PointCloud2
from sink_graph import make_object, snapshot, STAMP_NS
from visualization_msgs.msg import Marker

pytestmark = pytest.mark.ros


def one(graph, sink, message_type, shown):
    received = graph.listen(message_type, sink.publishers[0].topic_name)
    graph.joined(sink)
    sink.publish(shown)
    graph.until(lambda: received)
    return received


def test_scene_points(graph):
    message = one(graph, graph.start(ScenePoints), PointCloud2, snapshot())[0]
    points = clouds.points_from_cloud(message)
    np.testing.assert_array_equal(
        clouds.xyz_from_points(points), [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    )
    assert (clouds.rgb_from_points(points) == 90).all()


def test_large_clouds_are_thinned(graph):
    sink = graph.start(ScenePoints, ScenePointsConfig(max_points=100))
    xyz = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    message = one(graph, sink, PointCloud2, snapshot(cloud=PointCloud(xyz)))[0]
    got = clouds.xyz_from_points(clouds.points_from_cloud(message))
    np.testing.assert_array_equal(got, xyz[::10])


def test_scene_mesh_and_its_end(graph):
    sink = graph.start(SceneMesh)
    received = one(graph, sink, Marker, snapshot())
    marker = received[0]
    assert (marker.type, marker.action, len(marker.points)) == (
        Marker.TRIANGLE_LIST,
        Marker.ADD,
        6,
    )
    assert [(p.x, p.y) for p in marker.points[3:]] == [(0, 0), (1, 1), (0, 1)]
    assert marker.colors[0].r == pytest.approx(90 / 255)
    nothing = Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    sink.publish(snapshot(mesh=nothing))
    graph.until(lambda: len(received) == 2)
    assert received[1].action == Marker.DELETE
    assert (received[1].ns, received[1].id) == (marker.ns, marker.id)


def test_parts_that_were_not_asked_for_are_not_published(graph):
    for sink_type in (ScenePoints, SceneMesh, OccupancyGridSink):
        sink = sink_type(graph.node)
        received = graph.listen(sink.publishers[0].msg_type, sink.publishers[0].topic_name)
        graph.joined(sink)
        sink.publish(snapshot(cloud=None, mesh=None, occupancy_grid=None))
        graph.settle(0.1)
        assert received == []


def test_occupancy_grid(graph):
    message = one(graph, graph.start(OccupancyGridSink), OccupancyGrid, snapshot())[0]
    assert (message.info.width, message.info.height) == (6, 4)
    assert message.data[5] == 100
    assert list(message.data).count(-1) == 23


def test_a_map_of_before_a_reset_is_taken_back(graph):
    sink = graph.start(OccupancyGridSink)
    received = one(graph, sink, OccupancyGrid, snapshot())
    sink.reset()
    graph.until(lambda: len(received) == 2)
    assert (received[1].info.width, received[1].info.height) == (6, 4)
    assert set(received[1].data) == {-1}
    assert received[1].header == received[0].header


def test_object_points_say_what_was_seen_and_how_sure_the_rest_is(graph):
    seen = make_object(3, center=(0.0, 0.0, 0.0))
    other = make_object(8, center=(1.0, 0.0, 0.0))
    message = one(graph, graph.start(ObjectPoints), PointCloud2, snapshot(seen, other))[0]
    points = clouds.points_from_cloud(message)
    xyz = clouds.xyz_from_points(points)
    assert set(points['object_id']) == {3, 8}
    np.testing.assert_array_equal(points['object_id'] == 8, xyz[:, 0] > 0.5)
    area = 4 * np.pi * 0.05**2
    assert len(points) == pytest.approx(2 * area / 0.004**2, rel=0.05)
    clear = np.abs(xyz[:, 2]) > 0.01
    np.testing.assert_array_equal(points['observed'][clear] == 1, xyz[clear, 2] > 0)
    upper = points['p_occ'][clear & (xyz[:, 2] > 0)]
    lower = points['p_occ'][clear & (xyz[:, 2] < 0)]
    assert np.median(upper) == pytest.approx(0.95)
    assert np.median(lower) == pytest.approx(0.7)
    assert np.mean(points['p_occ'] > 0.5) > 0.95
    np.testing.assert_array_equal(clouds.rgb_from_points(points)[0], (200, 40, 10))


def test_unchanged_object_points_are_not_sent_again(graph):
    sink = graph.start(ObjectPoints)
    received = one(graph, sink, PointCloud2, snapshot(make_object()))
    sink.publish(snapshot(make_object(), stamp_ns=STAMP_NS + 100_000_000))
    graph.settle()
    assert len(received) == 1
    sink.publish(snapshot(make_object(revision=2, radius=0.03), stamp_ns=STAMP_NS + 200_000_000))
    graph.until(lambda: len(received) == 2)
    assert received[1].width < received[0].width
    sink.reset()
    graph.until(lambda: len(received) == 3)
    assert received[2].width == 0


def test_object_poses_in_the_order_of_ids(graph):
    sink = graph.start(ObjectPoses)
    shown = snapshot(make_object(9, center=(9, 0, 0)), make_object(2, center=(2, 0, 0)))
    received = one(graph, sink, PoseArray, shown)
    assert [pose.position.x for pose in received[0].poses] == [2, 9]
    assert received[0].poses[0].orientation.w == 1
    sink.reset()
    graph.until(lambda: len(received) == 2)
    assert received[1].poses == []
