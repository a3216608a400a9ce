"""Colour and depth in common pixels, against one pixel at a time; camera_info."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.data.bags import messages
from recon3d_core.data.camera_info import camera_from_info
from recon3d_core.data.registration import (
    color_in_depth_camera,
    depth_in_color_camera,
    resize_color,
    resized,
)
from recon3d_core.errors import FrameError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion

CAMERA = Camera(40, 30, 35.0, 36.0, 19.0, 14.5)


def slow_depth_in_color(depth_m, depth_camera, color_camera, T):
    result = np.zeros((color_camera.height, color_camera.width))
    for y, x in np.argwhere(depth_m > 0):
        point = depth_camera.unproject(np.array([x, y]), depth_m[y, x])
        point = T[:3, :3] @ point + T[:3, 3]
        if point[2] <= 1e-3:
            continue
        u, v = np.floor(color_camera.project(point) + 0.5).astype(int)
        if 0 <= u < color_camera.width and 0 <= v < color_camera.height:
            old = result[v, u]
            result[v, u] = point[2] if old == 0 else min(old, point[2])
    return result


@given(st.integers(0, 2**31))
def test_registered_depth_equals_a_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 3, (15, 20)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = 0
    depth_camera = Camera(20, 15, 18.0, 17.0, 9.3, 7.1)
    color_camera = Camera(18, 16, 15.0, 16.0, 8.2, 7.9)
    turn = rotation_from_quaternion((1, *rng.normal(scale=0.05, size=3)))
    T = make_transform(turn, rng.normal(scale=0.2, size=3))
    got = depth_in_color_camera(depth, depth_camera, color_camera, T)
    wanted = slow_depth_in_color(depth, depth_camera, color_camera, T)
    # A point on the border of two pixels may fall to either in single precision.
    assert (np.abs(got - wanted) > 1e-4).sum() <= 2


def test_colour_lands_where_the_ray_of_the_depth_pixel_points():
    color_camera = Camera(80, 60, 75.0, 70.0, 41.0, 28.0)
    y, x = np.mgrid[:60, :80]
    rgb = np.stack([3 * x, 4 * y, x + y], -1).astype(np.uint8)
    got = color_in_depth_camera(rgb, color_camera, CAMERA)
    for v, u in ((1, 0), (5, 30), (26, 34), (14, 19)):
        point = CAMERA.unproject(np.array([u, v]), np.array(1.0))
        px, py = color_camera.project(point)
        np.testing.assert_allclose(got[v, u], (3 * px, 4 * py, px + py), atol=1.01)
    assert not got[29, 39].any()  # beyond the colour image


def test_half_size_colour_is_resized_with_its_camera():
    half = resized(CAMERA, 20, 15)
    assert half == CAMERA.scaled(0.5)
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    np.testing.assert_array_equal(
        color_in_depth_camera(rgb, CAMERA, half), resize_color(rgb, 20, 15)
    )
    mean = rgb.reshape(15, 2, 20, 2, 3).mean((1, 3))
    np.testing.assert_allclose(resize_color(rgb, 20, 15), mean, atol=0.51)
    assert color_in_depth_camera(rgb, CAMERA, CAMERA) is rgb


def info(camera=CAMERA, **changes):
    message = messages.camera_info(camera, 'optical', 0).message
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    'camera',
    [
        CAMERA,
        dataclasses.replace(
            CAMERA, distortion_model='plumb_bob', distortion=(-0.2, 0.1, 0.001, 0.002, 0.03)
        ),
        dataclasses.replace(
            CAMERA,
            distortion_model='rational_polynomial',
            distortion=(0.1, 0.2, 0.0, 0.001, 0.1, 0.2, 0.3, 0.4),
        ),
    ],
)
def test_camera_info_round_trip(camera):
    assert camera_from_info(info(camera), image_size=(30, 40)) == camera


def test_distortion_forms_of_drivers():
    four = info(distortion_model='plumb_bob', d=np.array([0.1, 0.2, 0, 0.0]))
    assert camera_from_info(four).distortion == (0.1, 0.2, 0, 0)
    fourteen = info(distortion_model='rational_polynomial', d=np.array([0.1] * 8 + [0.0] * 6))
    assert len(camera_from_info(fourteen).distortion) == 8
    for model in ('', 'none', 'plumb_bob'):
        assert not camera_from_info(info(distortion_model=model, d=np.zeros(4))).distorted


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'k': np.zeros(9)}, 'uncalibrated'),
        ({'k': np.array([35, 0, 19, 0, 0.0, 14, 0, 0, 1])}, 'bad_camera_info'),
        ({'k': np.array([np.nan, 0, 19, 0, 36, 14, 0, 0, 1])}, 'bad_camera_info'),
        ({'k': np.array([-35.0, 0, 19, 0, 36, 14, 0, 0, 1])}, 'bad_camera_info'),
        ({'width': 0}, 'bad_camera_info'),
        ({'distortion_model': 'equidistant', 'd': np.zeros(4)}, 'bad_distortion'),
        ({'d': np.full(5, np.nan)}, 'bad_distortion'),
        ({'d': np.full(9, 0.1)}, 'bad_distortion'),
        ({'width': 80}, 'camera_info_size'),
    ],
)
def test_unusable_camera_info(changes, reason):
    with pytest.raises(FrameError) as caught:
        camera_from_info(info(**changes), image_size=(30, 40))
    assert caught.value.reason == reason
    assert '\n' not in str(caught.value)


def test_region_and_binning():
    region = info(binning_x=2, binning_y=2)
    region.roi.x_offset, region.roi.y_offset, region.roi.width, region.roi.height = 8, 4, 20, 10
    camera = camera_from_info(region, image_size=(5, 10))
    assert (camera.fx, camera.cx, camera.cy) == (17.5, 5.5, 5.25)
