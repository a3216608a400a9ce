"""Content of the outputs whose message packages may be missing; each skips by itself."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_core.geometry.transforms import apply, make_transform, rotation_from_quaternion
from recon3d_ros.conversions import clouds
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.conversions.transforms import matrix_from_pose
from sink_graph import make_object, snapshot, STAMP_NS

pytestmark = pytest.mark.ros


def published(graph, sink, message_type, shown, depth=50):
    received = graph.listen(message_type, sink.publishers[0].topic_name, depth=depth)
    graph.joined(sink)
    sink.publish(shown)
    graph.until(lambda: received)
    return received


def test_detections(graph):
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    from recon3d_ros.sinks.detections3d import Detections3d

    shown = snapshot(make_object(5, label='bowl'), make_object(2))
    message = published(graph, graph.start(Detections3d), messages.Detection3DArray, shown)[0]
    assert [item.id for item in message.detections] == ['2', '5']
    item = message.detections[1]
    assert item.header == message.header
    assert item.results[0].hypothesis.class_id == 'bowl'
    assert item.results[0].hypothesis.score == pytest.approx(0.8)
    assert item.results[0].pose.pose == item.bbox.center
    np.testing.assert_allclose(matrix_from_pose(item.bbox.center)[:3, 3], (0.5, 0, 0.1))
    assert (item.bbox.size.x, item.bbox.size.z) == pytest.approx((0.1, 0.1))


def test_recognized_objects(graph):
    messages = pytest.importorskip(
        'object_recognition_msgs.msg', reason='object_recognition_msgs is not installed'
    )
    from recon3d_ros.sinks.recognized_objects import RecognizedObjects, RecognizedObjectsConfig

    sink = graph.start(RecognizedObjects, RecognizedObjectsConfig(max_triangles=300))
    shown = snapshot(make_object(5))
    message = published(graph, sink, messages.RecognizedObjectArray, shown)[0]
    item = message.objects[0]
    assert (item.type.key, json.loads(item.type.db)['id']) == ('mug', 5)
    assert item.confidence == pytest.approx(0.8)
    assert item.header.frame_id == item.pose.header.frame_id == 'map'
    assert len(item.bounding_mesh.triangles) <= 300
    local = np.array([[p.x, p.y, p.z] for p in item.bounding_mesh.vertices])
    np.testing.assert_allclose(np.linalg.norm(local, axis=1), 0.05, atol=0.003)
    points = clouds.xyz_from_points(clouds.points_from_cloud(item.point_clouds[0]))
    np.testing.assert_allclose(points.mean(0), (0.5, 0, 0.1), atol=0.001)


class TestCollisionObjects:
    """The planning scene as MoveIt keeps it."""

    @pytest.fixture
    def messages(self):
        return pytest.importorskip('moveit_msgs.msg', reason='moveit_msgs is not installed')

    @pytest.fixture
    def sink(self, messages, graph):
        from recon3d_ros.sinks.collision_objects import CollisionObjects

        return graph.start(CollisionObjects)

    def step(self, graph, sink, received, *objects, count=1, **kwargs):
        before = len(received)
        sink.publish(snapshot(*objects, **kwargs))
        graph.until(lambda: len(received) >= before + count)
        graph.settle(0.1)
        return received[before:]

    def test_life(self, graph, sink, messages):
        kind = messages.CollisionObject
        received = graph.listen(kind, '~/collision_objects', depth=50)
        graph.joined(sink)
        ball, other = make_object(1), make_object(2, center=(0.2, 0.1, 0.1))
        added = self.step(graph, sink, received, ball, other, count=2)
        assert [(m.id, m.operation) for m in added] == [
            ('object_1', kind.ADD),
            ('object_2', kind.ADD),
        ]
        assert ns_from_time(added[0].header.stamp) == STAMP_NS
        assert added[0].type.key == 'mug'
        mesh = added[0].meshes[0]
        assert len(mesh.triangles) <= sink.config.max_triangles
        local = np.array([[p.x, p.y, p.z] for p in mesh.vertices])
        np.testing.assert_allclose(np.linalg.norm(local, axis=1), 0.05, atol=0.003)
        assert added[0].mesh_poses[0].orientation.w == 1

        assert self.step(graph, sink, received, ball, other, count=0) == []
        relabelled = dataclasses.replace(ball, revision=2, score=0.9)
        assert self.step(graph, sink, received, relabelled, other, count=0) == []

        T = make_transform(rotation_from_quaternion((1, 0, 0, 0.3)), (0.7, 0.1, 0.1))
        T_new_old = T @ np.linalg.inv(ball.T_world_object)
        vertices = apply(T_new_old, ball.mesh.vertices_m)
        mesh = dataclasses.replace(ball.mesh, vertices_m=vertices)
        moved = dataclasses.replace(ball, revision=3, T_world_object=T, mesh=mesh)
        (message,) = self.step(graph, sink, received, moved, other)
        assert (message.id, message.operation) == ('object_1', kind.MOVE)
        assert (message.meshes, message.primitives) == ([], [])
        np.testing.assert_allclose(matrix_from_pose(message.pose), T, atol=1e-9)

        grown = make_object(2, revision=4, center=(0.2, 0.1, 0.1), radius=0.06)
        (message,) = self.step(graph, sink, received, moved, grown)
        assert (message.id, message.operation) == ('object_2', kind.ADD)

        (message,) = self.step(graph, sink, received, grown)
        assert (message.id, message.operation) == ('object_1', kind.REMOVE)

        before = len(received)
        sink.reset()
        graph.until(lambda: len(received) > before)
        assert (received[-1].id, received[-1].operation) == ('object_2', kind.REMOVE)

    def test_many_objects_in_one_snapshot_all_arrive(self, graph, sink, messages):
        received = graph.listen(messages.CollisionObject, '~/collision_objects', depth=50)
        graph.joined(sink)
        objects = [make_object(i, center=(i, 0, 0)) for i in range(1, 21)]
        assert len(self.step(graph, sink, received, *objects, count=20)) == 20

    def test_boxes(self, graph, sink, messages):
        received = graph.listen(messages.CollisionObject, '~/collision_objects', depth=50)
        graph.joined(sink)
        sink.config.geometry = 'box'
        (message,) = self.step(graph, sink, received, make_object())
        assert list(message.primitives[0].dimensions) == pytest.approx([0.1] * 3)
        assert message.primitives[0].type == message.primitives[0].BOX
        assert len(message.primitive_poses) == 1
        assert list(message.meshes) == []

    def test_another_frame_starts_over(self, graph, sink, messages):
        kind = messages.CollisionObject
        received = graph.listen(kind, '~/collision_objects', depth=50)
        graph.joined(sink)
        self.step(graph, sink, received, make_object())
        got = self.step(graph, sink, received, make_object(), frame_id='odom', count=2)
        assert [(m.operation, m.header.frame_id) for m in got] == [
            (kind.REMOVE, 'map'),
            (kind.ADD, 'odom'),
        ]
