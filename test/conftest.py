"""What all tests share: where the recorded data are, and what this machine cannot run."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
import signal
import sys

import hypothesis
import pytest
from recon3d_ros import TRANSPORT

ROOT = Path(__file__).resolve().parent.parent

# The same examples on every run: a failure in one place can be repeated in another.
hypothesis.settings.register_profile('tests', deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile('tests')

# What a script starts in the background ignores SIGINT, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests run beside each other, and threads of torch wait for each other on busy cores; a container
# may also show many more cores than it gives.
for threads in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(threads, '1')

# Graphs of tests that run at the same time on one machine must not hear each other.
if 'PYTEST_XDIST_WORKER' in os.environ or 'ROS_DOMAIN_ID' not in os.environ:
    os.environ['ROS_DOMAIN_ID'] = str(os.getpid() % 100 + 1)
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', TRANSPORT)


def _no_gpu() -> str:
    import torch

    return '' if torch.cuda.is_available() else 'no CUDA device'


def _no_ros() -> str:
    found = importlib.util.find_spec('rclpy') is not None
    return (
        '' if found else 'rclpy cannot be imported (source a ROS installation or run make setup)'
    )


def _data_directory() -> Path:
    return Path(os.environ.get('RECON3D_DATA', ROOT / '../shared/data')).resolve()


def _no_data() -> str:
    if _data_directory().is_dir():
        return ''
    return f'no recorded data at {_data_directory()} (set RECON3D_DATA)'


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Let tests that draw from torch draw the same every time, whatever ran before."""
    if 'torch' in sys.modules:
        sys.modules['torch'].manual_seed(0)


REQUIREMENTS = {'gpu': _no_gpu, 'ros': _no_ros, 'data': _no_data}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, the tests whose marker names what this machine lacks.

    Of several processes, one runs all graphs; the others share the rest file by file.
    """
    reasons: dict[str, str] = {}
    for item in items:
        graph = item.get_closest_marker('ros') is not None
        item.add_marker(pytest.mark.xdist_group('ros' if graph else item.path.name))
        for marker, check in REQUIREMENTS.items():
            if item.get_closest_marker(marker):
                if marker not in reasons:
                    reasons[marker] = check()
                if reasons[marker]:
                    item.add_marker(pytest.mark.skip(reason=reasons[marker]))


@pytest.fixture(scope='session')
def root_dir() -> Path:
    """Return the project's root."""
    return ROOT


@pytest.fixture(scope='session')
def data_dir() -> Path:
    """Return the folder of the recorded data; tests that use it are marked `data`."""
    if _no_data():
        pytest.skip(_no_data())
    return _data_directory()


@pytest.fixture(scope='session')
def kitchen_dir(data_dir: Path) -> Path:
    """Return the folder of the recorded kitchen, an RGB-D sequence."""
    return data_dir / 'rgbd' / 'redkitchen'
