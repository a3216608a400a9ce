"""Cameras against OpenCV's model, and against themselves there and back; images not square."""

from __future__ import annotations

import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry.cameras import Camera, pixel_rays, rectify

PINHOLE = Camera(64, 48, 60.0, 55.0, 30.5, 25.25)
PLUMB_BOB = Camera(
    640, 480, 600.0, 590.0, 322.0, 238.0, 'plumb_bob', (-0.3, 0.12, 1e-3, -2e-3, -0.02)
)
# As an Azure Kinect reports it: large coefficients that nearly cancel.
RATIONAL = Camera(
    640,
    400,
    500.0,
    505.0,
    322.0,
    190.0,
    'rational_polynomial',
    (8.7, 2.3, 1e-4, 2e-5, 0.05, 9.05, 3.9, 0.3),
)
FOUR = Camera(640, 480, 600.0, 590.0, 322.0, 238.0, 'plumb_bob', (0.1, -0.05, 1e-3, 5e-4))
CAMERAS = pytest.mark.parametrize(
    'camera',
    [PINHOLE, PLUMB_BOB, RATIONAL, FOUR],
    ids=['pinhole', 'plumb_bob', 'rational', 'four'],
)


def grid_of_pixels(camera: Camera) -> np.ndarray:
    """Return pixels (N, 2) all over the image, its corners among them."""
    x, y = np.meshgrid(np.linspace(0, camera.width - 1, 23), np.linspace(0, camera.height - 1, 17))
    return np.stack([x, y], -1).reshape(-1, 2)


@CAMERAS
def test_unproject_and_project_return_the_pixel(camera: Camera) -> None:
    pixels = grid_of_pixels(camera)
    depth = np.linspace(0.2, 5, len(pixels))
    points = camera.unproject(pixels, depth)
    np.testing.assert_array_equal(points[:, 2], depth)
    np.testing.assert_allclose(camera.project(points), pixels, atol=1e-6)


@CAMERAS
def test_projection_is_opencvs(camera: Camera) -> None:
    rng = np.random.default_rng(1)
    points = np.column_stack([rng.uniform(-0.4, 0.4, (100, 2)), rng.uniform(0.8, 3, 100)])
    lens = np.array(camera.distortion) if camera.distortion else None
    want, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.K, lens)
    np.testing.assert_allclose(camera.project(points), want[:, 0], atol=1e-8)


COEFFICIENT = st.floats(-0.15, 0.15)


@given(
    st.tuples(*[COEFFICIENT] * 2, *[st.floats(-5e-3, 5e-3)] * 2, *[COEFFICIENT] * 4),
    st.booleans(),
    st.floats(-0.5, 0.5),
    st.floats(-0.4, 0.4),
    st.floats(0.05, 50),
)
def test_any_mild_lens_can_be_undone(
    values: tuple[float, ...], rational: bool, x: float, y: float, z: float
) -> None:
    model, count = ('rational_polynomial', 8) if rational else ('plumb_bob', 5)
    camera = Camera(640, 480, 500.0, 510.0, 320.0, 240.0, model, values[:count])  # type: ignore
    point = np.array([x * z, y * z, z])
    back = camera.unproject(camera.project(point), np.array(z))
    np.testing.assert_allclose(back, point, atol=1e-7 * z)


def test_batch_shapes() -> None:
    pixels = grid_of_pixels(PLUMB_BOB).reshape(17, 23, 2)
    points = PLUMB_BOB.unproject(pixels, np.ones((17, 23)))
    assert points.shape == (17, 23, 3)
    np.testing.assert_allclose(PLUMB_BOB.project(points), pixels, atol=1e-6)
    assert PLUMB_BOB.unproject(np.array([3.0, 4.0]), np.array(2.0)).shape == (3,)


def test_behind_the_camera_is_nan() -> None:
    pixels = PINHOLE.project(np.array([[0, 0, 1.0], [0, 0, 0], [0.1, 0, -1]]))
    assert np.isfinite(pixels[0]).all()
    assert np.isnan(pixels[1:]).all()


def test_pixel_that_the_lens_cannot_show_is_nan_and_harms_no_other() -> None:
    barrel = Camera(640, 480, 300.0, 300.0, 320.0, 240.0, 'plumb_bob', (-0.3, 0.0, 0.0, 0.0))
    points = barrel.unproject(np.array([[5000.0, 240.0], [330.0, 240.0]]), np.ones(2))
    assert np.isnan(points[0, :2]).all()
    np.testing.assert_allclose(barrel.project(points[1]), (330, 240), atol=1e-6)


