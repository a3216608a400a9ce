"""Which part of a solid was seen, and in which colours."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.fusion._crops import Crop, SOLID
from recon3d_core.fusion._outlines import SKIN_VOXELS
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply
from scipy import ndimage

_ONLY_OBJECT = 250  # coverage of a pixel whose colour is the object's alone


def seen_and_colors(
    solid: NDArray[np.bool_], grid: VoxelGrid, crops: Sequence[Crop]
) -> tuple[NDArray[np.bool_], NDArray[np.uint8] | None]:
    """Return what some camera saw of a solid: in its mask, with nothing before it.

    Args:
        solid: (nx, ny, nz) voxels inside.
        grid: Their grid.
        crops: Views of it.

    Returns:
        Which voxels (nx, ny, nz) were seen, and their mean colours (nx, ny, nz, 3), 0 where there
        is none; the voxels right outside the surface have a colour too. None without any.
    """
    near = np.asarray(ndimage.binary_dilation(solid))
    index = np.argwhere(near)
    points = apply(grid.T_world_grid, (index + 0.5) * grid.voxel_size_m).astype(np.float64)
    inside = solid[near]
    seen = np.zeros(len(points), bool)
    color, weight = np.zeros((len(points), 3)), np.zeros(len(points))
    for crop in crops:
        outline, step = crop.outline(grid)
        cell, depth = outline.cells(points)
        nearest = np.full(outline.mask.size + 1, np.inf)
        np.minimum.at(nearest, cell[inside], depth[inside])
        front = depth < nearest[cell] + SKIN_VOXELS * grid.voxel_size_m
        coverage = np.append(crop.mask[::step, ::step].ravel(), 0)[cell]
        seen |= front & (coverage >= SOLID)
        smooth = cv2.blur(crop.image, (step, step))[::step, ::step].reshape(-1, 3)
        sharp = np.flatnonzero(front & (coverage >= _ONLY_OBJECT))
        color[sharp] += smooth[cell[sharp]]
        weight[sharp] += 1
    observed = np.zeros(solid.shape, bool)
    observed[near] = seen & inside
    if not weight.any():
        return observed, None
    colors = np.zeros((*solid.shape, 3), np.uint8)
    painted = weight > 0
    mean = color[painted] / weight[painted, None]
    colors[tuple(index[painted].T)] = np.clip(mean + 0.5, 1, 255)  # 0 means that there is none
    return observed, colors
