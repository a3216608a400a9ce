"""Options of `point_completion`."""

from __future__ import annotations

from recon3d_core.config import option, PluginConfig


class PointCompletionConfig(PluginConfig):
    """Size of the network."""

    resolution: int = option(
        64, 'Voxels along an edge of the cube, a multiple of 16.', ge=16, le=128
    )
    width: int = option(128, 'Channels of a token, a multiple of 4.', ge=16, le=512)
    layers: int = option(4, 'Layers of self-attention between tokens.', ge=1, le=16)
    seen_points: int = option(1024, 'Visible points that go in.', ge=64, le=8192)
    tokens: int = option(128, 'Patches of those points.', ge=8, le=1024)
    anchors: int = option(2, 'Coarse points that each patch tells.', ge=1, le=16)
    folds: int = option(8, 'Points that each coarse point is unfolded to.', ge=1, le=64)
