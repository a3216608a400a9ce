"""The real node and a player as two processes: frames integrated, latency, CPU, memory.

    benchmarks/node.py                         # the recorded kitchen at 15 Hz
    benchmarks/node.py --loops 20 --bag        # memory over twenty loops of a 10 s bag

Latency is the time from the stamp of an image to the arrival of the objects made with it, in a
third process, this one. Without recorded data, or with --source, another source is played.
"""

from __future__ import annotations

import os

os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))

import argparse
from collections.abc import Callable
import contextlib
import dataclasses
from pathlib import Path
import subprocess
import sys
import tempfile
import time

from _common import KITCHEN, machine, ROOT, write_json
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
import numpy as np
import psutil
import rclpy
from recon3d_core.data import load_source
from recon3d_core.data.bag_writer import write_bag
from recon3d_ros.conversions.headers import ns_from_time
from recon3d_ros.player import pose_kind
from recon3d_ros.sinks.base import LATCHED
from rosgraph_msgs.msg import Clock

LOOP_FRAMES = 150
MIN_SHARE = 0.95
MAX_P95_MS = 500.0
MAX_GROWTH = 1.05


@dataclasses.dataclass
class Row:
    """One figure and its bar."""

    what: str
    value: float
    unit: str
    bar: str = ''
    met: bool = True

    def __post_init__(self) -> None:
        """Make plain numbers of NumPy's, for the file."""
        self.value, self.met = float(self.value), bool(self.met)

    def line(self) -> str:
        """Return it as a line of the table."""
        verdict = ('met' if self.met else 'MISSED') if self.bar else ''
        return f'{self.what:44}{self.value:>10.3g} {self.unit:4} {self.bar:10} {verdict}'


class Trial:
    """A node and a player in processes of their own, and ears for both."""

    def __init__(self, folder: Path, source: str, player: list[str], node: list[str]) -> None:
        self.folder = folder
        self.latencies_ms: list[float] = []
        self._published_stamps: set[int] = set()
        self.objects = 0
        self.loops = 0
        self.rss_mb: list[float] = []
        self.values: dict[str, str] = {}
        self._clock_ns = 0
        pose = pose_kind('auto')
        self.node = self._start(
            'node',
            'recon3d_ros.node',
            '--ros-args',
            '--params-file',
            str(ROOT / 'config/tabletop_rgbd.yaml'),
            '-p',
            f'pose_source.plugin:={pose}',
            *node,
        )
        self.player = self._start(
            'player', 'recon3d_core', 'play', source, '--pose', pose, '--wait', '60', *player
        )
        rclpy.init()
        self._ears = rclpy.create_node('recon3d_benchmark')
        listen = self._ears.create_subscription
        listen(PoseArray, '/recon3d/objects/poses', self._take_poses, LATCHED)
        listen(DiagnosticArray, '/diagnostics', self._take_diagnostics, 10)
        listen(Clock, '/clock', self._take_clock, 100)

    def _start(self, name: str, *arguments: str) -> psutil.Popen:
        with (self.folder / f'{name}.log').open('w') as log:
            return psutil.Popen(
                [sys.executable, '-m', *arguments], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
            )

    def _take_poses(self, message: PoseArray) -> None:
        self.objects = len(message.poses)
        stamp_ns = ns_from_time(message.header.stamp)
        # When the stream ends, work put off is published under the last image's stamp, again.
        if stamp_ns not in self._published_stamps:
            self._published_stamps.add(stamp_ns)
            self.latencies_ms.append((time.time_ns() - stamp_ns) / 1e6)

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.values.update({f'{status.name}/{v.key}': v.value for v in status.values})

    def _take_clock(self, message: Clock) -> None:
        stamp_ns = ns_from_time(message.clock)
        if stamp_ns < self._clock_ns - 1_000_000_000:
            self._end_loop()
        self._clock_ns = stamp_ns

    def _end_loop(self) -> None:
        self.loops += 1
        self.rss_mb.append(self.node.memory_info().rss / 1e6)

    def spin_until(self, done: Callable[[], bool], limit_s: float) -> None:
        """Listen until something is true; ends the program where the node died or it lasts."""
        deadline = time.monotonic() + limit_s
        while not done():
            rclpy.spin_once(self._ears, timeout_sec=0.1)
            if self.node.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f'error: the trial broke off\n{(self.folder / "node.log").read_text()}'
                )

    def value(self, name: str) -> float:
        """Return a number of the node's diagnostics, 0 where it was not told."""
        return float(self.values.get(f'recon3d: pipeline/{name}', 0))

    def sent(self) -> int:
        """Return how many frames the player says that it sent."""
        return int((self.folder / 'player.log').read_text().split()[-3])

    def close(self) -> int:
        """End both processes; return the node's exit code."""
        for process in (self.player, self.node):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        code: int = self.node.wait(30)
        self.player.wait(30)
        rclpy.shutdown()
        return code


