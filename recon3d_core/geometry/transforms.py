"""Rigid transforms as (4, 4) float64 matrices; `T_a_b` maps coordinates in b to a.

Quaternions are `wxyz` with w >= 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.errors import InputError

Array = NDArray[np.float64]


def make_transform(rotation: ArrayLike | None = None, translation: ArrayLike = (0, 0, 0)) -> Array:
    """Return the (4, 4) transform of a (3, 3) rotation and a (3,) translation."""
    transform = np.eye(4)
    if rotation is not None:
        transform[:3, :3] = rotation
    transform[:3, 3] = translation
    return transform


def invert(T_a_b: Array) -> Array:
    """Return `T_b_a` of a rigid transform or of a stack (..., 4, 4) of them."""
    T_b_a = np.zeros_like(T_a_b)
    rotation = np.swapaxes(T_a_b[..., :3, :3], -1, -2)
    T_b_a[..., :3, :3] = rotation
    T_b_a[..., :3, 3] = -(rotation @ T_a_b[..., :3, 3:])[..., 0]
    T_b_a[..., 3, 3] = 1.0
    return T_b_a


def apply(T_a_b: Array, points_b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Map points (..., 3) from b to a, in the points' own precision."""
    rotation = T_a_b[:3, :3].astype(points_b.dtype, copy=False)
    translation = T_a_b[:3, 3].astype(points_b.dtype, copy=False)
    points_a: NDArray[np.floating] = points_b @ rotation.T + translation
    return points_a


def quaternion_from_rotation(rotation: Array) -> Array:
    """Return the unit quaternion wxyz, w >= 0, of a (3, 3) rotation (Shepperd 1978)."""
    m = np.asarray(rotation, np.float64)
    trace = np.trace(m)
    candidates = np.array([trace, m[0, 0], m[1, 1], m[2, 2]])
    largest = int(candidates.argmax())
    q = np.empty(4)
    q[largest] = 1 + 2 * candidates[largest] - trace
    if largest == 0:
        q[0] = 1 + trace
        q[1:] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    else:
        i = largest - 1
        j, k = (i + 1) % 3, (i + 2) % 3
        q[0] = m[k, j] - m[j, k]
        q[1 + j] = m[j, i] + m[i, j]
        q[1 + k] = m[k, i] + m[i, k]
    q /= np.linalg.norm(q)
    return -q if q[0] < 0 else q


def rotation_from_quaternion(quaternion: ArrayLike) -> Array:
    """Return the (3, 3) rotation of a quaternion wxyz of any length above zero.

    Raises:
        InputError: The quaternion is zero or not finite.
    """
    q = np.asarray(quaternion, np.float64)
    norm = np.linalg.norm(q)
    if q.shape != (4,) or not np.isfinite(norm) or norm < 1e-9:
        raise InputError('not a quaternion', q.tolist(), 'four finite numbers, not all zero')
    w, x, y, z = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0, 0, 1)) -> Array:
    """Return `T_world_camera` of a camera at `eye` that looks at `target`.

    The camera frame is optical: x right, y down, z forward.

    Raises:
        InputError: Eye and target coincide, or the view is along `up`.
    """
    eye = np.asarray(eye, np.float64)
    forward = np.asarray(target, np.float64) - eye
    right = np.cross(forward, np.asarray(up, np.float64))
    if np.linalg.norm(right) < 1e-9:
        raise InputError('no camera looks along its up vector', forward.tolist())
    forward /= np.linalg.norm(forward)
    right /= np.linalg.norm(right)
    return make_transform(np.stack([right, np.cross(forward, right), forward], 1), eye)


def frame_from_normal(normal: ArrayLike) -> Array:
    """Return a (3, 3) rotation whose third column is the given direction."""
    z = np.asarray(normal, np.float64)
    z = z / np.linalg.norm(z)
    helper = np.eye(3)[int(np.abs(z).argmin())]
    x = np.cross(helper, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], 1)


def interpolate(T_a: Array, T_b: Array, fraction: float) -> Array:
    """Return the pose between two poses: linear in position, slerp in rotation.

    Args:
        T_a: Pose at fraction 0, (4, 4).
        T_b: Pose at fraction 1, (4, 4).
        fraction: In [0, 1].
    """
    qa, qb = quaternion_from_rotation(T_a[:3, :3]), quaternion_from_rotation(T_b[:3, :3])
    cosine = float(qa @ qb)
    qb, cosine = (-qb, -cosine) if cosine < 0 else (qb, cosine)
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:
        q = (1 - fraction) * qa + fraction * qb
    else:
        q = (np.sin((1 - fraction) * angle) * qa + np.sin(fraction * angle) * qb) / np.sin(angle)
    translation = (1 - fraction) * T_a[:3, 3] + fraction * T_b[:3, 3]
    return make_transform(rotation_from_quaternion(q), translation)
