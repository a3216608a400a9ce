"""The node in process, on a real graph: content, frames, stamps, services, life cycle."""

from __future__ import annotations

import json
import os
import time

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from lifecycle_msgs.msg import State
from nav_msgs.msg import OccupancyGrid
from node_graph import running
import numpy as np
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from recon3d_core.data import load_source
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.conversions.transforms import matrix_from_pose
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.ros
SOURCE = 'synthetic:single_mug?frames=10&width=320&height=240&path=arc'
FAST = {'detector.rate_hz': 15.0, 'budget_ms': 0.0, 'mesh.rate_hz': 15.0}


@pytest.fixture(scope='module')
def source():
    return load_source(SOURCE)


@pytest.fixture(scope='module')
def frames(source):
    return list(source)


def test_objects_come_out_where_they_stand_with_frame_and_stamp(frames, source):
    with running(**FAST) as graph:
        poses = graph.listen(PoseArray, '/recon3d/objects/poses')
        markers = graph.listen(MarkerArray, '/recon3d/objects/markers')
        points = graph.listen(PointCloud2, '/recon3d/objects/points')
        stamp_ns = graph.feed(frames)
        graph.wait(lambda: poses and ns_from_time(poses[-1].header.stamp) == stamp_ns)
        assert poses[-1].header.frame_id == 'map'
        centers = [matrix_from_pose(pose)[:3, 3] for pose in poses[-1].poses]
        truth = next(iter(source.objects.values())).T_world_object[:3, 3]
        assert min(np.linalg.norm(center - truth) for center in centers) < 0.05
        graph.wait(lambda: points and points[-1].width > 100)
        assert {f.name for f in points[-1].fields} >= {'x', 'y', 'z', 'object_id', 'p_occ'}
        graph.wait(lambda: any(m.type == Marker.TRIANGLE_LIST for m in markers[-1].markers))
        assert {m.header.frame_id for m in markers[-1].markers} == {'map'}


def test_costly_parts_are_made_only_for_subscribers(frames):
    with running(**FAST) as graph:
        asked = []
        scene = graph.node.pipeline.scene
        graph.node.pipeline.scene = lambda **parts: (asked.append(parts), scene(**parts))[1]
        graph.feed(frames[:4])
        assert not any(asked), 'nobody listens, but a part was computed'
        mesh = graph.listen(Marker, '/recon3d/scene/mesh')
        cloud = graph.listen(PointCloud2, '/recon3d/scene/points')
        # No new frame comes: who joins is served from what is there.
        graph.wait(lambda: mesh and cloud, what='late subscribers')
        assert mesh[0].header.frame_id == cloud[0].header.frame_id == 'map'
        assert cloud[0].width > 500
        assert len(mesh[0].points) % 3 == 0


def test_occupancy_grid(frames):
    with running(**FAST) as graph:
        maps = graph.listen(OccupancyGrid, '/recon3d/occupancy_grid')
        graph.feed(frames[:5])
        graph.wait(lambda: maps)
        assert maps[0].header.frame_id == 'map'
        assert set(np.unique(maps[0].data)) <= {-1, 0, 100}


def test_late_joiner_of_objects_is_served_without_new_frames(frames):
    with running(**FAST) as graph:
        graph.feed(frames)
        poses = graph.listen(PoseArray, '/recon3d/objects/poses')
        graph.wait(lambda: poses, 5.0)
        assert poses[-1].poses


def test_services(frames, tmp_path):
    with running(**FAST, save_directory=str(tmp_path / 'saved')) as graph:
        poses = graph.listen(PoseArray, '/recon3d/objects/poses')
        graph.feed(frames)
        answer = graph.call(Trigger, '/recon3d/save', Trigger.Request())
        assert answer.success, answer.message
        summary = json.loads((tmp_path / 'saved/summary.json').read_text())
        assert summary['frames']['integrated'] == len(frames)
        assert summary['objects']
        graph.wait(lambda: poses and poses[-1].poses)

        assert graph.call(Trigger, '/recon3d/reset', Trigger.Request()).success
        assert graph.node.pipeline.scene().objects == {}

        assert graph.call(SetBool, '/recon3d/enable', SetBool.Request(data=False)).success
        before = graph.node.statistics.integrated
        graph.send(frames[0])
        inputs = graph.node.worker.on.inputs[0]
        graph.wait(lambda: inputs.peek_stamp_ns() is not None)
        assert graph.node.statistics.integrated == before
        assert graph.call(SetBool, '/recon3d/enable', SetBool.Request(data=True)).success
        graph.wait(lambda: graph.node.statistics.integrated > before)


