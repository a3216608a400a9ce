"""What changed since the last message: unchanged objects cost nothing and are not sent for nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from recon3d_core.types import ObjectEstimate

T = TypeVar('T')

_REFRESH_NS = 1_000_000_000
_GONE_NS = 10_000_000_000


class ObjectCache(Generic[T]):
    """Keeps what was made of each object until its revision or the options change."""

    def __init__(self, make: Callable[[ObjectEstimate], T]) -> None:
        """Make an empty cache; `make` is called for each new revision of an object."""
        self._make = make
        self._kept: dict[int, tuple[Hashable, T]] = {}

    def values(
        self, objects: Mapping[int, ObjectEstimate], options: Hashable = ()
    ) -> dict[int, T]:
        """Return `{id: made}` of the given objects in the order of their ids; forgets all others.

        Args:
            objects: The objects by id.
            options: What else the made things depend on.
        """
        kept: dict[int, tuple[Hashable, T]] = {}
        for object_id, estimate in sorted(objects.items()):
            key = (estimate.revision, options)
            old = self._kept.get(object_id)
            kept[object_id] = old if old and old[0] == key else (key, self._make(estimate))
        self._kept = kept
        return {object_id: made for object_id, (_, made) in kept.items()}

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


class Resend:
    """Decides whether a message must be sent: it differs, somebody joined, or it grew old.

    Late subscribers that ask for volatile messages, as RViz does, do not get the latched one.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._content: Hashable = None
        self._subscribers = 0
        self._stamp_ns: int | None = None

    def due(self, content: Hashable, subscribers: int, stamp_ns: int) -> bool:
        """Return whether to send now; the answer yes counts as sent."""
        old = self._stamp_ns is None or not 0 <= stamp_ns - self._stamp_ns < _REFRESH_NS
        joined = subscribers > self._subscribers
        self._subscribers = subscribers
        if not (old or joined or content != self._content):
            return False
        self._content, self._stamp_ns = content, stamp_ns
        return True

    def clear(self) -> None:
        """Have the next message sent."""
        self._stamp_ns = None


class Gone:
    """Ids of removed objects: told for a while, since a message of depth 1 may be overwritten."""

    def __init__(self) -> None:
        """Know no objects yet."""
        self._live: set[int] = set()
        self._since_ns: dict[int, int] = {}

    def update(self, live: set[int], stamp_ns: int) -> list[int]:
        """Return the ids to take back, given those that are live now."""
        for object_id in self._live - live:
            self._since_ns[object_id] = stamp_ns
        self._live = set(live)
        self._since_ns = {
            object_id: since_ns
            for object_id, since_ns in self._since_ns.items()
            if object_id not in live and 0 <= stamp_ns - since_ns < _GONE_NS
        }
        return sorted(self._since_ns)
