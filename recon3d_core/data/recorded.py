"""What sources of recordings have in common: a part of the frames, reading ahead, counting."""

from __future__ import annotations

import abc
from collections.abc import Iterator
import contextlib
import logging

from recon3d_core.config import option, PluginConfig
from recon3d_core.data.prefetch import prefetch
from recon3d_core.errors import FrameError
from recon3d_core.interfaces import Source
from recon3d_core.types import Frame

logger = logging.getLogger(__name__)


class RecordedConfig(PluginConfig):
    """Options of every recording."""

    start: int = option(0, 'Number of the first frame to read, from 0.', ge=0, le=10**9)
    stride: int = option(1, 'Read every n-th frame only.', ge=1, le=10**6)
    max: int = option(0, 'Read this many frames at most; 0 = all.', ge=0, le=10**9)
    prefetch: int = option(
        4, 'How many decoded frames wait ready at most; 0 = decode without a thread.', ge=0, le=64
    )

    def selected(self, total: int) -> range:
        """Return which of `total` frames are read."""
        chosen = range(min(self.start, total), total, self.stride)
        return chosen[: self.max] if self.max else chosen


class RecordedSource(Source):
    """A recording: decoded in a background thread, bad frames counted and logged."""

    Config = RecordedConfig

    @abc.abstractmethod
    def read(self) -> Iterator[Frame | FrameError]:
        """Yield what is in the recording, in order; an error in place of an unusable frame."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the usable frames; the others are counted in `dropped`."""
        self.dropped.clear()
        depth = self.config.prefetch
        items = prefetch(self.read(), depth) if depth else self.read()
        with contextlib.closing(items):  # type: ignore[type-var]
            for item in items:
                if isinstance(item, FrameError):
                    self._count(item)
                else:
                    yield item

    def _count(self, error: FrameError) -> None:
        if error.reason not in self.dropped:
            logger.warning('%s: frame dropped (%s): %s', self.uri, error.reason, error)
        self.dropped[error.reason] += 1
