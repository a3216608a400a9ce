"""Voxel grids: shape (nx, ny, nz), indexed [x, y, z], placed by `T_world_grid`.

Voxel (0, 0, 0) has its centre at (0.5, 0.5, 0.5) * voxel_size_m in the grid's frame.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.checks import check_transform
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import apply, invert


@dataclasses.dataclass(frozen=True)
class VoxelGrid:
    """Place and resolution of a volume.

    Attributes:
        T_world_grid: (4, 4) pose of the grid's corner.
        voxel_size_m: Edge of a voxel.
        shape: Number of voxels along x, y, z.
    """

    T_world_grid: NDArray[np.float64]
    voxel_size_m: float
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: The pose is not rigid, or a size is not positive.
        """
        check_transform('T_world_grid', self.T_world_grid)
        if not 0 < self.voxel_size_m < np.inf or min(self.shape) < 1:
            raise InputError('grid of impossible size', (self.voxel_size_m, self.shape))

    @property
    def extent_m(self) -> NDArray[np.float64]:
        """Edge lengths (3,)."""
        return np.array(self.shape) * self.voxel_size_m

    @property
    def T_grid_world(self) -> NDArray[np.float64]:
        """Inverse of `T_world_grid`."""
        return invert(self.T_world_grid)

    def centers_grid_m(self) -> NDArray[np.float32]:
        """Return the voxel centres (nx, ny, nz, 3) in the grid's frame."""
        axes = [(np.arange(n, dtype=np.float32) + 0.5) * self.voxel_size_m for n in self.shape]
        return np.stack(np.meshgrid(*axes, indexing='ij'), -1).astype(np.float32)

    def centers_world_m(self) -> NDArray[np.float32]:
        """Return the voxel centres (nx, ny, nz, 3) in the world's frame."""
        centers: NDArray[np.float32] = apply(self.T_world_grid, self.centers_grid_m())
        return centers

    def indices(self, points_world_m: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the voxel indices (..., 3) that hold points (..., 3); may lie outside."""
        points = apply(self.T_grid_world, np.asarray(points_world_m, np.float64))
        index: NDArray[np.int64] = np.floor(points / self.voxel_size_m).astype(np.int64)
        return index

    def contains(self, points_world_m: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which points (..., 3) lie inside."""
        index = self.indices(points_world_m)
        return np.asarray(((index >= 0) & (index < self.shape)).all(-1))

    def padded(self, low: ArrayLike, high: ArrayLike) -> VoxelGrid:
        """Return the grid grown by numbers of voxels (3,) at its low and high sides."""
        low, high = np.asarray(low, int), np.asarray(high, int)
        T = self.T_world_grid.copy()
        T[:3, 3] -= T[:3, :3] @ (low * self.voxel_size_m)
        nx, ny, nz = (np.array(self.shape) + low + high).tolist()
        return VoxelGrid(T, self.voxel_size_m, (nx, ny, nz))


def grid_around(
    points_world_m: NDArray[np.floating],
    voxel_size_m: float,
    margin_m: float,
    rotation: NDArray[np.float64] | None = None,
) -> VoxelGrid:
    """Return the smallest grid that holds points and a margin.

    Args:
        points_world_m: (N, 3), N >= 1.
        voxel_size_m: Edge of a voxel.
        margin_m: Free room on every side.
        rotation: (3, 3) axes of the grid in the world; the world's own where None.
    """
    axes = np.eye(3) if rotation is None else rotation
    local = np.asarray(points_world_m, np.float64) @ axes
    low, high = local.min(0) - margin_m, local.max(0) + margin_m
    nx, ny, nz = np.maximum(np.ceil((high - low) / voxel_size_m), 1).astype(int).tolist()
    T = np.eye(4)
    T[:3, :3] = axes
    T[:3, 3] = axes @ low
    return VoxelGrid(T, voxel_size_m, (nx, ny, nz))
