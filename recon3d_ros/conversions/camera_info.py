"""CameraInfo to Camera (as recordings are read, too) and back."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.camera_info import camera_from_info
from recon3d_core.geometry.cameras import Camera
from sensor_msgs.msg import CameraInfo

__all__ = ['camera_from_info', 'info_from_camera']


def info_from_camera(camera: Camera) -> CameraInfo:
    """Return the CameraInfo of a camera; header and frame are left to the caller."""
    info = CameraInfo(width=camera.width, height=camera.height)
    info.distortion_model = 'plumb_bob' if not camera.distorted else camera.distortion_model
    info.d = list(camera.distortion) if camera.distorted else [0.0] * 5
    info.k = camera.K.ravel()
    info.r = np.eye(3).ravel()
    info.p = np.hstack([camera.K, np.zeros((3, 1))]).ravel()
    return info
