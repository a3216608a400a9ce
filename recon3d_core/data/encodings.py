"""Images as ROS messages carry them, to and from numpy, without importing ROS.

Raw images only; JPEG, PNG and compressedDepth are in `compressed.py`. All functions take the
fields of sensor_msgs/Image, whose data may be any buffer (bytes, array.array, numpy).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import FrameError


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How an image's bytes are to be read.

    Attributes:
        dtype: Type of a channel, native byte order.
        channels: Values per pixel.
        to_rgb: OpenCV's code that makes RGB of it; None where it is RGB or gray already.
        color: Whether it can be shown as colour; False for depth.
    """

    dtype: type[np.generic]
    channels: int
    to_rgb: int | None = None
    color: bool = True


_U8, _U16 = np.uint8, np.uint16

# The names of sensor_msgs/image_encodings.hpp. 8UC3 and 8UC4 are blue first, as RViz shows them.
ENCODINGS: dict[str, Encoding] = {
    'rgb8': Encoding(_U8, 3),
    'bgr8': Encoding(_U8, 3, cv2.COLOR_BGR2RGB),
    '8UC3': Encoding(_U8, 3, cv2.COLOR_BGR2RGB),
    'rgba8': Encoding(_U8, 4, cv2.COLOR_RGBA2RGB),
    'bgra8': Encoding(_U8, 4, cv2.COLOR_BGRA2RGB),
    '8UC4': Encoding(_U8, 4, cv2.COLOR_BGRA2RGB),
    'rgb16': Encoding(_U16, 3),
    'bgr16': Encoding(_U16, 3, cv2.COLOR_BGR2RGB),
    'mono8': Encoding(_U8, 1, cv2.COLOR_GRAY2RGB),
    '8UC1': Encoding(_U8, 1, cv2.COLOR_GRAY2RGB),
    'mono16': Encoding(_U16, 1, cv2.COLOR_GRAY2RGB),
    '16UC1': Encoding(_U16, 1, color=False),
    '32FC1': Encoding(np.float32, 1, color=False),
    'uyvy': Encoding(_U8, 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422': Encoding(_U8, 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuyv': Encoding(_U8, 2, cv2.COLOR_YUV2RGB_YUY2),
    'yuv422_yuy2': Encoding(_U8, 2, cv2.COLOR_YUV2RGB_YUY2),
    # OpenCV names a pattern by its second row; these aliases use the first, as ROS does.
    'bayer_rggb8': Encoding(_U8, 1, cv2.COLOR_BayerRGGB2RGB),
    'bayer_bggr8': Encoding(_U8, 1, cv2.COLOR_BayerBGGR2RGB),
    'bayer_gbrg8': Encoding(_U8, 1, cv2.COLOR_BayerGBRG2RGB),
    'bayer_grbg8': Encoding(_U8, 1, cv2.COLOR_BayerGRBG2RGB),
    'bayer_rggb16': Encoding(_U16, 1, cv2.COLOR_BayerRGGB2RGB),
    'bayer_bggr16': Encoding(_U16, 1, cv2.COLOR_BayerBGGR2RGB),
    'bayer_gbrg16': Encoding(_U16, 1, cv2.COLOR_BayerGBRG2RGB),
    'bayer_grbg16': Encoding(_U16, 1, cv2.COLOR_BayerGRBG2RGB),
}
DEPTH_ENCODINGS = frozenset({'16UC1', '32FC1', 'mono16'})
_MAX_PIXELS = 1 << 27


def find_encoding(name: str) -> Encoding:
    """Return how to read an encoding.

    Raises:
        FrameError: `bad_encoding`; the message lists the known ones.
    """
    found = ENCODINGS.get(name)
    if found is None:
        raise FrameError(
            'bad_encoding', 'image of unknown encoding', repr(name), f'one of {sorted(ENCODINGS)}'
        )
    return found


def decode_raw(
    encoding: str, height: int, width: int, step: int, data: Any, is_bigendian: bool = False
) -> NDArray[Any]:
    """Return the pixels of a raw image in native byte order; a view of `data` where possible.

    Args:
        encoding: Name of `ENCODINGS`.
        height: Rows.
        width: Columns.
        step: Bytes from one row to the next; the padding between is skipped.
        data: Any buffer of at least `height * step` bytes (the last row's padding may lack).
        is_bigendian: Byte order of channels of more than one byte.

    Returns:
        (H, W) for one channel, else (H, W, C).

    Raises:
        FrameError: `bad_encoding`, or `bad_image` where the sizes contradict each other.
    """
    kind = find_encoding(encoding)
    if not (height > 0 and width > 0 and height * width <= _MAX_PIXELS):
        raise FrameError('bad_image', 'image size', f'{width}x{height}', f'1 to {_MAX_PIXELS} px')
    item = np.dtype(kind.dtype)
    row = width * kind.channels * item.itemsize
    if step < row:
        raise FrameError('bad_image', f'image step of {width} px {encoding}', step, f'>= {row}')
    buffer = np.frombuffer(data, np.uint8)
    needed = (height - 1) * step + row
    if buffer.size < needed:
        raise FrameError('bad_image', 'image data', f'{buffer.size} bytes', f'{needed} bytes')
    stored = item.newbyteorder('>' if is_bigendian else '<')
    # Strides keep the padding out without a copy; an odd step needs no alignment on x86 or ARM.
    pixels = np.ndarray(
        (height, width, kind.channels),
        stored,
        buffer,
        strides=(step, kind.channels * item.itemsize, item.itemsize),
    )
    native: NDArray[Any] = pixels.astype(item, copy=False)
    return native[..., 0] if kind.channels == 1 else native


def to_rgb(pixels: NDArray[Any], encoding: str) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of the pixels that `decode_raw` gave.

    Gray becomes gray RGB; 16 bits per channel keep their upper 8.

    Raises:
        FrameError: `bad_encoding` for depth, `bad_image` for an odd width of YUV 4:2:2.
    """
    kind = find_encoding(encoding)
    if not kind.color:
        raise FrameError('bad_encoding', 'colour image', encoding, 'an encoding of colour or gray')
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if kind.to_rgb is not None:
        try:
            pixels = cv2.cvtColor(np.ascontiguousarray(pixels), kind.to_rgb)
        except cv2.error as error:
            raise FrameError(
                'bad_image', f'{encoding} image cannot be converted', pixels.shape, 'even sizes'
            ) from error
    return pixels


def to_depth_m(pixels: NDArray[Any], encoding: str, scale_m: float = 0.001) -> NDArray[np.float32]:
    """Return (H, W) float32 metres, 0 = invalid, of depth pixels (REP-118).

    Args:
        pixels: (H, W) uint16 or float32.
        encoding: `16UC1` or `mono16` (units of `scale_m`; 0 and 65535 are invalid), or `32FC1`
            (metres; NaN, Inf and negative values are invalid).
        scale_m: Metres per unit of 16-bit depth; 0.001 by REP-118.

    Raises:
        FrameError: `bad_encoding` where it is no encoding of depth.
    """
    if encoding not in DEPTH_ENCODINGS:
        wanted = f'one of {sorted(DEPTH_ENCODINGS)}'
        raise FrameError('bad_encoding', 'depth image', encoding, wanted)
    if pixels.dtype == np.uint16:
        # Dividing by a whole number gives the nearest float; 0.001 itself is not one.
        units = 1 / scale_m
        whole = abs(units - round(units)) < 1e-9 * units
        depth: NDArray[np.float32] = (
            np.divide(pixels, np.float32(round(units)), dtype=np.float32)
            if whole
            else np.multiply(pixels, np.float32(scale_m), dtype=np.float32)
        )
        depth[pixels == 65535] = 0
        return depth
    valid = np.isfinite(pixels) & (pixels > 0)
    return np.where(valid, pixels, np.float32(0)).astype(np.float32, copy=False)


def raw_fields(message: Any) -> tuple[str, int, int, int, Any, bool]:
    """Return what `decode_raw` takes of a sensor_msgs/Image, of whatever library it is."""
    return (
        message.encoding,
        message.height,
        message.width,
        message.step,
        message.data,
        bool(message.is_bigendian),
    )


def decode_color(
    encoding: str, height: int, width: int, step: int, data: Any, is_bigendian: bool = False
) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of a raw image; see `decode_raw` and `to_rgb`."""
    return to_rgb(decode_raw(encoding, height, width, step, data, is_bigendian), encoding)


def decode_depth(
    encoding: str, height: int, width: int, step: int, data: Any, is_bigendian: bool = False
) -> NDArray[np.float32]:
    """Return (H, W) float32 metres, 0 = invalid; see `decode_raw` and `to_depth_m`."""
    return to_depth_m(decode_raw(encoding, height, width, step, data, is_bigendian), encoding)


def depth_to_mm(depth_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return 16UC1 millimetres (H, W), rounded; what does not fit into 16 bits becomes 0."""
    millimetres = np.rint(depth_m * np.float32(1000))
    fits = (millimetres > 0) & (millimetres < 65535)
    return np.where(fits, millimetres, 0).astype(np.uint16)
