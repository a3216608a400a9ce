"""Messages of one camera that belong together, and their conversion to a frame."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import FrameError
from recon3d_core.types import Frame
from recon3d_ros.conversions.camera_info import camera_from_info
from recon3d_ros.conversions.images import (
    check_image,
    color_from_compressed,
    color_from_image,
    depth_from_compressed,
    depth_from_image,
)
from recon3d_ros.parameters import NodeConfig
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

_MASK_TYPES = {'mono8': np.uint8, '8UC1': np.uint8, 'mono16': np.uint16, '16UC1': np.uint16}
_MAX_INSTANCES = 255


@dataclasses.dataclass(frozen=True)
class RawFrame:
    """Messages that belong together, not yet converted.

    Attributes:
        camera: Name of the camera.
        stamp_ns: Stamp of the depth image, or of the colour image where there is no depth.
        frame_id: Frame of that image, optical.
        info: Its camera_info.
        image: Colour image, or None.
        depth: Depth image, or None.
        mask: Image of object numbers, 0 = background, or None.
    """

    camera: str
    stamp_ns: int
    frame_id: str
    info: CameraInfo
    image: Any = None
    depth: Any = None
    mask: Any = None

    def to_frame(self, options: NodeConfig) -> Frame:
        """Return the frame without pose.

        Raises:
            FrameError: A message is malformed, or sizes differ; the text names the topic.
        """
        images: dict[str, NDArray[Any]] = {}
        part = 'camera_info'
        try:
            for part, convert in _CONVERTERS.items():
                message = getattr(self, part)
                if message is not None:
                    images[part] = convert(message)
            first, *others = images
            size = images[first].shape[:2]
            for part in others:
                _check_size(images[part].shape[:2], first, size)
            part = 'camera_info'
            camera = camera_from_info(self.info, rectified=options.rectified, image_size=size)
        except FrameError as error:
            text = f'{self.camera}/{part}: {error.what}'
            raise FrameError(error.reason, text, error.got, error.expected, error.fix) from error
        depth_m, mask = images.get('depth'), images.get('mask')
        return Frame(
            self.stamp_ns,
            camera,
            rgb=images.get('image'),
            depth_m=None if depth_m is None else _in_range(depth_m, options),
            camera_name=self.camera,
            masks=None if mask is None else {int(i): mask == i for i in np.unique(mask) if i},
        )


def _check_size(size: tuple[int, ...], first: str, wanted: tuple[int, ...]) -> None:
    if size != wanted:
        raise FrameError(
            'size_mismatch',
            f'of another size than the {first}',
            f'{size[1]}x{size[0]}',
            f'{wanted[1]}x{wanted[0]}',
            'Register the depth to the colour camera (depth_image_proc).',
        )


def _color(message: Image | CompressedImage) -> NDArray[np.uint8]:
    if isinstance(message, Image):
        return color_from_image(message)
    return color_from_compressed(message)


def _depth(message: Image | CompressedImage) -> NDArray[np.float32]:
    if isinstance(message, Image):
        return depth_from_image(message)
    return depth_from_compressed(message)


def _instances(message: Image) -> NDArray[np.uint16]:
    """Return the (H, W) object numbers of a mask image.

    Raises:
        FrameError: It is malformed, of another encoding, or numbers too many objects.
    """
    check_image(message)
    kind = _MASK_TYPES.get(message.encoding)
    if kind is None:
        raise FrameError(
            'bad_encoding', 'object masks', repr(message.encoding), ', '.join(_MASK_TYPES)
        )
    dtype = np.dtype(kind).newbyteorder('>' if message.is_bigendian else '<')
    rows = np.frombuffer(message.data, np.uint8)[: message.height * message.step]
    rows = rows.reshape(message.height, message.step)[:, : message.width * dtype.itemsize]
    numbers = np.ascontiguousarray(rows).view(dtype).astype(np.uint16)
    count = len(np.unique(numbers))
    if count > _MAX_INSTANCES:  # each becomes an image of its own
        raise FrameError('bad_mask', 'object masks', f'{count} numbers', f'<= {_MAX_INSTANCES}')
    return numbers


_CONVERTERS: dict[str, Any] = {'image': _color, 'depth': _depth, 'mask': _instances}


def _in_range(depth_m: NDArray[np.float32], options: NodeConfig) -> NDArray[np.float32]:
    if options.max_range_m == 0.0 and options.min_range_m == 0.0:
        return depth_m
    keep = depth_m >= options.min_range_m
    if options.max_range_m:
        keep &= depth_m <= options.max_range_m
    return np.where(keep, depth_m, np.float32(0))
