"""What outlines tell beyond carving: where top and bottom are, and which surface was seen.

Cameras in a ring leave a tent on top of what they carve, and one below: no outline runs there.
Where the sides run up to the tent without closing in, as those of boxes and cans, the lowest level
end that still fills all masks is taken instead. Where they close in, as those of a ball, the tent is
near the truth and stays.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.fusion._project import NEAR_M, Window
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, Array, invert
from recon3d_core.types import View

MAX_OUTLINES = 16
CELL_VOXELS = 1.5
SKIN_VOXELS = 1.5
NEAR_END = 0.3  # of the height: so far from an end its sides are looked at
CLOSING_IN = 0.86  # of the section that is left there, below which the sides close in


@dataclasses.dataclass(frozen=True)
class Outline:
    """A mask at about the voxels' resolution, and the camera that saw it.

    Attributes:
        mask: (h, w) bool, one cell for some pixels.
        camera: Intrinsics in cells.
        T_world_camera: (4, 4) its pose.
    """

    mask: NDArray[np.bool_]
    camera: Camera
    T_world_camera: Array

    def cells(self, points_world_m: Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the flat cell (n,) of points (n, 3), one past the last outside; and depths."""
        local = apply(invert(self.T_world_camera), points_world_m)
        before = local[:, 2] > NEAR_M
        local[~before] = 0, 0, 1
        x, y = np.rint(self.camera.project(local)).astype(np.int64).T
        height, width = self.mask.shape
        inside = before & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        cell = np.where(inside, y * width + x, height * width).astype(np.int64)
        return cell, local[:, 2].astype(np.float64)


def outline_of(view: View, window: Window, grid: VoxelGrid, T_world_camera: Array) -> Outline:
    """Return the coarse mask of a view in the window where its grid is seen."""
    camera = view.frame.camera
    middle = apply(grid.T_world_grid, grid.extent_m / 2)
    distance_m = max(float(np.linalg.norm(middle - T_world_camera[:3, 3])), NEAR_M)
    step = max(1, round(CELL_VOXELS * grid.voxel_size_m * camera.fx / distance_m))
    (height, width), x0, y0 = window.shape, window.columns.start, window.rows.start
    return Outline(
        view.mask[window.rows, window.columns][::step, ::step].copy(),
        camera.cropped(x0, y0, width, height).subsampled(step),
        T_world_camera,
    )


def keep(outlines: tuple[Outline, ...], new: Outline, grid: VoxelGrid) -> tuple[Outline, ...]:
    """Return the outlines with one more; of too many, the older of the two most alike goes."""
    outlines = (*outlines, new)
    if len(outlines) <= MAX_OUTLINES:
        return outlines
    middle = apply(grid.T_world_grid, grid.extent_m / 2)
    offsets = np.array([outline.T_world_camera[:3, 3] - middle for outline in outlines])
    directions = offsets / np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-9)
    alike = np.triu(directions @ directions.T, 1) + np.tril(np.full((len(outlines),) * 2, -2.0))
    older = int(alike.argmax()) // len(outlines)
    return outlines[:older] + outlines[older + 1 :]


def level_ends(
    inside: NDArray[np.bool_], grid: VoxelGrid, outlines: tuple[Outline, ...], max_lost: float
) -> tuple[int, int]:
    """Return the levels between which the inside voxels still fill the masks.

    Args:
        inside: (nx, ny, nz) carved solid.
        grid: Its grid, z up.
        outlines: Masks that it was carved with.
        max_lost: Part of the filled cells that may become empty at either end.

    Returns:
        The lowest level, and one past the highest; all levels where there is nothing to go by.
    """
    levels = inside.shape[2]
    lowest_in_cell, highest_in_cell = np.zeros(levels, np.int64), np.zeros(levels, np.int64)
    points, level = _centers(inside, grid)
    for outline in outlines:
        cell, _ = outline.cells(points)
        low = np.full(outline.mask.size + 1, levels)
        high = np.full(outline.mask.size + 1, -1)
        np.minimum.at(low, cell, level)
        np.maximum.at(high, cell, level)
        filled = outline.mask.ravel() & (high[:-1] >= 0)
        lowest_in_cell += np.bincount(low[:-1][filled], minlength=levels)
        highest_in_cell += np.bincount(high[:-1][filled], minlength=levels)
    cells = int(lowest_in_cell.sum())
    if not cells:
        return 0, levels
    # A cell is lost when all of its voxels are above the top, or below the bottom.
    lost_above = cells - np.cumsum(lowest_in_cell)
    lost_below = np.cumsum(highest_in_cell) - highest_in_cell
    top = int(np.flatnonzero(lost_above <= max_lost * cells)[0]) + 1
    bottom = int(np.flatnonzero(lost_below <= max_lost * cells)[-1])
    if bottom >= top:
        return 0, levels
    section = inside.sum((0, 1))
    back = max(2, round(NEAR_END * (top - bottom)))
    if section[top - 1] < CLOSING_IN * section[max(top - 1 - back, bottom)]:
        top = levels
    if section[bottom] < CLOSING_IN * section[min(bottom + back, top - 1)]:
        bottom = 0
    return bottom, top


def seen_voxels(
    solid: NDArray[np.bool_], grid: VoxelGrid, outlines: tuple[Outline, ...]
) -> NDArray[np.bool_]:
    """Return the voxels (nx, ny, nz) of a solid that some camera saw: in its mask, in front.

    Args:
        solid: (nx, ny, nz).
        grid: Its grid.
        outlines: Masks of it.
    """
    points, _ = _centers(solid, grid)
    seen = np.zeros(len(points), bool)
    for outline in outlines:
        cell, depth = outline.cells(points)
        nearest = np.full(outline.mask.size + 1, np.inf)
        np.minimum.at(nearest, cell, depth)
        in_mask = np.append(outline.mask.ravel(), False)[cell]
        seen |= in_mask & (depth < nearest[cell] + SKIN_VOXELS * grid.voxel_size_m)
    result = np.zeros_like(solid)
    result[solid] = seen
    return result


def _centers(inside: NDArray[np.bool_], grid: VoxelGrid) -> tuple[Array, NDArray[np.int64]]:
    """Return the centres (n, 3) of the voxels inside, in the world, and their levels (n,)."""
    index = np.argwhere(inside)
    points = apply(grid.T_world_grid, (index + 0.5) * grid.voxel_size_m)
    return points.astype(np.float64), index[:, 2].astype(np.int64)
