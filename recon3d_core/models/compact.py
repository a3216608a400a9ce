"""Small parts for a CPU in real time, shared by the small variants of the families.

What they have in common: 2-D convolutions do most of the work, since they are several times
faster per operation than 3-D ones; the 3-D part ends at half the resolution, and a linear layer
gives each of its cells the 2x2x2 voxels within (`split_cells`). Batch normalisation costs
nothing at run time, when it is folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn, Tensor
from torch.nn import functional

LATENT_CELLS = 4  # along an edge of the first 3-D grid
_WIDTHS = (32, 64, 128, 160)
_BLOCKS = (1, 1, 2, 1)


def split_cells(cells: Tensor) -> Tensor:
    """Give every cell's 8 channels to the 2x2x2 voxels in it.

    Args:
        cells: (B, 8 * C, n, n, n), the channels ordered (C, dx, dy, dz).

    Returns:
        (B, C, 2 n, 2 n, 2 n).
    """
    batch, channels, x, y, z = cells.shape
    parts = cells.reshape(batch, channels // 8, 2, 2, 2, x, y, z).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return parts.reshape(batch, channels // 8, 2 * x, 2 * y, 2 * z)


def join_voxels(voxels: Tensor) -> Tensor:
    """Put 2x2x2 voxels into channels of one cell, the inverse of `split_cells`."""
    batch, channels, x, y, z = voxels.shape
    parts = voxels.reshape(batch, channels, x // 2, 2, y // 2, 2, z // 2, 2)
    parts = parts.permute(0, 1, 3, 5, 7, 2, 4, 6)
    return parts.reshape(batch, 8 * channels, x // 2, y // 2, z // 2)


class ResidualBlock2d(nn.Module):
    """Two 3x3 convolutions with a skip (He et al. 2016); pooled before its projection."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        """Make the layers."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.AvgPool2d(stride),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride)."""
        return functional.relu(self.body(features) + self.skip(features), inplace=True)


class CompactEncoder(nn.Module):
    """An image to the coarse 3-D grid of features from which the shape is decoded.

    A residual network of stride 32, then two linear layers over all of its output: in the
    object's canonical pose no pixel belongs to a voxel, so that each cell must see all of them.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        widths: Sequence[int] = _WIDTHS,
        blocks: Sequence[int] = _BLOCKS,
        hidden: int = 256,
    ) -> None:
        """Make the layers.

        Args:
            image_size: Edge of the images, a multiple of 32.
            channels: Channels of the grid.
            widths: Channels of the four stages.
            blocks: Residual blocks of each.
            hidden: Numbers that describe a whole view.
        """
        super().__init__()
        self.channels = channels
        layers: list[nn.Module] = [
            nn.Conv2d(3, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        ]  # fmt: skip
        inputs = 16
        for width, count in zip(widths, blocks):
            for index in range(count):
                layers.append(ResidualBlock2d(inputs, width, stride=1 if index else 2))
                inputs = width
        layers += [nn.Conv2d(inputs, 48, 1), nn.ReLU(inplace=True)]
        self.trunk = nn.Sequential(*layers)
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        cells = LATENT_CELLS**3
        self.latent = nn.Sequential(
            nn.Linear(48 * (image_size // 32) ** 2, hidden),
            nn.LayerNorm(hidden),  # a single view has no batch to normalise over
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels * cells),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the grids (B, channels, 4, 4, 4) of images (B, 3, image_size, image_size)."""
        images = images.contiguous(memory_format=torch.channels_last)
        cells = self.latent(self.trunk(images).flatten(1))
        return cells.unflatten(1, (self.channels, *(LATENT_CELLS,) * 3))


class CompactDecoder(nn.Module):
    """A coarse grid of features to a grid of half the volume's resolution."""

    def __init__(self, inputs: int, resolution: int) -> None:
        """Make the layers.

        Args:
            inputs: Channels of the coarse grid.
            resolution: Voxels along an edge of the volume, 32 or 64.
        """
        super().__init__()
        layers: list[nn.Module] = []
        widths = {32: (48, 32), 64: (48, 32, 16)}[resolution]
        for width in widths:
            layers += [
                nn.ConvTranspose3d(inputs, width, 4, 2, 1, bias=False),
                nn.BatchNorm3d(width),
                nn.ReLU(inplace=True),
            ]
            inputs = width
        self.outputs = inputs
        self.layers = nn.Sequential(*layers)

    def forward(self, grid: Tensor) -> Tensor:
        """Return features (B, outputs, resolution / 2, ...) of grids (B, inputs, 4, 4, 4)."""
        return self.layers(grid)
