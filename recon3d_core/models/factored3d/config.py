"""Options of `factored3d`."""

from __future__ import annotations

from recon3d_core.config import option, PluginConfig


class Factored3dConfig(PluginConfig):
    """Options of the network."""

    width: int = option(320, 'Width at which images are looked at.', unit='px', ge=64, le=1280)
    height: int = option(240, 'Height likewise.', unit='px', ge=64, le=960)
    channels: int = option(
        32, 'Channels at a quarter of the resolution; others follow from it.', ge=8, le=128
    )
    code: int = option(64, 'Numbers that describe a shape.', ge=4, le=512)
