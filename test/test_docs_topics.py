"""docs/topics.md, the commands of ros2 and the listener example against a running node."""

from __future__ import annotations

import itertools
import os
import re
import runpy

import markdown_pages as pages
import numpy as np
import pytest

pytest.importorskip('rclpy')

import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from recon3d_core import registry
from recon3d_ros.conversions.clouds import cloud_message, OBJECT_DTYPE, object_points, SCENE_DTYPE
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.diagnostics import Diagnostics, Statistics
from recon3d_ros.inputs import CameraInput
from recon3d_ros.node import Recon3DNode
from recon3d_ros.parameters import NodeParameters, POSE_SOURCE
from recon3d_ros.sinks.base import LATCHED
from sensor_msgs.msg import PointCloud2

pytestmark = pytest.mark.ros

ROOT = pages.ROOT
TOPICS = ROOT / 'docs/topics.md'
DOMAIN_ID = 20 + os.getpid() % 80
# Parameters of a node, so that together they subscribe to every input.
VARIANTS = [
    {'pose_source.plugin': 'pose', 'use_masks': True},
    {
        'pose_source.plugin': 'odometry',
        'image_transport': 'compressed',
        'depth_transport': 'compressed',
    },
    {
        'pose_source.plugin': 'static',
        'image_transport': 'compressed',
        'depth_transport': 'compressedDepth',
        'use_color': False,
    },
    {'pose_source.plugin': 'tf', 'use_depth': False},
]
# What every lifecycle node has.
OWN = {'/parameter_events', '/rosout', '/clock', '/recon3d/transition_event'}


@pytest.fixture
def context():
    """Return a context of its own."""
    found = Context()
    rclpy.init(context=found, domain_id=DOMAIN_ID, signal_handler_options=SignalHandlerOptions.NO)
    yield found
    rclpy.try_shutdown(context=found)


@pytest.fixture(params=VARIANTS, ids=lambda values: values['pose_source.plugin'])
def node(request, context):
    """Return an active node."""
    if request.param['pose_source.plugin'] == 'tf':
        pytest.importorskip('tf2_msgs')
    values = {'cameras': ['wrist'], 'autostart': False, **request.param}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    found = Recon3DNode(context=context, parameter_overrides=overrides)
    found.trigger_configure()
    found.trigger_activate()
    assert found.worker is not None, found.failed
    yield found
    found.destroy_node()


def qos_in_words(qos: QoSProfile) -> str:
    reliable = qos.reliability == ReliabilityPolicy.RELIABLE
    kept = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
    if reliable and kept and qos.depth == 1:
        return 'latched'
    if not reliable and not kept and qos.depth == 5:
        return 'sensor data'
    words = ['reliable' if reliable else 'best effort', *(['transient local'] if kept else [])]
    return ', '.join([*words, f'depth {qos.depth}'])


def type_in_words(kind: type, part: str) -> str:
    return f'{kind.__module__.split(".")[0]}/{part}/{kind.__name__}'


def holds(condition: str, values: dict) -> bool:
    """Return whether a condition such as `use_color, and image_transport: raw` holds."""
    for term in filter('always'.__ne__, condition.split(', and ')):
        name, _, wanted = term.partition(': ')
        if str(values[name]) != (wanted or 'True'):
            return False
    return True


def test_inputs(node):
    values = node.parameters.flat()
    expected = {
        (topic.replace('<cam>', '/wrist'), kind, qos)
        for topic, kind, qos, condition in pages.tables(
            TOPICS, 'topic', 'type', 'QoS', 'subscribed when'
        )
        if holds(condition, values)
    } | {
        (topic.replace('~', '/recon3d'), kind, qos)
        for topic, kind, qos, _ in pages.tables(TOPICS, 'topic', 'type', 'QoS', 'command')
    }
    found = {
        (item.topic_name, type_in_words(item.msg_type, 'msg'), qos_in_words(item.qos_profile))
        for item in node.subscriptions
        if item.topic_name not in OWN
    }
    assert found == expected


def test_outputs_and_services(node):
    rows = pages.tables(TOPICS, 'topic', 'type', 'QoS', 'sink')
    skipped = set(node.parameters.skipped)
    # The viewer serves a page and publishes nothing.
    assert {row[3] for row in rows if row[3]} == set(registry.BUILTINS['sink']) - {'viewer'}
    expected = {
        (topic.replace('~', '/recon3d'), kind, qos)
        for topic, kind, qos, sink in rows
        if sink not in skipped
    }
    found = {
        (item.topic_name, type_in_words(item.msg_type, 'msg'), qos_in_words(item.qos_profile))
        for item in node.publishers
        if item.topic_name not in OWN
    }
    assert found == expected
    documented = {
        (name.replace('~', '/recon3d'), kind)
        for name, kind, _ in pages.tables(TOPICS, 'service', 'type', 'what it does')
    }
    offered = {
        (item.service_name, type_in_words(item.srv_type, 'srv'))
        for item in node.services
        if type_in_words(item.srv_type, 'srv').startswith('std_srvs')
    }
    assert offered == documented


