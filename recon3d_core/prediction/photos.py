"""Photos from files: any JPEG or PNG as RGB of bounded size, with its mask where it has one.

Nothing is decoded before the file's header has said how large the image is, and nothing but JPEG
and PNG is decoded at all.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
import struct
from typing import Any
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError

MAX_BYTES = 1 << 28
MAX_PIXELS = 1 << 26  # that are decoded
MAX_JPEG_PIXELS = 1 << 28  # a JPEG is decoded at a half, a quarter or an eighth
KEPT_PIXELS = 1 << 24  # that are worked on; 4096 x 4096
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WANTED = 'a whole JPEG or PNG'


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photo, upright.

    Attributes:
        path: Its file.
        rgb: (H, W, 3) uint8.
        alpha: (H, W) uint8 opacity where the file has some that is not full; or None.
        size: Width and height of the whole photo, upright, before it was made smaller, pixels.
    """

    path: Path
    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """How many pixels of `rgb` one pixel of the photo makes, along x and y."""
        height, width = self.rgb.shape[:2]
        return width / self.size[0], height / self.size[1]


def read_photo(path: Path) -> Photo:
    """Return a photo: turned as its EXIF says, colours as 8-bit RGB, opacity apart.

    Raises:
        InputError: The file is missing, no whole JPEG or PNG, or too large.
    """
    data = _read(path)
    kind, width, height = _header(path, data)
    limit = MAX_JPEG_PIXELS if kind == 'jpeg' else MAX_PIXELS
    if not 0 < width * height <= limit:
        raise InputError(
            f'{path} is too large', f'{width}x{height} px', f'at most {limit / 1e6:.0f} million px'
        )
    _check_whole(path, kind, data)
    image = _decode(path, data, _flags(kind, width * height))
    if kind == 'jpeg' and (image.shape[1] > image.shape[0]) != (width > height):
        width, height = height, width  # turned by EXIF
    channels, alpha = _eight_bit(path, image)
    if alpha is not None and alpha.min() == 255:
        alpha = None
    rgb = _bounded(channels)
    return Photo(path, rgb, None if alpha is None else _bounded(alpha), (width, height))


def read_mask(path: Path, photo: Photo) -> NDArray[np.uint8]:
    """Return a mask of a photo: (H, W) uint8 coverage, as large as `photo.rgb`.

    White is the object; of a partly transparent image, what is opaque.

    Raises:
        InputError: The file is no image, has another size than the photo, or covers nothing.
    """
    image = read_photo(path)
    if image.size != photo.size:
        raise InputError(
            f'mask {path} does not fit {photo.path}',
            '{}x{} px'.format(*image.size),
            '{}x{} px'.format(*photo.size),
        )
    grey = image.alpha
    if grey is None:
        grey = np.asarray(cv2.cvtColor(image.rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    if int(grey.max()) == 1:  # 0 and 1 rather than 0 and 255
        grey = grey * np.uint8(255)
    height, width = photo.rgb.shape[:2]
    if grey.shape != (height, width):
        grey = np.asarray(cv2.resize(grey, (width, height)), np.uint8)
    if not (grey > 127).any():
        raise InputError(f'mask {path} covers nothing', None, 'white where the object is')
    return grey


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InputError(f'{path} is a folder', None, 'an image file')
        size = path.stat().st_size
        if not path.is_file() or size > MAX_BYTES:
            raise InputError(f'{path} is no image', f'{size} bytes', f'a file of {_WANTED}')
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path} cannot be read', reason, 'an image file') from error


def _header(path: Path, data: bytes) -> tuple[str, int, int]:
    """Return the format, and the width and height that the header claims."""
    if data[:8] == b'\x89PNG\r\n\x1a\n' and data[12:16] == b'IHDR' and len(data) > 24:
        return ('png', *struct.unpack('>II', data[16:24]))
    at = 2 if data[:2] == b'\xff\xd8' else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # a fill byte
            at += 1
        elif data[at + 1] in _FRAME_HEADERS:
            height, width = struct.unpack('>HH', data[at + 5 : at + 9])
            return 'jpeg', width, height
        else:
            at += 2 + max(2, 256 * data[at + 2] + data[at + 3])
    got = 'an empty file' if not data else f'{len(data)} bytes of something else'
    raise InputError(f'{path} is no image', got, _WANTED, 'Convert other formats first.')


def _check_whole(path: Path, kind: str, data: bytes) -> None:
    """Check that a file has its end, which OpenCV would fill with grey, and a PNG its sums."""
    if kind == 'jpeg':
        if b'\xff\xd9' not in data[-65536:]:
            raise InputError(f'{path} is cut off', f'{len(data)} bytes', _WANTED)
        return
    at = 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], 'big')
        chunk, check = data[at + 4 : end - 4], data[end - 4 : end]
        if end <= len(data) and zlib.crc32(chunk) != int.from_bytes(check, 'big'):
            raise InputError(f'{path} is damaged', f'a wrong sum at byte {at}', _WANTED)
        if chunk[:4] == b'IEND':
            return
        at = end
    raise InputError(f'{path} is cut off', f'{len(data)} bytes', _WANTED)


def _flags(kind: str, pixels: int) -> int:
    if kind == 'png':
        return cv2.IMREAD_UNCHANGED
    if pixels <= KEPT_PIXELS:
        return cv2.IMREAD_COLOR
    factor = next((f for f in _REDUCED if pixels <= KEPT_PIXELS * f * f), 0)
    return _REDUCED.get(factor, cv2.IMREAD_REDUCED_COLOR_8)


def _decode(path: Path, data: bytes, flags: int) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f'{path} cannot be decoded', None, _WANTED) from error
    if image is None or not image.size:
        raise InputError(f'{path} cannot be decoded', f'{len(data)} bytes', _WANTED)
    return np.asarray(image)


def _eight_bit(
    path: Path, image: NDArray[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return RGB (H, W, 3) and opacity (H, W) of what OpenCV decoded."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f'{path} has pixels of another type', image.dtype, '8 or 16 bits')
    if image.ndim == 2:
        image = image[..., None]
    channels = image.shape[2]
    alpha = np.ascontiguousarray(image[..., -1]) if channels in (2, 4) else None
    rgb = image[..., 2::-1] if channels >= 3 else np.repeat(image[..., :1], 3, -1)
    return np.ascontiguousarray(rgb), alpha


def _bounded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if height * width <= KEPT_PIXELS:
        return image
    factor = (KEPT_PIXELS / (height * width)) ** 0.5
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
