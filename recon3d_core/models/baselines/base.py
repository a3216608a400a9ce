"""What the baselines share: they keep the contract of the networks, and have no parameters."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any, Protocol

from recon3d_core.config import option
from recon3d_core.errors import InputError
from recon3d_core.models.base import ModelConfig, VolumeNetwork
from recon3d_core.models.cameras import ViewCameras
import torch
from torch import Tensor
from torch.nn import functional


class TrainingData(Protocol):
    """What baselines take of a data set (`recon3d_core.data.sets.base.DataSet`)."""

    def names(self, split: str) -> Sequence[str]:
        """Return the names of a split."""

    def batch(self, names: Sequence[str], views: int, seed: int) -> Any:
        """Return objects with drawn views."""


@dataclasses.dataclass(frozen=True)
class TrainingShapes:
    """What is known of the training objects.

    Attributes:
        occupancy: (T, N, N, N) bool.
        features: (T, V, D) float32 features of their views (`features.describe`).
    """

    occupancy: Tensor
    features: Tensor


class BaselineConfig(ModelConfig):
    """Options of the baselines."""

    image_size: int = option(64, 'Edge of the images that are compared.', unit='px', ge=32, le=512)


class Baseline(VolumeNetwork):
    """A way to a shape that learns nothing.

    Before `fit`, those that compare with training objects know nothing: 0.5 everywhere.
    """

    Config = BaselineConfig
    fitted_threshold = False
    """Whether the threshold has to be chosen on validation data."""
    _place: Tensor

    def __init__(self, config: BaselineConfig | None = None) -> None:
        """Keep the options, the default ones where None."""
        super().__init__(config)
        self.register_buffer('_place', torch.zeros(()), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._place.device

    def parts(self) -> dict[str, torch.nn.Module]:
        """Return nothing: there is nothing to train."""
        return {}

    def fit(self, shapes: TrainingShapes) -> None:
        """Take what is needed of the training objects."""

    def reveal(self, occupancy: Tensor) -> None:
        """Take the true shapes (B, N, N, N) of the objects that follow; all but oracles don't."""

    def preprocess(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return (B, V, 4, s, s): colours in [0, 1], white outside of the mask, and the mask.

        Args:
            images: (B, V, 3, H, W) RGB in [0, 1].
            masks: (B, V, 1, H, W) coverage; all of the image where None.
        """
        if images.ndim != 5 or images.shape[2] != 3:
            raise InputError('images', tuple(images.shape), '(B, V, 3, H, W)')
        seen = images.flatten(0, 1).float()
        cover = torch.ones_like(seen[:, :1]) if masks is None else masks.flatten(0, 1).float()
        joined = torch.cat([seen * cover + 1 - cover, cover], 1)
        size = (self.config.image_size,) * 2
        if joined.shape[-2:] != size:
            joined = functional.interpolate(joined, size, mode='bilinear', antialias=True)
        return joined.reshape(*images.shape[:2], *joined.shape[1:]).clamp(0, 1)

    def forward(self, views: Tensor, cameras: ViewCameras | None = None) -> Tensor:
        """Return probabilities (B, N, N, N) of preprocessed views (B, V, 4, s, s)."""
        state = self.start(views.shape[0])
        for index in range(views.shape[1]):
            camera = None if cameras is None else cameras.view(index)
            state = self.observe(state, views[:, index], camera)
        return self.probabilities(state)

    def loss(self, views: Tensor, occupancy: Tensor, cameras: ViewCameras | None = None) -> Tensor:
        """Return the binary cross-entropy; nothing can be made smaller by it."""
        return functional.binary_cross_entropy(self(views, cameras), occupancy)

    def unknown(self, batch: int) -> Tensor:
        """Return 0.5 everywhere (B, N, N, N)."""
        return torch.full((batch, *[self.resolution] * 3), 0.5, device=self.device)
