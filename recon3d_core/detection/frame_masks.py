"""Objects whose masks come with the frame: from another node, a file or a simulation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option
from recon3d_core.geometry.transforms import apply
from recon3d_core.interfaces import Detector, DetectorConfig
from recon3d_core.types import Detection, Detections, Frame


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
            found.append(self._detection(frame, instance, mask, label))
        return Detections(tuple(found))

    def _detection(
        self, frame: Frame, instance: int, mask: NDArray[np.bool_], label: str
    ) -> Detection:
        rows, columns = np.nonzero(mask)
        box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
        height, width = mask.shape
        points = None
        if frame.depth_m is not None and frame.T_world_camera is not None:
            seen = frame.depth_m[rows, columns] > 0
            rows, columns = rows[seen], columns[seen]
            step = max(1, len(rows) // self.config.max_points)
            pixels = np.stack([columns[::step], rows[::step]], -1).astype(np.float64)
            local = frame.camera.unproject(pixels, frame.depth_m[rows[::step], columns[::step]])
            points = apply(frame.T_world_camera, local).astype(np.float32)
        return Detection(
            mask=mask,
            box_xyxy=box,
            label=label,
            points_world_m=points,
            instance=instance,
            truncated=min(box[:2]) <= 1 or box[2] >= width - 2 or box[3] >= height - 2,
        )
