"""Points drawn evenly over a surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError


def sample_surface(
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    count: int,
    rng: np.random.Generator | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return points of a mesh, evenly over its area, and the normals there.

    Faces are drawn systematically, at equal steps of the area added up, which spreads the points
    better than independent draws; places on a face are uniform.

    Args:
        vertices: (V, 3) in any unit.
        faces: (F, 3) indices.
        count: How many points.
        rng: Source of randomness, the same one each time where None.

    Returns:
        (count, 3) points in the unit of the vertices, and (count, 3) unit normals of their faces.

    Raises:
        InputError: A shape is wrong, or the mesh has no area.
    """
    check_shape('vertices', vertices, ('V', 3))
    check_shape('faces', faces, ('F', 3))
    corners = np.asarray(vertices, np.float64)[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double_areas = np.linalg.norm(cross, axis=1)
    total = np.cumsum(double_areas)
    if not len(faces) or not 0 < total[-1] < np.inf:
        raise InputError('a mesh has no surface to draw from', f'{len(faces)} faces', 'some area')
    rng = np.random.default_rng(0) if rng is None else rng
    steps = (np.arange(count) + rng.random()) / count * total[-1]
    # The last face with an area takes what rounding puts at the end.
    last = np.flatnonzero(double_areas)[-1]
    face = np.minimum(np.searchsorted(total, steps, side='right'), last)
    u, v = rng.random((2, count, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    a, b, c = corners[face].swapaxes(0, 1)
    points = a + u * (b - a) + v * (c - a)
    normals = cross[face] / double_areas[face, None]
    return points.astype(np.float32), normals.astype(np.float32)
