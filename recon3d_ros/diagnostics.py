"""What the node counts, how it logs without flooding, and the messages on /diagnostics."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
import sys
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from recon3d_ros.stages import StageTimes

_REPEAT_S = 10.0
_WINDOW = 300
_RECENT_S = 5.0


class ThrottledLog:
    """Logs the first event of each kind at once, and a kind that goes on at most every 10 s."""

    def __init__(self, logger: Any) -> None:
        """Log to an rclpy logger."""
        self._logger = logger
        self._lock = threading.Lock()
        self._said_s: dict[str, float] = {}
        self._silent: Counter[str] = Counter()

    def _text(self, key: str, text: str) -> str | None:
        now = time.monotonic()
        with self._lock:
            if now - self._said_s.get(key, -np.inf) < _REPEAT_S:
                self._silent[key] += 1
                return None
            self._said_s[key] = now
            skipped = self._silent.pop(key, 0)
        line = ' '.join(text.split())
        return f'{line} ({skipped} more of this kind)' if skipped else line

    def warning(self, key: str, text: str) -> None:
        """Log a warning of a kind."""
        line = self._text(key, text)
        if line is not None:
            self._logger.warning(line)

    def error(self, key: str, text: str) -> None:
        """Log an error of a kind."""
        line = self._text(key, text)
        if line is not None:
            self._logger.error(line)


class Statistics:
    """Numbers of a running node; safe to use from several threads."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self.integrated = 0
        self.published: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.last_drop = ''
        self.last_pose_error = ''
        self.pose_failures = 0
        self.fallback: str | None = None
        self.pipeline: dict[str, float] = {}
        self.relations = 'none'
        self.timings_ms: dict[str, float] = {}
        self.stages = StageTimes()
        self.errors = 0
        self.integrated_s: float | None = None
        self._failed_s: float | None = None
        self._drops_before: Counter[str] = Counter()
        self._latencies_s: deque[float] = deque(maxlen=_WINDOW)

    def drop(self, reason: str, text: str) -> None:
        """Count a dropped frame."""
        with self._lock:
            self.drops[reason] += 1
            self.last_drop = text
            if reason == 'internal_error':
                self._failed_s = time.monotonic()

    def fail(self, text: str) -> None:
        """Count an error that cost no frame, as in a callback or an output."""
        with self._lock:
            self.errors += 1
            self.last_drop = text
            self._failed_s = time.monotonic()

    def pose_failure(self, text: str) -> None:
        """Count a frame whose pose was not to be had."""
        with self._lock:
            self.pose_failures += 1
            self.last_pose_error = text

    def integrate(self, latency_s: float, timings_ms: Mapping[str, float]) -> None:
        """Count a frame that the pipeline took, `latency_s` after its stamp."""
        with self._lock:
            self.integrated += 1
            self.integrated_s = time.monotonic()
            self.timings_ms = dict(timings_ms)
            self._latencies_s.append(latency_s)
        self.stages.add(timings_ms)

    def reset(self, reason: str) -> None:
        """Count a reset of the state."""
        with self._lock:
            self.resets[reason] += 1
        self.begin()

    def begin(self) -> None:
        """Note that the state is empty: what was dropped so far does not belong to it."""
        with self._lock:
            self._drops_before = Counter(self.drops)
            self.relations = 'none'

    def frames_dropped(self) -> Counter[str]:
        """Return the frames that were dropped since `begin`, by reason."""
        with self._lock:
            dropped = self.drops - self._drops_before
        return Counter({k: n for k, n in dropped.items() if not k.startswith('sink_')})

    def publish(self, sink: str) -> None:
        """Count a snapshot that a sink published."""
        with self._lock:
            self.published[sink] += 1

    def latencies_ms(self) -> tuple[float, float]:
        """Return median and 95th percentile of the last latencies, NaN where there are none."""
        with self._lock:
            values = list(self._latencies_s)
        if not values:
            return float('nan'), float('nan')
        p50, p95 = np.percentile(values, (50, 95)) * 1e3
        return float(p50), float(p95)

    @property
    def failing(self) -> bool:
        """Whether the pipeline raised something unexpected in the last seconds."""
        return self._failed_s is not None and time.monotonic() - self._failed_s < _RECENT_S

    @property
    def idle_s(self) -> float:
        """Seconds since the last integrated frame, infinite where there was none."""
        last = self.integrated_s
        return float('inf') if last is None else time.monotonic() - last


