"""Messages of frames for recording, as rosbags' types."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.bags.reader import typestore
from recon3d_core.data.compressed import encode_color, encode_compressed_depth
from recon3d_core.data.encodings import depth_to_mm
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import invert, make_transform, quaternion_from_rotation

T_LINK_OPTICAL = make_transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""Pose of an optical frame (z forward) in its camera's body frame (x forward), by REP-103."""
T_OPTICAL_LINK = invert(T_LINK_OPTICAL)


@dataclasses.dataclass(frozen=True)
class Stamped:
    """A message with its type and stamp."""

    type: str
    message: Any
    stamp_ns: int


def _make(kind: str, *values: Any) -> Any:
    return typestore().types[kind](*values)


def _header(frame_id: str, stamp_ns: int) -> Any:
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    return _make(
        'std_msgs/msg/Header', _make('builtin_interfaces/msg/Time', seconds, rest), frame_id
    )


def image(pixels: NDArray[Any], encoding: str, frame_id: str, stamp_ns: int) -> Stamped:
    """Return an Image of (H, W) or (H, W, C) pixels."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
    kind = 'sensor_msgs/msg/Image'
    message = _make(
        kind, _header(frame_id, stamp_ns), height, width, encoding, 0, data.size // height, data
    )
    return Stamped(kind, message, stamp_ns)


def depth(depth_m: NDArray[np.float32], encoding: str, frame_id: str, stamp_ns: int) -> Stamped:
    """Return an Image of depth: 16UC1 millimetres with 0, or 32FC1 metres with NaN = invalid."""
    if encoding == '16UC1':
        return image(depth_to_mm(depth_m), encoding, frame_id, stamp_ns)
    metres = np.where(depth_m > 0, depth_m, np.float32(np.nan))
    return image(metres, encoding, frame_id, stamp_ns)


def _compressed(image_format: str, data: bytes, frame_id: str, stamp_ns: int) -> Stamped:
    kind = 'sensor_msgs/msg/CompressedImage'
    message = _make(kind, _header(frame_id, stamp_ns), image_format, np.frombuffer(data, np.uint8))
    return Stamped(kind, message, stamp_ns)


def compressed_color(
    rgb: NDArray[np.uint8], kind: str, quality: int, frame_id: str, stamp_ns: int
) -> Stamped:
    """Return a CompressedImage of colour, `jpeg` or `png`."""
    data = encode_color(rgb, kind, quality)
    return _compressed(f'rgb8; {kind} compressed bgr8', data, frame_id, stamp_ns)


def compressed_depth(depth_m: NDArray[np.float32], frame_id: str, stamp_ns: int) -> Stamped:
    """Return a CompressedImage of depth in millimetres."""
    data = encode_compressed_depth(depth_to_mm(depth_m))
    return _compressed('16UC1; compressedDepth png', data, frame_id, stamp_ns)


def camera_info(camera: Camera, frame_id: str, stamp_ns: int) -> Stamped:
    """Return the CameraInfo of a camera."""
    kind = 'sensor_msgs/msg/CameraInfo'
    distorted = camera.distortion_model != 'none'
    model = camera.distortion_model if distorted else 'plumb_bob'
    distortion = np.array(camera.distortion if distorted else [0.0] * 5, np.float64)
    P = np.hstack([camera.K, np.zeros((3, 1))])
    roi = _make('sensor_msgs/msg/RegionOfInterest', 0, 0, 0, 0, False)
    message = _make(
        kind,
        _header(frame_id, stamp_ns),
        camera.height,
        camera.width,
        model,
        distortion,
        camera.K.ravel(),
        np.eye(3).ravel(),
        P.ravel(),
        0,
        0,
        roi,
    )
    return Stamped(kind, message, stamp_ns)


def _vector(kind: str, T: NDArray[np.float64]) -> Any:
    return _make(f'geometry_msgs/msg/{kind}', *T[:3, 3].tolist())


def _quaternion(T: NDArray[np.float64]) -> Any:
    w, x, y, z = quaternion_from_rotation(T[:3, :3]).tolist()
    return _make('geometry_msgs/msg/Quaternion', x, y, z, w)


def _pose(T: NDArray[np.float64]) -> Any:
    return _make('geometry_msgs/msg/Pose', _vector('Point', T), _quaternion(T))


def transform(T: NDArray[np.float64], parent: str, child: str, stamp_ns: int) -> Stamped:
    """Return a TFMessage with the pose `T_parent_child`."""
    kind = 'tf2_msgs/msg/TFMessage'
    item = _make(
        'geometry_msgs/msg/TransformStamped',
        _header(parent, stamp_ns),
        child,
        _make('geometry_msgs/msg/Transform', _vector('Vector3', T), _quaternion(T)),
    )
    return Stamped(kind, _make(kind, [item]), stamp_ns)


def pose_stamped(T: NDArray[np.float64], parent: str, stamp_ns: int) -> Stamped:
    """Return a PoseStamped."""
    kind = 'geometry_msgs/msg/PoseStamped'
    return Stamped(kind, _make(kind, _header(parent, stamp_ns), _pose(T)), stamp_ns)


def odometry(T: NDArray[np.float64], parent: str, child: str, stamp_ns: int) -> Stamped:
    """Return an Odometry of a frame at rest; only its pose is known."""
    kind = 'nav_msgs/msg/Odometry'
    zero = np.zeros(36)
    still = _make('geometry_msgs/msg/Vector3', 0.0, 0.0, 0.0)
    message = _make(
        kind,
        _header(parent, stamp_ns),
        child,
        _make('geometry_msgs/msg/PoseWithCovariance', _pose(T), zero),
        _make(
            'geometry_msgs/msg/TwistWithCovariance',
            _make('geometry_msgs/msg/Twist', still, still),
            zero,
        ),
    )
    return Stamped(kind, message, stamp_ns)
