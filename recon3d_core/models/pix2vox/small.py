"""`pix2vox_s`: the ideas of Pix2Vox for a CPU in real time."""

from __future__ import annotations

from typing import ClassVar

from recon3d_core.models.base import ModelConfig
from recon3d_core.models.compact import CompactDecoder, CompactEncoder, join_voxels, split_cells
from recon3d_core.models.layers import Conv3d
from recon3d_core.models.pix2vox.base import Pix2VoxNetwork
from recon3d_core.models.pix2vox.config import SmallPix2VoxConfig
from torch import nn, Tensor

_CHANNELS = 48  # of the latent grid
_PRIOR = -2.0  # logit of how much of its cube an object fills


class SmallDecoder(nn.Module):
    """Features at half the resolution, and the volume's logits from them."""

    def __init__(self, resolution: int) -> None:
        """Make the layers."""
        super().__init__()
        self.features = CompactDecoder(_CHANNELS, resolution)
        self.volume = Conv3d(self.features.outputs, 8, 1)
        nn.init.constant_(self.volume.bias, _PRIOR)  # type: ignore[arg-type]

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the context (B, C, N / 2, ...) and the logits (B, 8, N / 2, ...) by cell.

        The paper's context holds the volume too; here it is a linear map of the features.
        """
        features = self.features(grid)
        return features, self.volume(features)


class SmallMerger(nn.Module):
    """Scores of every voxel from the context around its cell."""

    def __init__(self, inputs: int) -> None:
        """Make the layers."""
        super().__init__()
        self.layers = nn.Sequential(
            Conv3d(inputs, 16, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            Conv3d(16, 8, 1),
        )

    def forward(self, context: Tensor) -> Tensor:
        """Return scores (B, 8, N / 2, ...) by cell."""
        return self.layers(context)


class SmallRefiner(nn.Module):
    """A U-Net over the merged volume that corrects its logits."""

    def __init__(self) -> None:
        """Make the layers; before training it changes nothing."""
        super().__init__()
        self.enter = _step(Conv3d(8, 16, 3, padding=1, bias=False))
        self.down1 = _step(Conv3d(16, 32, 4, 2, 1, bias=False))
        self.down2 = _step(Conv3d(32, 64, 4, 2, 1, bias=False))
        self.middle = _step(Conv3d(64, 64, 3, padding=1, bias=False))
        self.up2 = _step(nn.ConvTranspose3d(64, 32, 4, 2, 1, bias=False))
        self.up1 = _step(nn.ConvTranspose3d(32, 16, 4, 2, 1, bias=False))
        self.leave = Conv3d(16, 8, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, logits: Tensor) -> Tensor:
        """Return the refined logits (B, N, N, N) of merged ones."""
        fine = self.enter(join_voxels(logits.sigmoid()[:, None]))
        half = self.down1(fine)
        coarse = self.down2(half)
        half = half + self.up2(coarse + self.middle(coarse))
        correction = self.leave(fine + self.up1(half))
        return logits + split_cells(correction)[:, 0]


def _step(convolution: nn.Conv3d | nn.ConvTranspose3d) -> nn.Sequential:
    norm = nn.BatchNorm3d(convolution.out_channels)
    return nn.Sequential(convolution, norm, nn.LeakyReLU(0.2, inplace=True))


class Pix2VoxS(Pix2VoxNetwork):
    """Pix2Vox of 3 million parameters: residual encoder, light decoder, merger and refiner."""

    name: ClassVar[str] = 'pix2vox_s'
    Config: ClassVar[type[ModelConfig]] = SmallPix2VoxConfig

    def __init__(self, config: SmallPix2VoxConfig | None = None) -> None:
        """Make the layers, with random weights."""
        super().__init__(config)
        self.encoder = CompactEncoder(self.config.image_size, _CHANNELS)
        self.decoder = SmallDecoder(self.merged_resolution)
        self.merger = SmallMerger(self.decoder.volume.in_channels)
        self.refiner = SmallRefiner()

    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and scores (B, N, N, N) of single views (B, 3, size, size)."""
        context, cells = self.decoder(self.encoder(images))
        return split_cells(cells)[:, 0], split_cells(self.merger(context))[:, 0]
