"""Which detector looks at a frame: the configured one, or a fallback while that one cannot."""

from __future__ import annotations

from collections.abc import Sequence
import logging

from recon3d_core.errors import FrameError
from recon3d_core.interfaces import Detector
from recon3d_core.types import Detections, Frame

logger = logging.getLogger(__name__)

_RETRY_NS = 5_000_000_000  # one that failed is left alone for so long


class Detecting:
    """Runs the first detector of a chain that has its inputs and works.

    Attributes:
        note: What keeps the first one from its work, and what is done instead; or None.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        """Take detectors, the preferred one first."""
        self._detectors = detectors
        self.reset()

    def reset(self) -> None:
        """Forget what earlier frames taught."""
        for detector in self._detectors:
            detector.reset()
        self.note: str | None = None
        self._looked_ns: dict[str, int] = {}
        self._failed: dict[str, tuple[int, str]] = {}

    def is_due(self, frame: Frame) -> bool:
        """Return whether it is time to look at a camera again."""
        period_ns = 1e9 / self._detectors[0].config.rate_hz
        # Per camera: of two in step, the second would never have its turn.
        last = self._looked_ns.get(frame.camera_name)
        # A tenth of slack: stamps jitter, and 5 Hz of a 15 Hz stream is every third frame.
        return last is None or not 0 <= frame.stamp_ns - last < 0.9 * period_ns

    def detect(self, frame: Frame) -> Detections | None:
        """Return what is seen in a frame; None where no detector could look.

        A detector that raises is left alone for some seconds, and the next one looks instead.

        Raises:
            FrameError: The frame is unusable.
        """
        why = ''
        for detector in self._detectors:
            reason = self._obstacle(detector, frame)
            found = self._run(detector, frame) if reason is None else None
            if found is not None:
                self.note = f'detector {detector.name} instead of {why}' if why else None
                if not found.looked:
                    return None
                self._looked_ns[frame.camera_name] = frame.stamp_ns
                return found
            why = why or f'{detector.name}, which {reason or self._failed[detector.name][1]}'
        self.note = f'no new objects: detector {why}; those known stay as they are'
        return None

    def _obstacle(self, detector: Detector, frame: Frame) -> str | None:
        missing = detector.needs - frame.inputs
        if missing:
            return f'waits for {", ".join(sorted(missing))}'
        failed = self._failed.get(detector.name)
        if failed is not None and 0 <= frame.stamp_ns - failed[0] < _RETRY_NS:
            return failed[1]
        return None

    def _run(self, detector: Detector, frame: Frame) -> Detections | None:
        try:
            found = detector.detect(frame)
        except FrameError:
            raise
        except Exception as error:  # a network, a driver or a plugin of others
            reason = f'failed with {type(error).__name__}: {error}'
            self._failed[detector.name] = frame.stamp_ns, reason
            logger.debug('detector %s failed', detector.name, exc_info=True)
            return None
        self._failed.pop(detector.name, None)
        return found
