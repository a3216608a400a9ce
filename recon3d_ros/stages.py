"""How long the node's stages take, and how often they run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import threading
import time

import numpy as np

_KEPT = 300


@dataclasses.dataclass(frozen=True)
class StageTime:
    """One stage over its last runs.

    Attributes:
        rate_hz: How often it ran.
        p50_ms: Median time.
        p95_ms: 95th percentile.
        runs: How many runs this is made of.
    """

    rate_hz: float
    p50_ms: float
    p95_ms: float
    runs: int


class StageTimes:
    """Times of stages over their last 300 runs; safe to use from several threads."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._kept: dict[str, deque[tuple[float, float]]] = {}

    def add(self, times_ms: Mapping[str, float]) -> None:
        """Take the times of stages that ran just now."""
        now_s = time.monotonic()
        with self._lock:
            for name, spent_ms in times_ms.items():
                self._kept.setdefault(name, deque(maxlen=_KEPT)).append((now_s, spent_ms))

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time a block as a run of a stage, also where it raises."""
        begin_s = time.perf_counter()
        try:
            yield
        finally:
            self.add({name: 1e3 * (time.perf_counter() - begin_s)})

    def summary(self) -> dict[str, StageTime]:
        """Return every stage in the order of its first run."""
        now_s = time.monotonic()
        with self._lock:
            copied = {name: list(kept) for name, kept in self._kept.items()}
        found = {}
        for name, kept in copied.items():
            p50_ms, p95_ms = np.percentile([spent for _, spent in kept], (50, 95))
            span_s = max(now_s - kept[0][0], 1e-3)
            found[name] = StageTime(len(kept) / span_s, float(p50_ms), float(p95_ms), len(kept))
        return found

    def table(self) -> str:
        """Return the summary as lines of text."""
        rows = [f'{"stage":<28}{"rate [Hz]":>10}{"p50 [ms]":>10}{"p95 [ms]":>10}{"runs":>6}']
        for name, item in self.summary().items():
            rows.append(
                f'{name:<28}{item.rate_hz:>10.1f}{item.p50_ms:>10.2f}{item.p95_ms:>10.2f}'
                f'{item.runs:>6}'
            )
        return '\n'.join(rows)
