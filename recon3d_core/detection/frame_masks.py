"""Objects whose masks come with the frame: from another node, a file or a simulation."""

from __future__ import annotations

import numpy as np
from recon3d_core.config import option
from recon3d_core.detection.surfaces import detection_of
from recon3d_core.interfaces import Detector, DetectorConfig
from recon3d_core.types import Detections, Frame


class FrameMasksConfig(DetectorConfig):
    """Options of `frame_masks`."""

    min_pixels: int = option(
        150, 'Fewest pixels of an object.', unit='px', ge=1, le=100000, live=True
    )
    max_points: int = option(
        4000, 'Most surface points kept of an object, where there is depth.', ge=10, le=100000
    )


class FrameMasksDetector(Detector):
    """Takes each mask of a frame as one object; its number is the object's identity."""

    name = 'frame_masks'
    Config = FrameMasksConfig
    needs = frozenset({'mask', 'intrinsics'})

    def detect(self, frame: Frame) -> Detections:
        """Return the frame's masks as detections."""
        assert frame.masks is not None
        found = []
        for instance, mask in sorted(frame.masks.items()):
            if np.count_nonzero(mask) < self.config.min_pixels:
                continue
            label = (frame.labels or {}).get(instance, 'object')
            found.append(
                detection_of(
                    frame,
                    mask,
                    label=label,
                    instance=instance,
                    max_points=self.config.max_points,
                )
            )
        return Detections(tuple(found))
