"""The lifecycle node `recon3d`: declare, configure, activate, deactivate, clean up."""

from __future__ import annotations

import os

# Fast DDS reads it when it is loaded: without it, large images get lost between processes.
os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA')
# Our matrices are small: threads of BLAS only take the cores from the other stages.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from collections.abc import Sequence
import logging
from pathlib import Path
import signal
import sys
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from recon3d_core import registry
from recon3d_core.errors import InputError, Recon3DError
from recon3d_ros import parameters
from recon3d_ros.diagnostics import Diagnostics, Statistics, ThrottledLog
from recon3d_ros.inputs import CameraInput
from recon3d_ros.outputs import Outputs
from recon3d_ros.parameters import NodeConfig, NodeParameters
from recon3d_ros.pose_sources.base import PoseSource
from recon3d_ros.services import Services
from recon3d_ros.sinks.base import Sink
from recon3d_ros.watchdog import Watchdog
from recon3d_ros.worker import Surroundings, Worker

_OK = TransitionCallbackReturn.SUCCESS
_FAILED = TransitionCallbackReturn.FAILURE


class Recon3DNode(LifecycleNode):
    """Camera streams in; the scene's surface and every object's mesh, pose and cloud out.

    Attributes:
        parameters: The options in force.
        pipeline: The reconstruction, between configure and clean-up.
        worker: The thread that runs it, while active.
        failed: Why the automatic start failed, or None.
    """

    def __init__(self, name: str = 'recon3d', **kwargs: Any) -> None:
        """Declare the parameters; with `autostart`, the rest happens when the node is spun.

        Args:
            name: Name of the node.
            kwargs: Passed to `LifecycleNode`.

        Raises:
            InputError: A parameter is of the wrong type, out of range, or names no plugin.
            PluginError: A plugin that was asked for cannot be loaded.
        """
        # Before anything can fail: a context that ends destroys even a node that is half made.
        self.pipeline: Any = None
        self.worker: Worker | None = None
        self.failed: str | None = None
        self.statistics = Statistics()
        self._sinks: dict[str, Sink] = {}
        self._inputs: list[CameraInput] = []
        self._pose_source: PoseSource | None = None
        self._outputs: Outputs | None = None
        self._requests: Services | None = None
        self._jumps: Any = None
        self._timers_made: list[Any] = []
        self._diagnostics_publisher: Any = None
        self._poses_started = False
        super().__init__(name, **kwargs)
        self._log = ThrottledLog(self.get_logger())
        self.parameters: NodeParameters = parameters.declare(self)
        for line in parameters.unknown_overrides(self, self.parameters):
            self.get_logger().error(line)
        # Watching goes on in real time even where simulated time stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.add_on_set_parameters_callback(
            parameters.on_set_callback(lambda: self.parameters, self._apply)
        )
        self._starter = None
        if self.settings().autostart:
            self._starter = self.create_timer(0.0, self._autostart, clock=self._steady)

    def settings(self) -> NodeConfig:
        """Return the node's options in force."""
        return self.parameters.node

    def now_ns(self) -> int:
        """Return the time of the node's clock."""
        return int(self.get_clock().now().nanoseconds)

    def _autostart(self) -> None:
        """Configure and activate, once; no launch system is needed, on any distribution."""
        self._starter.cancel()  # type: ignore[attr-defined]
        if self.trigger_configure() != _OK:
            self.failed = self.failed or 'the node could not be configured'
        elif self.trigger_activate() != _OK:
            self.failed = self.failed or 'the node could not be activated'

    def _apply(self, new: NodeParameters, changes: dict[str, Any]) -> None:
        """Put changed parameters into force; those of the pipeline between two frames."""
        self.parameters = new
        for name, sink in self._sinks.items():
            sink.config = new.sinks[name]
        if self._pose_source is not None:
            self._pose_source.config = new.node.pose_source.config
        pipeline = self.pipeline
        known = type(new.pipeline).model_fields
        for path, value in changes.items():
            if path.split('.')[0] not in known or pipeline is None:
                continue
            if self.worker is None:
                pipeline.set_option(path, value)
            else:
                self.worker.call(lambda path=path, value=value: pipeline.set_option(path, value))

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the pipeline and its models, and advertise the outputs."""
        try:
            from recon3d_core.scene.pipeline import Pipeline

            self.pipeline = Pipeline(self.parameters.pipeline)
            self.statistics.begin()
            self._sinks = {
                name: registry.load('sink', name)(self, options)
                for name, options in self.parameters.sinks.items()
            }
            section = self.settings().pose_source
            self._pose_source = registry.load('pose_source', section.plugin)(
                self, self.settings().world_frame, section.config
            )
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises is told in one line
            self._give_up('configure', error)
            self._release()
            return _FAILED
        for name, why in self.parameters.skipped.items():
            self.get_logger().info(f'output {name} is not available: {why}')
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._requests = Services(self, lambda: self.worker, self._save_directory, self._enabled)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the threads."""
        try:
            result = super().on_activate(state)
            self._begin()
        except Exception as error:  # noqa: BLE001 - rclpy would drop it without a word
            self._give_up('activate', error)
            self._stop()
            super().on_deactivate(state)
            return _FAILED
        self.get_logger().info(f'active: {self._describe()}')
        return result

    def _begin(self) -> None:
        assert self._pose_source is not None
        self._pose_source.start(self.settings().cameras)
        self._poses_started = True
        self._outputs = Outputs(self._sinks, self.statistics, self._log, self.now_ns)
        self._watchdog = Watchdog(self, self._inputs, self._pose_source, self.statistics)
        self._diagnostics = Diagnostics(self.get_name(), self.settings().cameras[0])
        self._timers_made = [self.create_timer(1.0, self._every_second, clock=self._steady)]
        # The smallest step back counts: a looping bag or a restarted simulation.
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
        )
        self._jumps = self.get_clock().create_jump_callback(
            threshold, post_callback=self._time_went_back
        )
        self._start_worker()

    def _start_worker(self) -> None:
        assert self._pose_source is not None
        assert self._outputs is not None
        surroundings = Surroundings(
            self.pipeline,
            self._inputs,
            self._pose_source,
            self._outputs,
            self.statistics,
            self._log,
            self.get_logger(),
            self.settings,
            self.now_ns,
        )
        worker = Worker(surroundings)
        for camera in self.settings().cameras:
            self._inputs.append(CameraInput(self, camera, self.settings, worker.wake))
        self._outputs.start()
        worker.start()
        self.worker = worker

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and end the threads; what was seen is kept."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002
        """Free the pipeline, its models and the outputs."""
        self._release()
        return _OK

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002
        """End everything, from any state."""
        self._stop()
        self._release()
        return _OK

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002
        """Go back to the unconfigured state."""
        self._stop()
        self._release()
        return _OK

    def destroy_node(self) -> None:
        """End the threads before the node goes."""
        self._stop()
        self._release()
        super().destroy_node()

    def _stop(self) -> None:
        if self._jumps is not None:
            self._jumps.unregister()
            self._jumps = None
        for timer in self._timers_made:
            self.destroy_timer(timer)
        self._timers_made = []
        for camera in self._inputs:
            camera.close()
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.stop()
        if self._poses_started and self._pose_source is not None:
            self._pose_source.stop()
        self._poses_started = False
        self._inputs.clear()
        if self._outputs is not None:
            self._outputs.stop()
            self._outputs = None

    def _release(self) -> None:
        for sink in self._sinks.values():
            sink.close()
        self._sinks = {}
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._diagnostics_publisher is not None:
            self.destroy_publisher(self._diagnostics_publisher)
            self._diagnostics_publisher = None
        self._pose_source = None
        pipeline, self.pipeline = self.pipeline, None
        if pipeline is not None:
            pipeline.close()

    def refuse(self, error: Exception) -> None:
        """Count what rclpy raised for a message that it could not even read."""
        text = f'a message could not be read: {type(error).__name__}: {error}'
        self.statistics.drop('unreadable_message', text)
        self._log.warning('unreadable_message', text)

    def _give_up(self, what: str, error: Exception) -> None:
        name = '' if isinstance(error, Recon3DError) else f'{type(error).__name__}: '
        self.failed = f'cannot {what}: {name}{" ".join(str(error).split())}'
        self.get_logger().error(self.failed)

    def _time_went_back(self, jump: Any) -> None:
        worker = self.worker
        if worker is not None:
            worker.reset(f'the clock went back by {-jump.delta.nanoseconds / 1e9:.3f} s')

    def _every_second(self) -> None:
        worker = self.worker
        if worker is None:
            return
        array = self._diagnostics.message(
            self.statistics, self._inputs, worker.enabled, self.parameters.skipped
        )
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics_publisher.publish(array)
        if worker.enabled:
            self._watchdog.look()

    def _save_directory(self) -> Path:
        return Path(self.settings().save_directory).expanduser()

    def _enabled(self, enabled: bool) -> None:
        self.get_logger().info('enabled' if enabled else 'disabled by ~/enable')
        self._watchdog.restart()

    def _describe(self) -> str:
        options = self.settings()
        chosen = self.parameters.pipeline
        return (
            f'cameras {", ".join(options.cameras)}, poses by {options.pose_source.plugin}, '
            f'{chosen.detector.plugin}, {chosen.reconstructor.plugin}, '
            f'outputs {", ".join(self.parameters.sinks) or "none"}'
        )


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted.

    Returns:
        0 after an interruption, 1 where the automatic start failed, 2 for bad parameters.
    """
    logging.basicConfig(format='%(levelname)s %(name)s: %(message)s')
    # An own handler of the signals makes the end orderly: threads first, then the context.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # noqa: BLE001 - rclpy's own class for arguments is private
        sys.stderr.write(f'error: {" ".join(str(error).split())}\n')
        return 2
    try:
        return _spin(stop)
    finally:
        rclpy.try_shutdown()


def _spin(stop: threading.Event) -> int:
    try:
        node = Recon3DNode()
    except (InputError, Recon3DError) as error:
        sys.stderr.write(f'error: {error}\n')
        return error.exit_code
    # Callbacks only store references, so that one thread is enough and costs the least.
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not stop.is_set() and node.failed is None:
            try:
                executor.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                break
            except Exception as error:  # noqa: BLE001 - such as text in a message that is no UTF-8
                node.refuse(error)
        return 1 if node.failed else 0
    finally:
        executor.shutdown(timeout_sec=0.0)
        node.destroy_node()
        # Fast DDS needs a moment to hand out the last acknowledgements.
        time.sleep(0.01)


if __name__ == '__main__':
    sys.exit(main())
