"""The payloads of sensor_msgs/CompressedImage: JPEG, PNG, and compressedDepth (PNG or RVL).

The `format` strings are those of image_transport's plugins, such as `jpeg`,
`rgb8; jpeg compressed bgr8`, `16UC1; compressedDepth png`.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.encodings import to_depth_m
from recon3d_core.errors import FrameError

_HEADER = struct.Struct('<iff')
_RVL_SIZE = struct.Struct('<ii')
_MAX_PIXELS = 1 << 26
"""An image of a few kilobytes may claim gigabytes of pixels; 64 million are more than any camera."""
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def _imdecode(data: Any, flags: int, reason: str) -> NDArray[Any]:
    buffer = np.frombuffer(data, np.uint8)
    size = _claimed_size(buffer)
    if size is not None and size[0] * size[1] > _MAX_PIXELS:
        got = f'{size[0]}x{size[1]}'
        raise FrameError(reason, 'image size', got, f'at most {_MAX_PIXELS} px')
    try:
        # Only what tells its size is decoded: OpenCV would read other formats, of any size.
        image = None if size is None else cv2.imdecode(buffer, flags)
    except cv2.error:  # a header of an absurd size
        image = None
    if image is None:
        kind = 'colour' if reason == 'bad_color' else 'depth'
        raise FrameError(
            reason,
            f'{kind} image cannot be decoded',
            f'{buffer.size} bytes',
            'a whole JPEG or PNG',
        )
    return image


def _claimed_size(data: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Return width and height that a PNG or JPEG says it has; None where it is neither."""
    head = data[:24].tobytes()
    if head.startswith(b'\x89PNG\r\n\x1a\n') and head[12:16] == b'IHDR' and len(head) == 24:
        width, height = struct.unpack('>II', head[16:])
        return width, height
    if not head.startswith(b'\xff\xd8'):
        return None
    at = 2
    while at + 9 <= len(data):
        marker = int(data[at + 1])
        if int(data[at]) != 0xFF:
            return None
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _FRAME_HEADERS:
            height, width = struct.unpack('>HH', data[at + 5 : at + 9].tobytes())
            return width, height
        else:
            at += 2 + max(2, 256 * int(data[at + 2]) + int(data[at + 3]))
    return None


def _complete(data: NDArray[np.uint8]) -> bool:
    """Return whether a JPEG or PNG has its end mark; OpenCV fills the rest of a cut one."""
    tail = data[-4096:].tobytes()
    if data[:2].tobytes() == b'\xff\xd8':
        return b'\xff\xd9' in tail
    if data[:4].tobytes() == b'\x89PNG':
        return b'IEND' in tail
    return True


