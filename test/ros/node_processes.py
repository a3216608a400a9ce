"""Processes of tests: the node as an executable, with its words in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import subprocess
import sys
import time

from node_graph import DOMAIN_ID

ROOT = Path(__file__).resolve().parents[2]


def start(
    log: Path, *arguments: str, env: Mapping[str, str], module: str = 'recon3d_ros.node'
) -> subprocess.Popen[bytes]:
    """Start a module of the project as a process."""
    command = [sys.executable, '-m', module]
    if module == 'recon3d_ros.node':
        command += ['--ros-args', '-p', 'pose_source.plugin:=pose']
    environment = {**env, 'ROS_DOMAIN_ID': str(DOMAIN_ID), 'PYTHONUNBUFFERED': '1'}
    with log.open('w') as output:
        return subprocess.Popen(
            [*command, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
        )


class Output:
    """What a process said so far."""

    def __init__(self, log: Path, process: subprocess.Popen[bytes]) -> None:
        self._log = log
        self._process = process

    def text(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.text():
            assert self._process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)
