"""The motion of one object that its views, its support and its neighbours agree to.

Gauss-Newton with Geman-McClure weights and a prior of no motion. A step counts only where it
lowers the sum of all costs.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import time

import numpy as np
from numpy.typing import NDArray
from recon3d_core.scene.refining.evidence import (
    Motion,
    RaySurface,
    Rows,
    rows_along,
    ViewEvidence,
)
from recon3d_core.types import Plane, Shape

Array = NDArray[np.float64]

_ROUNDS = 6
_PRIOR = 0.02
_CONTACT_M = 0.003
_NEAR_SUPPORT_M = 0.03
_FREE_WEIGHT = 10.0
_MOST_SAMPLES = 300


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a motion may be.

    Attributes:
        max_shift_m: Median way of the seen surface.
        with_scale: Whether the size may change, as where no depth told it.
        min_gain: Part by which the cost must fall.
    """

    max_shift_m: float
    with_scale: bool
    min_gain: float


class Problem:
    """All that speaks for or against a motion of one object."""

    def __init__(
        self,
        surface: RaySurface,
        views: Sequence[ViewEvidence],
        seen_local_m: Array,
        support: Plane | None,
        neighbours: Sequence[RaySurface],
        shape: Shape,
    ) -> None:
        """Take what is known.

        Args:
            surface: The object's mesh.
            views: Views of it.
            seen_local_m: (N, 3) vertices that a camera saw, about the surface's centre; all of
                them where none is known to be seen.
            support: What it must stand on, or None where something else may bear it.
            neighbours: What it must not go into.
            shape: Its grid, whose free voxels stay free.
        """
        self._surface, self._views, self._support = surface, views, support
        self._neighbours, self._shape = neighbours, shape
        local = surface.local_m.astype(np.float64)
        self._samples = local[:: -(-len(local) // _MOST_SAMPLES)]
        self._seen = seen_local_m[:: -(-len(seen_local_m) // _MOST_SAMPLES) or 1]
        self._lowest = local[:0]
        if support is not None:
            heights = local @ support.normal_world
            self._lowest = local[np.argsort(heights, kind='stable')[:8]]

    def residuals(self, motion: Motion) -> tuple[list[Rows], float]:
        """Return the linearised residuals, and the costs that have no slope."""
        rows, rest = [], 0.0
        for view in self._views:
            found, xor = view.compare(self._surface, motion)
            rows += [dataclasses.replace(r, weight=r.weight / len(self._views)) for r in found]
            rest += xor / len(self._views)
        rows += self._contact_rows(motion)
        return rows, rest + self._free_cost(motion)

    def _contact_rows(self, motion: Motion) -> list[Rows]:
        rows = []
        if self._support is not None:
            places = motion.apply(self._lowest)
            above = self._support.height_m(places + self._surface.center_world_m)
            heights = above.astype(np.float64)
            if abs(float(heights.min())) < _NEAR_SUPPORT_M:
                normal = np.broadcast_to(self._support.normal_world, places.shape)
                rows.append(rows_along(places - motion.shift_m, normal, heights, _CONTACT_M))
        places = motion.apply(self._samples)
        for other in self._neighbours:
            depth_m, way_out = other.depths_inside(places + self._surface.center_world_m)
            if depth_m.any():
                rows.append(rows_along(places - motion.shift_m, -way_out, depth_m, _CONTACT_M))
        return rows

    def _free_cost(self, motion: Motion) -> float:
        """Return what lying in voxels that were seen to be free costs."""
        free, grid = self._shape.free, self._shape.grid
        if free is None:
            return 0.0
        index = grid.indices(motion.apply(self._samples) + self._surface.center_world_m)
        within = ((index >= 0) & (index < grid.shape)).all(1)
        return _FREE_WEIGHT * float(free[tuple(index[within].T)].sum()) / len(self._samples)

    def way_m(self, motion: Motion) -> float:
        """Return the median way of the seen surface."""
        return float(np.median(np.linalg.norm(motion.apply(self._seen) - self._seen, axis=1)))


def solve(problem: Problem, limits: Limits, deadline: float | None = None) -> Motion | None:
    """Return the best motion that was found, or None where none is clearly better than none.

    Args:
        problem: The object's.
        limits: What a motion may be.
        deadline: When to stop, as `time.perf_counter` tells it; None = after all rounds.
    """
    best = Motion.none()
    rows, rest = problem.residuals(best)
    first = cost = rest + sum(r.cost for r in rows)
    for _ in range(_ROUNDS):
        step = _step(rows, limits.with_scale)
        for _ in range(3):
            motion = best.then(step)
            if problem.way_m(motion) <= limits.max_shift_m:
                rows_there, rest = problem.residuals(motion)
                there = rest + sum(r.cost for r in rows_there)
                if there < cost:
                    break
            step = step / 3
        else:
            break
        small = cost - there < 0.01 * cost
        best, rows, cost = motion, rows_there, there
        if small or (deadline is not None and time.perf_counter() > deadline):
            break
    return best if cost < (1 - limits.min_gain) * first else None


def _step(rows: Sequence[Rows], with_scale: bool) -> Array:
    parts = [r.normal_equations() for r in rows]
    matrix = np.sum([part[0] for part in parts], axis=0)
    vector = np.sum([part[1] for part in parts], axis=0)
    # As if something said "do not move": slides along planes and axes stay at zero.
    prior = (
        _PRIOR
        * (np.trace(matrix[3:6, 3:6]) / 3 + 1.0)
        * np.array([0.05**2] * 3 + [1.0] * 3 + [0.05**2])
    )
    count = 7 if with_scale else 6
    step = np.zeros(7)
    step[:count] = -np.linalg.solve(
        matrix[:count, :count] + np.diag(prior[:count]), vector[:count]
    )
    return step
