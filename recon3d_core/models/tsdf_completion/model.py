"""`tsdf_completion`: a 3-D U-Net from what was seen of an object to all of it.

All work is done at half the resolution and below: blocks of 2 x 2 x 2 voxels go in as channels and
come out as channels; the last layers see the evidence again. What rules make of the evidence is an input, and the first guess. Compare "3D-EPN" (Dai et al., CVPR 2017) and "SG-NN" (Dai et al., CVPR 2020).
"""

from __future__ import annotations

import itertools
from typing import ClassVar

from recon3d_core.config import PluginConfig
from recon3d_core.errors import InputError
from recon3d_core.models.base import Network
from recon3d_core.models.layers import Conv3d
from recon3d_core.models.tsdf_completion.config import TsdfCompletionConfig
from recon3d_core.models.tsdf_completion.evidence import (
    CHANNELS,
    combined,
    RULE,
    undecided,
)
import torch
from torch import nn, Tensor
from torch.nn import functional

_DECIDED_WEIGHT = 0.1  # in the loss, of voxels that the evidence decides anyhow
_TRUST_IN_RULE = 3.0  # log odds deep inside of what the rules make, before training
# Both matter alike; the soft IoU alone would make the probabilities too sure.
_ENTROPY_WEIGHT, _OVERLAP_WEIGHT = 4.0, 1.0


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Conv3d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )  # fmt: skip


class TsdfCompletion(Network):
    """Evidence of a cube in, logits of occupancy out."""

    name = 'tsdf_completion'
    Config: ClassVar[type[PluginConfig]] = TsdfCompletionConfig

    def __init__(self, config: TsdfCompletionConfig | None = None) -> None:
        """Make the layers with random weights.

        Raises:
            InputError: The resolution does not fit the poolings.
        """
        super().__init__(config)
        if self.resolution % 16:
            raise InputError('resolution of tsdf_completion', self.resolution, 'a multiple of 16')
        w = self.config.width
        widths = (w, 3 * w, 6 * w, 12 * w)
        self.first = nn.Sequential(
            Conv3d(CHANNELS, w, 2, stride=2, bias=False), nn.BatchNorm3d(w),
            nn.ReLU(inplace=True), _block(w, w),
        )  # fmt: skip
        self.down = nn.ModuleList(
            nn.Sequential(_block(a, b), _block(b, b)) for a, b in itertools.pairwise(widths)
        )
        outer = widths[-2::-1]
        # Skips are added, not appended: half the work where it is most.
        self.narrow = nn.ModuleList(Conv3d(a, b, 1) for a, b in zip(widths[:0:-1], outer))
        self.up = nn.ModuleList(_block(b, b) for b in outer)
        self.detail = Conv3d(CHANNELS, w, 2, stride=2)
        self.fine = nn.Sequential(_block(2 * w, w), Conv3d(w, 8, 1))
        self.trust_in_rule = nn.Parameter(torch.tensor(_TRUST_IN_RULE))

    @property
    def resolution(self) -> int:
        """Voxels along an edge of the cube."""
        return int(self.config.resolution)

    def forward(self, evidence: Tensor) -> Tensor:
        """Return logits (B, N, N, N) of evidence (B, C, N, N, N) (`evidence`).

        Raises:
            InputError: The evidence has another size.
        """
        N = self.resolution
        if evidence.dim() != 5 or evidence.shape[1:] != (CHANNELS, N, N, N):
            raise InputError('evidence', tuple(evidence.shape), f'(B, {CHANNELS}, {N}, {N}, {N})')
        stages = [self.first(evidence)]
        for block in self.down:
            stages.append(block(functional.max_pool3d(stages[-1], 2)))
        volume = stages.pop()
        for narrow, block in zip(self.narrow, self.up):
            skip = stages.pop()
            volume = skip + functional.interpolate(narrow(volume), scale_factor=2.0)
            volume = block(volume)
        told = self.fine(torch.cat([volume, self.detail(evidence)], 1))
        return _spread(told)[:, 0] - self.trust_in_rule * evidence[:, RULE]

    def probabilities(self, evidence: Tensor) -> Tensor:
        """Return probabilities (B, N, N, N) that keep what was observed (`evidence.combined`)."""
        return combined(self(evidence).float(), evidence)

    def loss(self, evidence: Tensor, occupancy: Tensor) -> Tensor:
        """Return cross-entropy and soft IoU, above all of what the evidence does not decide.

        Args:
            evidence: (B, C, N, N, N).
            occupancy: (B, N, N, N) of 0 and 1.
        """
        logits = self(evidence).float()
        open_ = undecided(evidence).to(logits.dtype)
        weight = open_ + _DECIDED_WEIGHT * (1 - open_)
        entropy = functional.binary_cross_entropy_with_logits(logits, occupancy, weight)
        inside = torch.sigmoid(logits) * open_
        truth = occupancy * open_
        dims = (1, 2, 3)
        common = (inside * truth).sum(dims)
        union = (inside + truth - inside * truth).sum(dims)
        overlap = (common + 1) / (union + 1)
        return _ENTROPY_WEIGHT * entropy + _OVERLAP_WEIGHT * (1 - overlap).mean()


def _spread(blocks: Tensor) -> Tensor:
    """Return (B, 1, 2 n, 2 n, 2 n) of (B, 8, n, n, n): a channel for each voxel of a block."""
    B, _, n, _, _ = blocks.shape
    parts = blocks.reshape(B, 2, 2, 2, n, n, n).permute(0, 4, 1, 5, 2, 6, 3)
    return parts.reshape(B, 1, 2 * n, 2 * n, 2 * n)
