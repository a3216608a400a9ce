"""`r2n2_s`: the ideas of 3D-R2N2 for a CPU in real time."""

from __future__ import annotations

from typing import ClassVar

from recon3d_core.models.base import ModelConfig
from recon3d_core.models.compact import CompactDecoder, CompactEncoder, LATENT_CELLS, split_cells
from recon3d_core.models.layers import Conv3d
from recon3d_core.models.r2n2.base import R2N2Network, RecurrentState
from recon3d_core.models.r2n2.config import SmallR2N2Config
import torch
from torch import nn, Tensor

_CHANNELS = 48  # of the encoder's grid
_HIDDEN = 64  # of the hidden state
_PRIOR = -2.0  # logit of how much of its cube an object fills


class ConvGru3d(nn.Module):
    """3-D convolutional GRU whose gates see the view's grid and the state around each cell.

    With the grid x and the state h: u, r = sigmoid(conv(x, h)), candidate = tanh(conv(x, r h)),
    and the new state is u h + (1 - u) candidate.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        """Make the layers."""
        super().__init__()
        self.hidden = hidden
        self.gates = Conv3d(inputs + hidden, 2 * hidden, 3, padding=1)
        self.candidate = Conv3d(inputs + hidden, hidden, 3, padding=1)

    def start(self, batch: int, device: torch.device) -> RecurrentState:
        """Return zeros."""
        shape = (batch, self.hidden, *(LATENT_CELLS,) * 3)
        return RecurrentState(0, torch.zeros(shape, device=device))

    def forward(self, grid: Tensor, state: RecurrentState) -> RecurrentState:
        """Return the state after the grid (B, inputs, 4, 4, 4) of one view more."""
        old = state.hidden
        update, reset = self.gates(torch.cat([grid, old], 1)).sigmoid().chunk(2, 1)
        candidate = self.candidate(torch.cat([grid, reset * old], 1)).tanh()
        return RecurrentState(state.views + 1, torch.lerp(candidate, old, update))


class SmallDecoder(nn.Module):
    """The hidden state to the logits of the volume, 2x2x2 voxels from each of the last cells."""

    def __init__(self, resolution: int) -> None:
        """Make the layers."""
        super().__init__()
        self.features = CompactDecoder(_HIDDEN, resolution)
        self.volume = Conv3d(self.features.outputs, 8, 3, padding=1)
        nn.init.constant_(self.volume.bias, _PRIOR)  # type: ignore[arg-type]

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (B, N, N, N) of states (B, C, 4, 4, 4)."""
        return split_cells(self.volume(self.features(hidden)))[:, 0]


class R2N2S(R2N2Network):
    """3D-R2N2 of 3 million parameters: residual encoder, convolutional GRU, light decoder."""

    name: ClassVar[str] = 'r2n2_s'
    Config: ClassVar[type[ModelConfig]] = SmallR2N2Config

    def __init__(self, config: SmallR2N2Config | None = None) -> None:
        """Make the layers, with random weights."""
        super().__init__(config)
        self.encoder = CompactEncoder(self.config.image_size, _CHANNELS)
        self.recurrence = ConvGru3d(_CHANNELS, _HIDDEN)
        self.decoder = SmallDecoder(self.decoded_resolution)

    def decode(self, hidden: Tensor) -> Tensor:
        """Return the logits (B, N, N, N) of hidden states (B, C, 4, 4, 4)."""
        return self.decoder(hidden)

    def preprocess(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return (B, V, 3, size, size) before grey, with mean 0.5 and deviation 0.5 taken out."""
        return super().preprocess(images, masks) * 2 - 1
