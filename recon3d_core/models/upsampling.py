"""From coarse to fine: twice the resolution, computed where the surface runs and nowhere else.

Inside and outside of an object are smooth; only the blocks of voxels that the surface crosses
(some tenth of all) go through a small network, a few at a time, so that its memory does not
depend on the resolution. The idea is that of octree decoders (Tatarchenko et al. 2017).
"""

from __future__ import annotations

from recon3d_core.models.compact import split_cells
from recon3d_core.models.layers import Conv3d
import torch
from torch import nn, Tensor
from torch.nn import functional

BLOCK = 8  # coarse voxels along an edge of a block
HALO = 2  # coarse voxels around it that the network sees
CHUNK = 64  # blocks at a time
_UNSURE = 2.2  # |logit| below which a voxel counts as part of the surface: p = 0.1 to 0.9
_LIMIT = 8.0  # logits beyond say no more


class BoundaryUpsampler(nn.Module):
    """Logits at twice the resolution: interpolated, and corrected in blocks at the surface."""

    def __init__(self, channels: int = 16) -> None:
        """Make the layers; before training nothing is corrected."""
        super().__init__()
        self.layers = nn.Sequential(
            Conv3d(1, channels, 3),
            nn.LeakyReLU(0.2, inplace=True),
            Conv3d(channels, 2 * channels, 3),
            nn.LeakyReLU(0.2, inplace=True),
            Conv3d(2 * channels, 8, 1),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    def forward(self, logits: Tensor) -> Tensor:
        """Return logits (B, 2 n, 2 n, 2 n) of coarse ones (B, n, n, n), n a multiple of 8."""
        fine = _to_blocks(_interpolate(logits), 2 * BLOCK)
        crops = _crops(logits)
        for part in torch.split(boundary_blocks(logits), CHUNK):
            index = part.unbind(1)
            fine = fine.index_put(index, self.correct(crops[index]), accumulate=True)
        return _from_blocks(fine)

    def correct(self, crops: Tensor) -> Tensor:
        """Return what to add to the logits (K, 16, 16, 16) of blocks.

        Args:
            crops: (K, 12, 12, 12) coarse logits of the blocks and their halos.
        """
        return split_cells(self.layers(crops[:, None].clamp(-_LIMIT, _LIMIT)))[:, 0]

    def loss(self, logits: Tensor, occupancy: Tensor, most: int = 4 * CHUNK) -> Tensor:
        """Return the mean binary cross-entropy in blocks at the surface.

        Args:
            logits: (B, n, n, n) coarse.
            occupancy: (B, 2 n, 2 n, 2 n) of 0 and 1.
            most: Blocks that are looked at, evenly spread over all of them.
        """
        chosen = boundary_blocks(logits)
        chosen = chosen[:: max(1, -(-len(chosen) // most))]
        index = chosen.unbind(1)
        fine = _to_blocks(_interpolate(logits), 2 * BLOCK)[index]
        fine = fine + self.correct(_crops(logits)[index])
        wanted = _to_blocks(occupancy, 2 * BLOCK)[index]
        total = functional.binary_cross_entropy_with_logits(fine, wanted, reduction='sum')
        return total / max(1, wanted.numel())


def boundary_blocks(logits: Tensor) -> Tensor:
    """Return which blocks the surface crosses or may cross.

    Args:
        logits: (B, n, n, n) coarse.

    Returns:
        (K, 4) indices: object, and block along x, y and z.
    """
    highest = functional.max_pool3d(logits[:, None], BLOCK)[:, 0]
    lowest = -functional.max_pool3d(-logits[:, None], BLOCK)[:, 0]
    crossing = (highest > -_UNSURE) & (lowest < _UNSURE)
    return crossing.nonzero()


def coarse_occupancy(occupancy: Tensor) -> Tensor:
    """Return which part of each coarse voxel is inside: (B, n, n, n) of (B, 2 n, 2 n, 2 n)."""
    return functional.avg_pool3d(occupancy[:, None], 2)[:, 0]


def _interpolate(logits: Tensor) -> Tensor:
    return functional.interpolate(logits[:, None], scale_factor=2, mode='trilinear')[:, 0]


def _crops(logits: Tensor) -> Tensor:
    """Return all blocks with their halos, (B, n / 8, n / 8, n / 8, 12, 12, 12), as a view."""
    padded = functional.pad(logits[:, None], (HALO,) * 6, mode='replicate')[:, 0]
    for axis in (1, 2, 3):
        padded = padded.unfold(axis, BLOCK + 2 * HALO, BLOCK)
    return padded


def _to_blocks(volume: Tensor, edge: int) -> Tensor:
    for axis in (1, 2, 3):
        volume = volume.unfold(axis, edge, edge)
    return volume


def _from_blocks(blocks: Tensor) -> Tensor:
    batch, count, edge = blocks.shape[0], blocks.shape[1], blocks.shape[-1]
    volume = blocks.permute(0, 1, 4, 2, 5, 3, 6)
    return volume.reshape(batch, *(count * edge,) * 3)
