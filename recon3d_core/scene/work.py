"""The work on objects: which view belongs to which, fused and meshed when it is its turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
import dataclasses
import logging
import time

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import Recon3DError
from recon3d_core.geometry.regions import Box
from recon3d_core.interfaces import Mesher, Reconstructor, Tracker, TrackUpdate
from recon3d_core.scene.objects import ObjectBook, ObjectState
from recon3d_core.scene.options import PipelineConfig
from recon3d_core.scene.refinement import Refiner
from recon3d_core.scene.timings import Timings
from recon3d_core.scene.views import cut_view, sharpness
from recon3d_core.types import Detection, Detections, Frame, ObjectEstimate, View

logger = logging.getLogger(__name__)

AT_ONCE_HZ = 1e12
_MAX_JOBS = 64  # views that wait for their turn when there is a time budget


class ObjectWork:
    """Makes objects of detections: associates, queues views, fuses them, and meshes.

    Attributes:
        best_frame: The frame that shows most objects, for previews; or None.
    """

    def __init__(
        self,
        config: PipelineConfig,
        tracker: Tracker,
        mesher: Mesher,
        choose: Callable[[ObjectState | None], Reconstructor],
        timings: Timings,
    ) -> None:
        """Start without objects.

        Args:
            config: The pipeline's options; live ones may change.
            tracker: Says which object a detection belongs to.
            mesher: Makes the meshes.
            choose: Returns the reconstructor for an object, new (None) or known.
            timings: Takes the time of each stage.
        """
        self._config = config
        self._tracker = tracker
        self._mesher = mesher
        self._timings = timings
        self._book = ObjectBook(choose)
        self._refiner = Refiner(config.refinement, config.self_check)
        self._joined: list[int] = []
        self._jobs: deque[tuple[int, View]] = deque(maxlen=_MAX_JOBS)
        self._best_frame_value = (0, -1.0)
        self.best_frame: Frame | None = None

    @property
    def tracks(self) -> int:
        """How many tracks there are, published or not."""
        return len(self._book.states)

    @property
    def waiting_views(self) -> int:
        """How many views wait for their turn."""
        return len(self._jobs)

    def estimates(self) -> Mapping[int, ObjectEstimate]:
        """Return the published objects by id."""
        return self._book.estimates()

    def is_unfinished(self, stamp_ns: int) -> bool:
        """Return whether views wait, or objects that have not been meshed since their last."""
        return bool(self._jobs) or bool(self._due(stamp_ns, AT_ONCE_HZ))

    def track(self, frame: Frame, detections: Detections) -> list[int]:
        """Associate detections, queue their views, and return the ids that are gone."""
        with self._timings.stage('track'):
            tracks: TrackUpdate = self._tracker.associate(frame, detections)
            removed = self._end_objects(tracks)
            occupied = _all_masks(detections)
            for track_id, detection in tracks.matches:
                if track_id not in tracks.points_world_m:
                    continue
                # What it stands on is better known than this frame tells.
                detection = dataclasses.replace(detection, support=tracks.supports[track_id])
                state = self._book.get(track_id, detection, frame.stamp_ns)
                self._jobs.append((track_id, _view(frame, detection, state, occupied)))
            self._keep_best_frame(frame, tracks)
            for track_id, state in self._book.states.items():
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

    def _end_objects(self, tracks: TrackUpdate) -> list[int]:
        """Drop what ended or turned out to be two; return the ids that had been published."""
        removed = []
        for track_id in tracks.removed:
            state = self._book.states.pop(track_id, None)
            if state is not None and state.estimate is not None:
                removed.append(track_id)
        for track_id in tracks.restarted:
            state = self._book.states.get(track_id)
            if state is not None:
                # Its mesh holds the other object too, which is published on its own by now.
                if state.estimate is not None:
                    removed.append(track_id)
                state.restart()
        self._drop_views({*tracks.removed, *tracks.restarted})
        return removed

    def _drop_views(self, void: set[int]) -> None:
        self._jobs = deque((job for job in self._jobs if job[0] not in void), _MAX_JOBS)

    def clear_box(self, box: Box) -> list[int]:
        """Forget the objects whose centre is inside a box; return those that were published."""
        inside = {
            track_id
            for track_id, state in self._book.states.items()
            if (center := state.center_world_m) is not None and box.contains(center)
        }
        return self.forget(inside) if inside else []

    def forget(self, track_ids: set[int]) -> list[int]:
        """Forget some objects; return those that were published."""
        self._tracker.forget(track_ids)
        self._drop_views(track_ids)
        gone = {track_id: self._book.states.pop(track_id) for track_id in sorted(track_ids)}
        return [track_id for track_id, state in gone.items() if state.estimate is not None]

    def observe(self, deadline: float | None, up: NDArray[np.float64]) -> None:
        """Fuse waiting views, at least one, until the deadline (`time.perf_counter`)."""
        options = self._config
        with self._timings.stage('observe'):
            while self._jobs:
                track_id, view = self._jobs.popleft()
                state = self._book.states.get(track_id)
                if state is not None:
                    try:
                        fused = state.observe(view, options.objects, options.alignment, up)
                    except Exception as error:  # noqa: BLE001 - a full GPU, a plugin of others
                        logger.warning('object %d: a view is left out: %s', track_id, _told(error))
                        state.waiting.clear()  # it would be in the way of those that come
                        fused = []
                    for kept in fused:
                        state.kept.offer(kept, _center(state, kept), options.self_check.views)
                if deadline is not None and time.perf_counter() > deadline:
                    break

    def mesh(
        self, stamp_ns: int, rate_hz: float, deadline: float | None, up: NDArray[np.float64]
    ) -> list[ObjectEstimate]:
        """Mesh the objects that are due, at least one, until the deadline.

        Args:
            stamp_ns: The time of the frames.
            rate_hz: How often an object is meshed.
            deadline: As `time.perf_counter` tells it; None = no limit.
            up: (3,) the direction that objects without support stand in.
        """
        changed = []
        for state in self._due(stamp_ns, rate_hz):
            # Before: one that fails in an unforeseen way must not keep the others from their turn.
            state.meshed_stamp_ns, state.dirty = stamp_ns, False
            with self._timings.stage('mesh'):
                try:
                    estimate = state.make_estimate(self._mesher, self._config.self_check, up)
                except Exception as error:  # noqa: BLE001 - as above
                    logger.warning('object %d keeps its last mesh: %s', state.id, _told(error))
                    estimate = None
            if estimate is not None:
                state.estimate = estimate
                changed.append(estimate)
            if deadline is not None and time.perf_counter() > deadline:
                break
        if not changed or not self._config.refinement.enabled:
            return changed
        with self._timings.stage('refine'):
            return self._refine([estimate.id for estimate in changed], deadline is not None)

    def take_joined(self) -> list[int]:
        """Return the published objects that turned out to be others since the last call."""
        joined, self._joined = self._joined, []
        return joined

    def kept_views(self) -> dict[int, list[View]]:
        """Return the views that each object is checked against."""
        return {key: state.kept.views for key, state in self._book.states.items()}

    def _refine(self, changed: list[int], in_time: bool) -> list[ObjectEstimate]:
        """Refine what was just meshed; return the estimates that are new, neighbours included."""
        budget_s = 1e-3 * self._config.refinement.budget_ms
        deadline = time.perf_counter() + budget_s if in_time else None
        try:
            refined, same = self._refiner.refine(
                changed, self._book.estimates(), self.kept_views(), self._mesher, deadline
            )
        except Exception as error:  # noqa: BLE001 - as above
            logger.warning('objects stay as they were meshed: %s', _told(error))
            refined, same = {}, []
        for key, estimate in refined.items():
            state = self._book.states[key]
            if key not in changed:
                state.revision += 1
            state.estimate = dataclasses.replace(estimate, revision=state.revision)
        for kept, gone in same:
            self._join(kept, gone)
        estimates = self._book.estimates()
        return [estimates[key] for key in sorted({*changed, *refined}) if key in estimates]

    def _join(self, kept: int, gone: int) -> None:
        """Take two objects for one; the next views make it whole."""
        if {kept, gone} <= self._book.states.keys():
            try:
                self._tracker.join(kept, gone)
            except Exception as error:  # noqa: BLE001 - as above
                logger.warning('objects %d and %d stay two: %s', kept, gone, _told(error))
                return
            del self._book.states[gone]
            self._drop_views({gone})
            self._joined.append(gone)

    def _due(self, stamp_ns: int, rate_hz: float) -> list[ObjectState]:
        return self._book.due(stamp_ns, rate_hz, self._config.objects.min_views)


def _view(
    frame: Frame,
    detection: Detection,
    state: ObjectState,
    occupied: NDArray[np.bool_] | None,
) -> View:
    others = None if occupied is None else occupied & ~detection.mask
    grid = getattr(state.state, 'grid', None)
    return cut_view(frame, detection, others, grid)


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


def _told(error: Exception) -> str:
    """Return an error as a line; one that nobody foresaw with its kind."""
    if isinstance(error, Recon3DError):
        return str(error)
    logger.debug('unforeseen', exc_info=error)
    return f'{type(error).__name__}: {error}'
