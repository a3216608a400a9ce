"""Objects as grids of signed distances and colours, on any device: what `render_sdf` draws.

Needs torch and numpy only. Distances are stored in whole steps within a band around the surface;
a coarser grid says how far a ray may jump outside of the band.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_shape
import torch
from torch import Tensor
from torch.nn import functional

BAND_VOXELS = 2.0
"""Distances are known up to this many voxels from the surface."""

LEVELS = 32
"""Steps of the stored distances within the band."""

_CELL = 4  # voxels along an edge of a cell of the coarse grid


@dataclass(frozen=True)
class SdfGrids:
    """The grids of O objects.

    Attributes:
        sdf: (O, N, N, N) int8 distances in steps of `BAND_VOXELS / LEVELS` voxels, negative
            inside, saturated at ±`LEVELS`.
        colors: (O, M, M, M, 4) uint8 RGB, alpha 255 where the colour is known.
        jump: (O, N/4, N/4, N/4) uint8, cells of 4 voxels that a ray may safely pass at once.
        mean_color: (O, 3) float32 RGB of 0 to 255, for surfaces that close a hole.
    """

    sdf: Tensor
    colors: Tensor
    jump: Tensor
    mean_color: Tensor

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.sdf)

    @property
    def resolution(self) -> int:
        """Voxels along an edge of the distances."""
        return int(self.sdf.shape[-1])

    @property
    def device(self) -> torch.device:
        """Where the grids are."""
        return self.sdf.device

    def to(self, device: torch.device | str) -> SdfGrids:
        """Return the grids on another device."""
        return SdfGrids(*(getattr(self, field.name).to(device) for field in fields(self)))

    @classmethod
    def from_arrays(
        cls,
        sdf: NDArray[np.int8],
        colors: NDArray[np.uint8],
        device: torch.device | str = 'cpu',
    ) -> SdfGrids:
        """Make the grids of O objects.

        Args:
            sdf: (O, N, N, N) distances; N is a multiple of 4.
            colors: (O, M, M, M, 4) colours.
            device: Where to keep them.

        Raises:
            InputError: A shape is wrong.
        """
        check_shape('sdf', sdf, ('O', 'N', 'N', 'N'))
        check_shape('colors', colors, (len(sdf), 'M', 'M', 'M', 4))
        check_shape('sdf', sdf, (len(sdf),) + 3 * (max(1, sdf.shape[-1] // _CELL) * _CELL,))
        distances = torch.from_numpy(np.ascontiguousarray(sdf)).to(device)
        known = torch.from_numpy(np.ascontiguousarray(colors)).to(device)
        chunks = range(0, len(sdf), 64)  # the float copies of all objects would be too large
        filled = [_spread_colors(known[i : i + 64]) for i in chunks]
        jump = [_jumps(distances[i : i + 64]) for i in chunks]
        mean = [_mean_colors(known[i : i + 64]) for i in chunks]
        return cls(distances, torch.cat(filled), torch.cat(jump), torch.cat(mean))


def _spread_colors(colors: Tensor) -> Tensor:
    """Give voxels beside known ones their mean colour: interpolation reaches one voxel further."""
    rgba = colors.movedim(-1, 1).float()
    total = functional.avg_pool3d(rgba, 3, 1, 1)
    alpha = total[:, 3:]
    mean = torch.where(alpha > 0, total * 255 / alpha.clamp_min(1e-6), total)
    filled = torch.where(rgba[:, 3:] > 0, rgba, mean)
    return filled.round().to(torch.uint8).movedim(1, -1).contiguous()


def _mean_colors(colors: Tensor) -> Tensor:
    rgba = colors.float().flatten(1, 3)
    total = (rgba[..., :3] * (rgba[..., 3:] > 0)).sum(1)
    return total / (rgba[..., 3:] > 0).sum(1).clamp_min(1)


def _jumps(sdf: Tensor) -> Tensor:
    """Return how many whole cells around each cell are out of the band.

    From anywhere in a cell of value k, no surface is nearer than 4 k voxels.
    """
    near = (sdf < LEVELS).float()[:, None]
    # A cell's distances are interpolated from its neighbours' voxels, too.
    touched = functional.max_pool3d(near, _CELL + 2, _CELL, 1)
    clear = torch.zeros_like(touched)
    for _ in range(sdf.shape[-1] // _CELL):
        clear += 1 - touched
        touched = functional.max_pool3d(touched, 3, 1, 1)
    return (clear - 1).clamp_min(0)[:, 0].to(torch.uint8)
