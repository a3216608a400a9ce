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
_MARGIN = 0.1  # of the solid's longest extent
_MUCH_SMALLER = 0.8  # edge by the old one


def replaced(
    grid: VoxelGrid, crops: Sequence[Crop], inside: NDArray[np.bool_]
) -> VoxelGrid | None:
    """Return a better grid for an object, or None where the present one will do.

    It becomes larger where masks reach out of it: then it holds what their cones have in common.
    It becomes smaller where the solid found so far fills little of it, and the masks too fit in
    the smaller one: cones alone leave a tent above and below what a ring of cameras sees.

    Args:
        grid: The present grid.
        crops: Views of the object.
        inside: (nx, ny, nz) the solid found so far.
    """
    whole = [crop for crop in crops if crop.whole]
    if any(_sticks_out(crop, grid) for crop in whole):
        return _around_cones(grid, whole)
    if not inside.any():
        return None
    index = np.argwhere(inside)
    low, high = index.min(0) * grid.voxel_size_m, (index.max(0) + 1) * grid.voxel_size_m
    margin_m = _MARGIN * float((high - low).max())
    low, high = np.maximum(low - margin_m, 0), np.minimum(high + margin_m, grid.extent_m)
    if (high - low).max() > _MUCH_SMALLER * grid.extent_m.max():
        return None
    found = _between(grid, low, high)
    return None if any(_sticks_out(crop, found) for crop in whole) else found


def _around_cones(grid: VoxelGrid, crops: Sequence[Crop]) -> VoxelGrid | None:
    up = grid.T_world_grid[:3, 2]
    try:
        found = initial_grid_from_views([crop.view() for crop in crops], max(grid.shape), up=up)
    except InputError:
        return None  # too few views, or from one direction
    return _between(grid, *_bounds(found, grid))


def _between(grid: VoxelGrid, low: Array, high: Array) -> VoxelGrid:
    """Return a grid between two corners (3,), in a grid's frame, of as many voxels."""
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