def test_depth_image_to_points() -> None:
    depth = np.zeros((48, 64), np.float32)
    depth[10, 20] = 2.0
    points = PINHOLE.points(depth)
    assert points.shape == (48, 64, 3)
    assert points.dtype == np.float32
    want = [(20 - 30.5) / 60 * 2, (10 - 25.25) / 55 * 2, 2]
    np.testing.assert_allclose(points[10, 20], want, rtol=1e-6)
    assert np.count_nonzero(points.any(-1)) == 1, 'no depth gives the origin'
    with pytest.raises(InputError, match='depth image'):
        PINHOLE.points(depth.T)


def test_rays_are_kept_and_guarded() -> None:
    rays = pixel_rays(PINHOLE)
    assert rays is pixel_rays(Camera(64, 48, 60.0, 55.0, 30.5, 25.25))
    with pytest.raises(ValueError, match='read-only'):
        rays[0, 0, 0] = 1


def test_scaled_camera_sees_the_same_directions() -> None:
    small, point = PINHOLE.scaled(0.5), np.array([0.1, -0.2, 1.5])
    assert (small.width, small.height) == (32, 24)
    # The outer corner of the first pixel is at -0.5 at every size.
    np.testing.assert_allclose(small.project(point) + 0.5, (PINHOLE.project(point) + 0.5) / 2)


@pytest.mark.parametrize('step', [1, 2, 3, 5])
def test_subsampled_camera_is_that_of_the_slice(step: int) -> None:
    depth = np.random.default_rng(0).uniform(1, 2, (48, 64)).astype(np.float32)
    part = PINHOLE.subsampled(step).points(depth[::step, ::step])
    np.testing.assert_allclose(part, PINHOLE.points(depth)[::step, ::step], rtol=1e-5, atol=1e-6)


def test_cropped_camera_is_that_of_the_slice() -> None:
    depth = np.random.default_rng(0).uniform(1, 2, (48, 64)).astype(np.float32)
    part = PINHOLE.cropped(7, 5, 20, 10).points(depth[5:15, 7:27])
    np.testing.assert_allclose(part, PINHOLE.points(depth)[5:15, 7:27], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('camera', [PLUMB_BOB, RATIONAL], ids=['plumb_bob', 'rational'])
def test_rectified_image_shows_each_point_where_the_pinhole_sees_it(camera: Camera) -> None:
    directions = np.array([[-0.2, -0.1, 1], [0.25, 0.15, 1], [0.0, 0.2, 1]])
    image = np.zeros((camera.height, camera.width), np.float32)
    y, x = np.mgrid[: camera.height, : camera.width]
    for column, row in camera.project(directions):
        image += np.exp(-((x - column) ** 2 + (y - row) ** 2) / 8)
    straight = rectify(camera, image, is_depth=False)
    for column, row in camera.rectified().project(directions):
        near = np.hypot(x - column, y - row) < 8
        weights = straight * near
        found = (weights * x).sum() / weights.sum(), (weights * y).sum() / weights.sum()
        np.testing.assert_allclose(found, (column, row), atol=0.15)


def test_rectified_depth_invents_no_value() -> None:
    depth = np.where(np.indices((480, 640)).sum(0) % 50 < 25, 1.0, 3.0).astype(np.float32)
    assert set(np.unique(rectify(PLUMB_BOB, depth, is_depth=True))) <= {0.0, 1.0, 3.0}


@pytest.mark.parametrize(
    ('changes', 'word'),
    [
        ({'fx': 0.0}, 'not calibrated'),
        ({'fy': -3.0}, 'not calibrated'),
        ({'fx': float('nan')}, 'impossible'),
        ({'width': 0}, 'impossible'),
        ({'distortion_model': 'equidistant'}, 'unknown distortion model'),
        ({'distortion': (0.1,)}, 'none distortion'),
        ({'distortion_model': 'plumb_bob', 'distortion': (0.1, 0.2, 0.3)}, '3 values'),
        ({'distortion_model': 'rational_polynomial', 'distortion': (0.1,) * 5}, '5 values'),
    ],
    ids=str,
)
def test_impossible_intrinsics(changes: dict[str, object], word: str) -> None:
    values = {'width': 64, 'height': 48, 'fx': 60.0, 'fy': 60.0, 'cx': 32.0, 'cy': 24.0, **changes}
    with pytest.raises(InputError, match=word):
        Camera(**values)  # type: ignore[arg-type]
