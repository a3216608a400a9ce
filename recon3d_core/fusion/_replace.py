"""Placing an object's volume anew, when its views show it elsewhere than the first ones did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError
from recon3d_core.fusion._crops import Crop
from recon3d_core.fusion._project import NEAR_M
from recon3d_core.fusion.visual_hull import initial_grid_from_views
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, Array, invert, make_transform

_STICKS_OUT = 0.03  # of the crop's edge
_MUCH_SMALLER = 0.8  # edge by the old one
_LARGER = 1.05
_SHIFTED = 0.12  # of the old edge


def replaced(grid: VoxelGrid, crops: Sequence[Crop]) -> VoxelGrid | None:
    """Return a better grid for an object, or None where the present one will do.

    It becomes larger only where masks reach out of it: carving alone leaves more than the object,
    such as a tent below it, and the first grid may know the support.

    Args:
        grid: The present grid.
        crops: Views of the object.
    """
    whole = [crop for crop in crops if crop.whole]
    try:
        found = initial_grid_from_views(
            [crop.view() for crop in whole], max(grid.shape), up=grid.T_world_grid[:3, 2]
        )
    except InputError:
        return None  # too few views, or from one direction
    low, high = _bounds(found, grid)
    if not any(_sticks_out(crop, grid) for crop in whole):
        low, high = np.maximum(low, 0), np.minimum(high, grid.extent_m)
    if (high <= low).any():
        return None
    ratio = float((high - low).max() / grid.extent_m.max())
    shift = float(np.abs((low + high - grid.extent_m) / 2).max() / grid.extent_m.max())
    if _MUCH_SMALLER < ratio < _LARGER and shift < _SHIFTED:
        return None
    voxel_size_m = float((high - low).max()) / max(grid.shape)
    nx, ny, nz = np.maximum(np.ceil((high - low) / voxel_size_m - 1e-6), 1).astype(int).tolist()
    T = make_transform(grid.T_world_grid[:3, :3], apply(grid.T_world_grid, low))
    return VoxelGrid(T, voxel_size_m, (nx, ny, nz))


def _bounds(found: VoxelGrid, grid: VoxelGrid) -> tuple[Array, Array]:
    """Return low and high corner (3,) of a grid in another one's frame."""
    corners = apply(grid.T_grid_world @ found.T_world_grid, _corners(found))
    low: Array = corners.min(0).astype(np.float64)
    high: Array = corners.max(0).astype(np.float64)
    return low, high


def _sticks_out(crop: Crop, grid: VoxelGrid) -> bool:
    """Return whether a mask reaches out of where a grid is seen."""
    T_camera_grid = invert(crop.T_world_camera) @ grid.T_world_grid
    corners = apply(T_camera_grid, _corners(grid))
    if (corners[:, 2] < NEAR_M).any():
        return False
    pixels = crop.camera.project(corners)
    slack = _STICKS_OUT * len(crop.mask)
    x0, y0, x1, y1 = crop.view().box_xyxy
    return bool(
        (pixels.min(0) > np.array([x0, y0]) + slack).any()
        or (pixels.max(0) < np.array([x1, y1]) - slack).any()
    )


def _corners(grid: VoxelGrid) -> NDArray[np.float64]:
    return np.array(list(np.ndindex(2, 2, 2)), np.float64) * grid.extent_m
