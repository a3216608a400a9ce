"""`make demo`: the real node and a player of a source as two processes, and what came of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import contextlib
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from recon3d_core import config
from recon3d_core.data import load_source
from recon3d_core.errors import Recon3DError, RunError
from recon3d_ros.player import pose_kind
from recon3d_ros.sinks.base import LATCHED
from rich import box
from rich.console import Console
from rich.table import Table
from std_srvs.srv import Trigger

_WAIT_S = 5.0
_PLAY_S = 35.0
_TURNS = 2
_PRELOADED = 400
"""Frames that are decoded before playing, about 0.6 GB; longer sources are decoded on the way."""
_START_S = 60.0
_SAVE_S = 40.0
_NEAR_M = 0.15


class Demo:
    """The two processes, and the node that watches them.

    Attributes:
        objects: How many objects were in the last message.
        integrated: How many frames the node integrated.
    """

    def __init__(
        self, source: str, frames: int, out: Path, configuration: str, timeout_s: float
    ) -> None:
        """Start both processes and listen to the objects' poses."""
        self._source = source
        self._frames = frames
        self.integrated = 0
        self._last_drop = 'none'
        self._out = out
        self._deadline = time.monotonic() + timeout_s
        self.objects = 0
        self._logs = {
            name: (out / f'{name}.log').open('w', encoding='utf-8') for name in ('node', 'player')
        }
        pose = pose_kind('auto')
        words = ['-p', f'pose_source.plugin:={pose}', '-p', f"save_directory:='{out}'"]
        parameters = str(config.find_config(configuration))
        load = '--preload' if frames <= _PRELOADED else '--no-preload'
        node = ['recon3d_ros.node', '--ros-args', '--params-file', parameters, *words]
        player = f'--pose {pose} --loop 0 {load} --wait {_START_S}'.split()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        try:
            self._start('node', *node)
            self._start('player', 'recon3d_core', 'play', source, *player)
            self._listen()
        except BaseException:
            self.close()
            raise

    def _start(self, name: str, *arguments: str) -> None:
        # A session of its own: Ctrl-C reaches this process first, which then ends the others.
        child = subprocess.Popen(
            [sys.executable, '-m', *arguments],
            stdout=self._logs[name],
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._children[name] = child
        self._started.append(child)

    def _listen(self) -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('recon3d_demo')
        self._node.create_subscription(PoseArray, '/recon3d/objects/poses', self._count, LATCHED)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._diagnose, 10)
        self._save = self._node.create_client(Trigger, '/recon3d/save')

    def _count(self, message: PoseArray) -> None:
        self.objects = len(message.poses)

    def _diagnose(self, message: DiagnosticArray) -> None:
        for status in message.status:
            for item in status.values:
                if status.name == 'recon3d: pipeline' and item.key == 'frames integrated':
                    self.integrated = int(item.value)
                elif status.name == 'recon3d: pipeline' and item.key == 'last drop':
                    self._last_drop = item.value

    def _check(self) -> None:
        """Raise where the node died, the player failed, or time is up."""
        for name, child in self._children.items():
            if child.poll() is not None and (name == 'node' or child.returncode):
                log = self._out / f'{name}.log'
                raise RunError(
                    f'the {name} ended with code {child.returncode}',
                    _last_line(log),
                    None,
                    f'All it said is in {log}.',
                )
        if time.monotonic() > self._deadline:
            raise RunError(
                'the demo takes too long',
                f'{self.objects} objects so far',
                None,
                f'Read {self._out / "node.log"}, and try again when the machine is less busy.',
            )

    def _spin_until(self, done: Any) -> None:
        while not done():
            rclpy.spin_once(self._node, timeout_sec=0.1)
            self._check()

    def play(self) -> None:
        """Wait until twice the source's frames were integrated, or for long enough.

        The player goes on in a loop: a slow machine sees the scene in more turns.

        Raises:
            RunError: A process died, or time is up.
        """
        self._spin_until(lambda: self.integrated > 0)
        begin_s = time.monotonic()
        wanted = _TURNS * self._frames
        self._spin_until(
            lambda: (self.objects and self.integrated >= wanted) or self._passed(begin_s, _PLAY_S)
        )
        self._children.pop('player').send_signal(signal.SIGINT)

    @staticmethod
    def _passed(begin_s: float, limit_s: float) -> bool:
        return time.monotonic() - begin_s > limit_s

    def save(self) -> None:
        """Have the node finish what waits and write its files.

        Raises:
            RunError: It could not, or still no object is published.
        """
        self._spin_until(self._save.service_is_ready)
        self._deadline = max(self._deadline, time.monotonic() + _SAVE_S)
        future = self._save.call_async(Trigger.Request())
        self._spin_until(future.done)
        answer = future.result()
        if not answer.success:
            raise RunError('the node could not save', answer.message)
        asked_s = time.monotonic()
        self._spin_until(lambda: self.objects or self._passed(asked_s, _WAIT_S))
        if not self.objects:
            raise RunError(
                f'no object was published from {self._source}',
                f'{self.integrated} frames, last drop: {self._last_drop}',
                'at least one object',
                f'Look at {self._out / "preview.png"}; set detector options with --config.',
            )

    def close(self) -> None:
        """End both processes, whatever happened."""
        for child in self._started:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGINT)
        for child in self._started:
            try:
                child.wait(10.0)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        rclpy.try_shutdown()
        for log in self._logs.values():
            log.close()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding='utf-8').splitlines() if line.strip()]
    return lines[-1].strip() if lines else 'it said nothing'


