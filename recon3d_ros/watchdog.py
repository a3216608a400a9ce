"""The report that nothing arrives: what users of such nodes ask for first."""

from __future__ import annotations

import time
from typing import Any

from rclpy.qos import QoSProfile
from recon3d_ros.diagnostics import Statistics
from recon3d_ros.inputs import CameraInput, TopicState
from recon3d_ros.pose_sources.base import PoseSource

_LONGEST_PAUSE_S = 300.0
_SILENT_S = 2.0


class Watchdog:
    """Says what is missing when no frame gets through: once, and then ever more rarely."""

    def __init__(
        self, node: Any, inputs: list[CameraInput], pose_source: PoseSource, statistics: Statistics
    ) -> None:
        """Watch a node's inputs from now on."""
        self._node = node
        self._inputs = inputs
        self._pose_source = pose_source
        self._statistics = statistics
        self.restart()

    def restart(self) -> None:
        """Begin to wait anew."""
        self._begin_s = time.monotonic()
        self._quiet_s = 0.0
        self._said_s: float | None = None

    def look(self) -> str | None:
        """Log and return the report when it is due."""
        now = time.monotonic()
        silent_s = min(now - self._begin_s, self._statistics.idle_s)
        limit_s = self._node.settings().no_input_warning_s
        if silent_s < limit_s:
            self._quiet_s, self._said_s = 0.0, None
            return None
        if self._said_s is not None and now - self._said_s < self._quiet_s:
            return None
        self._said_s = now
        self._quiet_s = min(max(6 * limit_s, 2 * self._quiet_s), _LONGEST_PAUSE_S)
        text = self.report(silent_s)
        self._node.get_logger().warning(text)
        return text

    def report(self, silent_s: float) -> str:
        """Return what is known of every input."""
        options = self._node.settings()
        lines = [f'no frame was reconstructed for {silent_s:.0f} s. {self._likely_cause()}']
        for camera in self._inputs:
            lines += [f'  {self._topic(state)}' for state in camera.topics.values()]
            lines.append(
                f'  {camera.camera}: pairs by stamp within {options.sync_slop_s * 1e3:g} ms, '
                f'{camera.counts["complete"]} complete, {camera.unpaired} without partner'
                if len(camera.streams) > 1
                else f'  {camera.camera}: {camera.streams[0]} only, {camera.counts["complete"]} complete'
            )
        for name, kind in self._pose_source.topics():
            lines.append(f'  {name} [{kind}]: {self._publishers(name, kind, None)}')
        error = self._statistics.last_pose_error or 'no error so far'
        lines.append(f'  pose source {self._pose_source.name} -> {options.world_frame}: {error}')
        if self._statistics.last_drop:
            lines.append(f'  last drop: {self._statistics.last_drop}')
        return '\n'.join(lines)

    def _likely_cause(self) -> str:
        """Return the first thing to look at."""
        clock = self._node.get_clock()
        if self._node.get_parameter('use_sim_time').value and clock.now().nanoseconds == 0:
            return 'use_sim_time is true, but nothing arrives on /clock.'
        states = [state for camera in self._inputs for state in camera.topics.values()]
        silent = [state.subscription.topic_name for state in states if state.count == 0]
        if silent:
            return f'Nothing ever arrived on {", ".join(silent)}.'
        if not any(camera.counts['complete'] for camera in self._inputs):
            return 'Images arrive, but none make a pair: compare their stamps with sync_slop_s.'
        now = time.monotonic()
        if all(now - (state.arrived_s or now) > _SILENT_S for state in states):
            return 'Images stopped.'
        drops = self._statistics.drops.most_common(1)
        if drops:
            return f'Images arrive, but frames are dropped: {drops[0][0]} ({drops[0][1]} times).'
        return 'Images arrive, but none got through.'

    def _topic(self, state: TopicState) -> str:
        name = state.subscription.topic_name
        age = 'nothing arrived'
        if state.arrived_s is not None:
            age = f'{state.count} arrived, the last {time.monotonic() - state.arrived_s:.1f} s ago'
        qos = state.subscription.qos_profile
        return f'{name} [{state.kind}, {qos.reliability.name}]: {age}; ' + self._publishers(
            name, state.kind, qos
        )

    def _publishers(self, name: str, kind: str, qos: QoSProfile | None) -> str:
        found = self._node.get_publishers_info_by_topic(name)
        if not found:
            return 'no publisher'
        notes = [
            f'{len(found)} publisher(s) from {", ".join(sorted({p.node_name for p in found}))}'
        ]
        others = sorted({p.topic_type for p in found if p.topic_type != kind})
        if others:
            notes.append(f'of another type: {", ".join(others)}')
        if qos is not None and qos.reliability.name == 'RELIABLE':
            weak = [p for p in found if p.qos_profile.reliability.name == 'BEST_EFFORT']
            if weak:
                notes.append('whose QoS is BEST_EFFORT and does not fit')
        return ', '.join(notes)
