"""The true solid in a cube that was placed from what was seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.ground_truth import occupancy
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.errors import InputError
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply

_MOST = 5  # edges of the cube that are filled at once; memory grows with the third power


def true_occupancy(
    vertices_world_m: NDArray[np.float32], faces: NDArray[np.int32], cube: VoxelGrid
) -> tuple[NDArray[np.bool_], int]:
    """Return which voxels of a cube an object fills, and how many it fills beyond the cube.

    Args:
        vertices_world_m: (V, 3).
        faces: (F, 3).
        cube: The cube; it need not hold all of the object.

    Returns:
        (N, N, N), and the number of voxels of that size outside.

    Raises:
        InputError: The object is so much larger that the cube shows hardly anything of it.
    """
    N = cube.shape[0]
    places = apply(cube.T_grid_world, vertices_world_m.astype(np.float64)) / cube.voxel_size_m
    # The truth is known of whole objects only: of a larger cube with the same voxels.
    beyond = max(float(-places.min()), float(places.max()) - N, 0.0)
    pad = int(np.ceil(beyond)) + 1
    whole = N + 2 * pad
    if whole > _MOST * N:
        raise InputError('edge of what holds an object', whole / N, f'at most {_MOST} cubes')
    local = ((places + pad) / whole - 0.5).astype(np.float32)
    filled = occupancy(ObjectMesh(local, faces), whole)
    inner = filled[pad : pad + N, pad : pad + N, pad : pad + N]
    return inner.copy(), int(filled.sum() - inner.sum())
