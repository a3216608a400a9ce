"""Libraries of a ROS installation that the wheels lack: used where they work, never trusted blindly.

Each function returns the imported module, or None where it is absent or broken. A broken one is
reported once in the log; the stand-ins of this package then do the same work.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import importlib
import importlib.util
import logging
import subprocess
import sys
from types import ModuleType

import numpy as np

logger = logging.getLogger(__name__)

_PROBE_TIMEOUT_S = 20.0
_CV_BRIDGE_PROBE = """
import numpy, cv_bridge
image = numpy.arange(12, dtype=numpy.uint8).reshape(2, 2, 3)
bridge = cv_bridge.CvBridge()
back = bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(image, 'bgr8'), 'rgb8')
assert numpy.array_equal(back, image[..., ::-1])
"""


def _absent(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):  # a broken parent, or a module without a spec
        return True


def _load(name: str, works: Callable[[ModuleType], bool]) -> ModuleType | None:
    """Import a module and keep it only where a first use of it gives the right answer."""
    if _absent(name):
        return None
    try:
        module = importlib.import_module(name)
        if works(module):
            return module
        reason = 'it gives wrong results'
    except Exception as error:  # noqa: BLE001 - a library of another NumPy or Python may fail in any way
        reason = f'{type(error).__name__}: {error}'
    logger.warning('%s is installed but not used: %s', name, reason)
    return None


@functools.lru_cache(maxsize=1)
def cv_bridge() -> ModuleType | None:
    """Return `cv_bridge`, or None.

    A binary that was built for another NumPy may kill the process when it is imported, so another
    process tries it first.
    """
    if _absent('cv_bridge'):
        return None
    command = [sys.executable, '-c', _CV_BRIDGE_PROBE]
    try:
        probe = subprocess.run(command, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning('cv_bridge is installed but not used: %s', error)
        return None
    if probe.returncode != 0:
        last = probe.stderr.decode(errors='replace').strip().splitlines() or ['killed']
        logger.warning(
            'cv_bridge is installed but not used: exit status %d, %s', probe.returncode, last[-1]
        )
        return None
    return _load('cv_bridge', lambda module: hasattr(module, 'CvBridge'))


@functools.lru_cache(maxsize=1)
def point_cloud2() -> ModuleType | None:
    """Return `sensor_msgs_py.point_cloud2` where it has the numpy interface of Humble and later."""
    if _absent('sensor_msgs_py'):
        return None
    return _load(
        'sensor_msgs_py.point_cloud2', lambda module: hasattr(module, 'dtype_from_fields')
    )


@functools.lru_cache(maxsize=1)
def tf_transformations() -> ModuleType | None:
    """Return `tf_transformations`, or None."""

    def works(module: ModuleType) -> bool:
        quarter_turn = module.quaternion_matrix([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)])
        return bool(np.allclose(quarter_turn[:3, 0], (0.0, 1.0, 0.0)))

    return _load('tf_transformations', works)
