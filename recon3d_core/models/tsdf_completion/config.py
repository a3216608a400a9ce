"""Options of `tsdf_completion`."""

from __future__ import annotations

from recon3d_core.config import option, PluginConfig


class TsdfCompletionConfig(PluginConfig):
    """Size of the network."""

    resolution: int = option(
        64, 'Voxels along an edge of the cube, a multiple of 16.', ge=16, le=128
    )
    width: int = option(
        16, 'Channels at half the resolution; multiples of 16 are quickest.', ge=8, le=128
    )
