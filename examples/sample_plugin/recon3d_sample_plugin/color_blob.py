"""Finds connected regions of one hue; enough for coloured blocks on a plain table."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option
from recon3d_core.geometry.transforms import apply
from recon3d_core.interfaces import Detector, DetectorConfig
from recon3d_core.types import Detection, Detections, Frame


class ColorBlobConfig(DetectorConfig):
    """Which colour to look for."""

    hue_deg: float = option(0.0, 'Hue: 0 red, 120 green, 240 blue.', unit='deg', ge=0, le=360)
    tolerance_deg: float = option(20.0, 'Accepted distance from the hue.', unit='deg', ge=1, le=90)
    min_saturation: float = option(0.4, 'Greyer pixels are left out.', ge=0.0, le=1.0)
    min_pixels: int = option(200, 'Smaller regions are left out.', unit='px', ge=1, le=1_000_000)


class ColorBlobDetector(Detector):
    """Finds connected regions of one hue; takes the surface points from the depth if any."""

    name = 'color_blob'
    Config = ColorBlobConfig
    needs = frozenset({'rgb'})

    def detect(self, frame: Frame) -> Detections:
        """Return one detection for each region of the wanted hue."""
        if frame.rgb is None:
            return Detections()
        hsv = cv2.cvtColor(frame.rgb.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
        distance = np.abs((hsv[..., 0] - self.config.hue_deg + 180) % 360 - 180)
        wanted = (distance <= self.config.tolerance_deg) & (
            hsv[..., 1] >= self.config.min_saturation
        )
        count, labels, stats, _ = cv2.connectedComponentsWithStats(wanted.astype(np.uint8))
        blobs = [
            self._detection(frame, labels == index, stats[index])
            for index in range(1, count)
            if stats[index, cv2.CC_STAT_AREA] >= self.config.min_pixels
        ]
        return Detections(tuple(blobs))

    def _detection(
        self, frame: Frame, mask: NDArray[np.bool_], stats: NDArray[np.int32]
    ) -> Detection:
        x, y, width, height = (int(value) for value in stats[:4])
        x_end, y_end = x + width - 1, y + height - 1
        points = None
        if frame.depth_m is not None and frame.T_world_camera is not None:
            seen = mask & (frame.depth_m > 0)
            points = apply(frame.T_world_camera, frame.camera.points(frame.depth_m)[seen])
        return Detection(
            mask=mask,
            box_xyxy=(x, y, x_end, y_end),
            label='blob',
            points_world_m=points,
            truncated=min(x, y) == 0
            or x_end == frame.camera.width - 1
            or y_end == frame.camera.height - 1,
        )
