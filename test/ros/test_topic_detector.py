"""The detector `topic`: what messages mean, which frame they belong to, and a real graph."""

from __future__ import annotations

import math
import threading
import time
from types import SimpleNamespace as Thing

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from geometry_msgs.msg import Point32, PolygonStamped
from rclpy.qos import qos_profile_sensor_data
from recon3d_core import registry
from recon3d_core.config import validate
from recon3d_core.errors import FrameError, RunError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.types import Frame
from recon3d_ros import topic_detector
from recon3d_ros.topic_detector import found_of, TopicConfig, TopicDetector

pytestmark = pytest.mark.ros

CAMERA = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
MS = 1_000_000


def box(x, y, width, height, *results, theta=0.0):
    """Return what has the attributes of vision_msgs/Detection2D."""
    center = Thing(position=Thing(x=x, y=y), theta=theta)
    given = [Thing(hypothesis=Thing(class_id=label, score=score)) for label, score in results]
    return Thing(bbox=Thing(center=center, size_x=width, size_y=height), results=given)


def message(*boxes):
    return Thing(detections=list(boxes))


class Untyped(TopicDetector):
    """Takes what has the messages' attributes, so that vision_msgs need not be installed."""

    def import_message(self):
        return object


def detector(kind=Untyped, **options):
    return kind(validate(TopicConfig, {'min_pixels': 1, 'masks': 'box', **options}))


def frame(stamp_ns):
    return Frame(stamp_ns, CAMERA, np.full((48, 64, 3), 90, np.uint8))


def test_of_several_hypotheses_the_best_and_turned_boxes_upright():
    found = found_of(
        message(
            box(10, 20, 4, 8, ('cup', 0.2), ('bowl', 0.7)),
            box(10, 20, 4, 8, theta=math.pi / 2),
        )
    )
    np.testing.assert_allclose(found.boxes_xyxy, [[8, 16, 12, 24], [6, 18, 14, 22]])
    assert (found.labels, found.scores.tolist()) == (['bowl', 'object'], [0.7, 1.0])
    assert len(found_of(message()).labels) == 0


def test_the_real_message_means_the_same():
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    item = messages.Detection2D()
    item.bbox.center.position.x, item.bbox.center.position.y = 10.0, 20.0
    item.bbox.size_x, item.bbox.size_y = 4.0, 8.0
    hypothesis = messages.ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = 'cup', 0.5
    item.results = [hypothesis]
    found = found_of(messages.Detection2DArray(detections=[item]))
    np.testing.assert_allclose(found.boxes_xyxy, [[8, 16, 12, 24]])
    assert registry.load('detector', 'topic')().message_type is messages.Detection2DArray


@pytest.mark.parametrize(
    'bad', [box(math.nan, 1, 2, 2), box(1, 1, 2, 2, theta=math.inf), box(9, 9, -2, 2)]
)
def test_unsound_boxes_drop_the_frame(bad):
    made = detector()
    made.listener('camera')(7, message(bad))
    with pytest.raises(FrameError) as caught:
        made.detect(frame(7))
    assert caught.value.reason == 'bad_detections'


def test_boxes_go_to_the_frame_of_their_stamp():
    made = detector(tolerance_s=0.004, timeout_s=0.0)
    listen = made.listener('camera')
    listen(100 * MS, message(box(10, 10, 4, 4, ('a', 0.5))))
    listen(200 * MS, message(box(20, 10, 4, 4, ('b', 0.5))))
    assert [item.label for item in made.detect(frame(197 * MS)).items] == ['b']
    [item] = made.detect(frame(100 * MS)).items
    assert (item.label, item.box_xyxy, item.score) == ('a', (8, 8, 11, 11), 0.5)
    between = made.detect(frame(150 * MS))
    assert (between.looked, between.items) == (False, ())
    made.reset()
    assert not made.detect(frame(100 * MS)).looked


def test_boxes_that_never_meet_their_frame_are_told_once(caplog):
    made = detector(timeout_s=0.0)
    listen = made.listener('camera')
    for number in range(1, 100):
        listen(100 * number * MS, message())
        assert not made.detect(frame((100 * number + 50) * MS)).looked
    assert caplog.text.count('boxes arrive on camera/detections, but') == 1
    assert made.detect(frame(9900 * MS)).looked


def test_boxes_of_another_size_are_scaled_where_that_is_told():
    made = detector(boxes_width_px=128, boxes_height_px=24)
    made.listener('camera')(7, message(box(20, 10, 8, 4, ('a', 0.5))))
    [item] = made.detect(frame(7)).items
    assert item.box_xyxy == (8, 16, 11, 23)


def test_a_frame_waits_for_its_boxes_but_not_for_a_node_that_is_gone(monkeypatch):
    made = detector(timeout_s=5.0)
    listen = made.listener('camera')
    later = threading.Timer(0.05, lambda: listen(7, message(box(10, 10, 4, 4))))
    later.start()
    assert len(made.detect(frame(7)).items) == 1
    later.join()
    listen(900 * MS, message())
    begin = time.monotonic()
    assert not made.detect(frame(500 * MS)).looked  # a later one is here: none will come
    assert time.monotonic() - begin < 4.0
    monkeypatch.setattr(topic_detector, '_SILENT_S', 0.0)
    # The camera paused, and its boxes did so too.
    later = threading.Timer(0.05, lambda: listen(1000 * MS, message(box(10, 10, 4, 4))))
    later.start()
    assert len(made.detect(frame(1000 * MS)).items) == 1
    later.join()
    made.config.timeout_s = 0.05
    with pytest.raises(RunError, match='nothing arrives on camera/detections'):
        made.detect(frame(1100 * MS))


class Polygons(TopicDetector):
    """Hears two corners of a box as a polygon, a message that every ROS has."""

    name = 'polygons'

    def import_message(self):
        return PolygonStamped

    def _wait(self, frame):
        said = super()._wait(frame)
        if said is None:
            return None
        a, b = said.polygon.points
        return message(box((a.x + b.x) / 2, (a.y + b.y) / 2, b.x - a.x, b.y - a.y))


def test_in_a_running_node(monkeypatch):
    import node_graph

    monkeypatch.setenv('RECON3D_PLUGINS', f'detector:polygons={__name__}:Polygons')
    options = {
        'detector.plugin': 'polygons',
        'detector.timeout_s': 3.0,
        'use_depth': False,
        'sinks': ['object_poses'],
    }
    with node_graph.running(**options) as graph:
        publisher = graph.driver.create_publisher(
            PolygonStamped, 'camera/detections', qos_profile_sensor_data
        )
        seen = []
        looks = graph.node.pipeline.detector.detect
        monkeypatch.setattr(
            graph.node.pipeline.detector, 'detect', lambda f: seen.append(looks(f)) or seen[-1]
        )
        graph.topics()
        graph.wait(publisher.get_subscription_count, what='discovery')
        shown = Frame(0, CAMERA, np.full((48, 64, 3), 90, np.uint8), None, np.eye(4))
        stamp_ns = graph.send(shown)
        said = PolygonStamped()
        said.header.stamp.sec, said.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        said.polygon.points = [Point32(x=10.0, y=10.0), Point32(x=30.0, y=30.0)]
        publisher.publish(said)
        graph.wait(lambda: seen, what='a look')
        [item] = seen[0].items
        assert item.box_xyxy[0] >= 10
        assert item.box_xyxy[2] <= 29
        assert graph.node._inputs[0].topics['detections'].count == 1
