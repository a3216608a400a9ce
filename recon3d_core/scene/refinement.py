"""Joint refinement: estimates correct one another after they were made (docs/refinement.md).

Each new estimate is rendered into its kept views and moved a little, with its mesh, pose and grid
together, where that makes silhouette, depth, normals and contacts fit clearly better. Then what
two objects claim goes to one of them. A pair that claims mostly the same is one object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import time

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import make_transform
from recon3d_core.interfaces import Mesher
from recon3d_core.meshing.checks import is_watertight, volume_m3
from recon3d_core.scene.confidence import confidence_of
from recon3d_core.scene.options import RefinementOptions, SelfCheckOptions
from recon3d_core.scene.placement import place, seen_fraction
from recon3d_core.scene.pose_covariance import pose_covariance
from recon3d_core.scene.refining.carving import claimed, lost, solid_of, without
from recon3d_core.scene.refining.evidence import Motion, RaySurface, ViewEvidence
from recon3d_core.scene.refining.solve import Limits, Problem, solve
from recon3d_core.scene.relations import bounds_m, up_of
from recon3d_core.scene.self_check import self_check
from recon3d_core.types import Mesh, ObjectEstimate, Shape, View

Array = NDArray[np.float64]

_UNMEASURED_SHIFT_M = 0.05  # of objects that no depth camera saw
_GOOD_IOU, _GOOD_RESIDUAL_M = 0.9, 0.002
_CLEAR_IOU, _CLEAR_RESIDUAL_M = 0.01, 0.0003
_NEAR_M = 0.01
_NOISE_IOU = 0.005  # less is no difference
_SHARED_IOU = 0.01  # what an outline may lose where two objects claim one place


class Refiner:
    """Corrects new estimates, settles what two objects claim, and finds doubles."""

    def __init__(self, options: RefinementOptions, check: SelfCheckOptions) -> None:
        """Keep the options; live ones may change."""
        self._options, self._check = options, check
        self._same: Counter[tuple[int, int]] = Counter()
        self._made: dict[int, ObjectEstimate] = {}  # as they were before others took voxels

    def refine(
        self,
        changed: Sequence[int],
        estimates: Mapping[int, ObjectEstimate],
        views: Mapping[int, Sequence[View]],
        mesher: Mesher,
        deadline: float | None = None,
    ) -> tuple[dict[int, ObjectEstimate], list[tuple[int, int]]]:
        """Refine the estimates that changed.

        Args:
            changed: Ids of the new estimates.
            estimates: All estimates by id; those that did not change stay where they are, and may
                lose voxels that another has better reasons for.
            views: Views of each object.
            mesher: Makes the mesh of what lost voxels.
            deadline: As `time.perf_counter` tells it; None = all of the work is done.

        Returns:
            The estimates that are other than before, and the pairs (kept, gone) that are one.
        """
        current = dict(estimates)
        for key in changed:
            if _is_late(deadline):
                break
            moved = self._moved(current[key], views[key], current, deadline)
            current[key] = moved or current[key]
        self._made = {k: e for k, e in self._made.items() if k in current}
        self._made.update((k, current[k]) for k in changed)
        same = self._settle(changed, current, views, mesher, deadline)
        return {k: e for k, e in current.items() if e is not estimates[k]}, same

    def _moved(
        self,
        estimate: ObjectEstimate,
        views: Sequence[View],
        estimates: Mapping[int, ObjectEstimate],
        deadline: float | None,
    ) -> ObjectEstimate | None:
        """Return an estimate at a better place, or None where there is none."""
        views = [v for v in views if v.frame.T_world_camera is not None and v.mask.any()]
        if not views or not estimate.watertight or estimate.observed_only:
            return None
        check = estimate.self_check
        measured = any(v.frame.depth_m is not None for v in views)
        good = check.silhouette_iou >= _GOOD_IOU and not check.depth_residual_m > _GOOD_RESIDUAL_M
        if good:
            return None  # nothing that is known could make it better
        near = [e for e in estimates.values() if e.id != estimate.id and _are_near(e, estimate)]
        center = estimate.T_world_object[:3, 3]
        surface = RaySurface(estimate.mesh, center)
        problem = Problem(
            surface,
            [ViewEvidence(view) for view in views],
            _seen_m(estimate.mesh) - center,
            None if near else estimate.support,
            [RaySurface(e.mesh, e.T_world_object[:3, 3]) for e in near if e.watertight],
            estimate.shape,
        )
        shift = self._options.max_shift_m if measured else _UNMEASURED_SHIFT_M
        motion = solve(problem, Limits(shift, not measured, self._options.min_gain), deadline)
        if motion is None:
            return None
        refined = _apply(estimate, motion, center, views, self._check)
        return refined if _agrees_better(refined, estimate) else None

    def _settle(
        self,
        changed: Sequence[int],
        current: dict[int, ObjectEstimate],
        views: Mapping[int, Sequence[View]],
        mesher: Mesher,
        deadline: float | None,
    ) -> list[tuple[int, int]]:
        """Give what two objects claim to one of them; return the pairs that are one object."""
        doubles = []
        self._same = Counter(
            {pair: n for pair, n in self._same.items() if set(pair) <= current.keys()}
        )
        for pair in itertools.combinations(sorted(current), 2):
            if not set(pair) & set(changed) or _is_late(deadline):
                continue
            a, b = (current[key] for key in pair)
            if a.observed_only or b.observed_only:
                self._same.pop(pair, None)
                continue
            if self._is_double(pair, current):
                # The better known stays: that is the identity that others rely on.
                kept, gone = sorted((a, b), key=lambda e: (-e.views_used, e.id))
                doubles.append((kept.id, gone.id))
                continue
            # Until that is certain they are two, and two do not share a place.
            of_a, of_b = claimed(a, b), claimed(b, a)
            gone_a, gone_b = of_a[lost(a, b, of_a)], of_b[lost(b, a, of_b)]
            for loser, cells in ((a, gone_a), (b, gone_b)):
                carved = self._carved(loser, cells, views[loser.id], mesher)
                current[loser.id] = carved or loser
        return doubles

    def _is_double(self, pair: tuple[int, int], current: Mapping[int, ObjectEstimate]) -> bool:
        """Return whether a pair claimed mostly the same for long enough, before it was settled."""
        a, b = (self._made.get(key, current[key]) for key in pair)
        if not _are_one(a, b, len(claimed(a, b))):
            self._same.pop(pair, None)
            return False
        self._same[pair] += 1
        if self._same[pair] < self._options.looks_to_merge:
            return False
        del self._same[pair]
        return True

    def _carved(
        self,
        estimate: ObjectEstimate,
        cells: NDArray[np.int64],
        views: Sequence[View],
        mesher: Mesher,
    ) -> ObjectEstimate | None:
        """Return an estimate without voxels that are another's, or None where it stays."""
        found = without(estimate, cells, mesher) if len(cells) else None
        if found is None:
            return None
        carved = remade(estimate, *found, views, self._check, estimate.T_world_object)
        return carved if _agrees_as_well(carved, estimate, _SHARED_IOU) else None


