"""Encoders, recurrent units and decoders of 3D-R2N2 (Choy et al. 2016, section 3)."""

from __future__ import annotations

import itertools

from recon3d_core.models.layers import Conv3d
from recon3d_core.models.r2n2.base import RecurrentState
import torch
from torch import nn, Tensor
from torch.nn import functional

SLOPE = 0.01  # of the leaky activation
FEATURE = 1024  # numbers that describe a view
HIDDEN = 128  # channels of the recurrent grid
CELLS = 4  # along its edge
_WIDTHS = (96, 128, 256, 256, 256, 256)


def leaky(values: Tensor) -> Tensor:
    """Return the activation of all layers."""
    return functional.leaky_relu(values, SLOPE)


def initialize(network: nn.Module) -> None:
    """Draw weights that keep the signal's size (He et al. 2015): there is no normalisation."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def unpool(volume: Tensor) -> Tensor:
    """Return a volume of twice the edge: each cell in the first corner of 2x2x2, zeros else."""
    batch, channels, x, y, z = volume.shape
    result = volume.new_zeros(batch, channels, x, 2, y, 2, z, 2)
    result[:, :, :, 0, :, 0, :, 0] = volume
    return result.reshape(batch, channels, 2 * x, 2 * y, 2 * z)


class ShallowEncoder(nn.Module):
    """Six convolutions, each pooled and activated, and a linear layer."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        sizes = zip((3, *_WIDTHS), _WIDTHS, (7, 3, 3, 3, 3, 3))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, size, padding=size // 2) for inputs, outputs, size in sizes
        )
        self.pool = nn.MaxPool2d(2, padding=1)
        self.linear = nn.Linear(_WIDTHS[-1] * 9, FEATURE)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 1024) of images (B, 3, 127, 127)."""
        features = images.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            features = leaky(self.pool(convolution(features)))
        return leaky(self.linear(features.flatten(1)))


class ResidualStage2d(nn.Module):
    """Two convolutions with the skip that the paper gives this stage."""

    def __init__(self, inputs: int, outputs: int, size: int, skip: str) -> None:
        """Make the layers.

        Args:
            inputs: Channels before.
            outputs: Channels after.
            size: Edge of the first kernel.
            skip: `none`, `identity` or `linear` (1x1).
        """
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, size, padding=size // 2)
        self.b = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.c = nn.Conv2d(inputs, outputs, 1) if skip == 'linear' else None
        self.identity = skip == 'identity'

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        inner = leaky(self.b(leaky(self.a(features))))
        if self.c is not None:
            return inner + self.c(features)
        return inner + features if self.identity else inner


class ResidualEncoder(nn.Module):
    """Six stages of two convolutions, pooled, and a linear layer."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        skips = ('none', 'linear', 'linear', 'none', 'linear', 'identity')
        sizes = zip((3, *_WIDTHS), _WIDTHS, (7, 3, 3, 3, 3, 3), skips)
        self.stages = nn.ModuleList(ResidualStage2d(*size) for size in sizes)
        self.pool = nn.MaxPool2d(2, padding=1)
        self.linear = nn.Linear(_WIDTHS[-1] * 9, FEATURE)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 1024) of images (B, 3, 127, 127)."""
        features = images.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            features = self.pool(stage(features))
        return leaky(self.linear(features.flatten(1)))


class Gate(nn.Module):
    """A 3-D convolution of the state, a linear layer of the view for every cell, and a bias."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.state = Conv3d(HIDDEN, HIDDEN, 3, padding=1)
        self.view = nn.Linear(FEATURE, HIDDEN * CELLS**3, bias=False)

    def forward(self, feature: Tensor, hidden: Tensor) -> Tensor:
        """Return (B, 128, 4, 4, 4) before the activation."""
        return self.state(hidden) + self.view(feature).reshape(hidden.shape)


class Gru(nn.Module):
    """3D-GRU: h = u h + (1 - u) tanh(W x + U * (r h)), Eq. 7 to 9 of the paper."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.update, self.reset, self.candidate = Gate(), Gate(), Gate()

    def start(self, batch: int, device: torch.device) -> RecurrentState:
        """Return zeros."""
        shape = (batch, HIDDEN, CELLS, CELLS, CELLS)
        return RecurrentState(0, torch.zeros(shape, device=device))

    def forward(self, feature: Tensor, state: RecurrentState) -> RecurrentState:
        """Return the state after the feature (B, 1024) of one view more."""
        old = state.hidden
        update = self.update(feature, old).sigmoid()
        reset = self.reset(feature, old).sigmoid()
        candidate = self.candidate(feature, reset * old).tanh()
        return RecurrentState(state.views + 1, update * old + (1 - update) * candidate)


class Lstm(nn.Module):
    """3D-LSTM without output gate: s = f s + i tanh(W x + U * h), h = tanh(s), Eq. 3 to 6."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.forget, self.input, self.candidate = Gate(), Gate(), Gate()

    def start(self, batch: int, device: torch.device) -> RecurrentState:
        """Return zeros."""
        zeros = torch.zeros(batch, HIDDEN, CELLS, CELLS, CELLS, device=device)
        return RecurrentState(0, zeros, zeros)

    def forward(self, feature: Tensor, state: RecurrentState) -> RecurrentState:
        """Return the state after the feature (B, 1024) of one view more."""
        old, cell = state.hidden, state.cell
        assert cell is not None
        forget = self.forget(feature, old).sigmoid()
        admit = self.input(feature, old).sigmoid()
        cell = forget * cell + admit * self.candidate(feature, old).tanh()
        return RecurrentState(state.views + 1, cell.tanh(), cell)


class ShallowDecoder(nn.Module):
    """Five convolutions; zeros are put between the cells before the first three."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        widths = (HIDDEN, 128, 128, 64, 32, 2)
        self.convolutions = nn.ModuleList(
            Conv3d(inputs, outputs, 3, padding=1) for inputs, outputs in itertools.pairwise(widths)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits of outside and inside (B, 2, 32, 32, 32)."""
        *inner, last = self.convolutions
        for index, convolution in enumerate(inner):
            hidden = leaky(convolution(unpool(hidden) if index < 3 else hidden))
        return last(hidden)


class ResidualStage3d(nn.Module):
    """Two convolutions with an identity or a linear skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the layers; the skip is linear where the number of channels changes."""
        super().__init__()
        self.a = Conv3d(inputs, outputs, 3, padding=1)
        self.b = Conv3d(outputs, outputs, 3, padding=1)
        self.c = Conv3d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, volume: Tensor) -> Tensor:
        """Return (B, outputs, n, n, n)."""
        inner = leaky(self.b(leaky(self.a(volume))))
        return inner + (volume if self.c is None else self.c(volume))


class ResidualDecoder(nn.Module):
    """Three unpooled residual stages, one more, and the two classes."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        widths = ((HIDDEN, 128), (128, 128), (128, 64))
        self.stages = nn.ModuleList(ResidualStage3d(*width) for width in widths)
        self.a, self.b, self.c = (Conv3d(inputs, 32, 3, padding=1) for inputs in (64, 32, 32))
        self.last = Conv3d(32, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits of outside and inside (B, 2, 32, 32, 32)."""
        for stage in self.stages:
            hidden = stage(unpool(hidden))
        hidden = leaky(self.a(hidden))  # the published skip begins here, not before
        return self.last(leaky(self.b(hidden)) + self.c(hidden))
