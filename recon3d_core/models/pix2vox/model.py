"""`pix2vox_a` and `pix2vox_f` as published (Xie et al. 2019, section 3 and supplement)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from recon3d_core.models.axes import from_published, to_published
from recon3d_core.models.backbones import vgg16_bn
from recon3d_core.models.base import ModelConfig
from recon3d_core.models.pix2vox.base import Pix2VoxNetwork
from recon3d_core.models.pix2vox.checkpoints import convert
from recon3d_core.models.pix2vox.config import PublishedPix2VoxConfig
from recon3d_core.models.pix2vox.published import Decoder, Merger, Refiner
import torch
from torch import nn, Tensor


class VggEncoder(nn.Module):
    """VGG16 up to conv4_1 and three more convolutions."""

    def __init__(self, accurate: bool) -> None:
        """Make the layers of Pix2Vox-A (`accurate`) or Pix2Vox-F."""
        super().__init__()
        self.vgg = vgg16_bn()
        if accurate:
            self.layer1 = _step(512, 512, 3)
            self.layer2 = _step(512, 512, 3, pool=3)
            self.layer3 = _step(512, 256, 1)
        else:
            self.layer1 = _step(512, 512, 1)
            self.layer2 = _step(512, 256, 3, pool=4)
            self.layer3 = _step(256, 128, 3)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 256, 8, 8) or (B, 128, 4, 4) of images (B, 3, 224, 224)."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.layer3(self.layer2(self.layer1(self.vgg(images))))


def _step(inputs: int, outputs: int, kernel: int, pool: int = 0) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, kernel), nn.BatchNorm2d(outputs), nn.ELU(inplace=True)]
    return nn.Sequential(*layers, *([nn.MaxPool2d(pool)] if pool else []))


class PublishedPix2Vox(Pix2VoxNetwork):
    """A network whose parts are as published, in the authors' order of axes.

    All parts work on volumes indexed [x, y up, z], so that published weights mean what they
    meant; `describe` and `refine` turn what enters and leaves them.
    """

    Config: ClassVar[type[ModelConfig]] = PublishedPix2VoxConfig

    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and scores (B, 32, 32, 32) of single views (B, 3, 224, 224)."""
        context, logits = self.decoder(self.encoder(images))
        return from_published(logits), from_published(self.merger(context))

    def refine(self, merged: Tensor) -> Tensor:
        """Return the refined logits (B, 32, 32, 32) of merged ones."""
        return from_published(super().refine(to_published(merged)))

    def convert_published(self, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the `state_dict` of a checkpoint as the authors publish them.

        Raises:
            InputError: It is no such checkpoint.
        """
        return convert(tensors, tuple(self.parts()))


class Pix2VoxA(PublishedPix2Vox):
    """Pix2Vox-A: 114,244,467 parameters, with refiner."""

    name: ClassVar[str] = 'pix2vox_a'

    def __init__(self, config: PublishedPix2VoxConfig | None = None) -> None:
        """Make the layers, with random weights."""
        super().__init__(config)
        self.encoder = VggEncoder(accurate=True)
        self.decoder = Decoder((2048, 512, 128, 32, 8))
        self.merger = Merger()
        self.refiner = Refiner()


class Pix2VoxF(PublishedPix2Vox):
    """Pix2Vox-F: 7,436,307 parameters, without refiner."""

    name: ClassVar[str] = 'pix2vox_f'

    def __init__(self, config: PublishedPix2VoxConfig | None = None) -> None:
        """Make the layers, with random weights."""
        super().__init__(config)
        self.encoder = VggEncoder(accurate=False)
        self.decoder = Decoder((256, 128, 64, 32, 8))
        self.merger = Merger()
