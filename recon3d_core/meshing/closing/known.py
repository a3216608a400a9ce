"""What is known of an object's voxels, on an upright grid cropped to the object."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, Array, frame_from_normal
from recon3d_core.meshing.closing.envelope import without_lip
from recon3d_core.meshing.closing.filters import box_of, dilated, slices
from recon3d_core.types import Plane, Shape
from scipy import ndimage

MAX_TILT_RAD = 0.03
MARGIN_VOXELS = 3
GAP_VOXELS = 1
HOVERS_VOXELS = 3
AROUND = np.ones((3, 3, 3), bool)


@dataclasses.dataclass(frozen=True)
class Known:
    """Evidence on an upright grid: its z axis points away from the support.

    Attributes:
        grid: Place and resolution.
        sdf_m: (nx, ny, nz) float32, measured where `near`.
        near: (nx, ny, nz) bool, voxels whose signed distance was measured.
        inside: (nx, ny, nz) bool, measured to be inside.
        free: (nx, ny, nz) bool, seen to be empty.
        height_m: (nx, ny, nz) float32 above the support, or None where it stands on none.
        lowest: Lowest level of the object.
        shape: The evidence as it was given, on the same grid.
    """

    grid: VoxelGrid
    sdf_m: NDArray[np.float32]
    near: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    free: NDArray[np.bool_]
    height_m: NDArray[np.float32] | None
    lowest: int
    shape: Shape

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """Voxels (nx, ny, nz) of which nothing is known."""
        return ~(self.inside | self.free)


def gather_known(shape: Shape, support: Plane | None) -> Known | None:
    """Return the evidence on an upright grid around the object; None where there is none.

    Args:
        shape: What was fused; it has `sdf_m` and `observed`.
        support: Plane that the object stands on, or None: then the grid's z axis is up.
    """
    if support is not None and _tilt_rad(shape.grid, support) > MAX_TILT_RAD:
        shape = resampled(shape, frame_from_normal(support.normal_world))
    assert shape.sdf_m is not None
    assert shape.observed is not None
    inside = shape.observed & (shape.sdf_m <= 0)
    box = box_of(inside)
    if box is None:
        return None
    inside = inside[slices(box)]
    grid = shape.grid.padded(-box[0], box[1] - shape.grid.shape)
    if support is not None and not _reaches(grid, inside, support):
        support = None
    level = None
    if support is not None:
        # At and below the support, masks leak and the bands behind two surfaces touch.
        height = heights_m(grid, support)
        level = _level(heights_m(shape.grid, support)) - int(box[0][2])
        inside = without_lip(inside & (height > 0), level)
        if not inside.any():
            return None
    shape, inside = _cropped(shape, largest_part(inside, level), box[0], support)
    assert shape.sdf_m is not None
    assert shape.observed is not None
    grid = shape.grid
    above = None if support is None else heights_m(grid, support)
    if above is not None:
        lowest = _level(above)
    else:
        # No support cuts what reaches below the lowest surface that was seen.
        skin = inside & (shape.sdf_m > -grid.voxel_size_m)
        levels = np.nonzero(skin if skin.any() else inside)[2]
        lowest = int(np.quantile(levels, 0.02))
        inside[:, :, :lowest] = False
    near = shape.observed & (inside | (shape.sdf_m > 0))
    free = near & (shape.sdf_m > 0)
    if shape.free is not None:
        free |= shape.free
    if above is not None:
        free |= above < -0.5 * grid.voxel_size_m
    return Known(grid, shape.sdf_m, near, inside, free & ~inside, above, lowest, shape)


def _level(height_m: NDArray[np.float32]) -> int:
    """Return the lowest level of a grid that is above the support."""
    return int((height_m.mean((0, 1)) > 0).argmax())


def _tilt_rad(grid: VoxelGrid, support: Plane) -> float:
    return float(np.arccos(np.clip(grid.T_world_grid[:3, 2] @ support.normal_world, -1, 1)))


def largest_part(solid: NDArray[np.bool_], floor: int | None = None) -> NDArray[np.bool_]:
    """Return the largest part of a solid.

    Parts with a narrow gap in between count as one: a thin handle may have lost a piece. What is
    farther away came with a mask that held two things.

    Args:
        solid: (nx, ny, nz), z up.
        floor: Level of the support. Where the largest part hovers above it, what stands below
            that part belongs to it: the foot of a lamp whose shade hides the upper stem.
    """
    box = box_of(solid)
    if box is None:
        return solid
    part = slices(box)
    labels, count = ndimage.label(dilated(solid[part], GAP_VOXELS))
    if count <= 1:
        return solid
    labels[~solid[part]] = 0
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    chosen = np.arange(len(sizes)) == sizes.argmax()
    if floor is not None:
        chosen |= _feet(labels, sizes, floor - int(box[0][2]))
    kept = np.zeros_like(solid)
    kept[part] = chosen[labels]
    return kept


def _feet(
    labels: NDArray[np.integer], sizes: NDArray[np.integer], floor: int
) -> NDArray[np.bool_]:
    """Return which parts (n,) stand on the floor with their middle below the hovering largest."""
    feet = np.zeros(len(sizes), bool)
    places = ndimage.find_objects(labels)
    largest = places[int(sizes.argmax()) - 1]
    if largest[2].start <= floor + HOVERS_VOXELS:
        return feet
    for index, place in enumerate(places, 1):
        if place is None or sizes[index] < 0.05 * sizes.max():
            continue
        middle = [(axis.start + axis.stop) / 2 for axis in place[:2]]
        below = all(axis.start < m < axis.stop for axis, m in zip(largest[:2], middle))
        feet[index] = below and place[2].start <= floor + HOVERS_VOXELS
    return feet


def without_crumbs(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a solid without its loose parts of less than a twentieth of the largest."""
    box = box_of(solid)
    if box is None:
        return solid
    labels, count = ndimage.label(solid[slices(box)], AROUND)
    if count <= 1:
        return solid
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = solid.copy()
    kept[slices(box)] &= (sizes >= 0.05 * sizes.max())[labels]
    return kept


