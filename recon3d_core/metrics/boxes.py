"""Overlap of upright oriented boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.checks import check_shape, check_transform
from recon3d_core.errors import InputError

Array = NDArray[np.float64]

MAX_TILT_RAD = float(np.deg2rad(10))


def box_iou_3d(
    T_world_a: Array, size_a_m: ArrayLike, T_world_b: Array, size_b_m: ArrayLike
) -> float:
    """Return the volume of two boxes' intersection over that of their union, in [0, 1].

    Both boxes have the same up axis, their z; where these differ by a few degrees, as those of
    an estimate and the truth do, that of `a` is taken for both.

    Args:
        T_world_a: (4, 4) pose of the first box's centre.
        size_a_m: (3,) its edges, >= 0.
        T_world_b: (4, 4) pose of the second box's centre.
        size_b_m: (3,) its edges.

    Raises:
        InputError: The up axes differ by more than 10 degrees, or an argument is no box.
    """
    sizes = []
    for name, pose, size in (('a', T_world_a, size_a_m), ('b', T_world_b, size_b_m)):
        check_transform(f'T_world_{name}', pose)
        edges = np.asarray(size, np.float64)
        check_shape(f'size_{name}_m', edges, (3,))
        if not (edges >= 0).all():
            raise InputError(f'size_{name}_m', edges.tolist(), 'edges of at least 0')
        sizes.append(edges)
    cosine = float(T_world_a[:3, 2] @ T_world_b[:3, 2])
    if cosine < np.cos(MAX_TILT_RAD):
        raise InputError(
            'the boxes do not stand on the same plane',
            f'{np.degrees(np.arccos(max(cosine, -1.0))):.0f} degrees between their up axes',
            f'at most {np.degrees(MAX_TILT_RAD):.0f}',
        )
    rotation = T_world_a[:3, :3].T
    offset = rotation @ (T_world_b[:3, 3] - T_world_a[:3, 3])
    x_axis = (rotation @ T_world_b[:3, :3])[:2, 0]
    x_axis = x_axis / np.linalg.norm(x_axis)
    turn = np.array([[x_axis[0], -x_axis[1]], [x_axis[1], x_axis[0]]])
    outline = _rectangle(sizes[1]) @ turn.T + offset[:2]
    common = polygon_area(clip_convex(outline, _rectangle(sizes[0])))
    half_a, half_b = sizes[0][2] / 2, sizes[1][2] / 2
    overlap = min(half_a, offset[2] + half_b) - max(-half_a, offset[2] - half_b)
    shared = common * max(float(overlap), 0.0)
    union = float(sizes[0].prod() + sizes[1].prod()) - shared
    return shared / union if union > 0 else 0.0


def clip_convex(subject: Array, window: Array) -> Array:
    """Return the intersection (N, 2) of two convex polygons (Sutherland and Hodgman 1974).

    Args:
        subject: (S, 2) corners, counter-clockwise.
        window: (W, 2) corners, counter-clockwise.
    """
    result = np.asarray(subject, np.float64)
    for start, end in zip(window, np.roll(window, -1, 0)):
        if not len(result):
            break
        edge, relative = end - start, result - start
        side = edge[0] * relative[:, 1] - edge[1] * relative[:, 0]
        corners = []
        for i in range(len(result)):
            j = (i + 1) % len(result)
            if side[i] >= 0:
                corners.append(result[i])
            if side[i] * side[j] < 0:
                corners.append(result[i] + (result[j] - result[i]) * side[i] / (side[i] - side[j]))
        result = np.array(corners).reshape(-1, 2)
    return result


def polygon_area(corners: Array) -> float:
    """Return the area of a simple polygon (N, 2); 0 for fewer than three corners."""
    if len(corners) < 3:
        return 0.0
    x, y = corners.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _rectangle(size_m: Array) -> Array:
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * size_m[:2] / 2
