"""A node that does not end: busy pipelines, callbacks that raise, and TF that is not installed."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import threading
import time

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from node_graph import Graph, running
import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from recon3d_core.data import load_source
from recon3d_ros import spinning
from recon3d_ros.worker import Worker
from std_msgs.msg import Empty

pytestmark = pytest.mark.ros
NO_TF = importlib.util.find_spec('tf2_msgs') is None


@pytest.fixture(scope='module')
def frames():
    return list(load_source('synthetic:single_box?frames=6&width=160&height=120&path=arc'))


def state(graph):
    return graph.node._state_machine.current_state[0]


def test_a_pipeline_that_does_not_come_back_is_not_closed_under_the_thread(frames, monkeypatch):
    monkeypatch.setattr(Worker, 'stop', functools.partialmethod(Worker.stop, 0.2))
    with running() as graph:
        graph.feed(frames[:2])
        stuck, release = graph.node.pipeline, threading.Event()
        events = []
        update, close = stuck.update, stuck.close

        def slow(frame, **options):
            events.append('begin')
            assert release.wait(60)
            found = update(frame, **options)
            events.append('end')
            return found

        stuck.update = slow
        stuck.close = lambda: (events.append('close'), close())
        graph.send(frames[2])
        graph.wait(lambda: events, what='the frame')
        assert graph.node.trigger_deactivate() == TransitionCallbackReturn.ERROR
        assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
        assert graph.node.pipeline is None
        # A new start does not wait for the old one.
        assert graph.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert graph.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert graph.node.pipeline is not stuck
        assert events == ['begin']
        graph.cameras.clear()
        graph.sent += 10
        graph.feed(frames[3:5])
        release.set()
        graph.wait(lambda: events == ['begin', 'end', 'close'], what='the late end')
        graph.feed(frames[5:])


def test_a_callback_that_raises_is_no_unreadable_message(frames):
    with running() as graph:
        heard = graph.listen(DiagnosticArray, '/diagnostics', 10)
        graph.feed(frames[:2])

        def broken(_):
            raise KeyError('a bug in a callback')

        graph.node.create_subscription(Empty, '/poke', broken, 10)
        publisher = graph.driver.create_publisher(Empty, '/poke', 10)
        graph.wait(publisher.get_subscription_count)
        publisher.publish(Empty())
        statistics = graph.node.statistics
        graph.wait(lambda: statistics.errors == 1)
        assert not statistics.drops
        assert 'a bug in a callback' in statistics.last_drop
        count = len(heard)
        graph.wait(lambda: len(heard) > count + 1)
        (status,) = (s for s in heard[-1].status if s.name == 'recon3d: pipeline')
        assert {v.key: v.value for v in status.values}['errors'] == '1'
        assert status.level == status.ERROR
        graph.feed(frames[2:4])


def test_who_raised_is_seen_in_the_traceback(monkeypatch):
    import rclpy.executors

    with running() as graph:
        node = graph.driver
        publisher = node.create_publisher(Empty, '/poke', 10)
        subscription = node.create_subscription(Empty, '/poke', lambda _: 1 / 0, 10)
        graph.wait(publisher.get_subscription_count)
        caught = []
        graph.node.note_error = lambda error: caught.append(spinning.is_unreadable(error))
        publisher.publish(Empty())
        graph.wait(lambda: caught)
        assert caught == [False]

        # As rclpy itself would: compiled in its own file, so that no frame of ours is beneath.
        take = rclpy.executors.Executor._take_subscription
        code = compile(
            'def unreadable(self, sub):\n'
            '    if sub is not chosen:\n'
            '        return take(self, sub)\n'
            '    sub.handle.take_message(sub.msg_type, sub.raw)\n'
            "    raise UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'invalid start byte')\n",
            rclpy.executors.__file__,
            'exec',
        )
        names = {'chosen': subscription, 'take': take}
        exec(code, names)
        monkeypatch.setattr(rclpy.executors.Executor, '_take_subscription', names['unreadable'])
        publisher.publish(Empty())
        graph.wait(lambda: len(caught) > 1)
        assert caught[1] is True


@pytest.mark.skipif(not NO_TF, reason='TF is installed')
@pytest.mark.parametrize('autostart', [True, False])
def test_without_tf_the_node_waits_for_another_pose_source(autostart, frames, capfd):
    given = {'pose_source.plugin': 'tf', 'pose_source.timeout_s': 0.2, 'autostart': autostart}
    with contextlib.closing(Graph(**given)) as graph:
        node = graph.node
        if not autostart:
            assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        graph.wait(lambda: node.waiting, what='the failed start')
        graph.wait(lambda: state(graph) == State.PRIMARY_STATE_UNCONFIGURED)
        assert node.failed is None
        assert 'tf2_ros or tf2_msgs' in node.waiting
        assert 'when pose_source.plugin is set' in capfd.readouterr().err
        wrong = node.set_parameters([Parameter('pose_source.plugin', value='poze')])[0]
        assert not wrong.successful
        assert "'pose'" in wrong.reason
        done = node.set_parameters([Parameter('pose_source.plugin', value='pose')])[0]
        assert done.successful, done.reason
        if not autostart:
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        graph.wait(lambda: node.worker, what='the start')
        # The new source's options are parameters, with what the file says.
        assert node.get_parameter('pose_source.max_gap_s').value == 0.5
        assert node._pose_source.config.timeout_s == 0.2
        assert node.waiting is None
        graph.feed(frames[:3])
        late = node.set_parameters([Parameter('pose_source.plugin', value='static')])[0]
        assert not late.successful
        assert 'clean up' in late.reason


@pytest.mark.slow
@pytest.mark.skipif(not NO_TF, reason='TF is installed')
def test_without_tf_the_process_stays_up_and_says_why(tmp_path):
    from node_processes import Output, start

    log = tmp_path / 'node.log'
    process = start(log, '-p', 'pose_source.plugin:=tf', env=os.environ)
    try:
        output = Output(log, process)
        output.wait_for('pose_source tf needs tf2_ros or tf2_msgs')
        time.sleep(1.0)
        assert process.poll() is None
        process.terminate()
        assert process.wait(20) == 0
        assert 'Traceback' not in output.text()
    finally:
        process.kill()
        process.wait()
