"""The pipeline: frames in, a scene of objects out; one frame's way, without turning back."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
import logging
from pathlib import Path
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core import config as configuration
from recon3d_core import registry
from recon3d_core.errors import ConfigError, FrameError, Recon3DError
from recon3d_core.interfaces import Reconstructor, TrackUpdate
from recon3d_core.mapping.occupancy import build_occupancy_grid
from recon3d_core.scene.devices import resolve_device
from recon3d_core.scene.objects import ObjectBook, ObjectState
from recon3d_core.scene.options import load_config, PipelineConfig
from recon3d_core.scene.output import write_output
from recon3d_core.scene.timings import Timings
from recon3d_core.scene.views import cut_view, sharpness
from recon3d_core.types import (
    Detection,
    Detections,
    Frame,
    ObjectEstimate,
    Plane,
    Scene,
    SceneUpdate,
    View,
)

logger = logging.getLogger(__name__)

_AT_ONCE_HZ = 1e12
_MAX_JOBS = 64  # views that wait for their turn when there is a time budget


class Pipeline:
    """Turns frames into a scene: its surface, and every object's closed mesh and pose.

    Not thread-safe: one thread calls `update`, `scene` and the rest.

    Attributes:
        config: The options; change live ones with `set_option`.
        device: Where it computes, `cpu` or `cuda:N`.
        fallback: What is used instead of what was configured and why, or None.
        dropped: Frames that were refused, by reason.
        best_frame: The frame that shows most objects, for previews; or None.
    """

    def __init__(self, config: PipelineConfig | None = None) -> None:
        """Load the plugins of a configuration, the default one where None.

        Raises:
            PluginError: A plugin cannot be loaded.
            ConfigError: The device does not exist.
        """
        self.config = load_config() if config is None else config
        self.device = resolve_device(self.config.device)
        self.mapper = self._make('mapper')
        self.detector = self._make('detector')
        self.tracker = self._make('tracker')
        self.mesher = self._make('mesher')
        self.reconstructors = self._make_reconstructors()
        self.timings = Timings()
        self.fallback: str | None = None
        self._begin()

    @classmethod
    def from_config(cls, name: str, overrides: Mapping[str, Any] | None = None) -> Pipeline:
        """Return the pipeline of a named configuration or a YAML file.

        Args:
            name: A name in `config/`, or a path.
            overrides: Nested options that replace the file's.
        """
        return cls(load_config(name, overrides))

    def _make(self, section: str) -> Any:
        chosen = getattr(self.config, section)
        return registry.load(chosen.kind, chosen.plugin)(chosen.config, self.device)

    def _make_reconstructors(self) -> list[Reconstructor]:
        """Return the configured reconstructor and its fallbacks, in order."""
        chain: list[Reconstructor] = [self._make('reconstructor')]
        for name in self.config.fallback_reconstructors:
            if name != chain[0].name:
                chain.append(registry.load('reconstructor', name)(device=self.device))
        return chain

    def _begin(self) -> None:
        self._objects = ObjectBook(self._choose_reconstructor)
        self._jobs: deque[tuple[int, View]] = deque(maxlen=_MAX_JOBS)
        self._planes: tuple[Plane, ...] = ()
        self._inputs: frozenset[str] = frozenset()
        self._stamp_ns = 0
        self._put_off = False
        self._detected_stamp_ns: dict[str, int] = {}
        self._up = np.array([0.0, 0.0, 1.0])
        self._up_is_known = False
        self._best_frame_value = (0, -1.0)
        self.best_frame: Frame | None = None
        self.dropped: Counter[str] = Counter()
        self.frames_read = 0
        self.frames_integrated = 0

    def reset(self) -> None:
        """Forget everything that was seen; ids of objects go on."""
        self.mapper.reset()
        self.detector.reset()
        self.tracker.reset()
        self._begin()

    def close(self) -> None:
        """Give memory back; the pipeline is not used after that."""
        self.reset()

    def set_option(self, path: str, value: Any) -> None:
        """Change a live option while running.

        Args:
            path: Dotted name, such as `mesh.rate_hz`.
            value: New value.

        Raises:
            ConfigError: No such option, not live, or out of range.
        """
        known = {info.path: info for info in configuration.describe(self.config)}
        if path not in known:
            raise ConfigError('unknown option', path, fix=registry.closest(path, list(known)))
        if not known[path].live:
            raise ConfigError(f'option {path} is fixed while running', fix='Restart to change it.')
        *sections, name = path.split('.')
        owner: Any = self.config
        for section in sections:
            owner = getattr(owner, section)
            owner = getattr(owner, 'config', owner)
        configuration.assign(owner, name, value, path)

    def update(self, frame: Frame, *, objects: bool = True) -> SceneUpdate:
        """Take one frame in.

        Args:
            frame: The frame.
            objects: Whether objects are looked for and worked on; without, the frame is only
                mapped, which lets a stream that is faster than this machine be kept up with.

        Raises:
            FrameError: The frame is unusable; it was counted and changed nothing.
        """
        index, self.frames_read = self.frames_read, self.frames_read + 1
        try:
            return self._update(frame.checked(), index, objects)
        except FrameError as error:
            self.dropped[error.reason] += 1
            raise

    def _update(self, frame: Frame, index: int, objects: bool) -> SceneUpdate:
        deadline = self._deadline(self.config.budget_ms)
        frame.pose  # noqa: B018 - raises: nothing can be placed without it
        integrated = self._integrate(frame)
        self._stamp_ns, self._inputs = frame.stamp_ns, frame.inputs
        self._note_up(frame)
        removed: list[int] = []
        detections = self._detect(frame) if objects else None
        if detections is not None:
            removed = self._track(frame, detections)
        changed: list[ObjectEstimate] = []
        if objects:
            self._observe(deadline)
            # Looking and meshing in one go would keep the next frames waiting for too long; but
            # not twice in a row, or where every look is late nothing would ever be meshed.
            late = deadline is not None and time.perf_counter() > deadline
            self._put_off = late and detections is not None and not self._put_off
            changed = [] if self._put_off else self._mesh(deadline)
        self.frames_integrated += integrated
        return SceneUpdate(
            stamp_ns=frame.stamp_ns,
            frame_index=index,
            integrated=integrated,
            detections=detections,
            changed=tuple(changed),
            removed=tuple(removed),
            timings_ms=self.timings.end_frame(),
            notes=(self.fallback,) if self.fallback else (),
        )

    def flush(self, budget_ms: float = 0.0) -> list[ObjectEstimate]:
        """Finish waiting work, as at the end of a recording; return what changed.

        Args:
            budget_ms: Time for it, of which one step may take more; 0 = all of the work.
        """
        deadline = self._deadline(budget_ms)
        self._observe(deadline)
        return self._mesh(deadline, everything=True)

    @property
    def unfinished(self) -> bool:
        """Whether `flush` would find something to do."""
        return bool(self._jobs) or bool(
            self._objects.due(self._stamp_ns, _AT_ONCE_HZ, self.config.objects.min_views)
        )

    def _deadline(self, budget_ms: float) -> float | None:
        return time.perf_counter() + 1e-3 * budget_ms if budget_ms > 0 else None

    def _integrate(self, frame: Frame) -> bool:
        if not self.config.map_scene or frame.depth_m is None:
            return False
        with self.timings.stage('integrate'):
            self.mapper.integrate(frame)
        return True

    def _detect(self, frame: Frame) -> Detections | None:
        """Run the detector where it is due and the frame has what it needs."""
        if not self.config.find_objects:
            return None
        period_ns = 1e9 / self.detector.config.rate_hz
        # Per camera: of two in step, the second would never have its turn.
        last = self._detected_stamp_ns.get(frame.camera_name)
        # A tenth of slack: stamps jitter, and 5 Hz of a 15 Hz stream is every third frame.
        if last is not None and 0 <= frame.stamp_ns - last < 0.9 * period_ns:
            return None
        missing = self.detector.needs - frame.inputs
        if missing:
            self._note(f'detector {self.detector.name} waits for {", ".join(sorted(missing))}')
            return None
        self._detected_stamp_ns[frame.camera_name] = frame.stamp_ns
        with self.timings.stage('detect'):
            detections: Detections = self.detector.detect(frame)
        if self.fallback and self.fallback.startswith('detector'):
            self._note(None)
        if detections.planes:
            self._planes = detections.planes
            if not self._up_is_known:
                self._up, self._up_is_known = self._planes[0].normal_world, True
        return detections

    def _note_up(self, frame: Frame) -> None:
        """Note where up is; without gravity the first support tells, until then the image."""
        if frame.gravity_world is not None:
            self._up, self._up_is_known = -frame.gravity_world, True
        elif not self._up_is_known:
            self._up = -frame.pose[:3, 1]

    def _note(self, note: str | None) -> None:
        """Remember, and log once, that something is used instead of what was configured."""
        if note != self.fallback:
            self.fallback = note
            logger.warning('%s', note or 'all inputs are back')

    def _choose_reconstructor(self) -> Reconstructor:
        """Return the first reconstructor of the chain whose inputs are there."""
        present = self._inputs | {'mask'}
        chosen = next((r for r in self.reconstructors if r.needs <= present), None)
        first = self.reconstructors[0]
        if chosen is None:
            chosen = first
        if chosen is not first:
            missing = ', '.join(sorted(first.needs - present))
            self._note(f'reconstructor {chosen.name} instead of {first.name}: no {missing}')
        elif self.fallback and self.fallback.startswith('reconstructor'):
            self._note(None)
        return chosen

    def _track(self, frame: Frame, detections: Detections) -> list[int]:
        """Associate detections, queue their views, and return the ids that are gone."""
        with self.timings.stage('track'):
            tracks: TrackUpdate = self.tracker.associate(frame, detections)
            removed = self._end_objects(tracks)
            occupied = _all_masks(detections)
            for track_id, detection in tracks.matches:
                if track_id not in tracks.points_world_m:
                    continue
                state = self._objects.get(track_id, detection, frame.stamp_ns)
                self._jobs.append((track_id, self._view(frame, detection, state, occupied)))
            self._keep_best_frame(frame, tracks)
            for track_id, state in self._objects.states.items():
                state.confirmed = track_id in tracks.confirmed
                state.points_world_m = tracks.points_world_m[track_id]
                state.support = tracks.supports[track_id]
                state.label = tracks.labels[track_id]
                state.score = tracks.scores[track_id]
        return removed

    def _keep_best_frame(self, frame: Frame, tracks: TrackUpdate) -> None:
        """Keep the frame that shows most objects, the sharpest of those."""
        count = sum(i in tracks.confirmed and not d.truncated for i, d in tracks.matches)
        if count < self._best_frame_value[0]:
            return
        value = (count, sharpness(frame.rgb))
        if value > self._best_frame_value:
            self._best_frame_value, self.best_frame = value, frame

    def _view(
        self,
        frame: Frame,
        detection: Detection,
        state: ObjectState,
        occupied: NDArray[np.bool_] | None,
    ) -> View:
        others = None if occupied is None else occupied & ~detection.mask
        grid = getattr(state.state, 'grid', None)
        return cut_view(frame, detection, others, grid)

    def _end_objects(self, tracks: TrackUpdate) -> list[int]:
        """Drop the objects of tracks that ended; return those that had been published."""
        removed = []
        for track_id in tracks.removed:
            state = self._objects.states.pop(track_id, None)
            if state is not None and state.estimate is not None:
                removed.append(track_id)
        for track_id in tracks.restarted:
            if track_id in self._objects.states:
                self._objects.states[track_id].restart()
        void = {*tracks.removed, *tracks.restarted}
        self._jobs = deque((job for job in self._jobs if job[0] not in void), _MAX_JOBS)
        return removed

    def _observe(self, deadline: float | None) -> None:
        """Fuse waiting views, at least one, until the deadline."""
        with self.timings.stage('observe'):
            while self._jobs:
                track_id, view = self._jobs.popleft()
                state = self._objects.states.get(track_id)
                if state is not None:
                    options = self.config
                    fused = state.observe(view, options.objects, options.alignment, self._up)
                    for kept in fused:
                        state.kept.offer(kept, _center(state, kept), options.self_check.views)
                if deadline is not None and time.perf_counter() > deadline:
                    break

    def _mesh(self, deadline: float | None, *, everything: bool = False) -> list[ObjectEstimate]:
        """Mesh the objects that are due, at least one, until the deadline."""
        rate_hz = _AT_ONCE_HZ if everything else self.config.mesh.rate_hz
        due = self._objects.due(self._stamp_ns, rate_hz, self.config.objects.min_views)
        changed = []
        for state in due:
            with self.timings.stage('mesh'):
                try:
                    estimate = state.make_estimate(self.mesher, self.config.self_check, self._up)
                except (Recon3DError, ValueError) as error:
                    logger.warning('object %d keeps its last mesh: %s', state.id, error)
                    estimate = None
            state.meshed_stamp_ns, state.dirty = self._stamp_ns, False
            if estimate is not None:
                state.estimate = estimate
                changed.append(estimate)
            if deadline is not None and time.perf_counter() > deadline:
                break
        return changed

    def scene(
        self, *, mesh: bool = False, cloud: bool = False, occupancy_grid: bool = False
    ) -> Scene:
        """Return everything that is known now.

        Args:
            mesh: Whether to extract the scene's surface as a mesh.
            cloud: Whether to extract it as points.
            occupancy_grid: Whether to make the map for navigation.
        """
        objects = dict(self._objects.estimates())
        points = self.mapper.cloud() if cloud or occupancy_grid else None
        grid = None
        if occupancy_grid and points is not None and len(points.points_m):
            grid = build_occupancy_grid(
                points.points_m, objects.values(), self._up, self.config.occupancy_grid
            )
        return Scene(
            stamp_ns=self._stamp_ns,
            objects=objects,
            mesh=self.mapper.mesh() if mesh else None,
            cloud=points if cloud else None,
            planes=self._planes,
            occupancy_grid=grid,
        )

    def stats(self) -> dict[str, float]:
        """Return numbers for diagnostics."""
        states = self._objects.states.values()
        return {
            'frames_read': self.frames_read,
            'frames_integrated': self.frames_integrated,
            'tracks': len(states),
            'objects': len(self._objects.estimates()),
            'waiting_views': len(self._jobs),
            **{f'mapper.{name}': value for name, value in self.mapper.stats().items()},
        }

    def save(self, directory: Path, dropped: Mapping[str, int] | None = None) -> dict[str, Any]:
        """Write the scene's files into a folder and return the summary (docs/outputs.md).

        Args:
            directory: Folder, made where it is missing.
            dropped: Frames that never came here, by reason; added to those refused here.

        Raises:
            OSError: The folder cannot be written.
        """
        frames = {
            'read': self.frames_read + sum((dropped or {}).values()),
            'integrated': self.frames_integrated,
            'dropped': dict(self.dropped + Counter(dropped or {})),
        }
        scene = self.scene(mesh=True, cloud=True)
        return write_output(directory, scene, frames, self.timings, self.device, self.best_frame)


def _all_masks(detections: Detections) -> NDArray[np.bool_] | None:
    """Return the pixels of all objects of a frame, or None where there are none."""
    if not detections.items:
        return None
    occupied = np.zeros_like(detections.items[0].mask)
    for detection in detections.items:
        occupied |= detection.mask
    return occupied


def _center(state: ObjectState, view: View) -> NDArray[np.floating]:
    """Return about where an object is: its points' mean, or a metre in front of the camera."""
    if len(state.points_world_m):
        center: NDArray[np.floating] = state.points_world_m.mean(0)
        return center
    forward: NDArray[np.floating] = view.frame.pose[:3, 3] + view.frame.pose[:3, 2]
    return forward
