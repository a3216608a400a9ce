"""From occupancy probabilities of an object's cube to its closed surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_finite, check_shape
from recon3d_core.errors import InputError
from skimage import measure

# Least distance of values from the threshold, relative to it or to what is above it. A value at the
# threshold would make faces without area; values that lie symmetrically about it leave open how
# diagonal neighbours join, and edges get four faces: so the level is a little below.
CLEARANCE = 1e-3


def isosurface(
    probabilities: NDArray[np.floating], threshold: float = 0.5
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the surface where the probability passes a threshold, closed at the cube's border.

    Marching cubes (Lorensen and Cline 1987, in the topology of Lewiner et al. 2003) between the
    voxels' centres. What is outside the cube counts as empty; a voxel at the border that is surely
    full may so reach beyond the cube, by at most half a voxel.

    Args:
        probabilities: (N, N, N) in [0, 1], indexed [x, y, z].
        threshold: Voxels count as inside from here on, in (0, 1).

    Returns:
        Vertices (V, 3) in the cube, [-0.5, 0.5]^3, and faces (F, 3) that turn counter-clockwise
        seen from outside; both empty where nothing is inside.

    Raises:
        InputError: The shape is another, values are not finite, or the threshold is out of range.
    """
    values = np.asarray(probabilities)
    check_shape('probabilities', values, ('N', 'N', 'N'))
    check_finite('probabilities', values)
    if not 0 < threshold < 1:
        raise InputError('threshold', threshold, 'a number between 0 and 1')
    inside = values >= threshold
    if not inside.any():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    gap = CLEARANCE * min(threshold, 1 - threshold)
    values = np.where(inside, np.maximum(values, threshold + gap), values)
    values = np.where(inside, values, np.minimum(values, threshold - gap))
    vertices, faces, _, _ = measure.marching_cubes(  # type: ignore[no-untyped-call]
        np.pad(values, 1).astype(np.float32), threshold - gap / 10, gradient_direction='ascent'
    )
    cube = (vertices.astype(np.float64) - 0.5) / len(values) - 0.5
    return cube.astype(np.float32), np.ascontiguousarray(faces, np.int32)
