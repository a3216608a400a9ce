"""How much an object's shape still changes with further views: a "good enough" signal."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.grids import VoxelGrid

_FEWER = 1.5  # the shape compared to was made of so many times fewer views


@dataclasses.dataclass(frozen=True)
class _Earlier:
    views: int
    grid: VoxelGrid
    inside: NDArray[np.uint8]  # packed bits


class ShapeProgress:
    """Compares the shapes of an object with earlier ones, of about half as many views.

    The mean of n views differs from what it tends to by about c / n. So if the shape of n views
    differs from that of m < n by d = 1 - IoU, then d = c (1/m - 1/n), and as many views again
    change it by c (1/n - 1/2n) = d * m / (2 (n - m)): the expected change, in [0, 1]. It is
    unknown (None) until two shapes of different numbers of views were seen. Earlier shapes are
    kept at doubling numbers of views, two at most.
    """

    def __init__(self) -> None:
        """Know no shape yet."""
        self._earlier: tuple[_Earlier, ...] = ()

    def note(self, occupancy: NDArray[np.float32], grid: VoxelGrid, views: int) -> float | None:
        """Return the expected change of a shape, and remember the shape.

        Args:
            occupancy: (nx, ny, nz) probabilities.
            grid: Their grid; it may be another than before.
            views: Number of views that made it.
        """
        inside = occupancy > 0.5
        known = [shape for shape in self._earlier if shape.views < views]
        usable = [shape for shape in known if shape.views * _FEWER <= views] or known[:1]
        expected = None
        if usable:
            earlier = usable[-1]
            change = _difference(inside, grid, earlier)
            m, n = earlier.views, views
            expected = float(np.clip(change * m / (2 * (n - m)), 0, 1))
        if not known or views >= 2 * known[-1].views:
            shape = _Earlier(views, grid, np.packbits(inside))
            self._earlier = (*known[-1:], shape)
        return expected


def _difference(inside: NDArray[np.bool_], grid: VoxelGrid, earlier: _Earlier) -> float:
    """Return 1 - IoU of a shape and an earlier one; 0 where both are empty."""
    shape = earlier.grid.shape
    before = np.unpackbits(earlier.inside, count=int(np.prod(shape))).reshape(shape) > 0
    scale = (grid.voxel_size_m / earlier.grid.voxel_size_m) ** 3
    total_before = before.sum() / scale
    if grid is not earlier.grid:
        before = _looked_up(before, earlier.grid, grid)
    common = float((before & inside).sum())
    # What was outside of the present grid counts too.
    union = float(inside.sum()) + max(float(total_before), float(before.sum())) - common
    return 1 - common / union if union else 0.0


def _looked_up(
    values: NDArray[np.bool_], held_on: VoxelGrid, grid: VoxelGrid
) -> NDArray[np.bool_]:
    """Return a grid's values at the voxel centres (nx, ny, nz) of another; False outside."""
    T_held_grid = held_on.T_grid_world @ grid.T_world_grid / held_on.voxel_size_m
    inside = np.ones(grid.shape, bool)
    flat = np.zeros(grid.shape, np.intp)
    for axis, size in enumerate(held_on.shape):
        # A place is a sum of what each of its three indices adds: no points have to be made.
        x, y, z = (
            T_held_grid[axis, k] * grid.voxel_size_m * (np.arange(n) + 0.5)
            for k, n in enumerate(grid.shape)
        )
        plane = (x[:, None] + y + T_held_grid[axis, 3]).astype(np.float32)
        place = np.floor(plane[:, :, None] + z.astype(np.float32)).astype(np.int32)
        inside &= (place >= 0) & (place < size)
        flat *= size
        flat += np.clip(place, 0, size - 1)
    inside &= values.ravel().take(flat)
    return inside
