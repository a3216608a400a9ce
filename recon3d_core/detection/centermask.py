"""Objects of any kind by the network `centermask`: from colour, and from depth where there is some.

The network sees the image at about 320 x 240; masks are made at the image's own resolution.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.detection.surfaces import detection_of
from recon3d_core.interfaces import Detector, DetectorConfig
from recon3d_core.models import create_network
from recon3d_core.models.centermask.grouping import group, Instances
from recon3d_core.models.centermask.model import CenterMask
from recon3d_core.types import Detections, Frame
import torch
from torch import Tensor


class MaskOptions(PluginConfig):
    """Which masks of the network are objects."""

    weights: str = option(
        'default', 'Weights of the network: `default` for those of this package, or a file.'
    )
    min_score: float = option(
        0.0,
        'Least score of an object; 0 = the one chosen on validation data, kept with the weights.',
        ge=0.0,
        le=1.0,
        live=True,
    )
    min_pixels: int = option(
        150, 'Fewest pixels of an object.', unit='px', ge=10, le=100000, live=True
    )
    max_part: float = option(
        0.6, 'Largest part of the image that an object takes.', ge=0.01, le=1.0, live=True
    )
    use_depth: bool = option(True, 'Whether depth is looked at where a frame has some.', live=True)
    max_points: int = option(
        4000, 'Most surface points kept of an object, where there is depth.', ge=10, le=100000
    )


class CenterMaskDetectorConfig(MaskOptions, DetectorConfig):
    """Options of `centermask`."""


class CenterMaskDetector(Detector):
    """Instance masks by a network that knows no classes.

    Also takes plain `MaskOptions`, as part of another detector.
    """

    name = 'centermask'
    Config = CenterMaskDetectorConfig
    needs = frozenset({'rgb', 'intrinsics'})

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network and warm it up, so that the first frame is not slower than others.

        Raises:
            InputError: The weights are missing, broken, or of another network.
        """
        super().__init__(config, device)
        network = create_network('centermask', self.config.weights, device)
        assert isinstance(network, CenterMask)
        self._network = network.optimize_for_inference()
        size = (network.config.height, network.config.width)
        blank = np.zeros((*size, 3), np.uint8)
        self._segment(blank, np.ones(size, np.float32))

    def detect(self, frame: Frame) -> Detections:
        """Return the objects of a frame; points and truncation as other detectors say them."""
        assert frame.rgb is not None
        config: MaskOptions = self.config
        found = self._segment(frame.rgb, frame.depth_m if config.use_depth else None)
        least = config.min_score or self._network.threshold
        items = []
        for mask, score in zip(found.masks, found.scores.tolist(), strict=True):
            pixels = int(np.count_nonzero(mask))
            if score >= least and config.min_pixels <= pixels <= config.max_part * mask.size:
                items.append(detection_of(frame, mask, score=score, max_points=config.max_points))
        return Detections(tuple(items))

    def _segment(self, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32] | None) -> Instances:
        """Return the instances of an image (H, W, 3) with its depth (H, W), or without any."""
        size = (self._network.config.width, self._network.config.height)
        with torch.inference_mode():
            small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            image = self._tensor(small).permute(2, 0, 1)[None].float() / 255
            depth = None
            if depth_m is not None:
                # Means over jumps of the depth would be places where nothing is.
                near = cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST)
                depth = self._tensor(np.asarray(near, np.float32))[None, None]
            inputs = self._network.preprocess(image, depth)
            return group(self._network(inputs), rgb.shape[:2])

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
