"""A running node in this process, a driver that publishes, and ears for the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
import contextlib
import os
import threading
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from recon3d_core.types import Frame
from recon3d_ros.node import Recon3DNode
from recon3d_ros.player import CameraTopics, PlayerOptions
from recon3d_ros.sinks.base import LATCHED

DOMAIN_ID = 20 + os.getpid() % 80
"""So that test runs beside each other do not hear each other."""
FIRST_STAMP_NS = 1_000_000_000_000
PERIOD_NS = 66_666_667


class Graph:
    """The node under test, a driver node and an executor that spins both."""

    def __init__(self, **parameters: Any) -> None:
        values = {'pose_source.plugin': 'pose', 'no_input_warning_s': 60.0, **parameters}
        self.context = Context()
        rclpy.init(
            context=self.context,
            domain_id=DOMAIN_ID,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node = Recon3DNode(
            context=self.context,
            parameter_overrides=[Parameter(name, value=v) for name, v in values.items()],
        )
        self.driver = Node('driver', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.driver)
        self.cameras: dict[str, CameraTopics] = {}
        self.heard: dict[str, list[Any]] = {}
        self.sent = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stopping:
            try:
                self.executor.spin_once(timeout_sec=0.05)
            except ExternalShutdownException:
                return
            except Exception as error:  # noqa: BLE001 - as the node's own main does
                self.node.note_error(error)

    def close(self) -> None:
        self._stopping = True
        self._thread.join(10)
        self.executor.shutdown(timeout_sec=0)
        self.node.destroy_node()
        self.driver.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def wait(self, condition: Callable[[], Any], timeout_s: float = 30.0, what: str = '') -> Any:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.01)
        drops = dict(self.node.statistics.drops)
        raise AssertionError(f'timed out waiting for {what or condition}; drops {drops}')

    def active(self) -> Graph:
        self.wait(lambda: self.node.worker or self.node.failed, what='activation')
        assert self.node.failed is None, self.node.failed
        return self

    def listen(self, kind: type, topic: str, qos: Any = LATCHED) -> list[Any]:
        self.heard[topic] = []
        self.driver.create_subscription(kind, topic, self.heard[topic].append, qos)
        return self.heard[topic]

    def topics(self, camera: str = 'camera', **options: Any) -> CameraTopics:
        """Advertise a camera and wait until the node's subscriptions are matched."""
        if camera not in self.cameras:
            made = CameraTopics(self.driver, camera, PlayerOptions(**{'pose': 'pose', **options}))
            self.cameras[camera] = made
            wanted = [*self.node.worker.on.inputs[0].streams]
            publishers = [made.info, *(getattr(made, name) for name in wanted)]
            if self.node.settings().pose_source.plugin != 'static':
                publishers.append(made.pose)
            self.wait(
                lambda: all(p.get_subscription_count() for p in publishers), what='discovery'
            )
        return self.cameras[camera]

    def send(self, frame: Frame, stamp_ns: int | None = None, camera: str = 'camera') -> int:
        """Publish a frame and return its stamp."""
        stamp_ns = FIRST_STAMP_NS + self.sent * PERIOD_NS if stamp_ns is None else stamp_ns
        topics = self.topics(camera)
        topics.send(topics.messages(frame, np.eye(4)), stamp_ns)
        self.sent += 1
        return stamp_ns

    def feed(self, frames: Iterable[Frame], camera: str = 'camera') -> int:
        """Publish frames, each when the one before was integrated; return the last stamp."""
        stamp_ns = 0
        for frame in frames:
            before = self.node.statistics.integrated
            stamp_ns = self.send(frame, camera=camera)
            self.wait(
                lambda before=before: self.node.statistics.integrated > before, what='integration'
            )
        return stamp_ns

    def call(self, kind: type, name: str, request: Any) -> Any:
        client = self.driver.create_client(kind, name)
        assert client.wait_for_service(10.0)
        future = client.call_async(request)
        self.wait(future.done, what=name)
        return future.result()


@contextlib.contextmanager
def running(**parameters: Any) -> Iterable[Graph]:
    graph = Graph(**parameters)
    try:
        yield graph.active() if parameters.get('autostart', True) else graph
    finally:
        graph.close()
