"""Markers over time: what is added, kept, sent again and deleted."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_core.types import Mesh
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.sinks.object_markers import NAMESPACES, ObjectMarkers, ObjectMarkersConfig
from sink_graph import make_object, snapshot, STAMP_NS
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.ros

SECOND_NS = 1_000_000_000
TOPIC = '~/objects/markers'


class Rviz:
    """What RViz would show after each message."""

    def __init__(self):
        self.shown = {}

    def __call__(self, message):
        keys = [(marker.ns, marker.id) for marker in message.markers]
        assert len(set(keys)) == len(keys)
        for key, marker in zip(keys, message.markers):
            assert marker.action in (Marker.ADD, Marker.DELETE)
            if marker.action == Marker.ADD:
                assert len(marker.points) == len(marker.colors) or not marker.colors
                self.shown[key] = marker
            else:
                self.shown.pop(key, None)


@pytest.fixture
def sink(graph):
    return graph.start(ObjectMarkers)


@pytest.fixture
def received(graph, sink):
    messages = graph.listen(MarkerArray, TOPIC)
    graph.joined(sink)
    return messages


def test_mesh_box_and_label(graph, sink, received):
    item = make_object(4)
    sink.publish(snapshot(item))
    graph.until(lambda: received)
    shown = {marker.ns: marker for marker in received[0].markers}
    assert set(shown) == set(NAMESPACES)
    assert {marker.id for marker in shown.values()} == {4}
    assert {marker.header.frame_id for marker in shown.values()} == {'map'}
    mesh = shown['mesh']
    assert mesh.type == Marker.TRIANGLE_LIST
    assert len(mesh.points) == len(mesh.colors) == 3 * len(item.mesh.faces)
    opaque = np.array([color.a == 1 for color in mesh.colors[::3]])
    np.testing.assert_array_equal(opaque, item.mesh.face_observed)
    box = shown['box']
    assert box.pose.position.x == pytest.approx(0.5)
    assert {abs(point.x) for point in box.points} == {0.05}
    label = shown['label']
    assert label.text == '4 mug 0.80\n10.0 x 10.0 x 10.0 cm, 50% seen\n3 views'
    assert label.pose.position.z == pytest.approx(0.1 + 0.05 + 0.03)


def test_life_of_objects_as_rviz_sees_it(graph, sink, received):
    rviz = Rviz()
    steps = [
        [make_object(1), make_object(2)],
        [make_object(1), make_object(2, revision=2, label='bowl')],
        [make_object(2, revision=2, label='bowl')],
        [make_object(2, revision=2, label='bowl'), make_object(3)],
        [],
    ]
    for index, objects in enumerate(steps):
        sink.publish(snapshot(*objects, stamp_ns=STAMP_NS + index * SECOND_NS // 10))
        graph.until(lambda count=index + 1: len(received) == count)
        rviz(received[-1])
        want = {(ns, item.id) for item in objects for ns in NAMESPACES}
        assert set(rviz.shown) == want
    assert any('bowl' in marker.text for marker in received[1].markers)


def test_who_joins_late_sees_all_objects_with_the_latest_stamp(graph, sink, received):
    sink.publish(snapshot(make_object(1), make_object(2)))
    graph.until(lambda: received)
    later = STAMP_NS + SECOND_NS // 2
    sink.publish(snapshot(make_object(1), make_object(2, revision=5), stamp_ns=later))
    graph.until(lambda: len(received) == 2)
    late = graph.listen(MarkerArray, TOPIC, late=True)
    graph.until(lambda: late)
    assert {(m.ns, m.id) for m in late[0].markers} == {(n, i) for n in NAMESPACES for i in (1, 2)}
    assert {ns_from_time(marker.header.stamp) for marker in late[0].markers} == {later}


def test_unchanged_objects_are_sent_again_only_when_old_or_somebody_joined(graph, sink, received):
    for tenth in range(9):
        sink.publish(snapshot(make_object(), stamp_ns=STAMP_NS + tenth * SECOND_NS // 10))
    graph.settle()
    assert len(received) == 1
    sink.publish(snapshot(make_object(), stamp_ns=STAMP_NS + SECOND_NS))
    graph.until(lambda: len(received) == 2)
    volatile = graph.listen(MarkerArray, TOPIC)
    graph.joined(sink, 2)
    sink.publish(snapshot(make_object(), stamp_ns=STAMP_NS + SECOND_NS))
    graph.until(lambda: volatile)


def test_what_did_not_change_is_not_built_again(sink):
    old = make_object(1)
    sink.publish(snapshot(old, make_object(2)))
    before = sink._cache.values({1: old}, tuple(sink.config.model_dump().values()))[1]
    sink.publish(snapshot(make_object(1), make_object(3)))
    after = sink._cache.values({1: old}, tuple(sink.config.model_dump().values()))[1]
    assert after is before


def test_deletions_are_repeated_for_a_while(graph, sink, received):
    sink.publish(snapshot(make_object(1)))
    graph.until(lambda: received)
    for second in range(1, 14):
        sink.publish(snapshot(stamp_ns=STAMP_NS + second * SECOND_NS))
        graph.until(lambda count=second + 1: len(received) == count)
    deleted = [any(m.action == Marker.DELETE for m in message.markers) for message in received]
    assert deleted == [False] + [True] * 10 + [False] * 3


def test_options_apply_while_running(graph, sink, received):
    sink.publish(snapshot(make_object()))
    graph.until(lambda: received)
    sink.config.max_triangles = 200
    sink.publish(snapshot(make_object()))
    graph.until(lambda: len(received) == 2)
    counts = [
        sum(len(m.points) for m in message.markers if m.ns == 'mesh') for message in received
    ]
    assert counts[1] <= 600 < counts[0]


def test_reset_deletes_everything_also_for_who_joins_late(graph, sink, received):
    sink.publish(snapshot(make_object(1), make_object(2)))
    graph.until(lambda: received)
    sink.reset()
    graph.until(lambda: len(received) == 2)
    assert all(marker.action == Marker.DELETE for marker in received[1].markers)
    assert len(received[1].markers) == 2 * len(NAMESPACES)
    late = graph.listen(MarkerArray, TOPIC, late=True)
    graph.until(lambda: late)
    assert all(marker.action == Marker.DELETE for marker in late[0].markers)


def test_objects_without_a_mesh_have_a_box_and_a_label(graph):
    sink = graph.start(ObjectMarkers, ObjectMarkersConfig())
    received = graph.listen(MarkerArray, TOPIC)
    graph.joined(sink)
    empty = Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    sink.publish(snapshot(dataclasses.replace(make_object(), mesh=empty)))
    graph.until(lambda: received)
    assert {marker.ns for marker in received[0].markers} == {'box', 'label'}