def stream(source: str, seconds: float) -> list[Row]:
    """Play a source once at its own rate and return what it took."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), source, ['--preload'], [])
        try:
            trial.spin_until(lambda: trial.value('frames integrated') > 0, 240)
            cpu_s, begin_s = sum(trial.node.cpu_times()[:2]), time.monotonic()
            trial.spin_until(lambda: trial.player.poll() is not None, seconds * 3 + 60)
            cpu = (sum(trial.node.cpu_times()[:2]) - cpu_s) / (time.monotonic() - begin_s)
            rss_mb = trial.node.memory_info().rss / 1e6
            end_s = time.monotonic() + 2.5
            trial.spin_until(lambda: time.monotonic() > end_s, 10)
        finally:
            code = trial.close()
        sent = trial.sent()
        share = trial.value('frames integrated') / sent
        p50, p95 = np.percentile(trial.latencies_ms, (50, 95))
        return [
            Row('frames sent', sent, ''),
            Row('part of them integrated', share, '', f'>= {MIN_SHARE}', share >= MIN_SHARE),
            Row('stamp to published objects, p50', p50, 'ms'),
            Row(
                'stamp to published objects, p95',
                p95,
                'ms',
                f'<= {MAX_P95_MS:g}',
                p95 <= MAX_P95_MS,
            ),
            Row('stamp to integrated, p95', trial.value('latency p95 [ms]'), 'ms'),
            Row('objects published at the end', trial.objects, ''),
            Row('CPU of the node', cpu, 'core'),
            Row('memory of the node', rss_mb, 'MB'),
            Row('exit code of the node', code, '', '0', code == 0),
        ]


def loops(source: str, count: int) -> list[Row]:
    """Play a bag over and over with its clock and return how the memory grew."""
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / 'loop.mcap'
        option = 'frames' if source.startswith('synthetic:') else 'max'
        opened = load_source(source, **{option: LOOP_FRAMES})
        write_bag(opened, bag)
        trial = Trial(
            Path(folder),
            str(bag),
            ['--preload', '--clock', '--loop', str(count + 1)],
            ['-p', 'use_sim_time:=true'],
        )
        try:
            trial.spin_until(lambda: trial.loops >= count, 60 + 30 * count)
        finally:
            trial.close()
        resets = sum(
            float(v) for k, v in trial.values.items() if k.startswith('recon3d: pipeline/resets')
        )
        integrated = trial.value('frames integrated')
        growth = trial.rss_mb[-1] / trial.rss_mb[1]
        errors = trial.value('dropped: internal_error')
        return [
            Row('loops', trial.loops, ''),
            Row('frames integrated', integrated, '', '> 0', integrated > 0),
            Row('memory after loop 2', trial.rss_mb[1], 'MB'),
            Row(f'memory after loop {trial.loops}', trial.rss_mb[-1], 'MB'),
            Row('growth', growth, '', f'<= {MAX_GROWTH}', bool(growth <= MAX_GROWTH)),
            Row(
                'resets by time that went back', resets, '', f'>= {count - 1}', resets >= count - 1
            ),
            Row('errors', errors, '', '0', errors == 0),
        ]


def main() -> int:
    """Run, print the table, and return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = str(KITCHEN) if KITCHEN.is_dir() else 'synthetic:tabletop'
    parser.add_argument('--source', default=default)
    parser.add_argument('--bag', action='store_true', help='the memory row instead')
    parser.add_argument('--loops', type=int, default=20, help='how often the bag is played')
    parser.add_argument('--json', type=Path, help='write the results into this file')
    arguments = parser.parse_args()
    started = machine()
    seconds = len(load_source(arguments.source)) / 15.0
    rows = (
        loops(arguments.source, arguments.loops)
        if arguments.bag
        else (stream(arguments.source, seconds))
    )
    print(f'node and player of {arguments.source}, load {started["load"]:.1f} at the start')
    for row in rows:
        print(row.line())
    results = [dataclasses.asdict(row) for row in rows]
    content = {'machine': started, 'source': arguments.source, 'rows': results}
    write_json(arguments.json, 'node', content)
    return int(not all(row.met for row in rows))


if __name__ == '__main__':
    raise SystemExit(main())
