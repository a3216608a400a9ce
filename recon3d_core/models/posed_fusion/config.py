"""Options of `posed_fusion`."""

from __future__ import annotations

from typing import Literal

from recon3d_core.config import option
from recon3d_core.models.base import ModelConfig


class PosedFusionConfig(ModelConfig):
    """Size of the network and how it joins views."""

    fusion: Literal['softmax', 'lstm'] = option(
        'softmax', 'How views are joined: order-free context-aware softmax, or a 3-D LSTM.'
    )
    width: int = option(24, 'Channels of the first stage of the encoder.', ge=8, le=128)
    context: int = option(7, 'Channels of the context volume of a view.', ge=2, le=64)
    depth_bins: int = option(32, 'Slices of the volume along the line of sight.', ge=8, le=128)
    refiner_width: int = option(16, 'Channels of the refiner at full resolution.', ge=4, le=128)
