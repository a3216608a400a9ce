"""What is asked of threads that were stopped, and outputs whose plugins raise."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from recon3d_ros.diagnostics import Statistics, ThrottledLog
from recon3d_ros.outputs import Outputs
from recon3d_ros.sinks.base import SinkConfig, Snapshot
from recon3d_ros.worker import Worker

pytestmark = pytest.mark.ros
SILENT = ThrottledLog(SimpleNamespace(warning=lambda _: None, error=lambda _: None))


def test_a_stopped_worker_cancels_what_is_asked_before_and_after():
    worker = Worker(SimpleNamespace())
    before = worker.call(lambda: 1)
    assert worker.stop(0.1)
    assert before.cancelled()
    told = []
    after = worker.call(lambda: 1)
    after.add_done_callback(told.append)
    assert after.cancelled()
    assert told == [after]


def test_an_output_that_cannot_count_its_subscribers_stops_no_other():
    def broken():
        raise RuntimeError('gone')

    published = threading.Event()
    options = SimpleNamespace(config=SinkConfig(), parts=frozenset(), reset=lambda: None)
    bad = SimpleNamespace(**vars(options), subscribers=broken, publish=broken)
    good = SimpleNamespace(
        **vars(options), subscribers=lambda: 1, publish=lambda _: published.set()
    )
    statistics = Statistics()
    outputs = Outputs({'bad': bad, 'good': good}, statistics, SILENT, lambda: 1)
    outputs.start()
    outputs.offer(Snapshot(SimpleNamespace(), 'map', 1))
    assert published.wait(5)
    outputs.stop()
    assert statistics.drops['sink_bad'] >= 1
