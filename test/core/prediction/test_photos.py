"""Photos of every kind become upright 8-bit RGB of bounded size."""

from __future__ import annotations

from pathlib import Path
import struct

import cv2
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.prediction import photos
from recon3d_core.prediction.photos import read_mask, read_photo

RED = (220, 30, 40)


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    """Return RGB: grey, its upper left quarter red."""
    rgb = np.full((height, width, 3), 128, np.uint8)
    rgb[: height // 2, : width // 2] = RED
    return rgb


def save(path: Path, image: np.ndarray) -> Path:
    order = image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image
    assert cv2.imwrite(str(path), order)
    return path


def with_exif(path: Path, orientation: int) -> Path:
    """Put an EXIF orientation into a JPEG."""
    data = path.read_bytes()
    tiff = b'II*\0' + struct.pack('<IHHHIHHI', 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b'Exif\0\0' + tiff
    path.write_bytes(data[:2] + b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body + data[2:])
    return path


@pytest.mark.parametrize(('name', 'tolerance'), [('a.png', 0), ('a.jpg', 12), ('a.JPEG', 12)])
def test_colors_are_rgb(tmp_path: Path, name: str, tolerance: int) -> None:
    photo = read_photo(save(tmp_path / name, scene()))
    assert photo.size == (80, 60)
    assert photo.alpha is None
    assert np.abs(photo.rgb[5, 5].astype(int) - RED).max() <= tolerance


@pytest.mark.parametrize(
    ('orientation', 'corner', 'size'),
    [
        (1, (5, 5), (80, 60)),
        (3, (-5, -5), (80, 60)),
        (6, (5, -5), (60, 80)),
        (8, (-5, 5), (60, 80)),
    ],
)
def test_exif_turns_the_photo(tmp_path: Path, orientation: int, corner, size) -> None:
    photo = read_photo(with_exif(save(tmp_path / 'a.jpg', scene()), orientation))
    assert photo.size == size == photo.rgb.shape[1::-1]
    assert np.abs(photo.rgb[corner].astype(int) - RED).max() <= 12


def test_opacity_is_kept_only_where_it_says_something(tmp_path: Path) -> None:
    rgba = np.concatenate([scene()[..., ::-1], np.full((60, 80, 1), 255, np.uint8)], -1)
    assert read_photo(save(tmp_path / 'full.png', rgba)).alpha is None
    rgba[:, :20, 3] = 0
    photo = read_photo(save(tmp_path / 'part.png', rgba))
    np.testing.assert_array_equal(photo.alpha, rgba[..., 3])
    assert tuple(photo.rgb[5, 5]) == RED


def test_grey_and_sixteen_bits(tmp_path: Path) -> None:
    grey = scene()[..., 0]
    photo = read_photo(save(tmp_path / 'grey.png', grey))
    np.testing.assert_array_equal(photo.rgb, np.repeat(grey[..., None], 3, -1))
    deep = (scene().astype(np.uint16) << 8) + 77
    np.testing.assert_array_equal(read_photo(save(tmp_path / 'deep.png', deep)).rgb, scene())


def test_palettes(tmp_path: Path) -> None:
    Image = pytest.importorskip('PIL.Image')

    Image.fromarray(scene()).convert('P', palette=Image.Palette.ADAPTIVE, colors=4).save(
        tmp_path / 'p.png'
    )
    assert np.abs(read_photo(tmp_path / 'p.png').rgb.astype(int) - scene()).max() < 8


def test_huge_photos_are_made_smaller_while_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, 'KEPT_PIXELS', 1000)
    for name in ('a.jpg', 'a.png'):
        photo = read_photo(save(tmp_path / name, scene()))
        assert photo.size == (80, 60)
        assert photo.rgb.shape[0] * photo.rgb.shape[1] <= 1300
        assert photo.scale == pytest.approx((photo.rgb.shape[1] / 80, photo.rgb.shape[0] / 60))
        mask = np.zeros((60, 80), np.uint8)
        mask[:, :40] = 255
        small = read_mask(save(tmp_path / 'm.png', mask), photo)
        assert small.shape == photo.rgb.shape[:2]
        assert (small > 127).mean() == pytest.approx(0.5, abs=0.05)


def test_a_header_that_claims_gigabytes_is_not_decoded(tmp_path: Path) -> None:
    data = bytearray(save(tmp_path / 'a.png', scene()).read_bytes())
    data[16:24] = struct.pack('>II', 60000, 60000)
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(InputError, match='60000x60000'):
        read_photo(tmp_path / 'a.png')


def test_masks_of_zero_and_one_count(tmp_path: Path) -> None:
    photo = read_photo(save(tmp_path / 'a.png', scene()))
    mask = (scene()[..., 0] > 200).astype(np.uint8)
    read = read_mask(save(tmp_path / 'm.png', mask), photo)
    np.testing.assert_array_equal(read > 127, mask > 0)
