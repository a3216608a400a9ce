"""Image and CompressedImage to arrays, and back.

Arrays from messages may share their memory: they are not to be written to.
"""

from __future__ import annotations

import array
from collections.abc import Callable
import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data import compressed, encodings
from recon3d_core.errors import FrameError, InputError
from recon3d_ros.conversions import libraries
from sensor_msgs.msg import CompressedImage, Image

_MAX_SIDE_PX = 1 << 15
_MAX_PIXELS = 1 << 26

ColorDecoder = Callable[[Image], NDArray[np.uint8]]


@dataclasses.dataclass(frozen=True)
class ImageLibrary:
    """What turns checked colour images into RGB.

    Attributes:
        name: Its name.
        color: (H, W, 3) uint8 RGB of a checked message.
    """

    name: str
    color: ColorDecoder


def _standin_color(message: Image) -> NDArray[np.uint8]:
    return encodings.decode_color(*encodings.raw_fields(message))


STANDIN = ImageLibrary('recon3d', _standin_color)


def ros_library() -> ImageLibrary | None:
    """Return `cv_bridge` as an image library, or None where it cannot be used."""
    module = libraries.cv_bridge()
    if module is None:
        return None
    bridge = module.CvBridge()

    def color(message: Image) -> NDArray[np.uint8]:
        # Its byte swapping fails with NumPy 2, its 16-bit colour keeps 16 bits, and what is RGB
        # already needs no copy.
        kind = encodings.find_encoding(message.encoding)
        if kind.to_rgb is None or kind.dtype is not np.uint8:
            return _standin_color(message)
        try:
            return np.asarray(bridge.imgmsg_to_cv2(message, 'rgb8'))
        except module.CvBridgeError:  # an encoding that this version does not know
            return _standin_color(message)

    return ImageLibrary('cv_bridge', color)


def image_library() -> ImageLibrary:
    """Return the library in use."""
    return ros_library() or STANDIN


def check_image(message: Image) -> None:
    """Check that a message's sizes, step, encoding and data fit each other.

    Raises:
        FrameError: `zero_size`, `absurd_size`, `bad_encoding`, `bad_step` or `short_data`.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height == 0 or width == 0:
        raise FrameError('zero_size', 'image size', f'{width}x{height}', 'at least 1x1')
    if max(height, width) > _MAX_SIDE_PX or height * width > _MAX_PIXELS:
        raise FrameError(
            'absurd_size',
            'image size',
            f'{width}x{height}',
            f'at most {_MAX_SIDE_PX} px a side and {_MAX_PIXELS} px in all',
        )
    kind = encodings.find_encoding(message.encoding)
    row = width * kind.channels * np.dtype(kind.dtype).itemsize
    if step < row:
        raise FrameError(
            'bad_step', f'step of a {message.encoding} image {width} px wide', step, f'>= {row}'
        )
    if len(message.data) < height * step:
        raise FrameError(
            'short_data', 'image data', f'{len(message.data)} bytes', f'{height * step} bytes'
        )


def color_from_image(message: Image, library: ImageLibrary | None = None) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of an image of colour or gray.

    Args:
        message: The image; `rgb8` is not copied.
        library: What converts; the library in use where None.

    Raises:
        FrameError: See `check_image`; `bad_encoding` for depth too.
    """
    check_image(message)
    return (library or image_library()).color(message)


def depth_from_image(message: Image) -> NDArray[np.float32]:
    """Return (H, W) float32 metres, 0 = invalid, of a depth image (REP-118).

    16UC1 and mono16 are millimetres, 32FC1 metres with NaN and Inf where nothing was measured.

    Raises:
        FrameError: See `check_image`; `bad_encoding` where it is no encoding of depth.
    """
    check_image(message)
    return encodings.decode_depth(*encodings.raw_fields(message))


def color_from_compressed(message: CompressedImage) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of a JPEG or PNG.

    Raises:
        FrameError: `zero_size` where it is empty, `bad_color` where it cannot be decoded.
    """
    _check_payload(message)
    return compressed.decode_compressed_color(message.format, message.data)


def depth_from_compressed(message: CompressedImage) -> NDArray[np.float32]:
    """Return (H, W) float32 metres, 0 = invalid, of a compressedDepth or 16-bit PNG payload.

    Raises:
        FrameError: `zero_size` where it is empty, `bad_depth` or `bad_encoding` where it cannot
            be decoded.
    """
    _check_payload(message)
    return compressed.decode_compressed_depth(message.format, message.data)


def _check_payload(message: CompressedImage) -> None:
    if len(message.data) == 0:
        raise FrameError('zero_size', 'compressed image', '0 bytes', 'a compressed payload')


def image_from_color(rgb: NDArray[np.uint8]) -> Image:
    """Return the rgb8 image of (H, W, 3) uint8 RGB; the header is left to the caller.

    Raises:
        InputError: Another type or shape.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise InputError('colour image', (str(rgb.dtype), rgb.shape), 'uint8 (H, W, 3)')
    return _image(rgb, 'rgb8')


def image_from_depth(depth_m: NDArray[np.float32], encoding: str = '16UC1') -> Image:
    """Return the image of a depth (H, W) float32 in metres; the header is left to the caller.

    Args:
        depth_m: Depth, 0 = invalid.
        encoding: `16UC1` (millimetres, invalid is 0) or `32FC1` (metres, invalid is NaN).

    Raises:
        InputError: Another shape or encoding.
    """
    if depth_m.ndim != 2:
        raise InputError('depth image', depth_m.shape, '(H, W)')
    if encoding == '16UC1':
        return _image(encodings.depth_to_mm(depth_m), encoding)
    if encoding == '32FC1':
        invalid = np.float32(np.nan)
        return _image(np.where(depth_m > 0, depth_m, invalid).astype(np.float32), encoding)
    raise InputError('depth encoding', repr(encoding), '16UC1 or 32FC1')


def _image(pixels: NDArray, encoding: str) -> Image:
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder('<'))
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.is_bigendian = 0
    message.step = pixels.nbytes // pixels.shape[0]
    message.data = byte_array(pixels)
    return message


def compressed_from_color(rgb: NDArray[np.uint8], quality: int = 95) -> CompressedImage:
    """Return the JPEG of (H, W, 3) uint8 RGB; the header is left to the caller."""
    message = CompressedImage(format='rgb8; jpeg compressed bgr8')
    message.data = byte_array(
        np.frombuffer(compressed.encode_color(rgb, 'jpeg', quality), np.uint8)
    )
    return message


def compressed_from_depth(depth_m: NDArray[np.float32]) -> CompressedImage:
    """Return the compressedDepth PNG in millimetres of a depth (H, W) float32 in metres."""
    message = CompressedImage(format='16UC1; compressedDepth png')
    payload = compressed.encode_compressed_depth(encodings.depth_to_mm(depth_m))
    message.data = byte_array(np.frombuffer(payload, np.uint8))
    return message


def byte_array(values: NDArray) -> array.array[int]:
    """Return the bytes of a contiguous array as messages hold them.

    Any other value of `data` has each byte checked in Python where fields are checked (Humble).
    """
    data = array.array('B')
    if values.size:
        data.frombytes(values.reshape(-1).view(np.uint8).data)
    return data