def remade(
    estimate: ObjectEstimate,
    mesh: Mesh,
    shape: Shape,
    views: Sequence[View],
    check: SelfCheckOptions,
    previous: Array,
) -> ObjectEstimate:
    """Return an estimate with another mesh and shape, and all that follows from them."""
    closed = is_watertight(mesh)
    T_world_object, size_m = place(mesh, up_of(estimate), previous)
    verdict, seen = self_check(mesh, views, check), seen_fraction(mesh)
    return dataclasses.replace(
        estimate,
        mesh=mesh,
        shape=shape,
        T_world_object=T_world_object,
        size_m=size_m,
        watertight=closed,
        volume_m3=volume_m3(mesh) if closed else 0.0,
        seen_fraction=seen,
        self_check=verdict,
        revision=estimate.revision,
        confidence=confidence_of(verdict, mesh, shape, seen),
        pose_covariance=pose_covariance(T_world_object, mesh, shape, verdict),
    )


def moved_estimate(
    estimate: ObjectEstimate, motion: Motion, center_world_m: Array
) -> tuple[Mesh, Shape, Array]:
    """Return mesh, shape and pose of an estimate after a motion about a point."""
    local = estimate.mesh.vertices_m - center_world_m
    mesh = dataclasses.replace(
        estimate.mesh, vertices_m=(motion.apply(local) + center_world_m).astype(np.float32)
    )
    grid, shape = estimate.shape.grid, estimate.shape
    corner = motion.apply((grid.T_world_grid[:3, 3] - center_world_m)[None])[0] + center_world_m
    placed = VoxelGrid(
        make_transform(motion.rotation @ grid.T_world_grid[:3, :3], corner),
        grid.voxel_size_m * motion.scale,
        grid.shape,
    )
    sdf_m = None if shape.sdf_m is None else shape.sdf_m * np.float32(motion.scale)
    pose = estimate.T_world_object
    middle = motion.apply((pose[:3, 3] - center_world_m)[None])[0] + center_world_m
    T_world_object = make_transform(motion.rotation @ pose[:3, :3], middle)
    return mesh, dataclasses.replace(shape, grid=placed, sdf_m=sdf_m), T_world_object


