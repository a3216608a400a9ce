"""Objects of photos without masks: found where they stand out, and doubted where not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from recon3d_core.prediction.segmentation import segment
from recon3d_core.prediction.views import SURE_MASK


def photo(background: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture (240, 320, 3) of a two-coloured thing, and its mask."""
    rng = np.random.default_rng(seed)
    light = np.linspace(1, 0.7, 240)[:, None, None]
    rgb = np.full((240, 320, 3), (205, 200, 190)) * light
    if background == 'two':
        rgb[150:] = np.array([140, 100, 70]) * light[150:]
    truth = np.zeros((240, 320), np.uint8)
    cv2.ellipse(truth, (160, 130), (50, 70), 0, 0, 360, 1, -1)
    rgb[truth > 0] = (40, 70, 150)
    rgb[(truth > 0) & (np.arange(240) > 140)[:, None]] = (170, 40, 50)
    rgb += rng.normal(0, 3, rgb.shape)
    return np.clip(rgb, 0, 255).astype(np.uint8), truth > 0


@pytest.mark.parametrize('background', ['plain', 'two'])
def test_a_thing_on_a_plain_background(background: str) -> None:
    rgb, truth = photo(background)
    mask, confidence = segment(rgb)
    assert mask.shape == truth.shape
    assert ((mask > 127) & truth).sum() / ((mask > 127) | truth).sum() > 0.95
    assert confidence > 0.8


def test_it_is_the_same_every_time() -> None:
    rgb, _ = photo('two')
    first, second = segment(rgb), segment(rgb)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]


@pytest.mark.parametrize(
    'rgb',
    [
        np.full((100, 100, 3), 180, np.uint8),
        np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.full((3, 500, 3), 7, np.uint8),
    ],
    ids=['flat', 'noise', 'one pixel', 'strip'],
)
def test_where_nothing_stands_out_it_says_so(rgb: np.ndarray) -> None:
    mask, confidence = segment(rgb)
    assert mask.shape == rgb.shape[:2]
    assert (mask > 127).any()
    assert confidence < SURE_MASK


@pytest.mark.data
def test_it_is_surer_of_a_cut_out_than_of_a_whole_kitchen(kitchen_dir) -> None:
    image = cv2.imread(str(kitchen_dir / 'frame-000200.color.jpg'))[..., ::-1]
    assert segment(np.ascontiguousarray(image))[1] < segment(photo('plain')[0])[1] - 0.2


@pytest.mark.data
def test_renderings_of_chairs_on_a_plain_background(data_dir) -> None:
    folder = next((data_dir / 'r2n2_sample/ShapeNetRendering').glob('*/*/rendering'))
    values = []
    for index in (0, 5, 11):
        rgba = cv2.imread(str(folder / f'{index:02d}.png'), cv2.IMREAD_UNCHANGED)
        opaque = rgba[..., 3:] / 255
        wall = np.array([190, 215, 225]) * np.linspace(1, 0.8, len(rgba))[:, None, None]
        rgb = (rgba[..., 2::-1] * opaque + wall * (1 - opaque)).astype(np.uint8)
        mask, confidence = segment(rgb)
        truth = rgba[..., 3] > 127
        values.append(((mask > 127) & truth).sum() / ((mask > 127) | truth).sum())
        assert confidence > 0.7
    assert min(values) > 0.93
