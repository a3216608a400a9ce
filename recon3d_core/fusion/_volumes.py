"""From a network's cube of probabilities to an object's grid."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply
import torch
from torch import Tensor
from torch.nn import functional

_SURE = 1e-6


def recalibrated(probabilities: Tensor, threshold: float) -> Tensor:
    """Return probabilities shifted, as logits, so that the threshold becomes 0.5."""
    shift = math.log(threshold / (1 - threshold))
    return (torch.logit(probabilities.float(), eps=_SURE) - shift).sigmoid()


def sample_cube(volume: Tensor, places: Tensor) -> NDArray[np.float32]:
    """Return the values of a volume between its voxels' centres, trilinearly; 0 outside.

    Args:
        volume: (N, N, N), indexed [x, y, z].
        places: (nx, ny, nz, 3) in the cube, [-0.5, 0.5]^3.
    """
    grid = (2 * places.flip(-1)).to(volume)  # grid_sample counts the last axis first
    values = functional.grid_sample(
        volume[None, None], grid[None], padding_mode='border', align_corners=False
    )[0, 0]
    inside = (places.abs() <= 0.5 + 1e-6).all(-1)
    found: NDArray[np.float32] = (values * inside.to(values)).float().cpu().numpy()
    return found


def places_in_cube(grid: VoxelGrid, device: str) -> Tensor:
    """Return the voxel centres (nx, ny, nz, 3) of a grid in the cube around it."""
    edge_m = float(grid.extent_m.max())
    axes = [
        ((torch.arange(n, device=device) + 0.5 - n / 2) * (grid.voxel_size_m / edge_m))
        for n in grid.shape
    ]
    return torch.stack(torch.meshgrid(*axes, indexing='ij'), -1)


def places_of(grid: VoxelGrid, held_on: VoxelGrid) -> Tensor:
    """Return where the voxel centres of a grid are in another, as `grid_sample` wants them.

    Args:
        grid: The grid whose centres are asked for.
        held_on: The grid that holds values.

    Returns:
        (nx, ny, nz, 3) float32, the last axis of `held_on` first, [-1, 1] within it.
    """
    T = held_on.T_grid_world @ grid.T_world_grid
    if not np.allclose(T[:3, :3], np.eye(3), atol=1e-6):
        local = apply(held_on.T_grid_world, grid.centers_world_m())
        return torch.from_numpy(local * (2 / held_on.extent_m) - 1).flip(-1).float()
    axes = []
    for axis, (n, size) in enumerate(zip(grid.shape, held_on.extent_m)):
        centers = (torch.arange(n) + 0.5) * grid.voxel_size_m + float(T[axis, 3])
        axes.append((centers * (2 / float(size)) - 1).float())
    x, y, z = torch.meshgrid(*axes, indexing='ij')
    return torch.stack([z, y, x], -1)
