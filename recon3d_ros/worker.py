"""The thread that runs the pipeline: frames in, snapshots out, commands in between."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
import contextlib
import dataclasses
import queue
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import FrameError, InputError
from recon3d_core.geometry.regions import Box
from recon3d_core.scene.output import Output
from recon3d_core.scene.relations import describe_relations
from recon3d_core.types import Frame, SceneUpdate
from recon3d_ros.diagnostics import Statistics, ThrottledLog
from recon3d_ros.inputs import CameraInput, take_oldest
from recon3d_ros.outputs import Outputs
from recon3d_ros.parameters import NodeConfig
from recon3d_ros.pose_sources.base import PoseSource
from recon3d_ros.raw_frame import RawFrame
from recon3d_ros.sinks.base import Snapshot
from recon3d_ros.spinning import place

STOP_S = 10.0
_BACK_NS = 1_000_000_000
_AHEAD_NS = 60_000_000_000
_DOWN = np.array([0.0, 0.0, -1.0])
_TICK_S = 0.25
_OBJECTS_SHARE = 0.35
"""Part of the time that goes to frames with object work while others wait to be mapped."""
_STATS_PERIOD_S = 1.0
_IDLE_SLICE_MS = 100.0
_IDLE_S = 1.0


class StampGuard:
    """Tells a clock that went back from a single wrong stamp.

    One stamp that is more than 1 s older or 60 s newer than the one before is an outlier, unless
    it took that long to come; one that follows on it is the new time.
    """

    def __init__(self, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Start without a stamp; `steady_ns` tells how long a camera was silent."""
        self._steady_ns = steady_ns
        self._last_ns: dict[str, int] = {}
        self._came_ns: dict[str, int] = {}
        self._suspect_ns: dict[str, int] = {}

    def check(self, camera: str, stamp_ns: int) -> bool:
        """Take a camera's stamp; return whether time went back.

        Raises:
            FrameError: `no_stamp` for 0, `stamp_jump` for a stamp far from the others.
        """
        if stamp_ns == 0:
            raise FrameError('no_stamp', f'{camera}: stamp is 0', fix='Have the driver fill it.')
        last = self._last_ns.get(camera)
        if last is None:
            self._accept(camera, stamp_ns)
            return False
        silent_ns = self._steady_ns() - self._came_ns[camera]
        if -_BACK_NS <= stamp_ns - last <= _AHEAD_NS + 2 * silent_ns:
            self._accept(camera, stamp_ns)
            return False
        suspect = self._suspect_ns.get(camera)
        if suspect is not None and -_BACK_NS <= stamp_ns - suspect <= _AHEAD_NS:
            self._accept(camera, stamp_ns)
            return stamp_ns < last
        self._suspect_ns[camera] = stamp_ns
        raise FrameError(
            'stamp_jump',
            f'{camera}: stamp jumps',
            f'{(stamp_ns - last) / 1e9:+.3f} s',
            'steady time; a second such stamp is believed',
        )

    def _accept(self, camera: str, stamp_ns: int) -> None:
        self._last_ns[camera], self._came_ns[camera] = stamp_ns, self._steady_ns()
        self._suspect_ns.pop(camera, None)

    def clear(self) -> None:
        """Forget all stamps."""
        self._last_ns.clear()
        self._suspect_ns.clear()


@dataclasses.dataclass
class Surroundings:
    """What the worker works with.

    Attributes:
        pipeline: The reconstruction; only the worker's thread touches it while it runs.
        inputs: The cameras.
        pose_source: Where poses come from.
        outputs: Where snapshots go.
        statistics: Numbers for the diagnostics.
        log: Where drops are told.
        logger: Where rare events are told.
        settings: Returns the node's options in force.
        now_ns: Returns the time of the node's clock.
    """

    pipeline: Any
    inputs: list[CameraInput]
    pose_source: PoseSource
    outputs: Outputs
    statistics: Statistics
    log: ThrottledLog
    logger: Any
    settings: Callable[[], NodeConfig]
    now_ns: Callable[[], int]


