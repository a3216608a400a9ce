"""Pairs of colour and depth in order of time, of messages that arrive in another order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
import dataclasses
import heapq
import itertools
from typing import Any

from recon3d_core.errors import FrameError

_MAX_PENDING = 512


@dataclasses.dataclass(frozen=True)
class Pair:
    """What a camera saw at one moment.

    Attributes:
        camera: Number of the camera.
        stamp_ns: Stamp of the leading image.
        lead: The leading image's message.
        other: The message of the other kind nearest in time; None where none is near enough.
    """

    camera: int
    stamp_ns: int
    lead: Any
    other: Any


@dataclasses.dataclass(order=True)
class _Pending:
    stamp_ns: int
    number: int
    log_time_ns: int = dataclasses.field(compare=False)
    camera: int = dataclasses.field(compare=False)
    content: Any = dataclasses.field(compare=False)


class Assembler:
    """Holds images back until nothing earlier, no better partner and no pose can come.

    One stream of each camera leads: each of its images makes a pair with the nearest of the
    other stream. An image waits at most `wait_ns` in the time of recording.
    """

    def __init__(
        self, streams: list[tuple[str, str]], max_difference_ns: int, wait_ns: int
    ) -> None:
        """Begin without images.

        Args:
            streams: (leading topic, other topic or an empty string) of each camera.
            max_difference_ns: Largest difference of stamps within a pair.
            wait_ns: How long an image waits at most.
        """
        self._lead = {lead: index for index, (lead, _) in enumerate(streams)}
        self._other = {other: index for index, (_, other) in enumerate(streams) if other}
        self._newest = dict.fromkeys((*self._lead, *self._other), -1)
        self._partners: list[deque[tuple[int, int, Any]]] = [deque() for _ in streams]
        self._max_difference_ns = max_difference_ns
        self._wait_ns = wait_ns
        self._pending: list[_Pending] = []
        self._count = itertools.count()
        self._now_ns = 0
        self._released = [-1] * len(streams)

    def push(self, topic: str, stamp_ns: int, log_time_ns: int, content: Any) -> None:
        """Add an image.

        Raises:
            FrameError: `out_of_order`: it is older than a pair that was given out.
        """
        self._now_ns = max(self._now_ns, log_time_ns)
        self._newest[topic] = max(self._newest[topic], stamp_ns)
        if topic in self._other:
            self._partners[self._other[topic]].append((stamp_ns, log_time_ns, content))
            self._forget()
            return
        camera = self._lead[topic]
        if stamp_ns < max(self._released) or stamp_ns == self._released[camera]:
            late_s = (max(self._released) - stamp_ns) / 1e9
            raise FrameError(
                'out_of_order', f'image on {topic}', f'{late_s:.3f} s late', 'stamps that grow'
            )
        item = _Pending(stamp_ns, next(self._count), log_time_ns, camera, content)
        heapq.heappush(self._pending, item)

    def tick(self, log_time_ns: int) -> None:
        """Note that the recording reached a time."""
        self._now_ns = max(self._now_ns, log_time_ns)

    def ready(
        self, has_pose: Callable[[int, int], bool], finished: bool = False
    ) -> Iterator[Pair]:
        """Yield the pairs that need not wait any longer.

        Args:
            has_pose: Tells whether the pose of (camera, stamp in ns) is known by now.
            finished: Whether nothing comes any more.
        """
        while self._pending:
            head = self._pending[0]
            waited = self._now_ns - head.log_time_ns >= self._wait_ns
            if not (finished or waited or len(self._pending) > _MAX_PENDING):
                seen_later = all(newest >= head.stamp_ns for newest in self._newest.values())
                if not (seen_later and has_pose(head.camera, head.stamp_ns)):
                    return
            heapq.heappop(self._pending)
            if head.stamp_ns == self._released[head.camera]:
                continue  # the same image twice
            self._released[head.camera] = head.stamp_ns
            yield Pair(head.camera, head.stamp_ns, head.content, self._nearest(head))

    def _nearest(self, head: _Pending) -> Any:
        partners = self._partners[head.camera]
        found = min(partners, key=lambda item: abs(item[0] - head.stamp_ns), default=None)
        if found is None or abs(found[0] - head.stamp_ns) > self._max_difference_ns:
            return None
        return found[2]

    def _forget(self) -> None:
        """Drop partners that are too old for any image to come."""
        for partners in self._partners:
            while partners and partners[0][1] < self._now_ns - 2 * self._wait_ns:
                partners.popleft()
            while len(partners) > _MAX_PENDING:
                partners.popleft()
