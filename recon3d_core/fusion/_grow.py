"""How far a grid must grow to hold what a view shows of its object."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.fusion._evidence import depth_of
from recon3d_core.fusion._project import pose_of
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import View

STEP_VOXELS = 4
MAX_POINTS = 4000
OUTLIERS = 0.02


def growth(
    grid: VoxelGrid, view: View, max_voxels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many voxels (3,) to add at the low and the high sides of a grid.

    A fringe of mask and depth errors is ignored: the mask's border, the farthest two per cent
    on each side, and whatever is farther from the grid than the grid is large.

    Args:
        grid: The object's grid.
        view: A view with depth, mask and pose.
        max_voxels: Bound of the voxels per axis.
    """
    none = np.zeros(3, np.int64)
    points = _points_grid_m(grid, view)
    reach = grid.extent_m
    points = points[((points > -reach) & (points < 2 * reach)).all(1)]
    if len(points) < 50:
        return none, none
    low, high = np.quantile(points, [OUTLIERS, 1 - OUTLIERS], axis=0) / grid.voxel_size_m
    margin = 2
    need_low = np.maximum(np.ceil(margin - low), 0) * (low < 0)
    need_high = np.maximum(np.ceil(high + margin - np.array(grid.shape)), 0)
    need_high *= high > np.array(grid.shape)
    need = np.ceil(np.stack([need_low, need_high]) / STEP_VOXELS).astype(np.int64) * STEP_VOXELS
    room = np.maximum(max_voxels - np.array(grid.shape), 0)
    need[0] = np.minimum(need[0], room)
    need[1] = np.minimum(need[1], room - need[0])
    return need[0], need[1]


def _points_grid_m(grid: VoxelGrid, view: View) -> NDArray[np.float64]:
    """Return a bounded sample (n, 3) of the mask's points in the grid's frame."""
    x0, y0, x1, y1 = view.box_xyxy
    part = (slice(max(y0, 0), y1 + 1), slice(max(x0, 0), x1 + 1))
    mask = cv2.erode(view.mask[part].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    depth = depth_of(view)[part]
    rows, columns = np.nonzero(mask & (depth > 0) & np.isfinite(depth))
    step = max(1, -(-len(rows) // MAX_POINTS))
    rows, columns = rows[::step], columns[::step]
    pixels = np.stack([columns + part[1].start, rows + part[0].start], -1).astype(np.float64)
    points = view.frame.camera.unproject(pixels, depth[rows, columns])
    T_grid_camera = invert(grid.T_world_grid) @ pose_of(view)
    grid_points: NDArray[np.float64] = apply(T_grid_camera, points).astype(np.float64)
    return grid_points
