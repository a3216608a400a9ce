"""The map for navigation: what stands between two heights, the unseen part of objects included."""

from __future__ import annotations

from collections.abc import Iterable
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.geometry.transforms import apply, make_transform
from recon3d_core.mapping.options import OccupancyGridOptions
from recon3d_core.types import ObjectEstimate, OccupancyGrid2D

FREE, OCCUPIED, UNKNOWN = 0, 100, -1

_MAX_CELLS = 4000
"""Most cells along one edge; what lies farther out than that from the middle is left out."""

_FLOOR_BIN_M = 0.02
_FLOOR_SAMPLES = 100000
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
    inside = np.concatenate([np.zeros((3, 0), np.float32), *solid], axis=1)
    known = np.concatenate([surface, inside], axis=1)
    if not known.shape[1]:
        return None
    if floor_height_m is None:
        floor_height_m = estimate_floor_height_m((surface if surface.shape[1] else inside)[2])
    cell_m = options.cell_size_m
    low, shape = _extent(known[:2], cell_m)
    index = _cell_index(known[:2], low, cell_m, shape)

    above = known[2] - np.float32(floor_height_m)
    obstacle = (above >= options.min_height_m) & (above <= options.max_height_m)
    floor = np.abs(above[: surface.shape[1]]) < max(options.min_height_m, cell_m)
    # One cell more takes what lies outside.
    cells = np.full(shape[0] * shape[1] + 1, UNKNOWN, np.int8)
    cells[index[: surface.shape[1]][floor]] = FREE
    cells[index[obstacle]] = OCCUPIED
    corner = axes @ np.array([*(low * cell_m), floor_height_m])
    return OccupancyGrid2D(make_transform(axes, corner), cell_m, cells[:-1].reshape(shape))


def estimate_floor_height_m(heights_m: NDArray[np.floating]) -> float:
    """Return the height of the lowest large level among heights (N,) of surface points, N >= 1.

    The lowest points alone would be noise below the floor, and the largest level may be a table.
    """
    heights_m = heights_m[:: len(heights_m) // _FLOOR_SAMPLES + 1]
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


def _local(points_world_m: NDArray[np.floating], axes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the finite points in the level axes, one row (3, N) per coordinate."""
    local = axes.T.astype(np.float32) @ points_world_m.T.astype(np.float32)
    finite = np.isfinite(local[2])
    return local if finite.all() else local[:, finite]


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
    low = np.floor(points_m.min(1).astype(np.float64) / cell_m)
    high = np.floor(points_m.max(1).astype(np.float64) / cell_m)
    if (high - low >= _MAX_CELLS).any():
        middle = np.floor(np.median(points_m, axis=1).astype(np.float64) / cell_m)
        low = np.maximum(low, middle - _MAX_CELLS // 2)
        high = np.minimum(high, middle + _MAX_CELLS // 2 - 1)
    nx, ny = (high - low + 1).astype(int).tolist()
    return low.astype(np.int64), (nx, ny)


def _cell_index(
    points_m: NDArray[np.float32],
    low: NDArray[np.int64],
    cell_m: float,
    shape: tuple[int, int],
) -> NDArray[np.int64]:
    """Return the flat index (N,) of the cells of points (2, N); nx * ny for those outside."""
    x, y = (
        np.floor(row / np.float32(cell_m)).astype(np.int64) - first
        for row, first in zip(points_m, low)
    )
    outside = (x < 0) | (x >= shape[0]) | (y < 0) | (y >= shape[1])
    index: NDArray[np.int64] = x * shape[1] + y
    index[outside] = shape[0] * shape[1]
    return index
