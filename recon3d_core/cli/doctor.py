"""`recon3d doctor`: what of this machine is missing, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import ctypes
import dataclasses
import importlib
from importlib import metadata, util
import os
from pathlib import Path
import shutil
import subprocess
import sys
from typing import Literal

from recon3d_core import config
from recon3d_core.cli.plugins import inspect_all
from recon3d_core.errors import Recon3DError
from rich.console import Console
from rich.markup import escape
from rich.table import Table
import typer

State = Literal['ok', 'note', 'fatal']

# Module to import and the distribution that brings it.
LIBRARIES = {
    'numpy': 'numpy',
    'scipy': 'scipy',
    'skimage': 'scikit-image',
    'cv2': 'opencv-python-headless',
    'open3d': 'open3d',
    'torch': 'torch',
    'trimesh': 'trimesh',
    'safetensors': 'safetensors',
    'rosbags': 'rosbags',
    'pydantic': 'pydantic',
    'yaml': 'PyYAML',
    'psutil': 'psutil',
}
# What Open3D's binaries link to, and the Debian package that brings it.
SYSTEM_LIBRARIES = {
    'libusb-1.0.so.0': 'libusb-1.0-0',
    'libGL.so.1': 'libgl1',
    'libgomp.so.1': 'libgomp1',
    'libX11.so.6': 'libx11-6',
}
# Plugins of these kinds bring ROS messages that a machine may do without.
OPTIONAL_KINDS = ('sink', 'pose_source')
SHARED_MEMORY = '/dev/shm'  # noqa: S108 - not a place for temporary files of ours
SHARED_MEMORY_MB = 64.0
TRANSPORT = 'DEFAULT?sockets_size=16MB'  # what the node sets, recon3d_ros.TRANSPORT
ROS_PROBE = 'import rclpy; print(rclpy.get_rmw_implementation_identifier())'


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        state: `ok`; `note` where something works less well; `fatal` where nothing works.
        found: What was found.
        remedy: The command that mends it, or an empty string.
    """

    name: str
    state: State
    found: str
    remedy: str = ''


def check_python() -> Iterator[Finding]:
    """Look at the version of Python."""
    version = '.'.join(map(str, sys.version_info[:3]))
    good = (3, 10) <= sys.version_info < (3, 13)
    remedy = '' if good else 'make PYTHON=/path/to/python3.11 setup'
    yield Finding('python', 'ok' if good else 'fatal', f'{version} ({sys.executable})', remedy)


def check_system_libraries() -> Iterator[Finding]:
    """Look for the shared libraries that Open3D needs."""
    if sys.platform != 'linux':
        return
    missing = []
    for library, package in SYSTEM_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    if missing:
        remedy = f'sudo apt-get update && sudo apt-get install -y {" ".join(missing)}'
        yield Finding('system libraries', 'fatal', f'missing: {" ".join(missing)}', remedy)
    else:
        yield Finding('system libraries', 'ok', ' '.join(SYSTEM_LIBRARIES.values()))


def check_libraries() -> Iterator[Finding]:
    """Import every library of the core."""
    for module, distribution in LIBRARIES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - a broken binary may raise anything
            problem = f'{type(error).__name__}: {" ".join(str(error).split())}'
            yield Finding(distribution, 'fatal', problem, f"pip install '{distribution}'")
            continue
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:  # from a system package of another name
            version = str(getattr(sys.modules[module], '__version__', 'unknown version'))
        yield Finding(distribution, 'ok', version)


def check_ros() -> Iterator[Finding]:
    """Import rclpy in another process, where its failure harms nobody, and name its RMW."""
    if util.find_spec('rclpy') is None:
        yield Finding(
            'rclpy',
            'note',
            'not installed: `recon3d run` works, the node and `recon3d play` do not',
            'source /opt/ros/<distro>/setup.bash  # or: pip install -r requirements/ros.txt',
        )
        return
    command = [sys.executable, '-c', ROS_PROBE]
    try:
        probe = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        output, problem = probe.stdout.strip(), probe.stderr.strip()
        good = probe.returncode == 0
    except subprocess.TimeoutExpired:
        output, problem, good = '', 'no answer within 60 s', False
    if not good:
        last = problem.splitlines()[-1] if problem else 'it crashed'
        remedy = 'unset RMW_IMPLEMENTATION  # or install the one it names'
        yield Finding('rclpy', 'fatal', f'cannot be used: {last}', remedy)
        return
    yield Finding('rclpy', 'ok', f'{_version("rclpy", "ros-rclpy")} with {output}')
    if 'fastrtps' in output:
        yield from _check_transport()


def _version(*distributions: str) -> str:
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return 'of the ROS installation'


def _check_transport() -> Iterator[Finding]:
    setting = os.environ.get('FASTDDS_BUILTIN_TRANSPORTS', '')
    if setting.startswith('LARGE_DATA') or 'sockets_size=' in setting:
        yield Finding('transport', 'ok', f'FASTDDS_BUILTIN_TRANSPORTS={setting}')
        return
    yield Finding(
        'transport',
        'note',
        f'FASTDDS_BUILTIN_TRANSPORTS={setting or "(not set)"}: large images may never arrive '
        '(the launch file and `make demo` set it)',
        f"export FASTDDS_BUILTIN_TRANSPORTS='{TRANSPORT}'",
    )


def check_shared_memory() -> Iterator[Finding]:
    """Look at the room in /dev/shm, through which images travel."""
    place = Path(SHARED_MEMORY)
    if sys.platform != 'linux':
        return
    if not place.is_dir():
        yield Finding(SHARED_MEMORY, 'note', 'absent', 'docker run --shm-size=1g ...')
        return
    free_mb = shutil.disk_usage(place).free / 2**20
    good = free_mb >= SHARED_MEMORY_MB
    remedy = 'sudo mount -o remount,size=1G /dev/shm  # in a container: docker run --shm-size=1g'
    yield Finding(
        SHARED_MEMORY, 'ok' if good else 'note', f'{free_mb:.0f} MB free', '' if good else remedy
    )


def check_device() -> Iterator[Finding]:
    """Look for a GPU that torch can use."""
    try:
        import torch
    except Exception:  # noqa: BLE001 - reported among the libraries
        return
    if torch.cuda.is_available():
        yield Finding('device', 'ok', f'cuda: {torch.cuda.get_device_name(0)}')
    elif shutil.which('nvidia-smi'):
        found = f'a driver is installed, but torch {torch.__version__} cannot use the GPU'
        remedy = "pip install --force-reinstall 'torch==2.13.0'  # a build with CUDA"
        yield Finding('device', 'note', found, remedy)
    else:
        yield Finding('device', 'ok', f'cpu, {os.cpu_count()} cores')


def check_files() -> Iterator[Finding]:
    """Look for the configurations, the weights and the recorded data."""
    try:
        yield Finding('configuration', 'ok', str(config.find_config('tabletop_rgbd').parent))
    except Recon3DError as error:
        yield Finding('configuration', 'fatal', str(error), 'pip install -e .')
    weights = sorted((Path(config.__file__).parent / 'weights').glob('*.safetensors'))
    yield Finding('weights', 'ok', ' '.join(path.name for path in weights) or 'none are shipped')
    data = Path(os.environ.get('RECON3D_DATA', Path(config.__file__).parents[2] / 'shared/data'))
    found = str(data) if data.is_dir() else 'none: tests that need them are skipped'
    yield Finding('recorded data', 'ok', found)


def check_plugins() -> Iterator[Finding]:
    """Load every plugin."""
    try:
        states = inspect_all()
    except Recon3DError as error:
        yield Finding('plugins', 'fatal', str(error), error.fix or 'unset RECON3D_PLUGINS')
        return
    broken = [state for state in states if state.problem]
    for state in broken:
        entry = state.entry
        own = entry.origin == 'built-in' and entry.kind not in OPTIONAL_KINDS and not state.remedy
        remedy = {
            'built-in': 'make setup' if own else 'install the ROS package that it names',
            'environment': 'unset RECON3D_PLUGINS  # or correct it',
        }.get(entry.origin, f'pip uninstall {entry.origin}  # or install what it needs')
        name = f'{entry.kind} {entry.name}'
        yield Finding(name, 'fatal' if own else 'note', state.problem, state.remedy or remedy)
    yield Finding('plugins', 'ok', f'{len(states) - len(broken)} of {len(states)} load')


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_system_libraries,
    check_libraries,
    check_ros,
    check_shared_memory,
    check_device,
    check_files,
    check_plugins,
)


def examine() -> list[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in check()]


def report(findings: list[Finding], console: Console) -> None:
    """Print the findings, then the remedies as lines to copy."""
    colors = {'ok': 'green', 'note': 'yellow', 'fatal': 'red'}
    table = Table('what', 'state', 'found')
    for finding in findings:
        color = colors[finding.state]
        table.add_row(finding.name, f'[{color}]{finding.state}[/]', escape(finding.found))
    console.print(table)
    for finding in findings:
        if finding.remedy:
            line = f'{finding.state}: {finding.name}: {finding.remedy}'
            console.print(line, soft_wrap=True, markup=False, highlight=False)


def command() -> None:
    """Check what of this machine is missing, with the command that mends each problem."""
    findings = examine()
    console = Console()
    report(findings, console)
    fatal = sum(finding.state == 'fatal' for finding in findings)
    notes = sum(finding.state == 'note' for finding in findings)
    if fatal or notes:
        console.print(f'{fatal} fatal, {notes} to note.', highlight=False)
    else:
        console.print('Everything is in place.')
    if fatal:
        raise typer.Exit(1)