def test_what_was_dropped_before_a_reset_is_not_in_the_summary(frames, tmp_path):
    with running(**FAST, save_directory=str(tmp_path)) as graph:
        clouds = graph.listen(PointCloud2, '/recon3d/scene/points')
        graph.feed(frames[:3])
        graph.send(frames[3], stamp_ns=0)
        graph.wait(lambda: graph.node.statistics.drops['no_stamp'])
        assert graph.call(Trigger, '/recon3d/reset', Trigger.Request()).success
        graph.feed(frames[4:6])
        answer = graph.call(Trigger, '/recon3d/save', Trigger.Request())
        assert answer.success, answer.message
        summary = json.loads((tmp_path / 'summary.json').read_text())
        assert summary['frames'] == {'read': 2, 'integrated': 2, 'dropped': {}}
        assert graph.call(Trigger, '/recon3d/reset', Trigger.Request()).success
        graph.wait(lambda: clouds and not clouds[-1].width)
        time.sleep(1.5)
        assert all(cloud.header.stamp.sec for cloud in clouds), 'no frame, no stamp, no message'


def test_why_activation_failed_is_told(monkeypatch):
    def refuse(*_):
        raise RuntimeError('no room')

    monkeypatch.setattr('recon3d_ros.node.open_cameras', refuse)
    with running(autostart=False) as graph:
        node = graph.node
        publishers = len(list(node.publishers))
        for _ in range(2):
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            topics = [s.topic_name for s in node.subscriptions]
            assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
            assert node.failed == 'cannot activate: RuntimeError: no room'
            assert [s.topic_name for s in node.subscriptions] == topics
            node.trigger_cleanup()
            assert len(list(node.publishers)) == publishers


