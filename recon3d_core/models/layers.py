"""Layers that torch has, but slower than need be."""

from __future__ import annotations

import torch
from torch import nn, Tensor

ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that is quick for a single volume on a CPU too.

    torch sends a batch of one with kernels of up to 3 to its unblocked convolution, which takes
    about ten times as long as oneDNN's; the result is the same but for rounding.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """Return the convolution of volumes (B, C, X, Y, Z)."""
        single = input.dim() == 5 and len(input) == 1 and input.device.type == 'cpu'
        padding = self.padding
        if not single or isinstance(padding, str) or self.padding_mode != 'zeros':
            return super().forward(input)
        if input.dtype != torch.float32 or self.weight.dtype != torch.float32 or not ONEDNN:
            return super().forward(input)
        return torch.mkldnn_convolution(
            input, self.weight, self.bias, padding, self.stride, self.dilation, self.groups
        )