def test_fields_of_clouds():
    documented = {}
    for names, kind, cloud, _ in pages.tables(TOPICS, 'field', 'type', 'cloud', 'meaning'):
        for name in names.split():
            documented[name] = (kind, cloud)
    assert list(documented) == list(OBJECT_DTYPE.names)
    for name, (kind, cloud) in documented.items():
        assert OBJECT_DTYPE[name].name == kind
        assert (cloud == 'both') == (name in SCENE_DTYPE.names)


def test_diagnostics(context):
    node = rclpy.create_node('recon3d', context=context)
    settings = NodeParameters.from_values({'pose_source.plugin': 'pose'}).node
    camera = CameraInput(node, 'wrist', lambda: settings, lambda: None)
    camera.counts.update(complete=2, displaced=1, no_camera_info=1)
    statistics = Statistics()
    statistics.drop('no_pose', 'no pose arrived yet')
    statistics.reset('stamps went back')
    statistics.integrate(0.1, {'detect': 20.0})
    statistics.publish('scene_mesh')
    statistics.pipeline = {'objects': 3.0}
    message = Diagnostics('recon3d', 'wrist').message(
        statistics, [camera], True, {'collision_objects': 'no moveit_msgs'}
    )
    statuses = [name for name, _ in pages.tables(TOPICS, 'status', 'warns when')]
    found = [item.name for item in message.status]
    assert found == [name.replace('<cam>', 'wrist') for name in statuses]

    rows = pages.tables(TOPICS, 'status', 'key', 'meaning')
    titles = ['pipeline', 'pose source', 'camera', 'outputs']
    for title, item in zip(titles, message.status, strict=True):
        patterns = [
            re.sub(r'<\w+>', '.+', re.escape(key)) for status, key, _ in rows if status == title
        ]
        keys = [pair.key for pair in item.values]
        for key in keys:
            assert any(re.fullmatch(pattern, key) for pattern in patterns), (title, key)
        for pattern in patterns:
            assert any(re.fullmatch(pattern, key) for key in keys), (title, pattern)
    node.destroy_node()


@pytest.mark.parametrize('page', pages.PAGES, ids=lambda page: page.name)
def test_ros2_commands(page):
    known = {info.path: info for info in NodeParameters.from_values({}).options()}
    services = dict(row[:2] for row in pages.tables(TOPICS, 'service', 'type', 'what it does'))
    launch = {path.name for path in (ROOT / 'launch').glob('*.py')}
    for words in pages.commands(page, 'ros2'):
        if words[1:3] == ['run', 'recon3d_ros']:
            assert words[3] == 'recon3d_node'
            for flag, value in itertools.pairwise(words):
                if flag == '-p':
                    assert value.partition(':=')[0] in known, words
                if flag == '--params-file':
                    assert (ROOT / value.removeprefix('src/recon3d/')).is_file(), words
        elif words[1:3] == ['param', 'set'] and len(words) > 4:
            assert words[3] == '/recon3d', words
            assert known[words[4]].live or words[4] == POSE_SOURCE, words
        elif words[1:3] == ['service', 'call']:
            assert services[words[3].replace('/recon3d', '~')] == words[4]
        elif words[1:3] == ['launch', 'recon3d_ros']:
            assert words[3] in launch, words
            text = (ROOT / 'launch' / words[3]).read_text(encoding='utf-8')
            for argument in filter('-s'.__ne__, words[4:]):
                assert f"'{argument.partition(':=')[0]}'" in text, words


def test_listener_example(context):
    example = runpy.run_path(str(ROOT / 'examples/listen_to_objects.py'))
    heard: list[str] = []
    node = rclpy.create_node('talker', context=context)
    publisher = node.create_publisher(PointCloud2, '/recon3d/objects/points', LATCHED)
    points_m = np.array([[1, 2, 3], [1.1, 2, 3]], np.float32)
    points = object_points(points_m, None, 7, np.ones(2), np.array([True, False]))
    publisher.publish(cloud_message(points, make_header('map', 1)))
    listener = example['Listener'](heard.append, context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    for _ in range(100):
        executor.spin_once(timeout_sec=0.1)
        if heard:
            break
    assert heard, 'nothing arrived'
    assert heard[0].startswith('object 7 in map: at [1.05')
    assert '50% seen' in heard[0]
    executor.shutdown()
    listener.destroy_node()
    node.destroy_node()
