"""`pix2voxpp_a` and `pix2voxpp_f` as published (Xie et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

from recon3d_core.models.backbones import resnet
from recon3d_core.models.base import ModelConfig
from recon3d_core.models.pix2vox.model import PublishedPix2Vox
from recon3d_core.models.pix2vox.published import Decoder, Refiner, score_step
from recon3d_core.models.pix2voxpp.config import Pix2VoxPPConfig
import torch
from torch import nn, Tensor


class ResnetEncoder(nn.Module):
    """The first two stages of a ResNet and three more convolutions."""

    def __init__(self, depth: int, widths: tuple[int, int, int, int]) -> None:
        """Make the layers.

        Args:
            depth: 18 or 50.
            widths: Channels of the ResNet's last stage, and after each convolution.
        """
        super().__init__()
        self.resnet = resnet(depth)
        self.layer1 = _step(widths[0], widths[1])
        self.layer2 = _step(widths[1], widths[2], pool=True)
        self.layer3 = _step(widths[2], widths[3], pool=True)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, widths[3], 7, 7) of images (B, 3, 224, 224)."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.layer3(self.layer2(self.layer1(self.resnet(images))))


def _step(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


class MultiScaleMerger(nn.Module):
    """Scores of every voxel from four scales of context."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.layer1, self.layer2, self.layer3, self.layer4 = (score_step(9, 9) for _ in range(4))
        self.layer5 = score_step(36, 9)
        self.layer6 = score_step(9, 1)

    def forward(self, context: Tensor) -> Tensor:
        """Return scores (B, 32, 32, 32) of contexts (B, 9, 32, 32, 32)."""
        scales = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            context = layer(context)
            scales.append(context)
        return self.layer6(self.layer5(torch.cat(scales, 1)))[:, 0]


class Pix2VoxPPA(PublishedPix2Vox):
    """Pix2Vox++/A: ResNet-50, with refiner."""

    name: ClassVar[str] = 'pix2voxpp_a'
    Config: ClassVar[type[ModelConfig]] = Pix2VoxPPConfig

    def __init__(self, config: Pix2VoxPPConfig | None = None) -> None:
        """Make the layers, with random weights."""
        super().__init__(config)
        self.encoder = ResnetEncoder(50, (512, 512, 256, 256))
        self.decoder = Decoder((1568, 512, 128, 32, 8))
        self.merger = MultiScaleMerger()
        self.refiner = Refiner()


class Pix2VoxPPF(PublishedPix2Vox):
    """Pix2Vox++/F: ResNet-18, without refiner."""

    name: ClassVar[str] = 'pix2voxpp_f'
    Config: ClassVar[type[ModelConfig]] = Pix2VoxPPConfig

    def __init__(self, config: Pix2VoxPPConfig | None = None) -> None:
        """Make the layers, with random weights."""
        super().__init__(config)
        self.encoder = ResnetEncoder(18, (128, 128, 64, 64))
        self.decoder = Decoder((392, 128, 64, 32, 8))
        self.merger = MultiScaleMerger()
