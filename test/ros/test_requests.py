"""Services and requests on a real graph: files beside the frames, maps, timings, boxes to forget."""

from __future__ import annotations

import json
import queue
import threading
from types import SimpleNamespace

from geometry_msgs.msg import Point32, Polygon, PolygonStamped, PoseArray
from node_graph import running
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.errors import FrameError
from recon3d_core.geometry.transforms import look_at
from recon3d_core.scene.output import Output
from recon3d_ros import clearing
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.services import Services
from recon3d_ros.worker import Worker
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import UInt32
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.ros
FAST = {'detector.rate_hz': 15.0, 'budget_ms': 0.0, 'mesh.rate_hz': 15.0}


@pytest.fixture(scope='module')
def frames():
    return list(load_source('synthetic:single_mug?frames=8&width=320&height=240&path=arc'))


def trigger(graph, name):
    return graph.call(Trigger, f'/recon3d/{name}', Trigger.Request())


def polygon(points, frame_id='map', stamp_ns=0):
    corners = [Point32(x=float(x), y=float(y), z=float(z)) for x, y, z in points]
    return PolygonStamped(header=make_header(frame_id, stamp_ns), polygon=Polygon(points=corners))


def corners_of(estimate, margin_m=0.03):
    """Two opposite corners of the box along the world's axes around an object."""
    points = estimate.mesh.vertices_m
    return np.stack([points.min(0) - margin_m, points.max(0) + margin_m])


def test_frames_go_on_while_files_are_written(frames, tmp_path, monkeypatch):
    write, release, begun = Output.write, threading.Event(), threading.Event()

    def slow(self, directory):
        begun.set()
        assert release.wait(60)
        return write(self, directory)

    monkeypatch.setattr(Output, 'write', slow)
    with running(**FAST, save_directory=str(tmp_path / 'out')) as graph:
        graph.feed(frames[:5])
        client = graph.driver.create_client(Trigger, '/recon3d/save')
        assert client.wait_for_service(10)
        future = client.call_async(Trigger.Request())
        graph.wait(begun.is_set)
        graph.feed(frames[5:])
        assert trigger(graph, 'timings').success
        assert not future.done()
        release.set()
        graph.wait(future.done)
        assert future.result().success, future.result().message
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    assert summary['frames']['integrated'] == 5, 'what came after the call is not in it'
    assert summary['objects']


def test_a_scene_that_is_being_saved_when_the_node_is_cleaned_up_is_saved_and_told(
    frames, tmp_path, monkeypatch
):
    write, release, begun = Output.write, threading.Event(), threading.Event()

    def slow(self, directory):
        begun.set()
        assert release.wait(60)
        return write(self, directory)

    monkeypatch.setattr(Output, 'write', slow)
    with running(**FAST, save_directory=str(tmp_path)) as graph:
        graph.feed(frames[:2])
        client = graph.driver.create_client(Trigger, '/recon3d/save')
        assert client.wait_for_service(10)
        first = client.call_async(Trigger.Request())
        graph.wait(begun.is_set)
        second = client.call_async(Trigger.Request())  # its files would come after the first ones
        (services,) = (r for r in graph.node._requests if isinstance(r, Services))
        graph.wait(lambda: services._files._work_queue.qsize() == 1, what='the second request')
        graph.node.trigger_deactivate()
        graph.node.trigger_cleanup()
        release.set()
        graph.wait(lambda: first.done() and second.done(), what='answers')
        assert first.result().success
        assert (tmp_path / 'summary.json').is_file()
        assert not second.result().success
        graph.wait(lambda: not services._services, what='removal of the service')
        assert not graph.node.statistics.errors
        assert not graph.node.statistics.drops


def test_a_command_that_comes_while_the_worker_stops_is_cancelled():
    worker = Worker(None)

    class Slow(queue.SimpleQueue):
        def put(self, item):
            worker.stop(0.0)
            super().put(item)

    worker._commands = Slow()
    assert worker.call(lambda: None).cancelled()