def without_cavities(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a solid with the hollows filled that have no way out of the grid."""
    box = box_of(solid)
    if box is None:
        return solid
    labels, count = ndimage.label(np.pad(~solid[slices(box)], 1, constant_values=True))
    if count <= 1:
        return solid
    filled = solid.copy()
    filled[slices(box)] = labels[1:-1, 1:-1, 1:-1] != labels[0, 0, 0]
    return filled


def heights_m(grid: VoxelGrid, support: Plane) -> NDArray[np.float32]:
    """Return how high each voxel's centre (nx, ny, nz) is above a plane."""
    slope = support.normal_world @ grid.T_world_grid[:3, :3] * grid.voxel_size_m
    start = support.normal_world @ grid.T_world_grid[:3, 3] + support.offset_m
    x, y, z = (slope[k] * (np.arange(n) + 0.5) for k, n in enumerate(grid.shape))
    flat = (x[:, None] + y[None, :] + start).astype(np.float32)
    heights: NDArray[np.float32] = flat[:, :, None] + z.astype(np.float32)
    return heights


def _reaches(grid: VoxelGrid, inside: NDArray[np.bool_], support: Plane) -> bool:
    """Return whether the object stands on the plane, rather than on something that does."""
    low, high = np.quantile(heights_m(grid, support)[inside], [0.01, 0.99])
    return bool(high > 0 and low < (high - low) + 2 * grid.voxel_size_m)


def _cropped(
    shape: Shape, inside: NDArray[np.bool_], start: NDArray[np.int64], support: Plane | None
) -> tuple[Shape, NDArray[np.bool_]]:
    """Cut or pad to the box of the inside voxels, down to the support, and a margin.

    Args:
        shape: What was fused.
        inside: Part of its grid that holds all inside voxels, at least one.
        start: (3,) where that part begins.
        support: Plane that the object stands on, or None.
    """
    box = box_of(inside)
    assert box is not None
    low, high = start + box[0] - MARGIN_VOXELS, start + box[1] + MARGIN_VOXELS
    # The unseen half of what is seen from one side may be as large as the seen one.
    reach = (high[:2] - low[:2]).max()
    grow = np.maximum(reach - (high[:2] - low[:2]), 0)
    low[:2], high[:2] = low[:2] - grow, high[:2] + grow
    if support is not None:
        grid = shape.grid.padded(-start, start + inside.shape - shape.grid.shape)
        lowest = float(heights_m(grid, support)[inside].min())
        low[2] -= max(0, int(np.ceil(lowest / shape.grid.voxel_size_m)))
    grid = shape.grid.padded(-low, high - np.array(shape.grid.shape))

    def cut(values: Any, fill: float = 0) -> Any:
        return None if values is None else _window(values, low, high, fill)

    cropped = dataclasses.replace(
        shape,
        grid=grid,
        occupancy=cut(shape.occupancy, 0.5),
        sdf_m=cut(shape.sdf_m),
        observed=cut(shape.observed),
        free=cut(shape.free),
        colors=cut(shape.colors),
    )
    return cropped, _window(inside, low - start, high - start, 0)


def _window(
    values: NDArray[Any], low: NDArray[np.int64], high: NDArray[np.int64], fill: float
) -> NDArray[Any]:
    """Return `values[low:high]`, with a fill value beyond the array's ends."""
    size = np.array(values.shape[:3])
    result = np.full((*(high - low), *values.shape[3:]), fill, values.dtype)
    start, stop = np.clip(low, 0, size), np.clip(high, 0, size)
    inner = tuple(slice(a, b) for a, b in zip(start - low, stop - low))
    result[inner] = values[tuple(slice(a, b) for a, b in zip(start, stop))]
    return result


def resampled(shape: Shape, rotation: Array) -> Shape:
    """Return a shape on a grid with other axes that holds all that was observed.

    Args:
        shape: What was fused; it has `sdf_m` and `observed`.
        rotation: (3, 3) axes of the new grid in the world.
    """
    assert shape.sdf_m is not None
    assert shape.observed is not None
    voxel = shape.grid.voxel_size_m
    index = np.argwhere(shape.observed)
    if not len(index):
        return shape
    local = apply(shape.grid.T_world_grid, (index + 0.5) * voxel) @ rotation
    low, high = local.min(0) - 2 * voxel, local.max(0) + 2 * voxel
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = rotation @ low
    nx, ny, nz = np.ceil((high - low) / voxel).astype(int).tolist()
    grid = VoxelGrid(T, voxel, (nx, ny, nz))
    places = apply(shape.grid.T_grid_world, grid.centers_world_m()) / np.float32(voxel)
    places = np.moveaxis(places - np.float32(0.5), -1, 0)

    def linear(values: NDArray[Any]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = ndimage.map_coordinates(
            values.astype(np.float32), places, order=1, cval=0
        )
        return result

    share = linear(shape.observed)
    sdf = linear(np.where(shape.observed, shape.sdf_m, 0)) / np.maximum(share, 0.25)
    nearest = np.rint(places).astype(int)
    size = np.array(shape.grid.shape).reshape(3, 1, 1, 1)
    outside = ((nearest < 0) | (nearest >= size)).any(0)
    key = tuple(np.clip(nearest, 0, size - 1))
    colors = None if shape.colors is None else shape.colors[key]
    return dataclasses.replace(
        shape,
        grid=grid,
        occupancy=np.where(outside, 0.5, shape.occupancy[key]).astype(np.float32),
        sdf_m=sdf.astype(np.float32),
        observed=share > 0.5,
        free=None if shape.free is None else shape.free[key] & ~outside,
        colors=colors,
    )
