"""Options of `centermask`."""

from __future__ import annotations

from recon3d_core.config import option, PluginConfig


class CenterMaskConfig(PluginConfig):
    """Options of the network."""

    width: int = option(320, 'Width at which images are looked at.', unit='px', ge=64, le=1280)
    height: int = option(240, 'Height likewise.', unit='px', ge=48, le=960)
    channels: int = option(
        40, 'Channels at a quarter of the resolution; others follow from it.', ge=8, le=256
    )
