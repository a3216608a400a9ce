"""What hovers is a part of what stands below it: the shade of a lamp and its foot.

A thing on something much narrower than itself would fall. Where a mask begins above its support, and
below its middle there is only something thin, or a gap in which depth saw nothing over what is no
wider, both are one object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from recon3d_core.types import Detection, Plane

_HOVERS_M = 0.03
_LOWEST = 0.03  # of the points: below them is noise
_CONTACT_M = 0.02  # so far below and above its lowest points something may carry it
_CARRIES = 0.2  # of its width: what is narrower does not hold it
_BELOW = 0.3  # of the wider one's width: so far apart are middles of what stands below
_LEAST_POINTS = 20


def join_hovering(items: Sequence[Detection]) -> list[list[int]]:
    """Return which detections are one object, as lists of their indices.

    Args:
        items: Detections with surface points and supports; others stay alone.
    """
    groups = [[number] for number in range(len(items))]
    parts = [_Part.of(item) for item in items]
    for number, part in enumerate(parts):
        if part is None or part.foot_m <= _HOVERS_M:
            continue
        below = [
            (part.apart(other), k)
            for k, other in enumerate(parts)
            if other is not None and items[k].support is items[number].support
            and other.foot_m <= _HOVERS_M and other.foot_m < part.foot_m
            and part.hovers_over(other)
        ]  # fmt: skip
        if below:
            groups[min(below)[1]].append(number)
            groups[number] = []
    return [group for group in groups if group]


class _Part:
    """Where the points of a detection are over its support."""

    def __init__(self, points_world_m: NDArray[np.float32], support: Plane) -> None:
        self.height_m = support.height_m(points_world_m)
        normal = support.normal_world.astype(np.float32)
        _, _, axes = np.linalg.svd(normal[None])
        self.flat_m = points_world_m @ axes[1:].T.astype(np.float32)
        self.foot_m = float(np.quantile(self.height_m, _LOWEST))
        self.middle_m, self.width_m = _middle_and_width(self.flat_m)

    @classmethod
    def of(cls, item: Detection) -> _Part | None:
        points = item.points_world_m
        if points is None or item.support is None or len(points) < _LEAST_POINTS:
            return None
        return cls(points, item.support)

    def apart(self, other: _Part) -> float:
        return float(np.linalg.norm(self.middle_m - other.middle_m))

    def hovers_over(self, other: _Part) -> bool:
        if self.apart(other) > _BELOW * max(self.width_m, other.width_m):
            return False
        near = np.abs(other.height_m - self.foot_m) <= _CONTACT_M
        if np.count_nonzero(near) < _LEAST_POINTS // 4:
            # A gap, unless what stands there reaches it elsewhere. What is wider than a shade may be
            # another thing that carries it where nobody sees it.
            gap = other.height_m.max() < self.foot_m
            return bool(gap and other.width_m <= self.width_m)
        return _middle_and_width(other.flat_m[near])[1] < _CARRIES * self.width_m


def _middle_and_width(flat_m: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    low, high = np.quantile(flat_m, (0.02, 0.98), axis=0)
    return (low + high) / 2, float((high - low).max())
