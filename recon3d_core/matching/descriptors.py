"""Features by which views are compared: those that the shipped `posed_fusion` sees in an image.

The coarsest stage of its 2-D encoder, which sees colours, the mask, and how each pixel's line of
sight passes the object's cube. docs/im2cad.md compares it with others.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray
from recon3d_core.models import create_model
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.posed_fusion.encoder import sight_geometry
from recon3d_core.models.posed_fusion.model import PosedFusion
from recon3d_core.models.weights import weights_path
import torch

MODEL = 'posed_fusion'
_TOGETHER = 32
_CELLS = 4


@dataclasses.dataclass(frozen=True)
class Seen:
    """Square crops around an object, with their cameras about its cube.

    Attributes:
        images: (V, S, S, 3) uint8 RGB.
        masks: (V, S, S) uint8 coverage, 0 to 255.
        K: (V, 3, 3) float32 intrinsics for image coordinates in [0, 1] (`ViewCameras`).
        T_camera_cube: (V, 4, 4) float32 poses, in edges of the cube.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    K: NDArray[np.float32]
    T_camera_cube: NDArray[np.float32]


class Describer:
    """An encoder of views; the same for a library and for what is seen.

    Attributes:
        size: Edge of the crops, pixels.
        key: Hash of the weights.
    """

    def __init__(self, weights: str = 'default', device: str = 'cpu') -> None:
        """Load the encoder.

        Args:
            weights: Of `posed_fusion`: `default` for those of the package, or a file.
            device: `cpu` or `cuda:N`.

        Raises:
            InputError: The weights are missing, broken, or of another network.
        """
        network = create_model(MODEL, weights, device).optimize_for_inference()
        assert isinstance(network, PosedFusion)
        self._network = network
        self.size = int(network.config.image_size)
        self.key = hashlib.sha256(weights_path(MODEL, weights).read_bytes()).hexdigest()[:16]

    @torch.inference_mode()
    def __call__(self, seen: Seen) -> NDArray[np.float32]:
        """Return features (V, F) of crops, not yet of equal length."""
        found = []
        for first in range(0, len(seen.images), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            device = self._network.device
            images = torch.from_numpy(seen.images[part]).to(device).permute(0, 3, 1, 2) / 255
            masks = torch.from_numpy(seen.masks[part]).to(device)[:, None] / 255
            views = self._network.preprocess(images[:, None], masks[:, None])
            K, T = (torch.from_numpy(a[part]).to(device)[:, None] for a in
                    (seen.K, seen.T_camera_cube))  # fmt: skip
            geometry = sight_geometry(ViewCameras(K, T), views.shape[-1])
            stage = self._network.encoder.stem(torch.cat([views, geometry], 2).flatten(0, 1))
            for block in self._network.encoder.down:
                stage = block(stage)
            stage = self._network.encoder.inner(stage)
            pooled = torch.nn.functional.adaptive_avg_pool2d(stage, _CELLS)
            found.append(torch.nn.functional.normalize(pooled.flatten(1), dim=1).cpu())
        return torch.cat(found).numpy()