def test_what_a_frame_made_raise_is_in_the_summary_once(frames, tmp_path, monkeypatch):
    with running(**FAST, save_directory=str(tmp_path)) as graph:
        graph.feed(frames[:2])
        with monkeypatch.context() as patch:
            patch.setattr(graph.node.pipeline.mapper, 'integrate', lambda _: 1 / 0)
            graph.send(frames[2])
            graph.wait(lambda: graph.node.statistics.drops['internal_error'])
        graph.feed(frames[3:4])
        assert trigger(graph, 'save').success
    frames_saved = json.loads((tmp_path / 'summary.json').read_text())['frames']
    assert frames_saved == {'read': 4, 'integrated': 3, 'dropped': {'internal_error': 1}}


def test_timings(frames):
    with running(**FAST) as graph:
        graph.listen(PoseArray, '/recon3d/objects/poses')
        graph.listen(PointCloud2, '/recon3d/scene/points')
        graph.feed(frames)
        wanted = {'integrate', 'detect', 'mesh', 'convert', 'wait for pose'}
        wanted |= {'publish object_poses', 'publish scene_points', 'extract cloud'}
        graph.wait(lambda: wanted <= set(graph.node.statistics.stages.summary()))
        answer = trigger(graph, 'timings')
        assert answer.success
        head, *rows = answer.message.splitlines()
        assert head.split() == ['stage', 'rate', '[Hz]', 'p50', '[ms]', 'p95', '[ms]', 'runs']
        table = {row[:28].strip(): [float(v) for v in row[28:].split()] for row in rows}
        assert wanted <= set(table)
        rate_hz, p50_ms, p95_ms, runs = table['integrate']
        assert runs == len(frames)
        assert rate_hz > 0
        assert 0 < p50_ms <= p95_ms


def test_a_map_is_saved_and_loaded_by_another_node(frames, tmp_path):
    path = tmp_path / 'maps/room.npz'
    with running(**FAST, map_file=str(path)) as graph:
        clouds = graph.listen(PointCloud2, '/recon3d/scene/points')
        graph.feed(frames)
        answer = trigger(graph, 'save_map')
        assert answer.success, answer.message
        assert str(path) in answer.message
        graph.wait(lambda: clouds and clouds[-1].width > 100)
        count = graph.node.pipeline.scene(cloud=True).cloud.points_m.shape[0]
    assert path.is_file()
    with running(**FAST, map_file=str(path)) as graph:
        clouds = graph.listen(PointCloud2, '/recon3d/scene/points')
        mesh = graph.listen(Marker, '/recon3d/scene/mesh')
        assert trigger(graph, 'load_map').success
        # No frame came: the map is shown nevertheless, in the world and with a time.
        graph.wait(lambda: clouds and mesh, what='the loaded map')
        assert clouds[-1].width == count
        assert clouds[-1].header.frame_id == 'map'
        assert clouds[-1].header.stamp.sec > 0
        graph.feed(frames[:2])
        path.write_bytes(b'nothing of the kind')
        answer = trigger(graph, 'load_map')
        assert not answer.success
        assert 'not a saved map' in answer.message
        graph.feed(frames[2:3])
    with running(map_file=str(tmp_path / 'absent.npz')) as graph:
        answer = trigger(graph, 'load_map')
        assert not answer.success
        assert 'absent.npz' in answer.message


def test_requests_to_an_inactive_node_are_answered(frames):
    with running(autostart=False) as graph:
        graph.node.trigger_configure()
        for name in ('save', 'save_map', 'load_map', 'timings', 'reset'):
            answer = trigger(graph, name)
            assert not answer.success
            assert answer.message == 'the node is not active'


def test_a_box_is_forgotten_with_its_object(frames):
    with running(**FAST) as graph:
        markers = graph.listen(MarkerArray, '/recon3d/objects/markers', 100)
        graph.feed(frames)
        objects = graph.node.pipeline.scene().objects
        number, estimate = next(iter(objects.items()))
        publisher = graph.driver.create_publisher(PolygonStamped, '/recon3d/clear_box', 10)
        graph.wait(publisher.get_subscription_count)
        graph.wait(lambda: markers and any(m.id == number for m in markers[-1].markers))
        publisher.publish(polygon(corners_of(estimate)))
        graph.wait(lambda: number not in graph.node.pipeline.scene().objects)
        graph.wait(
            lambda: any(m.id == number and m.action == Marker.DELETE for m in markers[-1].markers),
            what='deletion of the markers',
        )
        low, high = corners_of(estimate, -0.03)
        left = graph.node.pipeline.scene(cloud=True).cloud.points_m
        assert not ((left > low) & (left < high)).all(1).any()
        graph.feed(frames[-1:])


