"""Which region of an image is which object, over the frames of one camera.

The place of each object follows from the rays to it, where poses are known, and is else where it
was last seen.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.tracking.evidence import Place
from recon3d_core.types import Detection, Frame
from scipy.optimize import linear_sum_assignment

STRIDE = 1_000_000  # numbers of one camera's objects; those of the next camera follow
MOST = 100  # objects remembered
SETTLED = 3  # times seen, from which an object is believed to be one
PATIENCE = 12  # frames that do not show it, after which an object is forgotten
REACH = 0.5  # of the region's diagonal: how far it may be from where it is expected
REACH_AT_FIRST = 1.2  # the same, while its distance from the camera is not known
COLOR = 14.0  # units of CIE Lab that its mean colour may change
GROWTH = 1.6  # of its area from one frame to the next


@dataclasses.dataclass
class _Known:
    """One object; `area` and `color` are the last of its mask, `middle` that of its box."""

    number: int
    place: Place
    area: float
    middle: tuple[float, float]
    color: NDArray[np.float32]
    seen: int = 0
    missed: int = 0

    def expected(self, frame: Frame) -> tuple[float, float] | None:
        """Return where its middle should be in a frame; None where that is out of view."""
        return self.middle if frame.T_world_camera is None else self.place.pixel(frame)

    @property
    def reach(self) -> float:
        """How far from where it is expected it may be, of its diagonal."""
        return REACH if self.seen >= SETTLED else REACH_AT_FIRST

    def take(self, frame: Frame, item: Detection, color: NDArray[np.float32]) -> None:
        """Take in a region that shows it."""
        self.area, self.middle = float(np.count_nonzero(item.mask)), _middle(item)
        self.color = color
        self.place.add(frame, item.box_xyxy)
        self.seen, self.missed = self.seen + 1, 0


class Identities:
    """The objects that one camera saw."""

    def __init__(self, camera: int = 0) -> None:
        """Know none; the numbers begin with those of the camera, 0, 1, 2, ..."""
        self._known: list[_Known] = []
        self._next = camera * STRIDE

    def reset(self) -> None:
        """Forget all objects."""
        self._known.clear()

    def assign(self, frame: Frame, items: Sequence[Detection]) -> list[Detection]:
        """Return the regions that are one object each, with its number in `instance`.

        A region in which several known objects are expected, or one that differs much from it in
        size, is left out; a region that the image's border cuts never begins an object.
        """
        expected = [known.expected(frame) for known in self._known]
        colors = [_mean_color(frame, item) for item in items]
        pairs = self._match(items, colors, expected)
        held = [self._held(item, expected) for item in items]
        named = []
        for index, item in enumerate(items):
            if len(held[index]) > 1:
                continue
            known = self._known[pairs[index]] if index in pairs else None
            if known is None and (item.truncated or held[index] or len(self._known) >= MOST):
                continue
            if known is None:
                known = _Known(self._next, Place(), 0.0, (0.0, 0.0), colors[index])
                self._next += 1
                self._known.append(known)
            known.take(frame, item, colors[index])
            named.append(dataclasses.replace(item, instance=known.number))
        self._note_missing({item.instance for item in named}, expected)
        return named

    def _match(
        self,
        items: Sequence[Detection],
        colors: Sequence[NDArray[np.float32]],
        expected: Sequence[tuple[float, float] | None],
    ) -> dict[int, int]:
        """Return `{region: object}`, the nearest of a like size and colour."""
        cost = np.full((len(items), len(expected)), 10.0)
        for row, item in enumerate(items):
            x0, y0, x1, y1 = item.box_xyxy
            diagonal = float(np.hypot(x1 - x0 + 1, y1 - y0 + 1))
            area = float(np.count_nonzero(item.mask))
            for column, at in enumerate(expected):
                known = self._known[column]
                ratio = max(area, known.area) / max(min(area, known.area), 1.0)
                if at is None or ratio > GROWTH * (1 + 0.1 * known.missed):
                    continue
                away = float(np.hypot(*np.subtract(_middle(item), at))) / diagonal
                differs = float(np.linalg.norm(colors[row] - known.color)) / COLOR
                if away <= known.reach and differs <= 1:
                    cost[row, column] = away + 0.5 * (ratio - 1) + differs
        rows, columns = linear_sum_assignment(cost)
        return {int(r): int(c) for r, c in zip(rows, columns) if cost[r, c] < 10}

    def _held(
        self, item: Detection, expected: Sequence[tuple[float, float] | None]
    ) -> list[_Known]:
        """Return the settled objects that are expected in a region."""
        height, width = item.mask.shape
        found = []
        for known, at in zip(self._known, expected):
            if at is None or known.seen < SETTLED:
                continue
            x, y = round(at[0]), round(at[1])
            if 0 <= x < width and 0 <= y < height and item.mask[y, x]:
                found.append(known)
        return found

    def _note_missing(
        self, seen: set[int | None], expected: Sequence[tuple[float, float] | None]
    ) -> None:
        for known, at in zip(self._known, expected):
            if known.number not in seen and (at is not None or known.seen < SETTLED):
                known.missed += 1
        self._known = [
            known
            for known in self._known
            if known.missed <= (PATIENCE if known.seen >= SETTLED else 1)
        ]


def _mean_color(frame: Frame, item: Detection) -> NDArray[np.float32]:
    """Return the mean colour (3,) of a region, CIE Lab."""
    assert frame.rgb is not None
    x0, y0, x1, y1 = item.box_xyxy
    part = np.s_[y0 : y1 + 1 : 2, x0 : x1 + 1 : 2]
    chosen = frame.rgb[part][item.mask[part]]
    mean = chosen.mean(0) if len(chosen) else np.zeros(3)
    pixel = (mean / 255).astype(np.float32)[None, None]
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0], np.float32)


def _middle(item: Detection) -> tuple[float, float]:
    x0, y0, x1, y1 = item.box_xyxy
    return (x0 + x1) / 2, (y0 + y1) / 2