class Rates:
    """Rates of counters between two calls."""

    def __init__(self) -> None:
        """Start without a first reading."""
        self._last: dict[str, int] = {}
        self._last_s = time.monotonic()

    def update(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return the rate of each counter, Hz, since the last call."""
        now = time.monotonic()
        span = max(now - self._last_s, 1e-6)
        rates = {key: (value - self._last.get(key, 0)) / span for key, value in counts.items()}
        self._last, self._last_s = dict(counts), now
        return rates


def status(
    name: str, level: bytes, message: str, values: Mapping[str, object]
) -> DiagnosticStatus:
    """Return a status message with its values as text."""
    pairs = [
        KeyValue(key=key, value=f'{value:.6g}' if isinstance(value, float) else str(value))
        for key, value in values.items()
    ]
    return DiagnosticStatus(name=name, level=level, message=message, values=pairs)


class Diagnostics:
    """Makes the DiagnosticArray of a node."""

    def __init__(self, node_name: str, hardware_id: str = '') -> None:
        """Name the statuses after the node."""
        self._name = node_name
        self._hardware_id = hardware_id
        self._rates = Rates()

    def message(
        self, statistics: Statistics, inputs: list[Any], enabled: bool, skipped: Mapping[str, str]
    ) -> DiagnosticArray:
        """Return the message without its stamp.

        Args:
            statistics: Numbers of the node.
            inputs: The node's `CameraInput`s.
            enabled: Whether the service ~/enable let it run.
            skipped: Outputs that could not be loaded, and why.
        """
        counts = {
            f'{camera.camera}/{key}': state.count
            for camera in inputs
            for key, state in camera.topics.items()
        }
        counts['integrated'] = statistics.integrated
        counts.update({f'out/{key}': n for key, n in list(statistics.published.items())})
        rates = self._rates.update(counts)
        array = DiagnosticArray()
        array.status = [self._pipeline(statistics, rates, enabled), self._pose(statistics)]
        array.status += [self._camera(camera, rates) for camera in inputs]
        array.status.append(self._outputs(statistics, rates, skipped))
        for item in array.status:
            item.hardware_id = self._hardware_id
        return array

    def _pipeline(
        self, statistics: Statistics, rates: Mapping[str, float], enabled: bool
    ) -> DiagnosticStatus:
        level, message = DiagnosticStatus.OK, 'running'
        if statistics.failing:
            level, message = DiagnosticStatus.ERROR, statistics.last_drop
        elif not enabled:
            message = 'disabled by ~/enable'
        elif statistics.idle_s > _RECENT_S:
            level, message = DiagnosticStatus.WARN, 'no frame was integrated in the last 5 s'
        elif statistics.fallback:
            level, message = DiagnosticStatus.WARN, f'fallback: {statistics.fallback}'
        p50, p95 = statistics.latencies_ms()
        values: dict[str, object] = {
            'frames integrated': statistics.integrated,
            'rate integrated [Hz]': rates['integrated'],
            'latency p50 [ms]': p50,
            'latency p95 [ms]': p95,
            'fallback': statistics.fallback or 'none',
            'device memory [MB]': device_memory_mb(),
            'relations of objects': statistics.relations,
            'last drop': statistics.last_drop or 'none',
            'errors': statistics.errors,
        }
        values.update({f'dropped: {k}': n for k, n in sorted(statistics.drops.items())})
        values.update({f'resets: {k}': n for k, n in sorted(statistics.resets.items())})
        values.update({f'time {k} [ms]': ms for k, ms in list(statistics.timings_ms.items())})
        values.update({f'pipeline {k}': v for k, v in list(statistics.pipeline.items())})
        return status(f'{self._name}: pipeline', level, message, values)

    def _pose(self, statistics: Statistics) -> DiagnosticStatus:
        failing = bool(statistics.last_pose_error) and statistics.idle_s > 1.0
        level = DiagnosticStatus.WARN if failing else DiagnosticStatus.OK
        message = statistics.last_pose_error if failing else 'poses are found'
        return status(
            f'{self._name}: pose source',
            level,
            message,
            {'failures': statistics.pose_failures, 'last error': statistics.last_pose_error},
        )

    def _camera(self, camera: Any, rates: Mapping[str, float]) -> DiagnosticStatus:
        silent = [
            state.subscription.topic_name
            for key, state in camera.topics.items()
            if rates[f'{camera.camera}/{key}'] == 0
        ]
        values: dict[str, object] = {
            f'rate {key} [Hz]': rates[f'{camera.camera}/{key}'] for key in camera.topics
        }
        values.update({'unpaired': camera.unpaired}, **dict(camera.counts))
        if silent:
            level, message = DiagnosticStatus.WARN, f'nothing on {", ".join(silent)}'
        else:
            level, message = DiagnosticStatus.OK, 'all topics arrive'
        return status(f'{self._name}: {camera.camera}', level, message, values)

    def _outputs(
        self, statistics: Statistics, rates: Mapping[str, float], skipped: Mapping[str, str]
    ) -> DiagnosticStatus:
        values: dict[str, object] = {
            f'rate {key[4:]} [Hz]': rate for key, rate in rates.items() if key.startswith('out/')
        }
        values.update({f'not available: {name}': why for name, why in skipped.items()})
        failed = any(key.startswith('sink_') for key in list(statistics.drops))
        level = DiagnosticStatus.WARN if failed else DiagnosticStatus.OK
        return status(f'{self._name}: outputs', level, 'publishing', values)


def device_memory_mb() -> float:
    """Return the GPU memory that this process holds; 0 without a GPU or before torch is used."""
    torch = sys.modules.get('torch')
    if torch is None or not torch.cuda.is_available():
        return 0.0
    return float(torch.cuda.memory_allocated()) / 1e6