def test_an_object_is_forgotten_by_its_id(frames, capfd):
    with running(**FAST) as graph:
        graph.feed(frames)
        number, estimate = next(iter(graph.node.pipeline.scene().objects.items()))
        publisher = graph.driver.create_publisher(UInt32, '/recon3d/clear_object', 10)
        graph.wait(publisher.get_subscription_count)
        publisher.publish(UInt32(data=4_000_000_000))
        publisher.publish(UInt32(data=number))
        graph.wait(lambda: number not in graph.node.pipeline.scene().objects)
        low, high = corners_of(estimate, -0.03)
        left = graph.node.pipeline.scene(cloud=True).cloud.points_m
        assert not ((left > low) & (left < high)).all(1).any()
        assert graph.node.statistics.errors == 0
        said = ''

        def told():
            nonlocal said
            said += capfd.readouterr().err
            return 'no such object' in said and f'object {number} was removed' in said

        graph.wait(told)
        assert '4000000000' in said


def test_boxes_that_cannot_be_are_refused_with_a_reason(frames, capfd):
    with running(**FAST) as graph:
        graph.feed(frames)
        before = set(graph.node.pipeline.scene().objects)
        publisher = graph.driver.create_publisher(PolygonStamped, '/recon3d/clear_box', 10)
        graph.wait(publisher.get_subscription_count)
        cube = [(-9, -9, -9), (9, 9, 9)]
        said = ''
        for message, words in (
            (polygon(cube, frame_id=''), 'no frame_id'),
            (polygon(cube, frame_id='moon'), "'moon'"),
            (polygon([(0, 0, 0), (1, 1, 0)]), 'edges of a box'),
            (polygon([]), 'at least 2'),
            (polygon([(0, 0, 0), (np.nan, 1, 1)]), 'NaN'),
        ):
            publisher.publish(message)

            def told(words=words):
                nonlocal said
                said += capfd.readouterr().err
                return words in said

            graph.wait(told, what=words)
        assert said.count('nothing is cleared') >= 5
        assert set(graph.node.pipeline.scene().objects) == before
        assert graph.node.statistics.errors == 0
        publisher.publish(polygon(cube))
        graph.wait(lambda: not graph.node.pipeline.scene().objects)


def test_a_box_in_another_frame_is_placed_by_the_pose_source(frames):
    T_map_tool = look_at((0.3, 0.2, 1.1), (0.0, 0.0, 0.8))
    with running(**FAST) as graph:
        graph.feed(frames)
        asked = []

        def locate(frame_id, stamp_ns):
            asked.append((frame_id, stamp_ns))
            if frame_id != 'tool':
                raise FrameError('tf_unknown_frame', 'who is that')
            return T_map_tool

        graph.node._pose_source.locate = locate
        number, estimate = next(iter(graph.node.pipeline.scene().objects.items()))
        local = (estimate.mesh.vertices_m - T_map_tool[:3, 3]) @ T_map_tool[:3, :3]
        worker = graph.node.worker
        with pytest.raises(FrameError, match='who is that'):
            worker.clear_box(local, 'stranger', 5).result(20)
        said = worker.clear_box(local, '/tool', 7).result(20)
        assert asked == [('stranger', 5), ('tool', 7)]
        assert f'objects removed: {number}' in said
        assert number not in graph.node.pipeline.scene().objects


def test_octomaps_service_clears_between_two_corners(frames):
    with running(**FAST) as graph:
        graph.feed(frames)
        low, high = corners_of(next(iter(graph.node.pipeline.scene().objects.values())))
        request = SimpleNamespace(
            min=Point32(x=float(low[0]), y=float(low[1]), z=float(low[2])),
            max=Point32(x=float(high[0]), y=float(high[1]), z=float(high[2])),
        )
        (handler,) = (r for r in graph.node._requests if isinstance(r, clearing.ClearRequests))
        response = object()
        assert handler.on_query(request, response) is response
        graph.wait(lambda: not graph.node.pipeline.scene().objects)