class Worker:
    """Runs the pipeline in a thread of its own; nothing in a frame can end it."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Make the worker; `start` starts it."""
        self.on = surroundings
        self.enabled = True
        self._frame_id = ''
        self._objects_after_s = 0.0
        self._updated_s = 0.0
        self._stats_s = 0.0
        self._unfinished = False
        self._stamps = StampGuard()
        self._commands: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = (
            queue.SimpleQueue()
        )
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='recon3d worker', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """End the thread after the frame that it works on; waiting commands are cancelled.

        Returns:
            Whether it ended. Where it did not, the pipeline is still in its hands.
        """
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        # Both threads may take from the queue here.
        with contextlib.suppress(queue.Empty):
            while True:
                self._commands.get_nowait()[1].cancel()
        return not self._thread.is_alive()

    def close_pipeline_later(self) -> None:
        """Have the pipeline closed when the thread has ended, without waiting for that."""

        def close() -> None:
            self._thread.join()
            self.on.pipeline.close()

        threading.Thread(target=close, name='recon3d closing', daemon=True).start()

    def wake(self) -> None:
        """Tell the worker that there is something to do; never waits."""
        self._wake.set()

    def call(self, command: Callable[[], Any]) -> Future[Any]:
        """Have a command run between two frames; the future gives its result or exception.

        It is cancelled where the worker was stopped.
        """
        future: Future[Any] = Future()
        if self._stopping:  # nobody would answer
            future.cancel()
            return future
        self._commands.put((command, future))
        self._wake.set()
        if self._stopping:  # since then: those that waited may have been cancelled already
            future.cancel()
        return future

    def reset(self, reason: str) -> Future[Any]:
        """Forget everything that was seen, for a reason that is logged and counted."""
        return self.call(lambda: self._reset(reason))

    def finish_some(self) -> Future[bool]:
        """Do some of what the time budget put off; the future gives whether more is left."""
        return self.call(self._finish_some)

    def output(self) -> Future[Output]:
        """Take what the files of the scene are made of."""
        return self.call(self._output)

    def show(self) -> Future[None]:
        """Have the outputs publish what there is, also before the first frame."""
        return self.call(self._show)

    def clear_box(
        self, points_m: NDArray[np.float64], frame_id: str, stamp_ns: int
    ) -> Future[str]:
        """Forget what is in the bounding box of points; the future gives a line about it.

        Args:
            points_m: (N, 3) in `frame_id`, whose axes the box has.
            frame_id: The results' frame, or one that the pose source can place in it.
            stamp_ns: When that frame was there; 0 = now.
        """
        return self.call(lambda: self._clear_box(points_m, frame_id, stamp_ns))

    def clear_object(self, object_id: int) -> Future[str]:
        """Forget an object by its id; the future gives a line about it."""
        return self.call(lambda: self._clear_object(object_id))

    def _output(self) -> Output:
        # The pipeline knows what it refused; the rest never came to it.
        dropped = self.on.statistics.frames_dropped() - self.on.pipeline.dropped
        for camera in self.on.inputs:
            dropped['displaced'] += camera.displaced
        return self.on.pipeline.output(+dropped)

    def _show(self) -> None:
        self._frame_id = self._frame_id or self.on.pose_source.output_frame('')
        if self._frame_id:
            self.on.outputs.offer(self._snapshot())

    def _clear_box(self, points_m: NDArray[np.float64], frame_id: str, stamp_ns: int) -> str:
        world = self._frame_id or self.on.pose_source.output_frame('')
        frame_id = frame_id.lstrip('/')
        if not frame_id:
            raise InputError('the box has no frame_id', fix=f'Fill header.frame_id: {world!r}.')
        T_world_box = np.eye(4)
        if frame_id != world:
            T_world_box = self.on.pose_source.locate(frame_id, stamp_ns)
        box = Box.around(points_m, T_world_box)
        gone = self.on.pipeline.clear_box(box)
        if self._frame_id:
            self.on.outputs.offer(self._snapshot())
        edges = ' x '.join(f'{edge:.2f}' for edge in box.size_m)
        ids = ', '.join(map(str, gone)) or 'none'
        return f'cleared a box of {edges} m in {frame_id}; objects removed: {ids}'

    def _clear_object(self, object_id: int) -> str:
        self.on.pipeline.clear_object(object_id)
        if self._frame_id:
            self.on.outputs.offer(self._snapshot())
        return f'object {object_id} was removed'

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_TICK_S)
            self._wake.clear()
            try:
                self._run_commands()
                while self.enabled and not self._stopping and self._step():
                    self._run_commands()
                self._finish_when_idle()
                self._offer_parts()
            except Exception as error:  # noqa: BLE001 - the worker must outlive any bug
                self._internal_error('worker', error, of_frame=False)

    def _run_commands(self) -> None:
        # Those that wait now: one that asks for the next must let a frame pass in between.
        for _ in range(self._commands.qsize()):
            try:
                command, future = self._commands.get_nowait()
            except queue.Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(command())
            except Exception as error:  # noqa: BLE001 - belongs to who asked
                # Who asked may not wait for the answer, as with a change of a parameter.
                self.on.log.warning('command', f'a command failed: {error}')
                future.set_exception(error)

    def _step(self) -> bool:
        """Work on the oldest input that waits; return whether there was one."""
        raw = take_oldest(self.on.inputs)
        if raw is None:
            return False
        try:
            self._update(raw)
        except FrameError as error:
            self.on.statistics.drop(error.reason, str(error))
            self.on.log.warning(error.reason, f'frame dropped ({error.reason}): {error}')
        except Exception as error:  # noqa: BLE001 - the node stays up whatever a plugin raises
            self._internal_error(f'{raw.camera}: frame dropped', error, of_frame=True)
        self._offer_parts()
        return True

    def _internal_error(self, what: str, error: Exception, *, of_frame: bool) -> None:
        text = f'{what} (internal_error): {type(error).__name__}: {error}'
        if of_frame:
            self.on.statistics.drop('internal_error', text)
        else:
            self.on.statistics.fail(text)
        self.on.log.error(f'internal_error {type(error).__name__}', f'{text} at {place(error)}')

    def _update(self, raw: RawFrame) -> None:
        if self._stamps.check(raw.camera, raw.stamp_ns):
            self._reset('stamps went back')
            self._stamps.check(raw.camera, raw.stamp_ns)
        stages = self.on.statistics.stages
        with stages.measure('convert'):
            frame = raw.to_frame(self.on.settings())
        with stages.measure('wait for pose'):
            frame = self._placed(frame, raw.frame_id)
        begin_s = time.monotonic()
        objects = self._time_for_objects()
        update: SceneUpdate = self.on.pipeline.update(frame, objects=objects)
        if objects:
            took_s = time.monotonic() - begin_s
            self._objects_after_s = begin_s + took_s / _OBJECTS_SHARE
        self._frame_id = self.on.pose_source.output_frame(raw.frame_id) or raw.camera
        latency_s = (self.on.now_ns() - raw.stamp_ns) / 1e9
        self.on.statistics.integrate(latency_s, update.timings_ms)
        self.on.statistics.fallback = self.on.pipeline.fallback
        self.on.outputs.offer(self._snapshot())
        self._unfinished, self._updated_s = True, time.monotonic()
        if self._updated_s - self._stats_s > _STATS_PERIOD_S:
            self._stats_s = self._updated_s
            self.on.statistics.pipeline = dict(self.on.pipeline.stats())
            self.on.statistics.relations = describe_relations(self.on.pipeline.relations())

    def _finish_when_idle(self) -> None:
        """Do what the time budget put off, once no frame came for a while."""
        idle = time.monotonic() - self._updated_s > _IDLE_S
        if self._unfinished and idle and self.enabled and not self._stopping:
            self._finish_some()

    def _finish_some(self) -> bool:
        # In slices: a frame or a command that comes meanwhile waits for one at most.
        changed = self.on.pipeline.flush(_IDLE_SLICE_MS)
        self._unfinished = self.on.pipeline.unfinished
        if changed and self._frame_id:
            self.on.outputs.offer(self._snapshot())
        return self._unfinished

    def _time_for_objects(self) -> bool:
        """Return whether to work on objects: while frames wait, for a share of the time only.

        A frame that is only mapped takes a fraction of the time, so that the camera is kept up with.
        """
        mapping = self.on.pipeline.config.map_scene
        behind = mapping and any(camera.waiting for camera in self.on.inputs)
        return not behind or time.monotonic() >= self._objects_after_s

    def _placed(self, frame: Frame, frame_id: str) -> Frame:
        """Return the frame with its pose and, where the world's axes are known, gravity."""
        source = self.on.pose_source
        try:
            T_world_camera = source.lookup(frame.camera_name, frame_id, frame.stamp_ns)
        except FrameError as error:
            self.on.statistics.pose_failure(str(error))
            raise
        down = _DOWN if self.on.settings().world_z_up and source.knows_world else None
        return dataclasses.replace(frame, T_world_camera=T_world_camera, gravity_world=down)

    def _snapshot(self, parts: frozenset[str] = frozenset()) -> Snapshot:
        scene = self.on.pipeline.scene(**dict.fromkeys(parts, True))
        # A map from a file is there before any frame.
        return Snapshot(scene, self._frame_id, scene.stamp_ns or self.on.now_ns())

    def _offer_parts(self) -> None:
        """Compute the parts of the scene that one subscribed output is due for.

        One output at a time, so that a frame that arrives meanwhile waits and is not lost.
        """
        parts = self.on.outputs.due_parts()
        if not parts or not self._frame_id:
            return
        begin = time.monotonic()
        with self.on.statistics.stages.measure(f'extract {" and ".join(sorted(parts))}'):
            snapshot = self._snapshot(parts)
        self.on.outputs.offer_parts(snapshot, parts, time.monotonic() - begin)

    def _reset(self, reason: str) -> None:
        self.on.logger.warning(f'{reason}: everything that was seen is forgotten')
        self.on.statistics.reset(reason)
        self._stamps.clear()
        # Nothing is published before the next frame, as there is no stamp to say.
        self._frame_id, self._unfinished = '', False
        for camera in self.on.inputs:
            camera.clear()
        self.on.pose_source.reset()
        self.on.pipeline.reset()
        self.on.outputs.reset()
