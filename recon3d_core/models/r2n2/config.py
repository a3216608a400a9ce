"""Options of the 3D-R2N2 family."""

from __future__ import annotations

from typing import Literal

from recon3d_core.config import option
from recon3d_core.models.base import ModelConfig


class PublishedR2N2Config(ModelConfig):
    """Options of the published networks: their sizes are part of their structure."""

    image_size: Literal[127] = option(127, 'Edge of the square input image.', unit='px')
    resolution: Literal[32] = option(32, 'Voxels along an edge of the predicted cube.')
    shallow: bool = option(False, 'The first, shallow network instead of the residual one.')


class SmallR2N2Config(ModelConfig):
    """Options of the small variant."""

    image_size: Literal[96, 128, 160, 192, 224] = option(
        128, 'Edge of the square input image.', unit='px'
    )
    resolution: Literal[32, 64, 128] = option(
        32, 'Voxels along an edge of the predicted cube; 128 is 64 made finer at the surface.'
    )
