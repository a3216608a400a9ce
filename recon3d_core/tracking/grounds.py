"""What a track stands on, of all that detections told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.types import Plane

_SAME_M = 0.02  # planes that differ by less beneath a thing are one
_LOW = 0.12  # of its points: so many may be of what it stands on
_FOOT = 0.05  # of its points: below and above them are errors of depth
_GAP_M = 0.04  # so far above a plane a foot may be hidden
_GAP = 0.35  # or this part of what was seen of its height
_BELOW_M = 0.02  # so far below a plane they may be
_MOST = 6  # planes
_OFTEN = 20  # times that count: things are moved


class Grounds:
    """The planes on which detections of one thing saw it standing.

    What hides its foot may look like something that it stands on, and a mask may hold some of what
    it stands on: the plane that most detections told is right, unless much of the surface is below.
    """

    def __init__(self) -> None:
        """Know none."""
        self._planes: list[Plane] = []
        self._times: list[int] = []

    def add(self, plane: Plane, points_world_m: NDArray[np.float32]) -> None:
        """Take in what a detection with points (N, 3) stands on."""
        middle = points_world_m.mean(0, keepdims=True)
        height = float(plane.height_m(middle)[0])
        for number, known in enumerate(self._planes):
            if abs(float(known.height_m(middle)[0]) - height) < _SAME_M:
                self._planes[number] = plane
                self._times[number] = min(self._times[number] + 1, _OFTEN)
                return
        if len(self._planes) == _MOST:
            rarest = int(np.argmin(self._times))
            del self._planes[rarest], self._times[rarest]
        self._planes.append(plane)
        self._times.append(1)

    def best(self, points_world_m: NDArray[np.float32]) -> Plane | None:
        """Return the plane that carries a surface (N, 3).

        None where no plane is known, or the foot of all that was seen is far above it: then the
        thing stands on another one, or nobody saw its foot.
        """
        plane = self._most_told(points_world_m)
        if plane is None or not len(points_world_m):
            return plane
        foot, top = np.quantile(plane.height_m(points_world_m), (_FOOT, 1 - _FOOT))
        return plane if foot <= max(_GAP_M, _GAP * (top - foot)) else None

    def _most_told(self, points_world_m: NDArray[np.float32]) -> Plane | None:
        if len(self._planes) < 2 or not len(points_world_m):
            return self._planes[0] if self._planes else None
        gaps = [float(np.quantile(plane.height_m(points_world_m), _LOW)) for plane in self._planes]
        carrying = [number for number, gap in enumerate(gaps) if gap > -_BELOW_M]
        # Of those told as often, the newest.
        often = max(carrying or range(len(gaps)), key=lambda number: (self._times[number], number))
        return self._planes[often]
