"""The sink of the page is given snapshots as the others are."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')
pytest.importorskip('viser', reason='viser is not installed (extra `viewer`)')

from recon3d_ros.sinks.viewer import Viewer
from sink_graph import make_object, snapshot

pytestmark = pytest.mark.ros


def test_snapshots_of_the_sink(graph):
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port = found.getsockname()[1]
    sink = graph.start(Viewer, Viewer.Config(port=port))
    sink.publish(snapshot(make_object(1), make_object(2, center=(0.8, 0, 0.1))))
    assert '/objects/2/mesh' in sink.page.nodes
    sink.publish(snapshot(make_object(2, center=(0.8, 0, 0.1)), mesh=None))
    assert '/objects/1/mesh' not in sink.page.nodes
    assert '/scene' in sink.page.nodes, 'a snapshot without a surface leaves the one shown'
    sink.reset()
    assert not sink.page.nodes
    assert sink.subscribers() == 0
    sink.close()
