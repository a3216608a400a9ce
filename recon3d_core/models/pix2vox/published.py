"""The decoder, merger and refiner that the published networks of the family are made of."""

from __future__ import annotations

from collections.abc import Sequence
import itertools

from recon3d_core.models.layers import Conv3d
import torch
from torch import nn, Tensor


class Decoder(nn.Module):
    """Transposed 3-D convolutions from a latent 2^3 grid to the volume of one view."""

    def __init__(self, widths: Sequence[int]) -> None:
        """Make the layers.

        Args:
            widths: Channels of the latent grid and after each of the four steps.
        """
        super().__init__()
        self.latent = widths[0]
        steps = [
            nn.Sequential(
                nn.ConvTranspose3d(inputs, outputs, 4, 2, 1, bias=False),
                nn.BatchNorm3d(outputs),
                nn.ReLU(inplace=True),
            )
            for inputs, outputs in itertools.pairwise(widths)
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = steps
        self.layer5 = nn.Sequential(nn.ConvTranspose3d(widths[-1], 1, 1, bias=False))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the context (B, 9, 32, 32, 32) and the logits (B, 32, 32, 32).

        Args:
            features: (B, C, h, w), whose numbers fill the latent grid in their order.
        """
        grid = features.reshape(len(features), self.latent, 2, 2, 2)
        grid = self.layer4(self.layer3(self.layer2(self.layer1(grid))))
        logits = self.layer5(grid)
        return torch.cat([grid, logits.sigmoid()], 1), logits[:, 0]


class Merger(nn.Module):
    """Scores of every voxel from its context, by five small 3-D convolutions."""

    def __init__(self, widths: Sequence[int] = (9, 16, 8, 4, 2, 1)) -> None:
        """Make the layers."""
        super().__init__()
        steps = [score_step(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)]
        self.layer1, self.layer2, self.layer3, self.layer4, self.layer5 = steps

    def forward(self, context: Tensor) -> Tensor:
        """Return scores (B, 32, 32, 32) of contexts (B, 9, 32, 32, 32)."""
        inner = self.layer3(self.layer2(self.layer1(context)))
        return self.layer5(self.layer4(inner))[:, 0]


class Refiner(nn.Module):
    """A U-Net with a fully connected middle over the merged volume."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                Conv3d(inputs, outputs, 4, padding=2),
                nn.BatchNorm3d(outputs),
                nn.LeakyReLU(0.2, inplace=True),
                nn.MaxPool3d(2),
            )
            for inputs, outputs in ((1, 32), (32, 64), (64, 128))
        )
        self.layer4 = nn.Sequential(nn.Linear(8192, 2048), nn.ReLU(inplace=True))
        self.layer5 = nn.Sequential(nn.Linear(2048, 8192), nn.ReLU(inplace=True))
        self.layer6, self.layer7 = (
            nn.Sequential(
                nn.ConvTranspose3d(inputs, outputs, 4, 2, 1, bias=False),
                nn.BatchNorm3d(outputs),
                nn.ReLU(inplace=True),
            )
            for inputs, outputs in ((128, 64), (64, 32))
        )
        self.layer8 = nn.Sequential(nn.ConvTranspose3d(32, 1, 4, 2, 1, bias=False))

    def forward(self, logits: Tensor) -> Tensor:
        """Return the logits of the mean of merged and refined probabilities (B, 32, 32, 32)."""
        at32 = logits.sigmoid()[:, None]
        at16 = self.layer1(at32)
        at8 = self.layer2(at16)
        at4 = self.layer3(at8)
        middle = self.layer5(self.layer4(at4.flatten(1)))
        at4 = at4 + middle.reshape(at4.shape)
        at8 = at8 + self.layer6(at4)
        at16 = at16 + self.layer7(at8)
        return mean_logits(logits, self.layer8(at16)[:, 0])


def mean_logits(a: Tensor, b: Tensor) -> Tensor:
    """Return the logits of the mean of two probabilities that are given by their logits."""
    log = nn.functional.logsigmoid
    return torch.logaddexp(log(a), log(b)) - torch.logaddexp(log(-a), log(-b))


def score_step(inputs: int, outputs: int) -> nn.Sequential:
    """Return one step of a merger: 3x3x3 convolution, normalisation, leaky activation."""
    return nn.Sequential(
        Conv3d(inputs, outputs, 3, padding=1),
        nn.BatchNorm3d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )
