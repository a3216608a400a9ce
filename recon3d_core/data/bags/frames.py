"""Frames of decoded messages: images, cameras and their registration."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.bags.topics import base_topic, CameraTopics, is_rectified
from recon3d_core.data.camera_info import camera_from_info
from recon3d_core.data.compressed import decode_compressed_color, decode_compressed_depth
from recon3d_core.data.encodings import decode_color, decode_depth, raw_fields
from recon3d_core.data.registration import (
    color_in_depth_camera,
    depth_in_color_camera,
    resize_color,
    resized,
)
from recon3d_core.errors import FrameError
from recon3d_core.geometry.cameras import Camera, rectify

Lookup = Callable[[str, str, int], NDArray[np.float64]]


@dataclasses.dataclass(frozen=True)
class Images:
    """What a camera saw, in common pixels.

    Attributes:
        camera: Intrinsics of both.
        rgb: (H, W, 3) uint8, or None.
        depth_m: (H, W) float32, or None.
    """

    camera: Camera
    rgb: NDArray[np.uint8] | None
    depth_m: NDArray[np.float32] | None


def _decode_color(message: Any) -> NDArray[np.uint8]:
    if hasattr(message, 'format'):
        return decode_compressed_color(message.format, message.data)
    return decode_color(*raw_fields(message))


def _decode_depth(message: Any) -> NDArray[np.float32]:
    if hasattr(message, 'format'):
        return decode_compressed_depth(message.format, message.data)
    return decode_depth(*raw_fields(message))


class ImageReader:
    """Makes images of the messages of one camera."""

    def __init__(self, topics: CameraTopics, lookup: Lookup) -> None:
        """Keep the topics.

        Args:
            topics: The camera's.
            lookup: Returns `T_target_source` of two frames at a stamp; raises FrameError.
        """
        self._topics = topics
        self._lookup = lookup

    def read(self, color: Any, depth: Any, infos: dict[str, Any], stamp_ns: int) -> Images:
        """Return the images of messages.

        Args:
            color: Image or CompressedImage, or None.
            depth: Likewise.
            infos: `{topic: newest camera_info}`.
            stamp_ns: Stamp of the frame.

        Raises:
            FrameError: Something cannot be decoded or does not fit.
        """
        rgb = None if color is None else _decode_color(color)
        depth_m = None if depth is None else _decode_depth(depth)
        if rgb is not None:
            color_camera = self._camera(self._topics.color, self._topics.color_info, infos, rgb)
        if depth_m is not None:
            depth_camera = self._camera(
                self._topics.depth, self._topics.depth_info, infos, depth_m
            )
        if depth_m is None:
            return Images(color_camera, rgb, None)
        if rgb is None:
            return Images(depth_camera, None, depth_m)
        if color_camera == depth_camera and color.header.frame_id == depth.header.frame_id:
            return Images(depth_camera, rgb, depth_m)
        T_color_depth = self._registration(color, depth, color_camera, depth_camera, stamp_ns)
        if T_color_depth is None:
            depth_m = rectify(depth_camera, depth_m, is_depth=True)
            rgb = color_in_depth_camera(rgb, color_camera, depth_camera.rectified())
            return Images(depth_camera.rectified(), rgb, depth_m)
        return _register(rgb, depth_m, color_camera, depth_camera, T_color_depth)

    def _camera(
        self, topic: str, info_topic: str, infos: dict[str, Any], image: NDArray[Any]
    ) -> Camera:
        info = infos.get(info_topic)
        if info is None:
            raise FrameError('no_camera_info', f'no camera_info on {info_topic} yet')
        height, width = image.shape[:2]
        return camera_from_info(info, rectified=is_rectified(topic), image_size=(height, width))

    def _registration(
        self, color: Any, depth: Any, color_camera: Camera, depth_camera: Camera, stamp_ns: int
    ) -> NDArray[np.float64] | None:
        """Return `T_color_depth` of cameras that stand apart; None where they coincide.

        Raises:
            FrameError: `not_registered`: they may stand apart, and nobody says how.
        """
        base = base_topic(self._topics.depth)
        if (
            color.header.frame_id == depth.header.frame_id
            or 'aligned' in base
            or ('registered' in base)
        ):
            return None
        try:
            T = self._lookup(color.header.frame_id, depth.header.frame_id, stamp_ns)
        except FrameError as error:
            if color_camera == depth_camera:
                return None
            raise FrameError(
                'not_registered',
                'colour and depth are of different frames without a transform',
                f'{color.header.frame_id!r} and {depth.header.frame_id!r}: {error}',
            ) from error
        return None if np.allclose(T, np.eye(4), atol=1e-3) else T


def _register(
    rgb: NDArray[np.uint8],
    depth_m: NDArray[np.float32],
    color_camera: Camera,
    depth_camera: Camera,
    T_color_depth: NDArray[np.float64],
) -> Images:
    """Return both in the colour camera, shrunk to about the depth's pixels to leave no gaps."""
    rgb = rectify(color_camera, rgb, is_depth=False)
    camera = color_camera.rectified()
    # Pixels must not be finer than the depth's, seen as angles: compare the focal lengths.
    factor = min(1.0, depth_camera.fx / camera.fx)
    if factor < 1.0:
        width, height = round(camera.width * factor), round(camera.height * factor)
        rgb = resize_color(rgb, width, height)
        camera = resized(camera, width, height)
    return Images(camera, rgb, depth_in_color_camera(depth_m, depth_camera, camera, T_color_depth))
