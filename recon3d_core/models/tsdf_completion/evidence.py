"""What is known of an object's cube, as channels of a volume, and how it binds the network.

Channels (C, N, N, N), all within [-1, 1]:

0. `sdf`: signed distance in `REACH` voxels, negative inside; 0 where not observed.
1. `trust`: w / (w + 1) of the weight w of that distance.
2. `observed`: 1 where the distance was measured.
3. `free`: 1 where the space was seen to be empty.
4. `height`: above the support, in edges of the cube; 0 everywhere where no support is known.
5. `below`: 1 below the support.
6. `rule`: signed distance, in `REACH` voxels, of the solid that the mesher `closed` makes of what
   was seen; 1 far outside, 0 everywhere where it makes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS = 7
SDF, TRUST, OBSERVED, FREE, HEIGHT, BELOW, RULE = range(CHANNELS)
REACH = 4.0
"""Voxels beyond which a distance is only near or far."""

MIN_TRUST = 0.09
"""Trust from which a distance decides: a weight of a tenth; a pixel at an edge has about that."""


def combined(logits: Tensor, evidence: Tensor) -> Tensor:
    """Return probabilities (B, N, N, N) that keep what was observed.

    Within a voxel of a well observed surface the measured distance decides, so that the surface
    stays where it was seen. What is in front of it, and other space that was seen to be empty,
    stays free, as does all below the support. Deeper inside nothing was seen: there the network
    decides, as the truncated distance cannot tell a thin wall from a solid.

    Args:
        logits: (B, N, N, N) what the network says.
        evidence: (B, C, N, N, N).
    """
    voxels = evidence[:, SDF] * REACH
    sure = (evidence[:, OBSERVED] > 0.5) & (evidence[:, TRUST] >= MIN_TRUST)
    measured = (0.5 - voxels / 2).clamp(0, 1).to(logits.dtype)
    found = torch.where(sure & (voxels > -1), measured, torch.sigmoid(logits))
    empty = (evidence[:, FREE] > 0.5) & ~(sure & (voxels <= 0))
    return found.masked_fill(empty | (evidence[:, BELOW] > 0.5), 0.0)


def undecided(evidence: Tensor) -> Tensor:
    """Return where (B, N, N, N) the network decides."""
    voxels = evidence[:, SDF] * REACH
    sure = (evidence[:, OBSERVED] > 0.5) & (evidence[:, TRUST] >= MIN_TRUST) & (voxels > -1)
    return ~(sure | (evidence[:, FREE] > 0.5) | (evidence[:, BELOW] > 0.5))
