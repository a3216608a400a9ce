"""Matching by stamp against a slow obvious reference; conversion of what belongs together."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from node_graph import running
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.errors import FrameError
from recon3d_core.geometry.cameras import Camera
from recon3d_ros.conversions.camera_info import info_from_camera
from recon3d_ros.conversions.images import image_from_color, image_from_depth
from recon3d_ros.inputs import Matcher, open_cameras, wanted_streams
from recon3d_ros.parameters import NodeConfig, NodeParameters
from recon3d_ros.raw_frame import RawFrame

pytestmark = pytest.mark.ros
CAMERA = Camera(32, 24, 30.0, 30.0, 15.5, 11.5)


def options(**values):
    return NodeParameters.from_values({'pose_source.plugin': 'static', **values}).node


def raw(**changes) -> RawFrame:
    rgb = np.full((24, 32, 3), 7, np.uint8)
    depth_m = np.linspace(0.1, 5.0, 24 * 32, dtype=np.float32).reshape(24, 32)
    values = {
        'camera': 'camera',
        'stamp_ns': 5,
        'frame_id': 'optical',
        'info': info_from_camera(CAMERA),
        'image': image_from_color(rgb),
        'depth': image_from_depth(depth_m),
    }
    return RawFrame(**{**values, **changes})


def reference_sets(arrivals, slop):
    """Every complete set of unused stamps, when its last part arrives, nearest first."""
    waiting, found = ([], []), []
    for stream, stamp in arrivals:
        waiting[stream].append(stamp)
        near = [s for s in waiting[1 - stream] if abs(s - stamp) <= slop]
        if near:
            other = min(near, key=lambda s: abs(s - stamp))
            pair = (stamp, other) if stream == 0 else (other, stamp)
            found.append(pair)
            for one, used in zip(waiting, pair):
                one[:] = [s for s in one if s > used]
    return found


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60)), max_size=8), st.integers(0, 9))
def test_matcher_equals_the_reference(arrivals, slop):
    matcher = Matcher(2)
    found = [matcher.add(i, stamp, stamp, slop) for i, stamp in arrivals]
    assert [pair for pair in found if pair] == reference_sets(arrivals, slop)


def test_a_late_stream_is_paired_whole():
    matcher = Matcher(2)
    assert not any(matcher.add(0, stamp, f'c{stamp}', 5) for stamp in (0, 66, 133))
    assert [matcher.add(1, stamp, f'd{stamp}', 5) for stamp in (1, 67, 134)] == [
        ('c0', 'd1'),
        ('c66', 'd67'),
        ('c133', 'd134'),
    ]
    assert matcher.unpaired == 0


def test_three_streams_wait_for_the_last():
    matcher = Matcher(3)
    assert matcher.add(0, 10, 'color', 3) is None
    assert matcher.add(2, 11, 'mask', 3) is None
    assert matcher.add(1, 9, 'depth', 3) == ('color', 'depth', 'mask')


def test_memory_is_bounded_and_losses_are_counted():
    matcher = Matcher(2)
    for stamp in range(1000):
        matcher.add(0, stamp * 100, None, 5)
    assert sum(map(len, matcher._waiting)) <= 8
    assert matcher.unpaired == 992


def test_a_single_stream_needs_no_partner():
    assert Matcher(1).add(0, 3, 'image', 0) == ('image',)


def test_conversion():
    frame = raw().to_frame(options(max_range_m=3.0, min_range_m=1.0))
    assert frame.stamp_ns == 5
    assert frame.camera == CAMERA
    assert frame.rgb.shape == (24, 32, 3)
    seen = frame.depth_m[frame.depth_m > 0]
    assert 1.0 <= seen.min() < seen.max() <= 3.0


@pytest.mark.parametrize(
    ('change', 'reason', 'topic'),
    [
        (
            {'depth': image_from_depth(np.ones((12, 16), np.float32))},
            'size_mismatch',
            'camera/depth',
        ),
        ({'info': info_from_camera(CAMERA.scaled(2))}, 'camera_info_size', 'camera/camera_info'),
        (
            {'image': image_from_depth(np.ones((24, 32), np.float32))},
            'bad_encoding',
            'camera/image',
        ),
    ],
)
def test_an_error_names_topic_and_reason(change, reason, topic):
    with pytest.raises(FrameError) as caught:
        raw(**change).to_frame(options())
    assert caught.value.reason == reason
    assert topic in str(caught.value)
    assert '\n' not in str(caught.value)


def test_masks_become_one_image_per_object():
    numbers = np.zeros((24, 32), np.float32)
    numbers[2:9, 3:8], numbers[10:20, 10:30] = 0.004, 0.300
    masks = raw(mask=image_from_depth(numbers)).to_frame(options()).masks
    assert sorted(masks) == [4, 300]
    assert masks[4].sum() == 35


def test_a_hostile_mask_does_not_fill_the_memory():
    numbers = np.arange(24 * 32, dtype=np.float32).reshape(24, 32) * 1e-3
    with pytest.raises(FrameError, match='768 numbers') as caught:
        raw(mask=image_from_depth(numbers)).to_frame(options())
    assert caught.value.reason == 'bad_mask'


def test_streams_follow_the_options():
    assert wanted_streams(options()) == ['image', 'depth']
    assert wanted_streams(options(use_depth=False, use_masks=True)) == ['image', 'mask']


def test_a_busy_worker_gets_the_newest_and_the_rest_is_counted():
    frames = list(load_source('synthetic:single_box?frames=2&width=64&height=48&path=arc'))
    with running(queue_size=1) as graph:
        graph.feed(frames[:1])
        camera = graph.node.worker.on.inputs[0]
        graph.node.worker.enabled = False
        stamps = [graph.send(frames[1]) for _ in range(5)]
        graph.wait(lambda: camera.counts['displaced'] == 4)
        assert camera.take().stamp_ns == stamps[-1]
        assert camera.take() is None


def test_a_queue_bridges_a_busy_moment():
    frames = list(load_source('synthetic:single_box?frames=2&width=64&height=48&path=arc'))
    with running(queue_size=4) as graph:
        graph.feed(frames[:1])
        camera = graph.node.worker.on.inputs[0]
        graph.node.worker.enabled = False
        stamps = []
        for count in range(2, 8):  # one by one: a burst may be lost on the way
            stamps.append(graph.send(frames[1]))
            graph.wait(lambda count=count: camera.counts['complete'] == count)
        assert camera.counts['displaced'] == 2
        assert [camera.take().stamp_ns for _ in range(4)] == stamps[2:]


def test_where_a_camera_cannot_be_subscribed_to_nothing_is_left():
    held, made = [], []

    def subscribe(kind, topic, *_, **__):
        if topic == 'right/depth':
            raise ValueError('no such QoS')
        made.append(topic)
        held.append(topic)
        return topic

    node = SimpleNamespace(create_subscription=subscribe, destroy_subscription=held.remove)
    settings = NodeConfig(cameras=['left', 'right'])
    with pytest.raises(ValueError, match='no such QoS'):
        open_cameras(node, lambda: settings, lambda: None, None)
    assert 'right/camera_info' in made
    assert held == []
