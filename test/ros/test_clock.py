"""Time that jumps: looping bags, simulations that start again, and single wrong stamps."""

from __future__ import annotations

from node_graph import FIRST_STAMP_NS, PERIOD_NS, running
import pytest
from recon3d_core.data import load_source
from recon3d_core.errors import FrameError
from recon3d_ros.conversions.headers import time_from_ns
from recon3d_ros.worker import StampGuard
from rosgraph_msgs.msg import Clock

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000


@pytest.fixture(scope='module')
def frames():
    return list(load_source('synthetic:single_box?frames=8&width=160&height=120&path=arc'))


def test_steady_and_slightly_disordered_stamps_are_good():
    guard = StampGuard()
    for stamp in (100, 101, 100.5, 159, 160):
        assert guard.check('a', int(stamp * SECOND)) is False


def test_one_wrong_stamp_is_an_outlier_and_two_are_the_new_time():
    guard = StampGuard()
    guard.check('a', 100 * SECOND)
    for wrong in (50, 1000):
        with pytest.raises(FrameError) as caught:
            guard.check('a', wrong * SECOND)
        assert caught.value.reason == 'stamp_jump'
        assert guard.check('a', 101 * SECOND) is False
    with pytest.raises(FrameError):
        guard.check('a', 50 * SECOND)
    assert guard.check('a', 50 * SECOND + 1) is True
    assert guard.check('a', 51 * SECOND) is False
    with pytest.raises(FrameError):
        guard.check('a', 500 * SECOND)
    assert guard.check('a', 500 * SECOND + 1) is False, 'a jump ahead is no way back'


def test_cameras_have_clocks_of_their_own():
    guard = StampGuard()
    guard.check('a', 100 * SECOND)
    assert guard.check('b', 5 * SECOND) is False


def test_a_slow_camera_is_believed_after_a_pause():
    guard = StampGuard()
    guard.check('a', 100 * SECOND)
    with pytest.raises(FrameError):
        guard.check('a', 500 * SECOND)
    assert guard.check('a', 505 * SECOND) is False


def test_a_pause_that_took_as_long_as_its_stamps_say_is_no_jump():
    steady = [0]
    guard = StampGuard(lambda: steady[0])
    for second in (0, 120, 600):
        steady[0] = second * SECOND
        assert guard.check('a', (1000 + second) * SECOND) is False
    with pytest.raises(FrameError):
        guard.check('a', 2000 * SECOND)


def test_no_stamp():
    with pytest.raises(FrameError) as caught:
        StampGuard().check('a', 0)
    assert caught.value.reason == 'no_stamp'


def test_stamps_that_go_back_reset_the_state(frames):
    with running() as graph:
        graph.feed(frames[:4])
        node = graph.node
        resets = []
        reset = node.pipeline.reset
        node.pipeline.reset = lambda: (resets.append(node.statistics.integrated), reset())
        graph.sent = 0
        start = FIRST_STAMP_NS - 60 * SECOND
        graph.send(frames[0], stamp_ns=start)
        graph.wait(lambda: node.statistics.drops['stamp_jump'] == 1)
        assert not resets
        graph.send(frames[1], stamp_ns=start + PERIOD_NS)
        graph.wait(lambda: node.statistics.resets['stamps went back'] == 1)
        graph.wait(lambda: node.statistics.integrated == 5)
        assert resets == [4]
        assert node.pipeline.frames_integrated == 1


def test_simulated_time_that_goes_back_resets_the_state(frames):
    with running(use_sim_time=True) as graph:
        node = graph.node
        clock = graph.driver.create_publisher(Clock, '/clock', 10)
        graph.wait(clock.get_subscription_count)

        def tick(stamp_ns):
            clock.publish(Clock(clock=time_from_ns(stamp_ns)))
            graph.wait(lambda: node.now_ns() == stamp_ns, what='clock')

        tick(FIRST_STAMP_NS)
        graph.feed(frames[:3])
        tick(FIRST_STAMP_NS + SECOND)
        assert not node.statistics.resets
        # A loop of three seconds begins again.
        tick(FIRST_STAMP_NS - 2 * SECOND)
        graph.wait(lambda: sum(node.statistics.resets.values()) == 1)
        (reason,) = node.statistics.resets
        assert 'went back by 3.000 s' in reason
        graph.sent = -30
        graph.feed(frames[3:6])
        assert node.statistics.drops == {}
        assert node.pipeline.frames_integrated == 3


def test_the_node_works_while_simulated_time_stands_still(frames):
    with running(use_sim_time=True) as graph:
        graph.feed(frames[:3])
        graph.node._watchdog.report(1.0)
        assert '/clock' in graph.node._watchdog._likely_cause()
