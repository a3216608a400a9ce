"""What every registered sink must do: to register is to be tested."""

import importlib.util

import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_core import registry
from recon3d_core.errors import PluginError
from recon3d_core.types import Scene
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.sinks.base import Sink, Snapshot
from sink_graph import make_object, snapshot, STAMP_NS

pytestmark = pytest.mark.ros

NEEDS = {
    'collision_objects': 'moveit_msgs',
    'detections3d': 'vision_msgs',
    'recognized_objects': 'object_recognition_msgs',
}


# The viewer publishes no messages; it has tests of its own.
PUBLISHING = [name for name in registry.names('sink') if name != 'viewer']


@pytest.fixture(params=PUBLISHING)
def sink_type(request):
    try:
        return registry.load('sink', request.param)
    except PluginError as error:
        if NEEDS.get(request.param, '?') in str(error):
            pytest.skip(str(error))
        raise


def first_header(message):
    return message.markers[0].header if hasattr(message, 'markers') else message.header


def test_declarations(sink_type):
    assert issubclass(sink_type, Sink)
    assert sink_type.name in registry.names('sink')
    assert sink_type.parts <= {'mesh', 'cloud', 'occupancy_grid'}
    assert sink_type.__doc__


def test_publishes_with_frame_and_stamp_and_to_who_joins_late(sink_type, graph):
    sink = graph.start(sink_type)
    publisher = sink.publishers[0]
    assert publisher.topic_name.startswith('/recon3d/')
    message_type = publisher.msg_type
    early = graph.listen(message_type, publisher.topic_name)
    graph.joined(sink)
    sink.publish(snapshot(make_object(), stamp_ns=STAMP_NS + 7))
    graph.until(lambda: early)
    late = graph.listen(
        message_type, publisher.topic_name, late=sink_type.name != 'collision_objects'
    )
    graph.joined(sink, 2)
    if sink_type.name == 'collision_objects':  # a stream of changes, told again instead
        sink.publish(snapshot(make_object(), stamp_ns=STAMP_NS + 7))
    graph.until(lambda: late)
    for message in (early[0], late[0]):
        header = first_header(message)
        assert header.frame_id == 'map'
        assert ns_from_time(header.stamp) == STAMP_NS + 7


def test_empty_scenes_resets_and_the_end(sink_type, graph):
    sink = graph.start(sink_type)
    empty = Snapshot(Scene(0, {}), 'map', STAMP_NS)
    for step in (sink.reset, lambda: sink.publish(empty), sink.reset, sink.reset):
        step()
    sink.publish(snapshot(make_object()))
    sink.reset()
    sink.publish(snapshot(make_object()))
    sink.publish(empty)
    sink.close()
    assert sink.subscribers() == 0


def test_nothing_is_sent_while_inactive(sink_type, graph):
    sink = graph.start(sink_type)
    received = graph.listen(sink.publishers[0].msg_type, sink.publishers[0].topic_name)
    graph.joined(sink)
    graph.node.trigger_deactivate()
    sink.publish(snapshot(make_object()))
    graph.settle()
    assert received == []


@pytest.mark.parametrize('name', NEEDS)
def test_a_missing_package_is_named(name):
    if importlib.util.find_spec(NEEDS[name]) is not None:
        pytest.skip(f'{NEEDS[name]} is installed')
    with pytest.raises(PluginError, match=NEEDS[name]):
        registry.load('sink', name)
