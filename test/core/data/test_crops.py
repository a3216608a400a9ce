"""Square crops: exact intrinsics, images that are left, masks; and drawn cameras."""

from __future__ import annotations

from hypothesis import given, strategies
import numpy as np
import pytest
from recon3d_core.data.crops import crop_view, mask_box
from recon3d_core.data.view_sampling import (
    crop_cameras,
    draw_poses,
    spread_poses,
    ViewRange,
)
from recon3d_core.errors import InputError


def blob(height, width, x, y, radius):
    """Return an image with a smooth bright spot at pixel (x, y), and its mask."""
    rows, columns = np.mgrid[:height, :width]
    squared = (columns - x) ** 2 + (rows - y) ** 2
    image = np.repeat((255 * np.exp(-squared / (radius / 2) ** 2))[..., None], 3, -1)
    return image.astype(np.uint8), squared <= radius**2


def centroid(image):
    weights = image[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


@given(
    strategies.floats(20, 100),
    strategies.floats(20, 60),
    strategies.floats(8, 16),
    strategies.sampled_from([32, 64, 100, 128]),
    strategies.floats(0.05, 0.6),
)
def test_what_a_pixel_sees_stays(x, y, radius, size, margin):
    image, mask = blob(80, 120, x, y, radius)
    K = np.array([[90.0, 0, 61], [0, 95, 38], [0, 0, 1]])
    ray = np.linalg.inv(K) @ [x, y, 1]
    cropped, cut, unit_K = crop_view(image, mask, K, size, margin=margin, fill=(0, 0, 0))
    assert cropped.shape == (size, size, 3)
    expected = (unit_K @ ray)[:2] * size - 0.5
    assert np.abs(centroid(cropped) - expected).max() < 0.03 * size
    inside = np.array([cut.any(0).nonzero()[0], cut.any(1).nonzero()[0]], object)
    assert all(len(hit) <= size / (1 + 2 * margin) * 1.1 + 2 for hit in inside)


def test_without_scaling_pixels_are_the_same():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3), np.uint8)
    before = image.copy()
    K = np.array([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]])
    cropped, mask, unit_K = crop_view(image, None, K, 32, margin=0, box=(10, 4, 42, 36))
    assert mask is None
    assert np.array_equal(cropped, image[4:36, 10:42])
    assert np.array_equal(image, before)
    # The centre of the crop's first pixel is the centre of pixel (10, 4).
    ray = np.linalg.inv(K) @ [10, 4, 1]
    assert np.allclose((unit_K @ ray)[:2] * 32, 0.5)


def test_outside_of_the_image_is_filled():
    image = np.zeros((20, 30, 3), np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[:, :30] = True
    cropped, cut, _ = crop_view(image, mask, None, 60, fill=(9, 8, 7))
    assert (cropped[0, 0] == (9, 8, 7)).all()
    assert (cropped[30, 30] == 0).all()
    assert cut[0].max() == 0
    assert cut[30].max() == 255
    far, gone, _ = crop_view(image, mask, None, 60, box=(100, 100, 120, 120), fill=(9, 8, 7))
    assert (far == (9, 8, 7)).all()
    assert not gone.any()


def test_whole_image_without_box_and_mask():
    cropped, _, _ = crop_view(np.full((20, 30, 3), 50, np.uint8), None, None, 30)
    assert (cropped[15] == 50).all()
    assert (cropped[0] == 255).all()


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'mask': np.zeros((20, 30), bool)}, 'mask is empty'),
        ({'mask': np.ones((30, 20), bool)}, 'mask has the wrong shape'),
        ({'image': np.zeros((20, 30), np.uint8)}, 'image has the wrong shape'),
        ({'box': (5, 5, 5, 9)}, 'box'),
        ({'box': (0, 0, np.nan, 9)}, 'box'),
        ({'box': (0, 0, 1e9, 9)}, 'much larger'),
    ],
)
def test_bad_input(change, words):
    given_ = {'image': np.zeros((20, 30, 3), np.uint8), 'mask': np.ones((20, 30), bool)} | change
    box = given_.pop('box', None)
    with pytest.raises(InputError, match=words):
        crop_view(given_['image'], given_['mask'], None, 32, box=box)


def test_mask_box_is_of_outer_edges():
    mask = np.zeros((9, 9), bool)
    mask[2:4, 5:9] = True
    assert mask_box(mask) == (5, 2, 9, 4)


@pytest.mark.parametrize('draw', [draw_poses, spread_poses])
def test_drawn_cameras_keep_their_range(draw):
    views = ViewRange(elevation=(-0.1, 1.0), distance=(1.5, 3.0), roll=0.1, off_axis=0.3)
    poses = draw(200, np.random.default_rng(1), views)
    R, t = poses[:, :3, :3], poses[:, :3, 3]
    assert np.allclose(R @ R.transpose(0, 2, 1), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(R), 1)
    eyes = -np.einsum('vji,vj->vi', R, t)
    distances = np.linalg.norm(eyes, axis=1)
    elevations = np.arcsin(eyes[:, 2] / distances)
    assert distances.min() >= 1.5 - 1e-9
    assert distances.max() <= 3.0 + 1e-9
    assert elevations.min() >= -0.1 - 1e-9
    assert elevations.max() <= 1.0 + 1e-9
    seen = np.arccos(t[:, 2] / distances)
    assert seen.max() <= 0.3 + 1e-6
    assert seen.max() > 0.2
    # Upright up to the roll: the vertical axis points up in the image.
    assert (R[:, 1, 2] < 0).all()


def test_first_evaluation_views_are_spread():
    views = ViewRange(off_axis=0.0, roll=0.0)
    for seed in range(20):
        poses = spread_poses(24, np.random.default_rng(seed), views)
        eyes = -np.einsum('vji,vj->vi', poses[:, :3, :3], poses[:, :3, 3])
        turns = np.sort(np.arctan2(eyes[:, 1], eyes[:, 0])[:5])
        gaps = np.diff(turns, append=turns[0] + 2 * np.pi)
        assert np.rad2deg(gaps.max()) < 145
        assert np.rad2deg(gaps.min()) > 30


def test_crop_cameras_frame_the_object():
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.4, 0.4, (200, 3))
    cameras = crop_cameras(points, draw_poses(8, rng, ViewRange()), 64, 0.1)
    camera = points @ cameras.T_camera_cube[:, :3, :3].transpose(0, 2, 1)
    camera += cameras.T_camera_cube[:, None, :3, 3]
    pixels = camera @ cameras.K.transpose(0, 2, 1)
    edges = pixels[..., :2] / pixels[..., 2:] + 0.5
    low, high = edges.min(1), edges.max(1)
    assert np.allclose((high - low).max(1), 64 / 1.2)
    assert np.allclose((high + low) / 2, 32)
