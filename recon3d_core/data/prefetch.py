"""Reading ahead in a background thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import contextlib
import queue
import threading
from typing import Any, TypeVar

Item = TypeVar('Item')
_POLL_S = 0.1


def prefetch(items: Iterable[Item], depth: int = 4) -> Iterator[Item]:
    """Yield the items in their order while a thread already makes the next ones.

    The thread ends when the consumer breaks off or drops the iterator, and when an item fails:
    then the error is raised here, after the items before it.

    Args:
        items: What to iterate in the thread; closed there at the end, if it is a generator.
        depth: How many finished items wait at most.
    """
    finished: queue.Queue[tuple[str, Any]] = queue.Queue(max(1, depth))
    stopped = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                finished.put((kind, value), timeout=_POLL_S)
                return

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put('item', item)
                if stopped.is_set():
                    break
            put('end', None)
        except BaseException as error:  # noqa: BLE001 - raised again by the consumer
            put('error', error)
        finally:
            if hasattr(iterator, 'close'):
                iterator.close()

    thread = threading.Thread(target=work, name='recon3d-prefetch', daemon=True)
    thread.start()
    try:
        while True:
            kind, value = finished.get()
            if kind == 'end':
                return
            if kind == 'error':
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()