def _apply(
    estimate: ObjectEstimate,
    motion: Motion,
    center_world_m: Array,
    views: Sequence[View],
    check: SelfCheckOptions,
) -> ObjectEstimate:
    mesh, shape, pose = moved_estimate(estimate, motion, center_world_m)
    return remade(estimate, mesh, shape, views, check, pose)


def _agrees_as_well(
    new: ObjectEstimate, old: ObjectEstimate, tolerated_iou: float = _NOISE_IOU
) -> bool:
    """Return whether the views speak no more against an estimate than against a former one."""
    a, b = new.self_check, old.self_check
    worse = a.silhouette_iou < b.silhouette_iou - tolerated_iou
    worse |= a.depth_residual_m > b.depth_residual_m + 0.0003
    return not worse and new.watertight >= old.watertight and a.passed >= b.passed


def _agrees_better(new: ObjectEstimate, old: ObjectEstimate) -> bool:
    """Return whether all pixels confirm what those chosen for the solution say."""
    a, b = new.self_check, old.self_check
    gain = a.silhouette_iou > b.silhouette_iou + _CLEAR_IOU
    gain |= a.depth_residual_m < b.depth_residual_m - _CLEAR_RESIDUAL_M
    return gain and _agrees_as_well(new, old)


def _are_one(a: ObjectEstimate, b: ObjectEstimate, shared: int) -> bool:
    """Return whether most of the smaller of two solids of one label lies in the other."""
    cells = [int(solid_of(e.shape).sum()) * e.shape.grid.voxel_size_m**3 for e in (a, b)]
    return a.label == b.label and shared * a.shape.grid.voxel_size_m**3 > 0.5 * min(cells)


def _are_near(a: ObjectEstimate, b: ObjectEstimate) -> bool:
    (low_a, high_a), (low_b, high_b) = bounds_m(a), bounds_m(b)
    return bool((np.maximum(low_a - high_b, low_b - high_a) < _NEAR_M).all())


def _seen_m(mesh: Mesh) -> Array:
    """Return the vertices of faces that a camera saw, all of them where none is known."""
    if mesh.face_observed is None or not mesh.face_observed.any():
        return mesh.vertices_m.astype(np.float64)
    return mesh.vertices_m[mesh.faces[mesh.face_observed, 0]].astype(np.float64)


def _is_late(deadline: float | None) -> bool:
    return deadline is not None and time.perf_counter() > deadline
