"""Cameras of sensor_msgs/CameraInfo, read by its fields alone so that no ROS is imported."""

from __future__ import annotations

from typing import Any

import numpy as np
from recon3d_core.errors import FrameError, InputError
from recon3d_core.geometry.cameras import Camera

_MODELS = {'plumb_bob': (4, 5), 'rational_polynomial': (8,)}
_UNCALIBRATED = 'Calibrate the camera, or give the topic of a camera_info whose K is filled.'


def camera_from_info(
    info: Any, rectified: bool = False, size: tuple[int, int] | None = None
) -> Camera:
    """Return the camera that a CameraInfo message describes.

    Args:
        info: Message with the fields of sensor_msgs/CameraInfo (of rclpy, rosbags, or alike).
        rectified: Whether the images are rectified: then P holds, and no distortion.
        size: (width, height) of the images; the camera must have it. None takes the message's.

    Raises:
        FrameError: `uncalibrated` where K is empty, `bad_camera_info` where the values are not
            usable, `size_mismatch` where it describes images of another size.
    """
    if not info.k[0]:
        raise FrameError(
            'uncalibrated', 'camera_info', 'K[0] = 0', 'a focal length', _UNCALIBRATED
        )
    fx, fy, cx, cy = info.k[0], info.k[4], info.k[2], info.k[5]
    model: str = 'none'
    values: tuple[float, ...] = ()
    if rectified and info.p[0]:
        fx, fy, cx, cy = info.p[0], info.p[5], info.p[2], info.p[6]
    elif not rectified:
        model, values = _distortion(info.distortion_model, info.d)
    left, top, width, height = _region(info)
    step_x, step_y = max(1, int(info.binning_x)), max(1, int(info.binning_y))
    try:
        camera = Camera(
            width // step_x,
            height // step_y,
            float(fx) / step_x,
            float(fy) / step_y,
            (float(cx) - left) / step_x,
            (float(cy) - top) / step_y,
            model,  # type: ignore[arg-type]
            values,
        )
    except InputError as error:
        raise FrameError('bad_camera_info', str(error)) from error
    if size not in (None, (camera.width, camera.height)):
        raise FrameError(
            'size_mismatch',
            'camera_info is for images of another size',
            f'{camera.width}x{camera.height}',
            f'{size[0]}x{size[1]}',  # type: ignore[index]
            'Give the camera_info topic that belongs to the image topic.',
        )
    return camera


def _region(info: Any) -> tuple[int, int, int, int]:
    """Return left, top, width, height of the part of the sensor that the images show."""
    roi = info.roi
    if roi.width and roi.height:
        return int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)
    return 0, 0, int(info.width), int(info.height)


def _distortion(model: str, values: Any) -> tuple[str, tuple[float, ...]]:
    numbers = [float(value) for value in values]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    if not numbers:
        return 'none', ()
    if not np.isfinite(numbers).all():
        raise FrameError('bad_camera_info', 'distortion', numbers, 'finite values')
    for count in _MODELS.get(model, ()):
        if len(numbers) <= count:
            return model, (*numbers, *([0.0] * (count - len(numbers))))
    raise FrameError(
        'bad_camera_info',
        f'distortion model {model!r}',
        f'{len(numbers)} coefficients',
        'plumb_bob (up to 5) or rational_polynomial (up to 8)',
        'Use the rectified images.',
    )
