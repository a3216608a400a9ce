"""From photos and masks to what a network sees, with notes on what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.crops import crop_view, mask_box, square_around
from recon3d_core.errors import InputError
from recon3d_core.fusion._crops import Crop
from recon3d_core.geometry.cameras import Camera
from recon3d_core.prediction.photos import Photo, read_mask, read_photo
from recon3d_core.prediction.poses import Poses
from recon3d_core.prediction.segmentation import segment
from recon3d_core.types import Frame, View

MaskSource = Literal['file', 'alpha', 'segmentation']

SURE_MASK = 0.6  # confidence below which a found mask is doubted
_BLURRED = 0.10  # sharpest step in a crop, of its range of brightness
_OUTLINE = 640  # longer edge at which masks are intersected, pixels


@dataclasses.dataclass(frozen=True)
class ObjectView:
    """One photo of the object, ready for a network.

    Attributes:
        path: The photo's file.
        crop: Square crop with its mask; its pose is the identity and K a guess where unknown.
        color: (3,) uint8 RGB, median of the object's pixels.
        mask_source: Where the mask is from.
        mask_confidence: In [0, 1]; 1 where it was given.
        box_xyxy: The crop in the upright photo: x0, y0, x1, y1 of its outer edges, pixels.
        size: Width and height of the upright photo, pixels.
        notes: What is wrong with it.
        outline: The mask with its camera at a bounded size; None without pose.
    """

    path: Path
    crop: Crop
    color: NDArray[np.uint8]
    mask_source: MaskSource
    mask_confidence: float
    box_xyxy: tuple[float, float, float, float]
    size: tuple[int, int]
    notes: tuple[str, ...]
    outline: View | None


def read_views(
    images: Sequence[Path], masks: Sequence[Path], poses: Poses | None, size: int
) -> list[ObjectView]:
    """Return the views of photos; one photo is in memory at a time.

    Args:
        images: Files of the photos.
        masks: As many files of masks, or none.
        poses: Their cameras, or None.
        size: Edge of the crops, pixels.

    Raises:
        InputError: A file is broken, or a mask is empty or of another size.
    """
    if masks and len(masks) != len(images):
        raise InputError('--mask', f'{len(masks)} masks', f'{len(images)}, one of every image')
    found = []
    for index, path in enumerate(images):
        photo = read_photo(path)
        mask, source, confidence = _mask(photo, masks[index] if masks else None)
        K = T = None
        if poses is not None:
            K, T = _scaled(poses.K[index], photo), poses.T_world_camera[index]
        found.append(_view(photo, mask, source, confidence, K, T, size))
    return found


def _mask(photo: Photo, path: Path | None) -> tuple[NDArray[np.uint8], MaskSource, float]:
    if path is not None:
        return read_mask(path, photo), 'file', 1.0
    if photo.alpha is not None:
        if not (photo.alpha > 127).any():
            raise InputError(f'{photo.path} is transparent', None, 'an object that is opaque')
        return photo.alpha, 'alpha', 1.0
    mask, confidence = segment(photo.rgb)
    return mask, 'segmentation', confidence


def _scaled(K: NDArray[np.float64], photo: Photo) -> NDArray[np.float64]:
    """Return the intrinsics of the photo as it was kept."""
    sx, sy = photo.scale
    to_kept = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    return to_kept @ K


def _view(
    photo: Photo,
    mask: NDArray[np.uint8],
    source: MaskSource,
    confidence: float,
    K: NDArray[np.float64] | None,
    T: NDArray[np.float64] | None,
    size: int,
) -> ObjectView:
    rgb = photo.rgb
    image, crop_mask, crop_K = crop_view(rgb, mask, K, size)
    assert crop_mask is not None
    box = mask_box(mask > 127)
    x0, y0, side = square_around(box)
    height, width = mask.shape
    cut = box[0] <= 0 or box[1] <= 0 or box[2] >= width or box[3] >= height
    pixels = rgb[mask > 127]
    color = np.median(pixels[:: max(1, len(pixels) // 20000)], axis=0).astype(np.uint8)
    if crop_K is None:
        crop_K = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], np.float32)
    crop = Crop(image, crop_mask, crop_K, np.eye(4) if T is None else T, whole=not cut)
    sx, sy = photo.scale
    return ObjectView(
        path=photo.path,
        crop=crop,
        color=color,
        mask_source=source,
        mask_confidence=confidence,
        box_xyxy=(x0 / sx, y0 / sy, (x0 + side) / sx, (y0 + side) / sy),
        size=photo.size,
        notes=_notes(crop, side, source, confidence),
        outline=None if K is None or T is None else _outline(mask, K, T),
    )


def _notes(crop: Crop, side: int, source: MaskSource, confidence: float) -> tuple[str, ...]:
    notes = []
    if source == 'segmentation' and confidence == 0:
        notes.append('nothing stands out of the background: all of the photo was taken')
    elif source == 'segmentation' and confidence < SURE_MASK:
        notes.append(f'the mask is doubtful ({confidence:.2f})')
    if not crop.whole:
        notes.append("the object is cut off by the photo's border")
    if side < len(crop.mask) // 2:
        notes.append(f'the object is small: {side} px')
    grey = cv2.cvtColor(crop.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    reach = float(np.ptp(np.percentile(grey, [1, 99])))
    step = float(np.percentile(np.abs(np.diff(grey, axis=1)), 99.5))
    if side >= len(crop.mask) // 2 and step < _BLURRED * reach:
        notes.append('the photo is blurred')
    return tuple(notes)


def _outline(
    mask: NDArray[np.uint8], K: NDArray[np.float64], T_world_camera: NDArray[np.float64]
) -> View:
    """Return a mask with its camera, no larger than _OUTLINE."""
    height, width = mask.shape
    step = max(1, -(-max(height, width) // _OUTLINE))
    fx, fy, cx, cy = K[(0, 1, 0, 1), (0, 1, 2, 2)].tolist()
    camera = Camera(width, height, fx, fy, cx, cy).subsampled(step)
    solid = mask[::step, ::step] > 127
    if not solid.any():
        raise InputError('the object is too small in its photo', '1 px', 'some pixels')
    x0, y0, x1, y1 = mask_box(solid)
    frame = Frame(0, camera, T_world_camera=T_world_camera)
    return View(frame, solid, (int(x0), int(y0), int(x1) - 1, int(y1) - 1))
