"""The map for navigation: what stands between two heights, the unseen part of objects included."""

from __future__ import annotations

from collections.abc import Iterable
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.geometry.transforms import apply, make_transform
from recon3d_core.scene.options import OccupancyGridOptions
from recon3d_core.types import ObjectEstimate, OccupancyGrid2D

FREE, OCCUPIED, UNKNOWN = 0, 100, -1

_MAX_CELLS = 4000
"""Most cells along one edge; what lies farther out than that from the middle is left out."""

_FLOOR_BIN_M = 0.02
# A level counts as floor where its area is this part of the largest level's.
_FLOOR_SHARE = 0.2
_INSIDE = 0.5


def build_occupancy_grid(
    points_world_m: NDArray[np.floating],
    objects: Iterable[ObjectEstimate],
    up_world: ArrayLike,
    options: OccupancyGridOptions,
    floor_height_m: float | None = None,
) -> OccupancyGrid2D | None:
    """Return the map of a scene, or None where nothing is known.

    A cell is occupied where a surface point or an object's volume lies between the two heights;
    free where floor was seen and nothing above it; unknown elsewhere.

    Args:
        points_world_m: (N, 3) points of the scene's surface, about evenly spread.
        objects: Objects whose volumes count, their unseen part included.
        up_world: (3,) direction away from the floor.
        options: Cell size and the heights above the floor.
        floor_height_m: Height of the floor along `up_world`; found where None.
    """
    axes = _level_axes(up_world)
    surface = _local(points_world_m, axes)
    solid = [_local(_volume_points_world_m(each, options.cell_size_m), axes) for each in objects]
    inside = np.concatenate(solid) if solid else np.zeros((0, 3), np.float32)
    if not len(surface) and not len(inside):
        return None
    if floor_height_m is None:
        heights = surface[:, 2] if len(surface) else inside[:, 2]
        floor_height_m = estimate_floor_height_m(heights)
    low, shape = _extent(np.concatenate([surface, inside])[:, :2], options.cell_size_m)

    above = surface[:, 2] - floor_height_m
    obstacle = (above >= options.min_height_m) & (above <= options.max_height_m)
    floor = np.abs(above) < max(options.min_height_m, options.cell_size_m)
    height = inside[:, 2] - floor_height_m
    solid_obstacle = (height >= options.min_height_m) & (height <= options.max_height_m)
    cells = np.full(shape, UNKNOWN, np.int8)
    cell_m = options.cell_size_m
    cells[_hit(surface[floor], low, cell_m, shape)] = FREE
    cells[_hit(surface[obstacle], low, cell_m, shape)] = OCCUPIED
    cells[_hit(inside[solid_obstacle], low, cell_m, shape)] = OCCUPIED
    corner = axes @ np.array([*(low * cell_m), floor_height_m])
    return OccupancyGrid2D(make_transform(axes, corner), cell_m, cells)


def estimate_floor_height_m(heights_m: NDArray[np.floating]) -> float:
    """Return the height of the lowest large level among heights (N,) of surface points, N >= 1.

    The lowest points alone would be noise below the floor, and the largest level may be a table.
    """
    lowest = float(heights_m.min())
    # Odd points far above do not matter; they share the last bin.
    bins = np.minimum((heights_m - lowest) / _FLOOR_BIN_M, 100000).astype(np.int64)
    counts = np.bincount(bins)
    smooth = np.convolve(counts, (1, 1, 1), 'same')
    level = int(np.argmax(smooth >= _FLOOR_SHARE * smooth.max()))
    while level + 1 < len(smooth) and smooth[level + 1] > smooth[level]:
        level += 1
    return float(np.median(heights_m[np.abs(bins - level) <= 1]))


def _level_axes(up_world: ArrayLike) -> NDArray[np.float64]:
    """Return axes (3, 3) with z up and x as near to the world's x as can be."""
    up = np.asarray(up_world, np.float64)
    up = up / np.linalg.norm(up)
    forward = np.eye(3)[0 if abs(up[0]) < 0.9 else 1]
    x = forward - (forward @ up) * up
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(up, x), up], 1)


def _local(
    points_world_m: NDArray[np.floating], axes: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the finite points (N, 3) in the level axes."""
    local = points_world_m.astype(np.float32, copy=False) @ axes.astype(np.float32)
    finite = np.isfinite(local[:, 2])
    return local if finite.all() else local[finite]


def _volume_points_world_m(item: ObjectEstimate, cell_size_m: float) -> NDArray[np.floating]:
    """Return points in an object's volume, closer to each other than the cells."""
    grid = item.shape.grid
    index = np.argwhere(item.shape.occupancy > _INSIDE)
    if not len(index):
        return item.mesh.vertices_m
    parts = max(1, math.ceil(grid.voxel_size_m / cell_size_m))
    offsets = (np.stack(np.meshgrid(*[np.arange(parts)] * 3), -1).reshape(-1, 3) + 0.5) / parts
    corners = (index[:, None] + offsets).reshape(-1, 3)
    return apply(grid.T_world_grid, corners * grid.voxel_size_m)


def _extent(
    points_m: NDArray[np.float32], cell_m: float
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return the first cell (2,), counted from the world's origin, and the number of cells."""
    low = np.floor(points_m.min(0).astype(np.float64) / cell_m)
    high = np.floor(points_m.max(0).astype(np.float64) / cell_m)
    if (high - low >= _MAX_CELLS).any():
        middle = np.floor(np.median(points_m, axis=0).astype(np.float64) / cell_m)
        low = np.maximum(low, middle - _MAX_CELLS // 2)
        high = np.minimum(high, middle + _MAX_CELLS // 2 - 1)
    nx, ny = (high - low + 1).astype(int).tolist()
    return low.astype(np.int64), (nx, ny)


def _hit(
    points_m: NDArray[np.float32],
    low: NDArray[np.int64],
    cell_m: float,
    shape: tuple[int, int],
) -> NDArray[np.bool_]:
    """Return which cells (nx, ny) hold a point."""
    index = np.floor(points_m[:, :2] / np.float32(cell_m)).astype(np.int64) - low
    kept = ((index >= 0) & (index < shape)).all(1)
    flat = index[kept, 0] * shape[1] + index[kept, 1]
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape) > 0
