"""Options of the Pix2Vox family."""

from __future__ import annotations

from typing import Literal

from recon3d_core.config import option
from recon3d_core.models.base import ModelConfig


class PublishedPix2VoxConfig(ModelConfig):
    """Options of the published networks: their sizes are part of their structure."""

    image_size: Literal[224] = option(224, 'Edge of the square input image.', unit='px')
    resolution: Literal[32] = option(32, 'Voxels along an edge of the predicted cube.')


class SmallPix2VoxConfig(ModelConfig):
    """Options of the small variant."""

    image_size: Literal[96, 128, 160, 192, 224] = option(
        128, 'Edge of the square input image.', unit='px'
    )
    resolution: Literal[32, 64, 128] = option(
        32, 'Voxels along an edge of the predicted cube; 128 is 64 made finer at the surface.'
    )
