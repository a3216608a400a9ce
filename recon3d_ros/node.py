"""The lifecycle node `recon3d`: declare, configure, activate, deactivate, clean up."""

from __future__ import annotations

import os

# Our matrices are small: threads of BLAS only take the cores from the other stages.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from collections.abc import Sequence
import logging
import signal
import sys
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from recon3d_core import registry
from recon3d_core.errors import InputError, PluginError, Recon3DError
from recon3d_ros import parameters, spinning
from recon3d_ros.clearing import ClearRequests
from recon3d_ros.diagnostics import Diagnostics, Statistics, ThrottledLog
from recon3d_ros.inputs import CameraInput, open_cameras
from recon3d_ros.outputs import Outputs
from recon3d_ros.parameters import NodeConfig, NodeParameters
from recon3d_ros.pose_sources.base import PoseSource
from recon3d_ros.services import Services
from recon3d_ros.sinks.base import Sink
from recon3d_ros.watchdog import Watchdog
from recon3d_ros.worker import Surroundings, Worker

_OK = TransitionCallbackReturn.SUCCESS
_FAILED = TransitionCallbackReturn.FAILURE
_RETRY_S = 30.0
"""How often a start that waits for a parameter is tried again, and says what is missing."""


class Recon3DNode(LifecycleNode):
    """Camera streams in; the scene's surface and every object's mesh, pose and cloud out.

    Attributes:
        parameters: The options in force.
        pipeline: The reconstruction, between configure and clean-up.
        worker: The thread that runs it, while active.
        failed: Why the last transition failed for good, or None; ends an automatic start.
        waiting: Why the node could not be configured, where a change of `pose_source.plugin` can
            mend it; with `autostart` it starts then. None otherwise.
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
        self.waiting: str | None = None
        self.statistics = Statistics()
        self._sinks: dict[str, Sink] = {}
        self._inputs: list[CameraInput] = []
        self._pose_source: PoseSource | None = None
        self._outputs: Outputs | None = None
        self._requests: list[Services | ClearRequests] = []
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
        self._on_set = parameters.on_set_callback(
            lambda: self.parameters, self._apply, lambda: self.pipeline is not None
        )
        self.add_on_set_parameters_callback(self._on_set)
        self._starter: Any = None
        if self.settings().autostart:
            self._start_soon(0.0)

    def settings(self) -> NodeConfig:
        """Return the node's options in force."""
        return self.parameters.node

    def now_ns(self) -> int:
        """Return the time of the node's clock."""
        return int(self.get_clock().now().nanoseconds)

    def _start_soon(self, delay_s: float) -> None:
        if self._starter is not None:
            self.destroy_timer(self._starter)
        self._starter = self.create_timer(delay_s, self._autostart, clock=self._steady)

    def _autostart(self) -> None:
        """Configure and activate, once; no launch system is needed, on any distribution."""
        self._starter.cancel()
        if self.pipeline is not None:  # somebody was quicker
            return
        if self.trigger_configure() != _OK:
            if self.waiting is None:
                self.failed = self.failed or 'the node could not be configured'
            else:
                self._start_soon(_RETRY_S)
        elif self.trigger_activate() != _OK:
            self.failed = self.failed or 'the node could not be activated'

    def _apply(self, new: NodeParameters, changes: dict[str, Any]) -> None:
        """Put changed parameters into force; those of the pipeline between two frames."""
        self.parameters = new
        for name, sink in self._sinks.items():
            sink.config = new.sinks[name]
        if self._pose_source is not None:
            self._pose_source.config = new.node.pose_source.config
        chosen_again = self.waiting is not None and parameters.POSE_SOURCE in changes
        if chosen_again and new.node.autostart:
            self._start_soon(0.0)
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
        self.failed = self.waiting = None
        try:
            from recon3d_core.scene.pipeline import Pipeline

            self.parameters = parameters.declare_again(self, self._on_set)
            self._pose_source = self._make_pose_source()
            self.pipeline = Pipeline(self.parameters.pipeline)
            self.statistics.begin()
            self._sinks = {
                name: registry.load('sink', name)(self, options)
                for name, options in self.parameters.sinks.items()
            }
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises is told in one line
            self._give_up('configure', error)
            self._release()
            return _FAILED
        for name, why in self.parameters.skipped.items():
            self.get_logger().info(f'output {name} is not available: {why}')
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._requests = [
            Services(self, lambda: self.worker, self.settings, self._enabled),
            ClearRequests(self, lambda: self.worker, lambda: self.settings().world_frame),
        ]
        return super().on_configure(state)

    def _make_pose_source(self) -> PoseSource:
        section = self.settings().pose_source
        try:
            made: PoseSource = registry.load('pose_source', section.plugin)(
                self, self.settings().world_frame, section.config
            )
        except PluginError as error:
            self.waiting = str(error)
            raise
        return made

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
        self._inputs += open_cameras(self, self.settings, worker.wake, self.pipeline.detector)
        self._outputs.start()
        worker.start()
        self.worker = worker

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and end the threads; what was seen is kept.

        A pipeline that does not come back from a frame is given up; the node is unconfigured then.
        """
        ended = self._stop()
        result = super().on_deactivate(state)
        return result if ended else TransitionCallbackReturn.ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002
        """Free the pipeline, its models and the outputs."""
        self._release()
        return _OK

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002
        """End everything, from any state."""
        self._stop()
        self._release()
        return _OK

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to the unconfigured state."""
        return self.on_shutdown(state)

    def destroy_node(self) -> None:
        """End the threads before the node goes."""
        self._stop()
        self._release()
        super().destroy_node()

    def _stop(self) -> bool:
        """End the threads; return whether the pipeline came back from its last frame."""
        if self._jumps is not None:
            self._jumps.unregister()
            self._jumps = None
        for timer in self._timers_made:
            self.destroy_timer(timer)
        self._timers_made = []
        for camera in self._inputs:
            camera.close()
        worker, self.worker = self.worker, None
        ended = worker is None or worker.stop()
        if worker is not None and not ended:
            self.get_logger().error(
                'the pipeline is still busy with a frame: it is given up, and closed when it ends'
            )
            worker.close_pipeline_later()
            self.pipeline = None
        if self._poses_started and self._pose_source is not None:
            self._pose_source.stop()
        self._poses_started = False
        self._inputs.clear()
        if self._outputs is not None:
            self._outputs.stop()
            self._outputs = None
        return ended

    def _release(self) -> None:
        for sink in self._sinks.values():
            sink.close()
        self._sinks = {}
        for requests in self._requests:
            requests.close()
        self._requests = []
        if self._diagnostics_publisher is not None:
            self.destroy_publisher(self._diagnostics_publisher)
            self._diagnostics_publisher = None
        self._pose_source = None
        pipeline, self.pipeline = self.pipeline, None
        if pipeline is not None:
            pipeline.close()

    def note_error(self, error: Exception) -> None:
        """Count and tell what the executor raised: an unreadable message, or a bug in a callback."""
        what = f'{type(error).__name__}: {error}'
        if spinning.is_unreadable(error):
            text = f'a message could not be read: {what}'
            self.statistics.drop('unreadable_message', text)
            self._log.warning('unreadable_message', text)
            return
        text = f'a callback failed (internal_error): {what}'
        self.statistics.fail(text)
        self._log.error(
            f'internal_error {type(error).__name__}', f'{text} at {spinning.place(error)}'
        )

    def _give_up(self, what: str, error: Exception) -> None:
        name = '' if isinstance(error, Recon3DError) else f'{type(error).__name__}: '
        reason = f'cannot {what}: {name}{" ".join(str(error).split())}'
        if self.waiting is None:
            self.failed = reason
        else:
            reason += ' The node stays up, and can be configured when pose_source.plugin is set.'
        self.get_logger().error(reason)

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
    try:
        # One that is managed stays up, to be configured again.
        given_up = lambda: node.settings().autostart and node.failed is not None  # noqa: E731
        spinning.spin(node, lambda: stop.is_set() or given_up())
        return int(given_up())
    finally:
        node.destroy_node()
        # Fast DDS needs a moment to hand out the last acknowledgements.
        time.sleep(0.01)


if __name__ == '__main__':
    sys.exit(main())