def test_a_folder_that_cannot_be_written_is_an_answer(frames, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with running(**FAST, save_directory=str(tmp_path / 'file/sub')) as graph:
        graph.feed(frames[:2])
        answer = graph.call(Trigger, '/recon3d/save', Trigger.Request())
        assert not answer.success
        assert 'file' in answer.message
        graph.feed(frames[2:3])


def test_diagnostics_tell_rates_and_drops(frames):
    with running(**FAST) as graph:
        heard = graph.listen(DiagnosticArray, '/diagnostics', 10)
        graph.feed(frames[:3])
        graph.send(frames[3], stamp_ns=0)
        graph.wait(lambda: graph.node.statistics.drops['no_stamp'])
        count = len(heard)
        graph.wait(lambda: len(heard) > count + 1)
        by_name = {s.name: {v.key: v.value for v in s.values} for s in heard[-1].status}
        assert by_name['recon3d: pipeline']['frames integrated'] == '3'
        assert by_name['recon3d: pipeline']['dropped: no_stamp'] == '1'
        assert 'rate image [Hz]' in by_name['recon3d: camera']
        assert {'recon3d: pose source', 'recon3d: outputs'} <= set(by_name)


def test_life_cycle_by_hand_and_over_again(frames):
    with running(**FAST, autostart=False) as graph:
        node = graph.node

        def state():
            return node._state_machine.current_state[0]

        assert state() == State.PRIMARY_STATE_UNCONFIGURED
        for _ in range(2):
            node.trigger_configure()
            assert node.pipeline is not None
            assert node.worker is None
            node.trigger_activate()
            assert state() == State.PRIMARY_STATE_ACTIVE
            graph.feed(frames[:2])
            node.trigger_deactivate()
            assert node.worker is None
            assert node.pipeline is not None
            before = node.statistics.integrated
            graph.send(frames[2])
            assert node.statistics.integrated == before
            node.trigger_cleanup()
            assert node.pipeline is None
            graph.cameras.clear()
            graph.sent += 100


def test_a_pause_is_used_for_what_was_put_off(frames):
    parameters = {**FAST, 'budget_ms': 0.001}
    with running(**parameters) as graph:
        graph.feed(frames)
        pipeline = graph.node.pipeline
        graph.wait(lambda: not pipeline.unfinished, what='the pause to be used')
        assert pipeline.scene().objects


def test_what_was_seen_survives_deactivation(frames):
    with running(**FAST) as graph:
        graph.feed(frames)
        known = set(graph.node.pipeline.scene().objects)
        graph.node.trigger_deactivate()
        graph.node.trigger_activate()
        assert set(graph.node.pipeline.scene().objects) == known != set()


def test_an_option_changes_while_running(frames):
    with running(**FAST) as graph:
        graph.feed(frames[:2])
        done = graph.node.set_parameters([Parameter('detector.rate_hz', value=2)])
        assert done[0].successful, done[0].reason
        graph.wait(lambda: graph.node.pipeline.detector.config.rate_hz == 2.0)
        bad = graph.node.set_parameters([Parameter('detector.rate_hz', value=-1)])[0]
        assert not bad.successful
        assert 'detector.rate_hz' in bad.reason


def test_a_pipeline_that_raises_does_not_end_the_node(frames):
    with running(**FAST) as graph:
        graph.feed(frames[:2])
        update = graph.node.pipeline.update

        def broken(frame, **options):
            raise ZeroDivisionError('a bug')

        graph.node.pipeline.update = broken
        graph.send(frames[2])
        graph.wait(lambda: graph.node.statistics.drops['internal_error'])
        assert 'a bug' in graph.node.statistics.last_drop
        graph.node.pipeline.update = update
        graph.feed(frames[3:5])


def test_static_source_publishes_in_the_camera_frame(frames):
    parameters = {**FAST, 'pose_source.plugin': 'static'}
    with running(**parameters) as graph:
        cloud = graph.listen(PointCloud2, '/recon3d/scene/points')
        graph.feed([frames[0]] * 3)
        graph.wait(lambda: cloud)
        assert cloud[0].header.frame_id == 'camera_optical_frame'


def test_two_cameras_make_one_scene(frames):
    with running(**FAST, cameras=['left', 'right']) as graph:
        for left, right in zip(frames[0::2], frames[1::2]):
            graph.feed([left], camera='left')
            graph.feed([right], camera='right')
        assert graph.node.pipeline.scene().objects
        assert all(c.counts['complete'] for c in graph.node.worker.on.inputs)


def test_an_override_of_qos_is_for_one_topic_only():
    override = {'qos_overrides./left/camera_info.subscription.reliability': 'reliable'}
    override['qos_overrides./left/pose.subscription.depth'] = 7
    with running(cameras=['left', 'right'], **override) as graph:
        qos = {s.topic_name: s.qos_profile for s in graph.node.subscriptions}
        strict = [n for n, q in qos.items() if q.reliability == ReliabilityPolicy.RELIABLE]
        assert [name for name in strict if name.startswith(('/left', '/right'))] == [
            '/left/camera_info'
        ]
        assert [qos[f'/{camera}/pose'].depth for camera in ('left', 'right')] == [7, 100]


def test_compressed_transports(frames):
    transports = {'image_transport': 'compressed', 'depth_transport': 'compressedDepth'}
    with running(**FAST, **transports) as graph:
        graph.topics(compressed=True)
        graph.feed(frames[:3])
        assert graph.node.statistics.integrated == 3


def test_masks_and_no_depth_make_objects_from_outlines():
    frames = list(
        load_source('synthetic:single_box?frames=12&width=320&height=240&masks=true&depth=false')
    )
    parameters = {
        **FAST,
        'use_depth': False,
        'use_masks': True,
        'detector.plugin': 'frame_masks',
        'reconstructor.plugin': 'visual_hull',
        'map_scene': False,
    }
    with running(**parameters) as graph:
        graph.topics()
        before = graph.node.statistics.integrated
        graph.feed(frames)
        assert graph.node.statistics.integrated == before + len(frames)
        graph.node.worker.call(graph.node.pipeline.flush).result(60)
        assert graph.node.pipeline.scene().objects


def test_report_when_nothing_arrives(frames, capfd):
    with running(**{**FAST, 'no_input_warning_s': 0.5}) as graph:
        graph.wait(lambda: graph.node._watchdog._said_s is not None, 10.0)
        report = graph.node._watchdog.report(0.5)
    for topic in ('/camera/image', '/camera/depth', '/camera/camera_info', '/camera/pose'):
        assert topic in report
    assert 'no publisher' in report
    assert 'sensor_msgs/msg/Image' in report
    assert 'pairs by stamp' in report


def test_no_attribute_hides_one_of_rclpy():
    from rclpy.lifecycle import LifecycleNode
    from recon3d_ros.node import Recon3DNode

    own = {name for name in vars(Recon3DNode) if not name.startswith('__')}
    lifecycle = {
        'on_configure',
        'on_activate',
        'on_deactivate',
        'on_cleanup',
        'on_shutdown',
        'on_error',
        'destroy_node',
        '_abc_impl',
    }
    assert not {n for n in own if hasattr(LifecycleNode, n)} - lifecycle


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_a_signal_ends_the_process_with_0(name, node_process):
    process, output = node_process()
    output.wait_for('active:')
    process.send_signal(getattr(__import__('signal'), name))
    assert process.wait(20) == 0
    assert 'Traceback' not in output.text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('argument', 'words'),
    [('sync_slop_s:=7.0', 'got 7.0'), ('mapper.plugin:=tsd', "'tsdf'"), ('bad:::', 'bad:::')],
)
def test_wrong_arguments_end_the_process_with_2(argument, words, node_process):
    process, output = node_process('-p', argument)
    assert process.wait(60) == 2
    assert words in output.text()
    assert 'Traceback' not in output.text()


@pytest.fixture
def node_process(tmp_path):
    from node_processes import Output, start

    started = []

    def launch(*arguments: str):
        log = tmp_path / f'{len(started)}.log'
        started.append(start(log, *arguments, env=os.environ))
        return started[-1], Output(log, started[-1])

    yield launch
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
