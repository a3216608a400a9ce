"""Hard carving voxel by voxel: slow and obvious, for tests and as a peer in benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from recon3d_core.fusion._project import pose_of
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import View


def carve_reference(grid: VoxelGrid, views: Sequence[View]) -> NDArray[np.bool_]:
    """Return the voxels (nx, ny, nz) that lie in the mask of every view that sees them."""
    centers = grid.centers_world_m().reshape(-1, 3).astype(np.float64)
    inside = np.ones(len(centers), bool)
    for view in views:
        camera = view.frame.camera
        points = apply(invert(pose_of(view)), centers)
        for voxel in np.flatnonzero(inside & (points[:, 2] > 0)):
            x, y = np.floor(camera.project(points[voxel]) + 0.5).astype(int)
            if 0 <= x < camera.width and 0 <= y < camera.height:
                inside[voxel] = view.mask[y, x]
    return inside.reshape(grid.shape)