def rows(summary: dict[str, Any], truth: dict[int, Any]) -> Iterator[list[str]]:
    """Yield the rows of the table: each object beside the true one that it stands at."""
    left = dict(truth)
    for found in summary['objects']:
        center = np.array(found['T_world_object'])[:3, 3]
        key = min(
            left, key=lambda k: float(np.linalg.norm(_center(left[k]) - center)), default=None
        )
        cells = [
            str(found['id']),
            found['label'],
            _size(found['size_m']),
            f'{found["views_used"]}',
            f'{100 * found["seen_fraction"]:.0f} %',
        ]
        if truth:
            distance = (
                np.inf if key is None else float(np.linalg.norm(_center(left[key]) - center))
            )
            if distance < _NEAR_M:
                match = left.pop(key)  # type: ignore[arg-type]
                cells += [match.category, _size(match.size_m), f'{1e3 * distance:.0f} mm']
            else:
                cells += ['nothing there', '', '']
        yield cells
    for missed in left.values():
        yield ['', 'not found', '', '', '', missed.category, _size(missed.size_m), '']


def _center(truth: Any) -> np.ndarray:
    center: np.ndarray = np.asarray(truth.T_world_object)[:3, 3]
    return center


def _size(size_m: Any) -> str:
    length, width, height = (100 * float(edge) for edge in size_m)
    long, short = max(length, width), min(length, width)
    return f'{long:.1f}x{short:.1f}x{height:.1f}'


def show(out: Path, source: str, took_s: float) -> None:
    """Print what was found, where it lies and what to try next."""
    summary = json.loads((out / 'summary.json').read_text(encoding='utf-8'))
    truth = getattr(load_source(source), 'objects', {})
    table = Table(
        title=f'Objects of {source}: length x width x height in cm',
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
    )
    for name in ('id', 'label', 'size', 'views', 'seen'):
        table.add_column(name, no_wrap=True)
    if truth:
        for name in ('truly', 'true size', 'off by'):
            table.add_column(name, no_wrap=True)
    for row in rows(summary, truth):
        table.add_row(*row)
    console = Console()
    console.print(table)
    frames = summary['frames']
    dropped = ', '.join(f'{n} {reason}' for reason, n in frames['dropped'].items()) or 'none'
    console.print(
        f'{frames["integrated"]} of {frames["read"]} frames integrated, dropped: {dropped}; '
        f'{took_s:.0f} s\n\n'
        f'Look at   {out}/preview.png, {out}/scene.ply, {out}/objects/*.glb\n'
        f"Numbers   {out}/summary.json, the node's words in {out}/node.log\n"
        'Try next  make demo SOURCE=path/to/recording.mcap\n'
        '          recon3d run synthetic:clutter --out out/clutter\n'
        '          recon3d play synthetic:tabletop --loop 0, and rviz2 -d rviz/recon3d.rviz',
        highlight=False,
    )


def _say(text: str) -> None:
    sys.stdout.write(f'{text}\n')
    sys.stdout.flush()


def run(source: str, out: Path, configuration: str, timeout_s: float) -> None:
    """Run the demo.

    Raises:
        Recon3DError: It failed, for a reason that the text gives.
    """
    begin = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    opened = load_source(source)  # a wrong source is told before anything starts
    frames = len(opened)
    opened.close()
    _say(f'Starting the node and a player of {source} ...')
    demo = Demo(source, frames, out, configuration, timeout_s)
    try:
        demo.play()
        _say(f'{demo.objects} objects are published; saving them ...')
        demo.save()
    finally:
        demo.close()
    show(out, source, time.monotonic() - begin)


def main() -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog='make demo', description=__doc__)
    parser.add_argument('source', nargs='?', default='synthetic:tabletop')
    parser.add_argument('--out', type=Path, default=Path('out/demo'))
    parser.add_argument('--config', default='tabletop_rgbd')
    parser.add_argument('--timeout', type=float, default=110.0, help='seconds')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(options.source, options.out, options.config, options.timeout)
    except Recon3DError as error:
        sys.stderr.write(f'error: {error}\n')
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
