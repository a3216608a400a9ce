"""Options of the Pix2Vox++ family."""

from __future__ import annotations

from recon3d_core.models.pix2vox.config import PublishedPix2VoxConfig


class Pix2VoxPPConfig(PublishedPix2VoxConfig):
    """Options of the published networks: their sizes are part of their structure."""
