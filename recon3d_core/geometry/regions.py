"""Parts of the world that somebody names: oriented boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_transform
from recon3d_core.errors import InputError

_MIN_EDGE_M = 1e-6


@dataclasses.dataclass(frozen=True)
class Box:
    """An oriented box.

    Attributes:
        T_world_box: (4, 4) pose of its centre.
        size_m: (3,) edges, along the axes of that pose.
    """

    T_world_box: NDArray[np.float64]
    size_m: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InputError: It is not finite or is flat along an axis.
        """
        check_transform('T_world_box', self.T_world_box)
        size_m = np.asarray(self.size_m, np.float64)
        if size_m.shape != (3,) or not np.isfinite(size_m).all() or (size_m < _MIN_EDGE_M).any():
            raise InputError(
                'edges of a box', size_m.tolist(), 'three lengths above 0, metres',
                'Points of different heights make a box.',
            )  # fmt: skip

    @classmethod
    def around(cls, points_m: NDArray[np.floating], T_world_points: NDArray[np.float64]) -> Box:
        """Return the bounding box of points (N, 3), aligned to the axes of their own frame.

        Args:
            points_m: The points, N >= 2, in their frame.
            T_world_points: (4, 4) pose of that frame.

        Raises:
            InputError: There are too few, they are not finite, or they all lie in one plane.
        """
        points = np.asarray(points_m, np.float64).reshape(-1, 3)
        if len(points) < 2:
            raise InputError('points around a box', len(points), 'at least 2')
        if not np.isfinite(points).all():
            raise InputError('points around a box', 'NaN or infinity', 'finite coordinates')
        low, high = points.min(0), points.max(0)
        pose = np.array(T_world_points, np.float64)
        pose[:3, 3] += pose[:3, :3] @ ((low + high) / 2)
        return cls(pose, high - low)

    def contains(
        self, points_world_m: NDArray[np.floating], margin_m: float = 0.0
    ) -> NDArray[np.bool_]:
        """Return (...) which of the points (..., 3) are inside.

        Args:
            points_world_m: The points.
            margin_m: By how much the box is larger on each side; negative makes it smaller.
        """
        local = (points_world_m - self.T_world_box[:3, 3]) @ self.T_world_box[:3, :3]
        inside = np.abs(local) <= self.size_m / 2 + margin_m
        return np.asarray(inside.all(-1), bool)
