"""Spins a node whatever its callbacks raise, and tells where that was raised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import traceback
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

_RCLPY = Path(rclpy.__file__).resolve().parent
_INTERFACES = {'msg', 'srv', 'action'}


def spin(node: Any, ended: Callable[[], bool]) -> None:
    """Spin a `Recon3DNode` until it has ended or rclpy is shut down.

    Args:
        node: The node; what is raised goes to its `note_error`.
        ended: Returns whether to stop.
    """
    # Callbacks only store references, so that one thread is enough and costs the least.
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        while node.context.ok() and not ended():
            try:
                executor.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                return
            except Exception as error:  # noqa: BLE001 - nothing in a message ends the node
                node.note_error(error)
    finally:
        executor.shutdown(timeout_sec=0.0)


def is_unreadable(error: BaseException) -> bool:
    """Return whether rclpy raised while it read a message, before any callback ran.

    Such as text that is no UTF-8. Then nothing but rclpy, and the classes of the messages, ran
    after the executor was called.
    """
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    within = [index for index, path in enumerate(frames) if _RCLPY in path.resolve().parents]
    if not within:
        return False
    after = frames[within[0] :]
    return all(
        _RCLPY in path.resolve().parents or path.parent.name in _INTERFACES for path in after
    )


def place(error: BaseException) -> str:
    """Return function and line in which an exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f'{frames[-1].name}:{frames[-1].lineno}' if frames else 'unknown place'
