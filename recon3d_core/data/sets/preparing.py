"""What data sets make once and keep, made beforehand by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import concurrent.futures
import logging
import multiprocessing
from typing import TypeVar

import cv2

logger = logging.getLogger(__name__)

Job = TypeVar('Job')

_CHUNK = 4


def make_all(make: Callable[[Job], object], jobs: Sequence[Job], what: str, workers: int) -> None:
    """Make every job, and say in the log how far it is.

    Args:
        make: Makes one; can be sent to another process.
        jobs: What to make.
        what: Stands before the counts in the log.
        workers: Processes; 1 = this one.
    """
    if workers == 1:
        _count(map(make, jobs), what, len(jobs))
        return
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:
        _count(pool.map(make, jobs, chunksize=_CHUNK), what, len(jobs))


def _count(made: Iterable[object], what: str, total: int) -> None:
    for done, _ in enumerate(made, 1):
        if done % max(total // 20, 1) == 0 or done == total:
            logger.info('%s: %d of %d', what, done, total)
