"""Which models look like what is seen, and how they are turned: scores added up over views."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.transforms import Array
from recon3d_core.matching.index import AZIMUTHS, ELEVATIONS_RAD, ModelIndex

_STEP = 2 * np.pi / AZIMUTHS


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An entry of an index that may be what is seen.

    Attributes:
        entry: Which.
        yaw: Its turn about the vertical, radians.
        score: Mean similarity over the views, up to 1.
    """

    entry: int
    yaw: float
    score: float


class Retriever:
    """Compares views with an index."""

    def __init__(self, index: ModelIndex) -> None:
        """Take an index."""
        self.index = index

    @functools.cached_property
    def _features(self) -> NDArray[np.float32]:
        return self.index.features.astype(np.float32)

    def scores(self, raw: NDArray[np.float32], towards: Array) -> NDArray[np.float32]:
        """Return how similar each entry is to one view, at each of the yaws.

        Args:
            raw: (F,) feature of the view.
            towards: (3,) direction from the object to the camera in a frame whose z is up.

        Returns:
            (m, AZIMUTHS) cosines.
        """
        seen = self.index.project(raw[None])[0]
        level = float(np.arctan2(towards[2], np.hypot(towards[0], towards[1])))
        low, high = ELEVATIONS_RAD
        share = np.float32(np.clip((level - low) / (high - low), 0, 1))
        around = self._features @ seen  # (m, E, A)
        ring = (1 - share) * around[:, 0] + share * around[:, 1]
        # Seen at azimuth a, a model turned by a yaw shows its side a - yaw.
        place = (np.arctan2(towards[1], towards[0]) / _STEP - np.arange(AZIMUTHS)) % AZIMUTHS
        left = np.floor(place).astype(int)
        part = (place - left).astype(np.float32)
        found: NDArray[np.float32] = (1 - part) * ring[:, left % AZIMUTHS] + part * ring[
            :, (left + 1) % AZIMUTHS
        ]
        return found

    def best(
        self, total: NDArray[np.float32], views: int, count: int, yaws: int
    ) -> list[Candidate]:
        """Return the best entries, each with its best yaws.

        Args:
            total: (m, AZIMUTHS) sums of `scores`.
            views: Over how many views.
            count: How many entries.
            yaws: How many yaws of each, neighbours of better ones left out.
        """
        mean = total / max(views, 1)
        order = np.argsort(-mean.max(1), kind='stable')[:count]
        found = []
        for entry in order.tolist():
            row = mean[entry].copy()
            for _ in range(yaws):
                best = int(row.argmax())
                if not np.isfinite(row[best]):
                    break
                found.append(Candidate(entry, best * _STEP, float(mean[entry, best])))
                row[[(best + k) % AZIMUTHS for k in (-1, 0, 1)]] = -np.inf
        return found
