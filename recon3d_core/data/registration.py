"""Bringing colour and depth of different cameras or sizes to common pixels."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.cameras import Camera, rectify
from recon3d_core.geometry.transforms import apply


def resized(camera: Camera, width: int, height: int) -> Camera:
    """Return the camera of an image resized to another size, pixel centres kept at integers."""
    x, y = width / camera.width, height / camera.height
    return dataclasses.replace(
        camera,
        width=width,
        height=height,
        fx=camera.fx * x,
        fy=camera.fy * y,
        cx=(camera.cx + 0.5) * x - 0.5,
        cy=(camera.cy + 0.5) * y - 0.5,
    )


def resize_color(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return (height, width, 3) of colour resized; shrinking averages."""
    shrinks = width * height < rgb.shape[0] * rgb.shape[1]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(rgb, (width, height), interpolation=mode)  # type: ignore[return-value]


def color_in_depth_camera(
    rgb: NDArray[np.uint8], color_camera: Camera, depth_camera: Camera
) -> NDArray[np.uint8]:
    """Return colour in the pixels of a depth camera of the same optical centre and axes.

    Args:
        rgb: (H, W, 3) of the colour camera.
        color_camera: Intrinsics of the colour; distortion is undone.
        depth_camera: Intrinsics of the depth, without distortion.

    Returns:
        (depth H, depth W, 3); pixels that the colour camera does not see are black.
    """
    rgb = rectify(color_camera, rgb, is_depth=False)
    size = (depth_camera.width, depth_camera.height)
    if (color_camera.width, color_camera.height) != size and np.allclose(
        resized(color_camera, *size).K, depth_camera.K, atol=0.51
    ):
        return resize_color(rgb, *size)
    if (color_camera.width, color_camera.height) == size and np.allclose(
        color_camera.K, depth_camera.K, atol=1e-3
    ):
        return rgb
    depth_to_color = (color_camera.K @ np.linalg.inv(depth_camera.K))[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(rgb, depth_to_color, size, flags=flags)  # type: ignore[return-value]


def depth_in_color_camera(
    depth_m: NDArray[np.float32],
    depth_camera: Camera,
    color_camera: Camera,
    T_color_depth: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return depth in the pixels of a colour camera elsewhere; the nearest surface wins.

    Args:
        depth_m: (H, W) of the depth camera, metres, 0 = invalid.
        depth_camera: Intrinsics of the depth, with its distortion.
        color_camera: Intrinsics of the colour, without distortion; not of more pixels than the
            depth, or the result has gaps.
        T_color_depth: (4, 4) pose of the depth camera in the colour camera.

    Returns:
        (color H, color W) float32, 0 where nothing was seen.
    """
    valid = depth_m > 0
    points = apply(T_color_depth, depth_camera.points(depth_m)[valid])
    points = points[points[:, 2] > 1e-3]
    depth = points[:, 2].astype(np.float32)
    # Not rint: it rounds halves to even, which tears every other column of a shift by half.
    x = np.floor(points[:, 0] / depth * color_camera.fx + color_camera.cx + 0.5).astype(np.int64)
    y = np.floor(points[:, 1] / depth * color_camera.fy + color_camera.cy + 0.5).astype(np.int64)
    inside = (x >= 0) & (x < color_camera.width) & (y >= 0) & (y < color_camera.height)
    place, depth = y[inside] * color_camera.width + x[inside], depth[inside]
    order = np.argsort(-depth, kind='stable')  # of equal places the last written stays
    result = np.zeros(color_camera.height * color_camera.width, np.float32)
    result[place[order]] = depth[order]
    return result.reshape(color_camera.height, color_camera.width)
