"""The thread that publishes: the newest snapshot to every sink that somebody listens to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import threading
import time
from typing import Any

from recon3d_ros.diagnostics import Statistics, ThrottledLog
from recon3d_ros.sinks.base import Sink, Snapshot

_TICK_S = 0.5
_PARTS_PERIOD_S = 1.0
_PARTS_SHARE = 0.2
"""Largest part of the worker's time that is spent on surfaces, clouds and maps."""


@dataclasses.dataclass
class _Feed:
    """What a sink was given.

    Attributes:
        sink: The sink.
        snapshot: What it shall publish next, or published last.
        version: Number of that snapshot.
        published: Number of the snapshot that it published, 0 before the first.
        published_ns: When, by the node's clock.
        subscribers: How many there were at the last look.
    """

    sink: Sink
    snapshot: Snapshot | None = None
    version: int = 0
    published: int = 0
    published_ns: int | None = None
    subscribers: int = 0


class Outputs:
    """Gives snapshots to sinks in a thread of its own, each at its own rate."""

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        statistics: Statistics,
        log: ThrottledLog,
        now_ns: Callable[[], int],
    ) -> None:
        """Make the outputs; `start` starts the thread.

        Args:
            sinks: The sinks by name.
            statistics: Where publishing is counted.
            log: Where failures are told.
            now_ns: Returns the time of the node's clock.
        """
        self._feeds = {name: _Feed(sink) for name, sink in sinks.items()}
        self._statistics = statistics
        self._log = log
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._version = 0
        self._reset_asked = False
        self._parts_after_s = 0.0
        self._parts_version: dict[str, int] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='recon3d outputs', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def offer(self, snapshot: Snapshot) -> None:
        """Take a new snapshot; the one before is dropped where it was not published yet."""
        with self._lock:
            self._version += 1
            for feed in self._feeds.values():
                if not feed.sink.parts:
                    feed.snapshot, feed.version = snapshot, self._version
        self._wake.set()

    def due_parts(self) -> frozenset[str]:
        """Return the costly parts of the scene to compute now: those of one sink, or none."""
        now_s = time.monotonic()
        if now_s < self._parts_after_s:
            return frozenset()
        with self._lock:
            waiting = [
                feed
                for name, feed in self._feeds.items()
                if feed.sink.parts
                and self._parts_version.get(name, 0) < self._version
                and self._rate_allows(feed, max(_PARTS_PERIOD_S, 1 / feed.sink.config.max_rate_hz))
                and feed.sink.subscribers()
            ]
            if not waiting:
                return frozenset()
            return min(waiting, key=lambda feed: feed.version).sink.parts

    def offer_parts(self, snapshot: Snapshot, parts: frozenset[str], took_s: float) -> None:
        """Take a snapshot with the parts that `due_parts` asked for, which took a time to make."""
        self._parts_after_s = time.monotonic() + took_s * (1 / _PARTS_SHARE - 1)
        with self._lock:
            for name, feed in self._feeds.items():
                if feed.sink.parts and feed.sink.parts <= parts:
                    feed.snapshot, feed.version = snapshot, self._version
                    self._parts_version[name] = self._version
        self._wake.set()

    def reset(self) -> None:
        """Have every sink take back what it published."""
        with self._lock:
            self._reset_asked = True
            for feed in self._feeds.values():
                feed.snapshot = None
        self._wake.set()

    def _rate_allows(self, feed: _Feed, period_s: float) -> bool:
        if feed.published_ns is None:
            return True
        passed_ns = self._now_ns() - feed.published_ns
        # Simulated time may have been set back.
        return passed_ns < 0 or passed_ns >= period_s * 1e9

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_TICK_S)
            self._wake.clear()
            if self._reset_asked:
                self._reset_asked = False
                for name, feed in self._feeds.items():
                    self._guarded(name, feed.sink.reset)
            for name, feed in self._feeds.items():
                self._guarded(name, self._serve, name, feed)

    def _serve(self, name: str, feed: _Feed) -> None:
        subscribers = feed.sink.subscribers()
        joined = subscribers > feed.subscribers
        feed.subscribers = subscribers
        with self._lock:
            snapshot, version = feed.snapshot, feed.version
        if not subscribers or snapshot is None:
            return
        fresh = version > feed.published
        if joined or (fresh and self._rate_allows(feed, 1 / feed.sink.config.max_rate_hz)):
            feed.published, feed.published_ns = version, self._now_ns()
            with self._statistics.stages.measure(f'publish {name}'):
                published = self._guarded(name, feed.sink.publish, snapshot)
            if published:
                self._statistics.publish(name)

    def _guarded(self, name: str, function: Callable[..., Any], *arguments: Any) -> bool:
        """Call a sink; what it raises is counted and told."""
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 - one broken output must not stop the others
            text = f'output {name} failed: {type(error).__name__}: {error}'
            self._statistics.drop(f'sink_{name}', text)
            self._log.error(f'sink_{name}', text)
            return False
        return True
