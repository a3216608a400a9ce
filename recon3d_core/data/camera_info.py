"""Cameras of sensor_msgs/CameraInfo, read by its fields alone so that no ROS is imported."""

from __future__ import annotations

from typing import Any

import numpy as np
from recon3d_core.errors import FrameError, InputError
from recon3d_core.geometry.cameras import Camera

_MODELS = {'plumb_bob': (4, 5), 'rational_polynomial': (8,)}
_MAX_SIDE_PX = 1 << 15


def camera_from_info(
    info: Any, *, rectified: bool = False, image_size: tuple[int, int] | None = None
) -> Camera:
    """Return the camera that a CameraInfo describes.

    Binning and the region of interest are applied, so that the result fits the image that is sent:
    K and P are given for the full sensor.

    Args:
        info: Message with the fields of sensor_msgs/CameraInfo (of rclpy, rosbags, or alike).
        rectified: True where the images were rectified: P is used and there is no distortion.
        image_size: Height and width of the image it belongs to, checked where given.

    Raises:
        FrameError: `uncalibrated` (K[0] == 0), `bad_camera_info` (impossible values),
            `bad_distortion` (a model or number of coefficients that is not supported) or
            `camera_info_size` (it belongs to an image of another size).
    """
    fx, fy, cx, cy = _intrinsics(info, rectified)
    model: Any = 'none'
    coefficients: tuple[float, ...] = ()
    if not rectified:
        model, coefficients = _distortion(info)
    x0, y0, width, height, bin_x, bin_y = _window(info)
    try:
        camera = Camera(
            width // bin_x,
            height // bin_y,
            fx / bin_x,
            fy / bin_y,
            # As image_geometry does: drivers give K so that no half pixel is to be added.
            (cx - x0) / bin_x,
            (cy - y0) / bin_y,
            model,
            coefficients,
        )
    except InputError as error:
        raise FrameError('bad_camera_info', f'camera_info: {error}') from error
    if image_size is not None and image_size != (camera.height, camera.width):
        raise FrameError(
            'camera_info_size',
            'camera_info is of another size than the image',
            f'{camera.width}x{camera.height}',
            f'{image_size[1]}x{image_size[0]}',
            'Give the camera_info topic of the same camera and resolution.',
        )
    return camera


def _intrinsics(info: Any, rectified: bool) -> tuple[float, float, float, float]:
    if info.k[0] == 0.0:  # the documented mark of an uncalibrated camera
        raise FrameError(
            'uncalibrated',
            'camera_info is uncalibrated',
            'K[0] = 0',
            'a focal length above 0',
            'Calibrate the camera (camera_calibration) and let its driver load the result.',
        )
    matrix = info.p if rectified else info.k
    values = [float(matrix[i]) for i in ((0, 5, 2, 6) if rectified else (0, 4, 2, 5))]
    if not np.isfinite(values).all() or min(values[:2]) <= 0:
        raise FrameError(
            'bad_camera_info',
            f'camera_info.{"p" if rectified else "k"}',
            values,
            'fx, fy above 0 and finite cx, cy',
            'Fill P, or set rectified to false.' if rectified else '',
        )
    fx, fy, cx, cy = values
    return fx, fy, cx, cy


def _distortion(info: Any) -> tuple[str, tuple[float, ...]]:
    coefficients = tuple(float(value) for value in info.d)
    model = info.distortion_model
    if not np.isfinite(coefficients).all():
        raise FrameError('bad_distortion', 'camera_info.d', list(coefficients), 'finite values')
    if not any(coefficients) and model in ('', 'none', *_MODELS):
        return 'none', ()
    expected = _MODELS.get(model)
    if expected is None:
        raise FrameError(
            'bad_distortion',
            'camera_info.distortion_model',
            repr(model),
            ' or '.join(_MODELS),
            'Rectify the images (image_proc) and set rectified to true.',
        )
    # Drivers pad the rational model: librealsense and depthai send zeros after the eighth.
    if len(coefficients) > expected[-1] and not any(coefficients[expected[-1] :]):
        coefficients = coefficients[: expected[-1]]
    if len(coefficients) not in expected:
        raise FrameError(
            'bad_distortion',
            f'{model} distortion',
            f'{len(coefficients)} values',
            ' or '.join(map(str, expected)),
        )
    return model, coefficients


def _window(info: Any) -> tuple[int, int, int, int, int, int]:
    """Return the part of the sensor that is sent, x0, y0, width, height, and the binning."""
    roi = info.roi
    x0, y0, width, height = 0, 0, int(info.width), int(info.height)
    if roi.width and roi.height:
        x0, y0 = int(roi.x_offset), int(roi.y_offset)
        inside = x0 + roi.width <= width and y0 + roi.height <= height
        if not inside:
            raise FrameError(
                'bad_camera_info',
                'camera_info.roi',
                (x0, y0, int(roi.width), int(roi.height)),
                f'inside of {width}x{height}',
            )
        width, height = int(roi.width), int(roi.height)
    bin_x, bin_y = max(1, int(info.binning_x)), max(1, int(info.binning_y))
    if not (bin_x <= width <= _MAX_SIDE_PX and bin_y <= height <= _MAX_SIDE_PX):
        raise FrameError(
            'bad_camera_info',
            'camera_info size',
            f'{width}x{height}, binning {bin_x}x{bin_y}',
            f'1 to {_MAX_SIDE_PX} pixels each way',
        )
    return x0, y0, width, height, bin_x, bin_y
