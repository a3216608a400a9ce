"""Two hundred malformed messages of every kind, mixed into a good stream."""

from __future__ import annotations

import array
from collections import Counter

from node_graph import FIRST_STAMP_NS, PERIOD_NS, running
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_ros.conversions.headers import make_header

pytestmark = [pytest.mark.ros, pytest.mark.slow]
SOURCE = 'synthetic:single_mug?frames=25&width=320&height=240&path=arc'
PARAMETERS = {'detector.rate_hz': 15.0, 'budget_ms': 0.0, 'pose_source.timeout_s': 0.05}
SECOND = 1_000_000_000
REPEATS = 10


@pytest.fixture(scope='module')
def frames():
    return list(load_source(SOURCE))


def cut(data, count):
    return array.array('B', bytes(data)[:count])


# Each takes the messages of a good frame by topic, and spoils one of them.
def small_step(m):
    m['image'].step = 10


def short_color(m):
    m['image'].data = cut(m['image'].data, 1000)


def short_depth(m):
    m['depth'].data = cut(m['depth'].data, 1000)


def no_data(m):
    m['depth'].data = array.array('B')


def unknown_encoding(m):
    m['image'].encoding = 'rgb9\n\x07'


def color_as_depth(m):
    m['depth'].encoding = 'rgb8'
    m['depth'].step = 3 * m['depth'].width
    m['depth'].data = array.array('B', bytes(m['depth'].step * m['depth'].height))


def zero_size(m):
    m['image'].width = m['image'].height = m['image'].step = 0
    m['image'].data = array.array('B')


def huge_size(m):
    m['depth'].width = m['depth'].height = m['depth'].step = 2**32 - 1


def other_size(m):
    m['depth'].height //= 2
    m['depth'].data = cut(m['depth'].data, len(m['depth'].data) // 2)


def uncalibrated(m):
    m['camera_info'].k = [0.0] * 9


def info_of_another_size(m):
    m['camera_info'].width, m['camera_info'].height = 1, 1


def info_with_nan(m):
    m['camera_info'].k[0] = float('nan')


def unknown_distortion(m):
    m['camera_info'].distortion_model = 'fish'
    m['camera_info'].d = [0.1]


def nan_pose(m):
    m['pose'].pose.position.x = float('nan')


def zero_quaternion(m):
    q = m['pose'].pose.orientation
    q.x = q.y = q.z = q.w = 0.0


def pose_elsewhere(m):
    m['pose'].header.frame_id = 'moon'


def no_pose(m):
    m['pose'].header.stamp.sec += 5000


def all_stamped(m, stamp_ns):
    for message in m.values():
        message.header.stamp = make_header('', stamp_ns).stamp


def no_stamp(m):
    all_stamped(m, 0)


def far_future(m):
    all_stamped(m, FIRST_STAMP_NS + 10**6 * SECOND)


def long_past(m):
    all_stamped(m, FIRST_STAMP_NS - 900 * SECOND)


REASONS = {
    small_step: {'bad_step'},
    short_color: {'short_data'},
    short_depth: {'short_data'},
    no_data: {'short_data', 'zero_size'},
    unknown_encoding: {'bad_encoding'},
    color_as_depth: {'bad_encoding'},
    zero_size: {'zero_size'},
    huge_size: {'absurd_size'},
    other_size: {'size_mismatch'},
    uncalibrated: {'uncalibrated'},
    info_of_another_size: {'camera_info_size'},
    info_with_nan: {'bad_camera_info'},
    unknown_distortion: {'bad_distortion'},
    nan_pose: {'bad_pose'},
    zero_quaternion: {'bad_pose'},
    pose_elsewhere: {'pose_frame'},
    no_pose: {'no_pose', 'pose_gap'},
    no_stamp: {'no_stamp'},
    far_future: {'stamp_jump'},
    long_past: {'stamp_jump'},
}


def send_spoilt(graph, frame, spoil, stamp_ns):
    topics = graph.topics()
    names = {
        topics.image: 'image',
        topics.depth: 'depth',
        topics.info: 'camera_info',
        topics.pose: 'pose',
    }
    messages = {names[publisher]: m for publisher, m in topics.messages(frame, np.eye(4))}
    publishers = {name: publisher for publisher, name in names.items()}
    for name, message in messages.items():
        message.header = make_header('map' if name == 'pose' else 'optical', stamp_ns)
    spoil(messages)
    for name in ('pose', 'camera_info', 'image', 'depth'):
        publishers[name].publish(messages[name])


def objects_of(graph):
    """Return centre and size of every object, once all work is done."""
    graph.node.worker.call(graph.node.pipeline.flush).result(60)
    found = graph.node.pipeline.scene().objects.values()
    return [(o.T_world_object[:3, 3], o.size_m) for o in found]


def test_two_hundred_hostile_messages_change_nothing(frames):
    with running(**PARAMETERS) as graph:
        graph.feed(frames)
        expected = objects_of(graph)
    assert expected

    with running(**PARAMETERS) as graph:
        graph.feed(frames[:1])
        counted = Counter()
        kinds = list(REASONS) * REPEATS
        per_frame = -(-len(kinds) // (len(frames) - 1))
        for number, frame in enumerate(frames[1:], 1):
            for turn, spoil in enumerate(kinds[(number - 1) * per_frame : number * per_frame]):
                stamp_ns = FIRST_STAMP_NS + graph.sent * PERIOD_NS - PERIOD_NS // 2
                stamp_ns += turn * 1_000_000
                before = graph.node.statistics.drops.copy()
                send_spoilt(graph, frame, spoil, stamp_ns)
                graph.wait(
                    lambda before=before: graph.node.statistics.drops != before,
                    what=spoil.__name__,
                )
                (reason,) = graph.node.statistics.drops - before
                assert reason in REASONS[spoil], f'{spoil.__name__}: {reason}'
                counted[spoil.__name__] += 1
            graph.feed([frame])
        assert sum(counted.values()) == 200
        assert sum(graph.node.statistics.drops.values()) == 200
        assert graph.node.statistics.drops['internal_error'] == 0
        assert graph.node.statistics.integrated == len(frames)
        assert not graph.node.statistics.resets
        got = objects_of(graph)
    assert len(got) == len(expected)
    for (center, size), (true_center, true_size) in zip(got, expected):
        np.testing.assert_allclose(center, true_center, atol=0.005)
        np.testing.assert_allclose(size, true_size, atol=0.01)
