"""The objects of a scene: each one's reconstruction, its views, and its latest estimate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError
from recon3d_core.fusion.progress import ShapeProgress
from recon3d_core.fusion.visual_hull import initial_grid_from_views
from recon3d_core.geometry.grids import grid_around, VoxelGrid
from recon3d_core.geometry.transforms import frame_from_normal
from recon3d_core.interfaces import Mesher, Reconstructor
from recon3d_core.meshing.checks import is_finite, is_watertight, volume_m3
from recon3d_core.scene.alignment import align_view, Surface, surface_of
from recon3d_core.scene.confidence import confidence_of
from recon3d_core.scene.options import AlignmentOptions, ObjectOptions, SelfCheckOptions
from recon3d_core.scene.placement import place, seen_fraction
from recon3d_core.scene.pose_covariance import pose_covariance
from recon3d_core.scene.self_check import self_check
from recon3d_core.scene.views import KeptViews, spread_rad
from recon3d_core.types import Detection, ObjectEstimate, Plane, View

_WAITING = 8  # most views that wait for an object's volume to be placed
_WIDE_RAD = 0.5  # between views that bound an object from all sides
_SAME_SIDE = 0.8  # cosine of two views that show nearly the same surface
_HELD = 0.9  # part of the known surface that the volume must hold
_SURFACE_VIEWS = 4  # views after which the surface to align to is taken anew
_SETTLED = 0.05  # expected change of a shape that is good enough
_MISFITS = 6  # views in a row that are left out because they do not fit


@dataclasses.dataclass
class ObjectState:
    """What is kept of one track; its size does not grow with the views.

    Attributes:
        id: The track's id.
        reconstructor: Who fuses its views.
        state: That reconstructor's state, or None before the volume is placed.
        grid: That volume, as the state began with it.
        waiting: Views seen before the volume was placed.
        kept: Views for the self-check.
        points_world_m: (N, 3) its surface points.
        support: Plane it stands on.
        label: What it is.
        score: The tracker's confidence.
        confirmed: Whether the tracker takes it for an object.
        dirty: Whether it got views since it was last meshed.
        meshed_stamp_ns: When it was last meshed.
        estimate: The latest estimate.
    """

    id: int
    reconstructor: Reconstructor
    first_stamp_ns: int
    last_stamp_ns: int
    state: Any = None
    grid: VoxelGrid | None = None
    waiting: list[View] = dataclasses.field(default_factory=list)
    kept: KeptViews = dataclasses.field(default_factory=KeptViews)
    points_world_m: NDArray[np.float32] = dataclasses.field(
        default_factory=lambda: np.zeros((0, 3), np.float32)
    )
    support: Plane | None = None
    label: str = 'object'
    score: float = 0.0
    confirmed: bool = False
    views_used: int = 0
    misfits_in_row: int = 0
    surface: Surface | None = None
    surface_views: int = 0
    dirty: bool = False
    meshed_stamp_ns: int | None = None
    estimate: ObjectEstimate | None = None
    revision: int = 0
    progress: ShapeProgress = dataclasses.field(default_factory=ShapeProgress)

    @property
    def center_world_m(self) -> NDArray[np.floating] | None:
        """Where the object is, (3,): its box's centre, or its points' mean; None if unknown."""
        if self.estimate is not None:
            return self.estimate.T_world_object[:3, 3]
        return self.points_world_m.mean(0) if len(self.points_world_m) else None

    def restart(self) -> None:
        """Forget shape and estimate, because the views showed more than this object."""
        self._begin_again(self.reconstructor)
        self.estimate = None

    def take(self, reconstructor: Reconstructor) -> None:
        """Begin again with another reconstructor; the last estimate stays until there is a new."""
        if reconstructor is not self.reconstructor:
            self._begin_again(reconstructor)

    def _begin_again(self, reconstructor: Reconstructor) -> None:
        self.reconstructor = reconstructor
        self.state = None
        self.waiting.clear()
        self.kept = KeptViews()
        self.views_used = self.misfits_in_row = self.surface_views = 0
        self.surface = None
        self.dirty = False
        self.progress = ShapeProgress()

    def observe(
        self,
        view: View,
        options: ObjectOptions,
        alignment: AlignmentOptions,
        up: NDArray[np.float64],
    ) -> list[View]:
        """Fuse a view, or let it wait until the object's volume can be placed.

        Returns:
            The views that were fused, their poses corrected.
        """
        self.last_stamp_ns = max(self.last_stamp_ns, view.frame.stamp_ns)
        if not self.reconstructor.needs <= view.frame.inputs | {'mask'}:
            return []
        self.waiting = [*self.waiting, view][-_WAITING:]
        if self._is_outgrown():
            # The estimate stays until the views that were kept have made another one.
            self.waiting = [*self.kept.views, view]
            self.state = self.surface = None
            self.views_used = self.misfits_in_row = self.surface_views = 0
        if self.state is None:
            grid = self._place_volume(options, up) if self.confirmed else None
            if grid is None:
                return []
            self.state, self.grid = self.reconstructor.start(grid), grid
        fused = [self._fuse(waiting, alignment) for waiting in self.waiting]
        self.waiting.clear()
        return [view for view in fused if view is not None]

    def _is_outgrown(self) -> bool:
        """Return whether the tracker knows surface outside of the volume; without depth, never."""
        if self.state is None or self.grid is None or 'depth' not in self.reconstructor.needs:
            return False
        points = self.points_world_m
        return len(points) >= 10 and float(self.grid.contains(points).mean()) < _HELD

    def _fuse(self, view: View, alignment: AlignmentOptions) -> View | None:
        """Fuse a view after correcting its pose; None where it must be wrong."""
        if alignment.enabled and self.views_used and view.frame.depth_m is not None:
            surface = self._surface()
            if surface is not None:
                view, misfit_m = align_view(surface, view, alignment)
                if misfit_m is not None and misfit_m > alignment.max_misfit_m:
                    known = self.kept.similarity(view, self.points_world_m.mean(0)) > _SAME_SIDE
                    self.misfits_in_row += known
                    # A surface that stays elsewhere is the truth; the object was moved.
                    if known and self.misfits_in_row <= _MISFITS:
                        return None
        self.misfits_in_row = 0
        self.state = self.reconstructor.observe(self.state, view)
        self.views_used += 1
        self.dirty = True
        return view

    def _surface(self) -> Surface | None:
        """Return the known surface; that of some views ago will do, as it changes little."""
        age = self.views_used - self.surface_views
        if self.surface is None or age >= min(_SURFACE_VIEWS, self.surface_views):
            self.surface = surface_of(self.reconstructor.seen_shape(self.state))
            self.surface_views = self.views_used
        return self.surface

    def _place_volume(self, options: ObjectOptions, up: NDArray[np.float64]) -> VoxelGrid | None:
        """Return the grid around what was seen so far, upright; None where that is too little."""
        if 'depth' not in self.reconstructor.needs or len(self.points_world_m) < 10:
            # Cones from nearly one direction do not bound the object along it.
            wide = spread_rad(self.waiting) > _WIDE_RAD
            if len(self.waiting) < (max(options.min_views, 3) if wide else _WAITING):
                return None
            try:
                return initial_grid_from_views(self.waiting, options.resolution, self.support, up)
            except InputError:
                return None  # the camera stands still, or a mask is of another thing: wait on
        axes = frame_from_normal(self.support.normal_world if self.support else up)
        points = self.points_world_m
        low, high = np.percentile(points, [1, 99], axis=0)
        points = points[((points >= low) & (points <= high)).all(1)]
        longest = float(np.ptp(points @ axes, axis=0).max())
        voxel_size_m = float(
            np.clip(
                longest / options.resolution, options.min_voxel_size_m, options.max_voxel_size_m
            )
        )
        # The far side is not seen yet: it may lie as far behind as the object is wide.
        margin_m = max(6 * voxel_size_m, 0.2 * longest)
        return grid_around(points, voxel_size_m, margin_m, axes)

    def make_estimate(
        self, mesher: Mesher, check: SelfCheckOptions, up: NDArray[np.float64]
    ) -> ObjectEstimate | None:
        """Mesh the object, place it and compare it with its views.

        Returns:
            The estimate, or None where there is no surface yet.
        """
        seen = self.reconstructor.shape(self.state)
        mesh, shape = mesher.mesh(seen, self.support)
        # What was seen is there, whatever a network says.
        if seen.completed and not len(mesh.faces):
            mesh, shape = mesher.mesh(self.reconstructor.seen_shape(self.state), self.support)
        if not len(mesh.faces) or not is_finite(mesh):
            return None
        verdict = self_check(mesh, self.kept.views, check)
        confidence = confidence_of(verdict, mesh, shape, seen_fraction(mesh))
        observed_only = False
        if not verdict.passed:
            # Without depth there is no seen surface; the doubtful whole is better than nothing.
            observed = mesher.observed_mesh(self.reconstructor.seen_shape(self.state))
            observed_only = len(observed.faces) > 0
            mesh = observed if observed_only else mesh
        closed = is_watertight(mesh)
        normal = self.support.normal_world if self.support else up
        previous = None if self.estimate is None else self.estimate.T_world_object
        T_world_object, size_m = place(mesh, normal, previous)
        self.revision += 1
        # A reconstructor may have refused some; one that does not count them says 0.
        views_used = seen.views_used or self.views_used
        agreement = 0.5 + 0.5 * verdict.silhouette_iou if verdict.passed else 0.3
        return ObjectEstimate(
            id=self.id,
            label=self.label,
            score=float(np.clip(self.score * agreement, 0, 1)),
            mesh=mesh,
            shape=shape,
            T_world_object=T_world_object,
            size_m=size_m,
            views_used=views_used,
            watertight=closed,
            volume_m3=volume_m3(mesh) if closed else 0.0,
            seen_fraction=seen_fraction(mesh),
            self_check=verdict,
            first_stamp_ns=self.first_stamp_ns,
            last_stamp_ns=self.last_stamp_ns,
            support=self.support,
            revision=self.revision,
            observed_only=observed_only,
            expected_change=self.progress.note(shape.occupancy, shape.grid, views_used),
            confidence=confidence,
            pose_covariance=pose_covariance(
                T_world_object, mesh, shape, verdict, closed=not observed_only
            ),
        )


def is_unsettled(estimate: ObjectEstimate) -> bool:
    """Return whether more views would change an object, as far as that is known."""
    return estimate.expected_change is None or estimate.expected_change > _SETTLED


class ObjectBook:
    """All objects by id, and the work that is due for them."""

    def __init__(self, choose: Callable[[ObjectState | None], Reconstructor]) -> None:
        """Start empty.

        Args:
            choose: Returns the reconstructor for an object, new (None) or known.
        """
        self._choose = choose
        self.states: dict[int, ObjectState] = {}

    def get(self, track_id: int, detection: Detection, stamp_ns: int) -> ObjectState:
        """Return the state of a track, a new one where it has none yet."""
        state = self.states.get(track_id)
        if state is None:
            state = ObjectState(track_id, self._choose(None), stamp_ns, stamp_ns)
            state.label, state.support = detection.label, detection.support
            self.states[track_id] = state
        else:
            state.take(self._choose(state))
        return state

    def estimates(self) -> Mapping[int, ObjectEstimate]:
        """Return the published objects by id."""
        return {
            key: state.estimate
            for key, state in sorted(self.states.items())
            if state.estimate is not None
        }

    def due(self, stamp_ns: int, rate_hz: float, min_views: int) -> list[ObjectState]:
        """Return the objects to mesh now, the longest waiting first."""
        waiting = [
            state
            for state in self.states.values()
            if state.dirty
            and state.state is not None
            and state.views_used >= min_views
            and (
                state.meshed_stamp_ns is None
                or stamp_ns - state.meshed_stamp_ns >= 0.999e9 / rate_hz
            )
        ]
        return sorted(waiting, key=lambda state: (state.meshed_stamp_ns or 0, state.id))
