"""Square crops around an object: what networks see, in training, prediction and the pipeline.

A crop is a whole number of pixels, so that its intrinsics are exact: image coordinates of the crop
run from 0 to 1 between its outer edges, as `ViewCameras.K` wants them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError

MARGIN = 0.1  # of the object's longer side, on every side of the crop
WHITE = (255, 255, 255)

Box = tuple[float, float, float, float]


def mask_box(mask: NDArray[Any]) -> Box:
    """Return the box (x0, y0, x1, y1) of what a mask covers, outer edges, pixels.

    Column i reaches from i to i + 1 here: edges, not the centres of pixels.

    Raises:
        InputError: The mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        raise InputError('the mask is empty', fix='Give a mask that covers the object.')
    return (
        float(columns[0]),
        float(rows[0]),
        float(columns[-1] + 1),
        float(rows[-1] + 1),
    )


def square_around(box: Box, margin: float = MARGIN) -> tuple[int, int, int]:
    """Return the square (x0, y0, side) around a box, whole pixels, possibly outside the image.

    Args:
        box: x0, y0, x1, y1 of the outer edges, pixels.
        margin: Space on every side, of the box's longer side.

    Raises:
        InputError: The box is empty or not finite.
    """
    x0, y0, x1, y1 = box
    if not np.isfinite(box).all() or x1 <= x0 or y1 <= y0:
        raise InputError('the box around the object is empty', box, 'x0 < x1 and y0 < y1')
    side = max(math.ceil(max(x1 - x0, y1 - y0) * (1 + 2 * margin)), 1)
    return round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2), side


def normalized_K(
    K: NDArray[np.floating], x0: float, y0: float, side: float
) -> NDArray[np.float32]:
    """Return intrinsics of a square crop for image coordinates in [0, 1] (`ViewCameras.K`).

    Args:
        K: (3, 3) or (V, 3, 3) in pixels, pixel centres at integers.
        x0: Left outer edge of the crop, pixels.
        y0: Upper outer edge.
        side: Its side.
    """
    to_unit = np.array(
        [[1 / side, 0, (0.5 - x0) / side], [0, 1 / side, (0.5 - y0) / side], [0, 0, 1]]
    )
    return np.asarray(to_unit @ K, np.float32)


def cut_square(
    image: NDArray[np.uint8], x0: int, y0: int, side: int, fill: Any = 0
) -> NDArray[np.uint8]:
    """Return a square of an image; what lies outside of it has the colour `fill`.

    Args:
        image: (H, W) or (H, W, C) uint8.
        x0: Left column.
        y0: Upper row.
        side: Rows and columns of the result.
        fill: A number, or one per channel.
    """
    height, width = image.shape[:2]
    square = np.empty((side, side, *image.shape[2:]), np.uint8)
    square[:] = fill
    top, left = max(y0, 0), max(x0, 0)
    bottom, right = min(y0 + side, height), min(x0 + side, width)
    if bottom > top and right > left:
        part = image[top:bottom, left:right]
        square[top - y0 : bottom - y0, left - x0 : right - x0] = part
    return square


def resize_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return a square image at another size; outer edges stay where they are."""
    if image.shape[0] == size:
        return image
    import cv2  # packed sets are read where there is no OpenCV

    method = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), np.uint8)


def crop_view(
    image: NDArray[np.uint8],
    mask: NDArray[Any] | None,
    K: NDArray[np.floating] | None,
    size: int,
    *,
    margin: float = MARGIN,
    box: Box | None = None,
    fill: tuple[int, int, int] = WHITE,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.float32] | None]:
    """Cut the square around an object out of a photo and bring it to a network's size.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, or uint8 coverage from 0 to 255; None where unknown.
        K: (3, 3) intrinsics in pixels, pixel centres at integers; None where unknown.
        size: Edge of the result, pixels.
        margin: Space on every side, of the object's longer side.
        box: x0, y0, x1, y1 of the object's outer edges in pixels; from the mask where None, and
            the whole image where there is no mask either.
        fill: Colour of what lies outside the image.

    Returns:
        The image (size, size, 3), its mask (size, size) uint8 coverage or None, and its intrinsics
        for image coordinates in [0, 1] (`ViewCameras.K`) or None.

    Raises:
        InputError: A shape is wrong, or mask or box are empty.
    """
    check_shape('image', image, ('H', 'W', 3))
    if mask is not None:
        check_shape('mask', mask, image.shape[:2])
        mask = mask.astype(np.uint8) * 255 if mask.dtype == bool else mask
    if box is None and mask is not None:
        box = mask_box(mask > 127)
    elif box is None:
        box, margin = (0.0, 0.0, float(image.shape[1]), float(image.shape[0])), 0.0
    x0, y0, side = square_around(box, margin)
    if side > 4 * max(image.shape[:2]):
        raise InputError('the box is much larger than its image', f'{side} px', image.shape[:2])
    cropped = resize_square(cut_square(image, x0, y0, side, fill), size)
    if mask is not None:
        mask = resize_square(cut_square(mask, x0, y0, side), size)
    return cropped, mask, None if K is None else normalized_K(K, x0, y0, side)
