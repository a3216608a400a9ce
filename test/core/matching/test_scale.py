"""Depth without a depth camera: exact where nothing errs, and as sure as it says where it does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply, invert, look_at, make_transform
from recon3d_core.matching.scale import (
    class_size,
    combine,
    contact_pixel,
    depth_from_baselines,
    depth_from_height,
    depth_from_size,
    depth_from_support,
    DepthEstimate,
    Errors,
)
from recon3d_core.types import Plane
from scipy.spatial.transform import Rotation

CAMERA = Camera(320, 240, 300.0, 310.0, 158.0, 121.0)
TILT = Rotation.from_rotvec([0.2, -0.1, 0.3]).as_matrix()
TABLE = Plane(TILT[:, 2], -0.4)
FOOT = TILT @ np.array([0.05, -0.02, 0.4])  # on the table
ERRORS = Errors(pixel_px=1.0, rotation_rad=0.004, position_m=0.004, plane_m=0.004)


def eye_at(turn: float, far_m: float = 0.9) -> np.ndarray:
    place = far_m * np.array([np.cos(turn), np.sin(turn), 0.0]) + (0, 0, 0.85)
    return look_at(TILT @ place, FOOT + 0.03, TILT[:, 2])


def pixel_and_depth(pose: np.ndarray) -> tuple[np.ndarray, float]:
    local = apply(invert(pose), FOOT)
    return CAMERA.project(local), float(local[2])


def shaken(pose: np.ndarray, errors: Errors, rng: np.random.Generator) -> np.ndarray:
    turn = Rotation.from_rotvec(rng.normal(0, errors.rotation_rad, 3)).as_matrix()
    place = pose[:3, 3] + rng.normal(0, errors.position_m, 3)
    return make_transform(pose[:3, :3] @ turn, place)


def test_each_way_is_exact():
    poses = np.stack([eye_at(turn) for turn in (0.0, 0.5, 2.0)])
    pixels, depths = zip(*map(pixel_and_depth, poses))
    support = depth_from_support(pixels[0], CAMERA, poses[0], TABLE)
    up_camera = poses[0, :3, :3].T @ TABLE.normal_world
    height = depth_from_height(pixels[0], CAMERA, up_camera, TABLE.height_m(poses[0, :3, 3]))
    rays = depth_from_baselines(np.stack(pixels), [CAMERA] * 3, poses, reference=1)
    size = depth_from_size(305.0 * 0.1 / depths[0], CAMERA, 0.1, 0.3)
    found = [support, height, rays, size]
    wanted = [depths[0], depths[0], depths[1], depths[0]]
    np.testing.assert_allclose([one.depth_m for one in found], wanted, rtol=1e-9)


def test_what_touches_the_ground_is_the_nearest_point_there():
    pose = eye_at(0.3)
    bottom = FOOT + np.array([[0.03, 0.03, 0], [0.03, -0.03, 0], [-0.03, 0.03, 0]]) @ TILT.T
    corners = np.concatenate([bottom, bottom + 0.1 * TILT[:, 2]])
    pixels = CAMERA.project(apply(invert(pose), corners)).round().astype(int)
    mask = np.zeros((240, 320), bool)
    mask[pixels[:, 1], pixels[:, 0]] = True
    found = contact_pixel(mask, CAMERA, pose[:3, :3].T @ TABLE.normal_world)
    near = int(apply(invert(pose), bottom)[:, 2].argmin())
    np.testing.assert_array_equal(found, pixels[near])
    assert contact_pixel(np.zeros_like(mask), CAMERA, np.array([0, -1.0, 0])) is None


@pytest.mark.parametrize('way', ['support', 'baselines', 'size', 'combined'])
def test_deviations_cover_the_errors(way):
    rng = np.random.default_rng(3)
    poses = np.stack([eye_at(turn) for turn in (0.0, 0.25, 0.6)])
    pixels, depths = zip(*map(pixel_and_depth, poses))
    misses = []
    for _ in range(500):
        seen = np.stack([shaken(pose, ERRORS, rng) for pose in poses])
        points = np.stack(pixels) + rng.normal(0, ERRORS.pixel_px, (3, 2))
        plane = dataclasses.replace(TABLE, offset_m=TABLE.offset_m + rng.normal(0, ERRORS.plane_m))
        size_m = 0.1 * np.exp(rng.normal(0, 0.02))
        extent_px = 305.0 * 0.1 / depths[0] + rng.normal(0, 2**0.5 * ERRORS.pixel_px)
        found = {
            'support': depth_from_support(points[0], CAMERA, seen[0], plane, ERRORS),
            'size': depth_from_size(extent_px, CAMERA, size_m, 0.02, ERRORS),
        }
        if way in ('baselines', 'combined'):
            found['baselines'] = depth_from_baselines(points, [CAMERA] * 3, seen, 0, ERRORS)
        found['combined'] = combine(list(found.values()))
        one = found[way]
        misses.append(np.log(one.depth_m / depths[0]) / one.sigma)
    within = np.abs(misses)
    assert 0.63 < (within < 1).mean() < 0.85  # 0.68 of a normal one; caution is allowed
    assert (within < 2).mean() > 0.92


def test_combination_is_by_inverse_variance_and_widens_where_they_disagree():
    near, far = DepthEstimate(1.0, 0.1, 'a'), DepthEstimate(1.1, 0.2, 'b')
    both = combine([near, None, far])
    assert np.isclose(np.log(both.depth_m), np.log(1.1) / 5)
    assert np.isclose(both.sigma, 1 / np.sqrt(100 + 25))
    assert both.source == 'a + b'
    assert combine([near, dataclasses.replace(far, depth_m=4.0)]).sigma > 0.5
    assert combine([None]) is None


def test_what_tells_nothing_is_none():
    pose = eye_at(0.0)
    up = pose[:3, :3].T @ TABLE.normal_world
    assert depth_from_height(np.array([160.0, -2000.0]), CAMERA, up, 0.5) is None  # to the sky
    below = Plane(TABLE.normal_world, -5.0)
    assert depth_from_support(np.array([160.0, 120.0]), CAMERA, pose, below) is None
    twice = np.stack([pose, pose])
    assert depth_from_baselines(np.full((2, 2), 100.0), [CAMERA] * 2, twice) is None
    assert depth_from_baselines(np.full((1, 2), 100.0), [CAMERA], twice[:1]) is None
    with pytest.raises(InputError, match='height'):
        depth_from_height(np.zeros(2), CAMERA, up, -1.0)
    with pytest.raises(InputError, match='extent'):
        depth_from_size(0.0, CAMERA, 0.1, 0.3)


def test_classes_have_sizes():
    assert class_size('mug')[0] < class_size('chair')[0]
    assert class_size('mug')[1] < class_size('thing of no class')[1]