def decode_compressed_color(image_format: str, data: Any) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of a JPEG or PNG.

    Args:
        image_format: The message's `format`; only `compressed rgb...` matters, which says that
            the channels were swapped before compression.
        data: Any buffer.

    Raises:
        FrameError: `bad_color`: it is truncated or no image.
    """
    buffer = np.frombuffer(data, np.uint8)
    if not _complete(buffer):
        raise FrameError(
            'bad_color', 'colour image is truncated', f'{buffer.size} bytes', 'a whole JPEG or PNG'
        )
    image = _imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, 'bad_color')
    if 'compressed rgb' not in image_format:
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return image


def decode_png_depth(data: Any) -> NDArray[np.uint16]:
    """Return the (H, W) uint16 pixels of a 16-bit PNG.

    Raises:
        FrameError: `bad_depth`: it is truncated, or not of one channel of 16 bits.
    """
    buffer = np.frombuffer(data, np.uint8)
    if not _complete(buffer):
        raise FrameError(
            'bad_depth', 'depth image is truncated', f'{buffer.size} bytes', 'a whole PNG'
        )
    image = _imdecode(buffer, cv2.IMREAD_UNCHANGED, 'bad_depth')
    if image.dtype != np.uint16 or image.ndim != 2:
        raise FrameError(
            'bad_depth', 'depth image', f'{image.dtype} {image.shape}', 'one channel of 16 bits'
        )
    return image


def decode_compressed_depth(image_format: str, data: Any) -> NDArray[np.float32]:
    """Return (H, W) float32 metres, 0 = invalid, of a compressedDepth or plain PNG payload.

    A compressedDepth payload has 12 bytes before the image: an int32 and the two parameters a, b
    of the inverse depth, by which 32FC1 is stored as `a / depth + b` in 16 bits.

    Raises:
        FrameError: `bad_depth` where it cannot be decoded, `bad_encoding` where `image_format`
            is no format of depth.
    """
    encoding = image_format.split(';')[0].strip() or '16UC1'
    buffer = np.frombuffer(data, np.uint8)
    if 'compressedDepth' not in image_format:
        encoding = encoding if encoding in ('16UC1', 'mono16') else '16UC1'
        return to_depth_m(decode_png_depth(buffer), encoding)
    if encoding not in ('16UC1', '32FC1', 'mono16'):
        raise FrameError('bad_encoding', 'compressedDepth of', repr(encoding), '16UC1 or 32FC1')
    if buffer.size <= _HEADER.size:
        raise FrameError('bad_depth', 'compressedDepth', f'{buffer.size} bytes', 'a header, image')
    _, a, b = _HEADER.unpack(buffer[: _HEADER.size].tobytes())
    payload = buffer[_HEADER.size :]
    is_rvl = 'rvl' in image_format.lower()
    pixels = decode_rvl(payload) if is_rvl else decode_png_depth(payload)
    if encoding != '32FC1':
        return to_depth_m(pixels, encoding)
    with np.errstate(divide='ignore', invalid='ignore'):
        depth = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    depth[pixels == 0] = 0
    return to_depth_m(depth, '32FC1')


def decode_rvl(payload: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the (H, W) uint16 pixels of an RVL payload (Wilson 2017) that begins with its size.

    Runs of zeros and of others alternate; the others are differences to the last one. All
    numbers are groups of 3 bits, least first, with a bit that says whether another follows.

    Raises:
        FrameError: `bad_depth`: it is truncated or contradicts itself.
    """
    if payload.size < _RVL_SIZE.size:
        raise FrameError('bad_depth', 'RVL depth', f'{payload.size} bytes', 'a size and data')
    width, height = _RVL_SIZE.unpack(payload[: _RVL_SIZE.size].tobytes())
    if not (width > 0 and height > 0 and width * height <= _MAX_PIXELS):
        raise FrameError('bad_depth', 'RVL depth of impossible size', f'{width}x{height}')
    numbers = _rvl_numbers(payload[_RVL_SIZE.size :])
    pixels = np.zeros(width * height, np.int64)
    deltas = (numbers >> 1) ^ -(numbers & 1)
    position, place, last = 0, 0, 0
    while place < pixels.size and position + 1 < numbers.size:
        place += int(numbers[position])
        run = int(numbers[position + 1])
        position += 2
        if place + run > pixels.size or position + run > numbers.size:
            break
        if run:
            values = last + np.cumsum(deltas[position : position + run])
            pixels[place : place + run] = values
            last = int(values[-1])
        place, position = place + run, position + run
    if place != pixels.size:
        raise FrameError('bad_depth', 'RVL depth', f'{place} pixels', f'{pixels.size} pixels')
    return (pixels & 0xFFFF).astype(np.uint16).reshape(height, width)


def _rvl_numbers(payload: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the numbers of an RVL stream: nibbles, the highest of each little-endian word first."""
    words = payload[: payload.size // 4 * 4].view('<u4')
    shifts = np.arange(28, -1, -4, dtype=np.uint32)
    nibbles = ((words[:, None] >> shifts) & 0xF).astype(np.int64).ravel()
    ends = np.flatnonzero(nibbles < 8)
    if ends.size == 0:
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = np.arange(ends[-1] + 1) - np.repeat(starts, ends - starts + 1)
    parts = (nibbles[: ends[-1] + 1] & 7) << np.minimum(3 * digits, 60)
    return np.add.reduceat(parts, starts)


def encode_color(rgb: NDArray[np.uint8], kind: str = 'jpeg', quality: int = 95) -> bytes:
    """Return a JPEG (`quality` in 0..100) or PNG of (H, W, 3) uint8 RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == 'jpeg' else []
    done, data = cv2.imencode(f'.{kind}', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise FrameError('bad_color', 'colour image cannot be encoded', rgb.shape)
    return bytes(data)


def encode_compressed_depth(depth_mm: NDArray[np.uint16]) -> bytes:
    """Return a compressedDepth payload of `16UC1; compressedDepth png`."""
    done, data = cv2.imencode('.png', depth_mm, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise FrameError('bad_depth', 'depth image cannot be encoded', depth_mm.shape)
    return _HEADER.pack(0, 0.0, 0.0) + bytes(data)
