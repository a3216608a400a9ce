"""Poses, transforms and quaternions of ROS, to and from (4, 4) matrices.

The only place where quaternions turn from `wxyz` (core) to `xyzw` (messages) and back.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses

from geometry_msgs.msg import Point, Pose, Quaternion, Transform, Vector3
import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import FrameError
from recon3d_core.geometry.transforms import (
    make_transform,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from recon3d_ros.conversions import libraries

Array = NDArray[np.float64]

_MIN_NORM, _MAX_NORM = 1e-3, 1e3
_MAX_COORDINATE_M = 1e7


@dataclasses.dataclass(frozen=True)
class RotationLibrary:
    """What turns unit quaternions `xyzw` into (3, 3) rotations and back.

    Attributes:
        name: Its name.
        rotation: Rotation (3, 3) of a unit quaternion xyzw (4,).
        quaternion_xyzw: Unit quaternion xyzw (4,) of a rotation (3, 3).
    """

    name: str
    rotation: Callable[[Array], Array]
    quaternion_xyzw: Callable[[Array], Array]


def _standin_rotation(xyzw: Array) -> Array:
    return rotation_from_quaternion(xyzw[[3, 0, 1, 2]])


def _standin_quaternion(rotation: Array) -> Array:
    return quaternion_from_rotation(rotation)[[1, 2, 3, 0]]


STANDIN = RotationLibrary('recon3d', _standin_rotation, _standin_quaternion)


def tf_library() -> RotationLibrary | None:
    """Return `tf_transformations` as a rotation library, or None where it cannot be used."""
    module = libraries.tf_transformations()
    if module is None:
        return None

    def rotation(xyzw: Array) -> Array:
        return np.asarray(module.quaternion_matrix(xyzw), np.float64)[:3, :3]

    def quaternion_xyzw(matrix: Array) -> Array:
        xyzw = np.asarray(module.quaternion_from_matrix(make_transform(matrix)), np.float64)
        return -xyzw if xyzw[3] < 0 else xyzw

    return RotationLibrary('tf_transformations', rotation, quaternion_xyzw)


def rotation_library() -> RotationLibrary:
    """Return the library in use."""
    return tf_library() or STANDIN


def rotation_from_message(quaternion: Quaternion, library: RotationLibrary | None = None) -> Array:
    """Return the rotation (3, 3) of a quaternion message, which need not be normalised.

    Args:
        quaternion: The message.
        library: What computes; the library in use where None.

    Raises:
        FrameError: `bad_pose`, the quaternion is nearly zero, absurdly long or not finite.
    """
    xyzw = np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w], np.float64)
    # The first comparison is false for NaN too.
    if not (np.abs(xyzw) <= _MAX_NORM).all() or np.linalg.norm(xyzw) < _MIN_NORM:
        raise FrameError(
            'bad_pose', 'quaternion xyzw', xyzw.tolist(), 'four finite numbers, not all zero'
        )
    return (library or rotation_library()).rotation(xyzw / np.linalg.norm(xyzw))


def message_from_rotation(rotation: Array, library: RotationLibrary | None = None) -> Quaternion:
    """Return the quaternion message, w >= 0, of a rotation (3, 3)."""
    x, y, z, w = (library or rotation_library()).quaternion_xyzw(rotation).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)


def _translation(message: Point | Vector3) -> Array:
    xyz = np.array([message.x, message.y, message.z], np.float64)
    if not (np.abs(xyz) <= _MAX_COORDINATE_M).all():  # false for NaN too
        raise FrameError(
            'bad_pose', 'position', xyz.tolist(), f'finite metres below {_MAX_COORDINATE_M:g}'
        )
    return xyz


def matrix_from_pose(pose: Pose) -> Array:
    """Return `T_parent_child` (4, 4) of a pose of the child in the parent.

    Raises:
        FrameError: `bad_pose`, a value is not finite or the quaternion is zero.
    """
    return make_transform(rotation_from_message(pose.orientation), _translation(pose.position))


def matrix_from_transform(transform: Transform) -> Array:
    """Return `T_parent_child` (4, 4) of a transform message.

    Raises:
        FrameError: `bad_pose`, a value is not finite or the quaternion is zero.
    """
    return make_transform(
        rotation_from_message(transform.rotation), _translation(transform.translation)
    )


def pose_from_matrix(T_parent_child: Array) -> Pose:
    """Return the pose message of a rigid transform (4, 4)."""
    x, y, z = T_parent_child[:3, 3].tolist()
    return Pose(
        position=Point(x=x, y=y, z=z), orientation=message_from_rotation(T_parent_child[:3, :3])
    )


def transform_from_matrix(T_parent_child: Array) -> Transform:
    """Return the transform message of a rigid transform (4, 4)."""
    x, y, z = T_parent_child[:3, 3].tolist()
    return Transform(
        translation=Vector3(x=x, y=y, z=z), rotation=message_from_rotation(T_parent_child[:3, :3])
    )
