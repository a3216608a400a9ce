"""Times of the stages, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
import contextlib
import time

import numpy as np

_KEPT = 4096


class Timings:
    """Milliseconds per stage: of the current frame, and their quantiles over the last frames."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: dict[str, deque[float]] = {}
        self._frame: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block as part of a stage; blocks of one frame add up."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            spent = 1e3 * (time.perf_counter() - begin)
            self._frame[name] = self._frame.get(name, 0.0) + spent

    def end_frame(self) -> dict[str, float]:
        """Return the stages of the frame that ends, and begin the next."""
        frame, self._frame = self._frame, {}
        for name, spent in frame.items():
            self._kept.setdefault(name, deque(maxlen=_KEPT)).append(spent)
        return frame

    def quantiles(self) -> dict[str, dict[str, float]]:
        """Return `{stage: {p50, p95}}` over the frames in which the stage ran."""
        return {
            name: {
                'p50': round(float(np.percentile(kept, 50)), 3),
                'p95': round(float(np.percentile(kept, 95)), 3),
            }
            for name, kept in sorted(self._kept.items())
        }
