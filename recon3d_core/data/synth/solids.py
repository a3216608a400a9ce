"""Closed triangle meshes of simple solids, watertight by construction; metres, z up.

Faces turn counter-clockwise seen from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.types import Mesh
from skimage import measure

Array = NDArray[np.float64]
Field = Callable[[Array, Array, Array], Array]


def loft(rings_m: ArrayLike, closed: bool = False) -> Mesh:
    """Join rings of points to a surface.

    Args:
        rings_m: (M, K, 3) rings, each counter-clockwise seen from the last ring's side; a ring
            whose points are all equal becomes one vertex.
        closed: Join the last ring to the first one; otherwise both ends are capped by fans, for
            which the end rings must be star-shaped around their centre.
    """
    rings = np.asarray(rings_m, np.float64)
    if not closed:
        # A cap is a ring whose points are all the end's centre; an end that is a point has one.
        caps = [np.broadcast_to(end.mean(0), end.shape) for end in (rings[0], rings[-1])]
        low, high = (int(np.ptp(rings[end], axis=0).max() > 0) for end in (0, -1))
        rings = np.stack([*caps[:1] * low, *rings, *caps[1:] * high])
    count, sides = rings.shape[:2]
    index = np.zeros((count, sides), np.int64)
    vertices: list[Array] = []
    start = 0
    for row, ring in enumerate(rings):
        point = np.ptp(ring, axis=0).max() == 0
        vertices.append(ring[:1] if point else ring)
        index[row] = start if point else np.arange(start, start + sides)
        start += len(vertices[-1])
    a = index if closed else index[:-1]
    b = np.roll(index, -1, 0) if closed else index[1:]
    a_next, b_next = np.roll(a, -1, 1), np.roll(b, -1, 1)
    faces = np.concatenate(
        [
            np.stack([a, a_next, b_next], -1).reshape(-1, 3),
            np.stack([a, b_next, b], -1).reshape(-1, 3),
        ]
    )
    corners = np.sort(faces, 1)
    faces = faces[(np.diff(corners, axis=1) > 0).all(1)]
    return Mesh(np.concatenate(vertices).astype(np.float32), faces.astype(np.int32))


def revolve(profile_m: ArrayLike, segments: int = 96, closed: bool = False) -> Mesh:
    """Turn a profile around the z axis.

    Args:
        profile_m: (N, 2) radius and height, from the bottom over the outside to the top; where
            the first or last radius is 0 the solid ends in a point of the axis.
        segments: Sides of the circle.
        closed: The profile is a loop that does not touch the axis, as a torus has.
    """
    profile = np.asarray(profile_m, np.float64)
    angle = np.arange(segments) * (2 * np.pi / segments)
    radius, height = profile[:, :1], profile[:, 1:]
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return loft(np.stack([x, y, np.broadcast_to(height, x.shape)], -1), closed)


def box(size_m: ArrayLike) -> Mesh:
    """Return a box that stands on z = 0, centred around the z axis."""
    x, y, z = np.asarray(size_m, np.float64)
    return blocks([((-x / 2, -y / 2, 0), (x / 2, y / 2, z))])


def tube(path_m: ArrayLike, radii_m: ArrayLike, segments: int = 32) -> Mesh:
    """Sweep a circle of changing radius along a path in the plane z = 0.

    Args:
        path_m: (N, 2) points; they must bend less than the radius allows.
        radii_m: (N,) radius at each.
        segments: Sides of the circle.
    """
    path, radii = np.asarray(path_m, np.float64), np.asarray(radii_m, np.float64)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.stack([-tangent[:, 1], tangent[:, 0], np.zeros(len(path))], 1)
    angle = np.arange(segments) * (2 * np.pi / segments)
    # Circle in the plane of `side` and z; this order is counter-clockwise seen from the end.
    circle = (
        side[:, None] * np.cos(angle)[:, None] + np.array((0, 0, 1.0)) * np.sin(angle)[:, None]
    )
    centers = np.concatenate([path, np.zeros((len(path), 1))], 1)
    return loft(centers[:, None] + radii[:, None, None] * circle)


def blocks(boxes_m: Sequence[tuple[ArrayLike, ArrayLike]]) -> Mesh:
    """Return the exact union of axis-aligned boxes.

    Boxes that touch along an edge only would give an edge of four faces: let them overlap.

    Args:
        boxes_m: Low and high corner (3,) of each.
    """
    # Rounded, or a + b and c that should be one plane become two.
    corners = np.round(np.array(boxes_m, np.float64), 9)
    planes = [np.unique(corners[:, :, axis]) for axis in range(3)]
    filled = np.zeros([len(axis) + 1 for axis in planes], bool)
    for low, high in corners:
        span = [
            slice(
                int(np.searchsorted(planes[k], low[k])) + 1,
                int(np.searchsorted(planes[k], high[k])) + 1,
            )
            for k in range(3)
        ]
        filled[tuple(span)] = True
    shape = tuple(len(axis) for axis in planes)
    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        step = np.diff(filled.astype(np.int8), axis=axis)
        for sign in (1, -1):
            cell = np.argwhere(step == sign)
            # The difference of cells c and c + 1 lies on plane c; the others start one lower.
            corner = cell - np.eye(3, dtype=int)[u] - np.eye(3, dtype=int)[v]
            square = np.stack(
                [corner, _moved(corner, u), _moved(_moved(corner, u), v), _moved(corner, v)], 1
            )
            quads.append(square[:, ::-1] if sign > 0 else square)
    index = np.ravel_multi_index(np.moveaxis(np.concatenate(quads), -1, 0), shape)
    used, faces = np.unique(
        np.concatenate([index[:, [0, 1, 2]], index[:, [0, 2, 3]]]), return_inverse=True
    )
    place = np.unravel_index(used, shape)
    vertices = np.stack([planes[k][place[k]] for k in range(3)], 1)
    return Mesh(vertices.astype(np.float32), faces.reshape(-1, 3).astype(np.int32))


def _moved(index: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    return np.asarray(index + np.eye(3, dtype=int)[axis])


def implicit(field: Field, low_m: ArrayLike, high_m: ArrayLike, step_m: float) -> Mesh:
    """Return the surface where a field changes sign.

    Args:
        field: Signed distance, negative inside, of coordinate arrays x, y, z that broadcast.
        low_m: (3,) corner of a box that holds the solid with room of two steps.
        high_m: (3,) opposite corner.
        step_m: Distance of the samples; edges are bevelled by about this much.
    """
    low, high = np.asarray(low_m, np.float64), np.asarray(high_m, np.float64)
    axes = [np.arange(a, b + step_m, step_m) for a, b in zip(low, high)]
    x, y, z = np.meshgrid(*axes, indexing='ij', sparse=True)
    values = np.array(np.broadcast_to(field(x, y, z), [len(axis) for axis in axes]), np.float32)
    # Samples exactly on the surface would give triangles without area.
    tiny = np.float32(1e-3 * step_m)
    values[np.abs(values) < tiny] = tiny
    vertices, faces, _, _ = measure.marching_cubes(  # type: ignore[no-untyped-call]
        values, 0.0, spacing=(step_m,) * 3, gradient_direction='descent'
    )
    return Mesh((vertices + low).astype(np.float32), faces.astype(np.int32))


def moved(
    mesh: Mesh, rotation: ArrayLike | None = None, translation_m: ArrayLike = (0, 0, 0)
) -> Mesh:
    """Return a mesh turned by a (3, 3) rotation, then moved by (3,) metres."""
    vertices = mesh.vertices_m.astype(np.float64)
    if rotation is not None:
        vertices = vertices @ np.asarray(rotation, np.float64).T
    return Mesh((vertices + np.asarray(translation_m)).astype(np.float32), mesh.faces)


def grounded(mesh: Mesh) -> Mesh:
    """Return a mesh moved so that its box is centred around the z axis and stands on z = 0."""
    low, high = mesh.vertices_m.min(0), mesh.vertices_m.max(0)
    return moved(mesh, None, (*(-(low + high)[:2] / 2), -low[2]))
