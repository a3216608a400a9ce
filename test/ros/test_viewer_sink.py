"""The page of a running node: served where it is asked for, and empty work while nobody looks."""

from __future__ import annotations

import socket
import urllib.request

import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')
pytest.importorskip('viser', reason='viser is not installed (extra `viewer`)')

import msgspec
from node_graph import running
from recon3d_core.data import load_source
from std_srvs.srv import Trigger
from websockets.sync.client import connect

pytestmark = pytest.mark.ros
# A browser counts as soon as it says where it looks from.
CAMERA = {
    'type': 'ViewerCameraMessage',
    'wxyz': [1.0, 0.0, 0.0, 0.0],
    'position': [2.0, 0.0, 3.0],
    'fov': 1.0,
    'near': 0.1,
    'far': 100.0,
    'aspect': 1.3,
    'look_at': [0.0, 0.0, 0.0],
    'up_direction': [0.0, 0.0, 1.0],
}
FAST = {'detector.rate_hz': 15.0, 'budget_ms': 0.0, 'mesh.rate_hz': 15.0}


@pytest.fixture(scope='module')
def frames():
    return list(load_source('synthetic:single_mug?frames=8&width=320&height=240&path=arc'))


@pytest.fixture
def port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def page_of(graph):
    return graph.node._sinks['viewer'].page


def is_served(port):
    try:
        socket.create_connection(('127.0.0.1', port), 0.5).close()
    except OSError:
        return False
    return True


def test_it_is_there_only_where_it_is_asked_for(port):
    with running(sinks=['object_poses']) as graph:
        assert set(graph.node._sinks) == {'object_poses'}
    with running() as graph:
        assert 'viewer' not in graph.node._sinks
        assert 'viewer' not in graph.node.parameters.skipped
    with running(sinks=['object_poses'], viewer=True, **{'sink.viewer.port': port}) as graph:
        assert set(graph.node._sinks) == {'object_poses', 'viewer'}
        assert page_of(graph).url == f'http://localhost:{port}'


def test_who_opens_the_page_sees_the_scene(frames, port):
    with running(viewer=True, **{**FAST, 'sink.viewer.port': port}) as graph:
        page = page_of(graph)
        with urllib.request.urlopen(page.url, timeout=20) as answer:
            assert '<div id="root">' in answer.read().decode()
        asked = []
        scene = graph.node.pipeline.scene
        graph.node.pipeline.scene = lambda **parts: (asked.append(parts), scene(**parts))[1]
        graph.feed(frames)
        assert not any(asked), 'nobody looks, but a part was computed'
        assert not page.nodes
        with connect(f'ws://localhost:{port}', max_size=None) as browser:
            browser.send(msgspec.msgpack.encode(CAMERA))
            graph.wait(lambda: page.clients == 1, what='the browser')
            graph.wait(lambda: '/scene' in page.nodes, what='the scene')
            objects = graph.node.pipeline.scene().objects
            wanted = {f'/objects/{i}/{part}' for i in objects for part in ('mesh', 'box', 'label')}
            graph.wait(lambda: wanted <= set(page.nodes), what='the objects')
            assert objects
            assert f'{len(objects)} objects in map' in page._status.content
            assert graph.call(Trigger, '/recon3d/reset', Trigger.Request()).success
            graph.wait(lambda: not page.nodes, what='the empty page')
        graph.node.trigger_deactivate()
        graph.node.trigger_cleanup()
        graph.wait(lambda: not is_served(port), what='the end of the page')


def test_a_page_that_cannot_be_served_is_told(frames):
    with running(viewer=True, autostart=False, **{'sink.viewer.host': '203.0.113.7'}) as graph:
        graph.node.trigger_configure()
        assert 'the page cannot be served' in graph.node.failed
