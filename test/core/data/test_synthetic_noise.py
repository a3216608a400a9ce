"""The depth noise against the model that it cites."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.data.synth.noise import DepthNoise, noisy_rgb
from recon3d_core.geometry.cameras import Camera

CAMERA = Camera(320, 200, 292.5, 292.5, 159.5, 99.5)
SHAPE = (200, 320)


def measure(depth, *, cosine=1.0, reflected=0.6, strength=1.0, seed=0, **options):
    images = [np.broadcast_to(np.float32(value), SHAPE).copy() for value in (cosine, reflected)]
    depth = np.broadcast_to(np.float32(depth), SHAPE).copy()
    sensor = DepthNoise(strength, **options)
    return sensor.apply(CAMERA, depth, *images, np.random.default_rng(seed))


@pytest.mark.parametrize('z', [0.6, 1.5, 3.0])
def test_axial_noise_grows_as_the_model_says(z):
    measured = measure(z)
    assert (measured > 0).all()
    step = 0.0625 * z**2 / (292.5 * 0.075)
    sigma = np.hypot(0.0012 + 0.0019 * (z - 0.4) ** 2, step / np.sqrt(12))
    assert measured.std() == pytest.approx(sigma, rel=0.08)
    assert measured.mean() == pytest.approx(z, abs=0.05 * sigma + 1e-4)


def test_depth_comes_in_steps_that_grow_with_its_square():
    near, far = (np.unique(measure(z)) for z in (0.7, 2.8))
    steps = [np.diff(values[values > 0]).min() for values in (near, far)]
    assert steps[0] == pytest.approx(0.0625 * 0.7**2 / (292.5 * 0.075), rel=0.1)
    assert steps[1] / steps[0] == pytest.approx(16, rel=0.15)


def test_without_noise_only_the_range_is_applied():
    depth = np.linspace(0, 6, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    measured = measure(depth, strength=0, min_range_m=0.5, max_range_m=4)
    inside = (depth >= 0.5) & (depth <= 4)
    np.testing.assert_array_equal(measured[inside], depth[inside])
    assert not measured[~inside].any()


def test_grazing_and_dark_surfaces_are_lost():
    lost = {angle: (measure(1.0, cosine=np.cos(np.radians(angle))) == 0).mean() for angle in
            (0, 60, 82, 88)}  # fmt: skip
    assert lost[0] == lost[60] == 0
    assert 0.2 < lost[82] < 0.9
    assert lost[88] == 1
    dark = [(measure(1.0, reflected=value) == 0).mean() for value in (0.5, 0.03, 0.005)]
    assert dark[0] == 0
    assert 0.2 < dark[1] < 0.8
    assert dark[2] == pytest.approx(0.9, abs=0.03)


def test_the_shadow_of_the_projector_lies_right_of_a_near_object():
    depth = np.full(SHAPE, 2.0, np.float32)
    depth[60:140, 100:180] = 1.0
    measured = measure(depth)
    # The gap is the difference of the disparities, f b (1/1 - 1/2) = 11 px.
    row = measured[100] == 0
    assert row[181:189].all()
    assert not row[194:].any()
    assert not row[:95].any()
    edge = (measured == 0)[58:62, 100:180].mean()
    assert 0.1 < edge < 0.7


def test_nothing_stays_nothing_and_the_seed_decides():
    assert not measure(0.0).any()
    np.testing.assert_array_equal(measure(1.0, seed=3), measure(1.0, seed=3))
    assert (measure(1.0, seed=3) != measure(1.0, seed=4)).mean() > 0.5


def test_color_noise_is_small_and_never_wraps():
    image = np.zeros((*SHAPE, 3), np.uint8)
    image[:, 160:] = 255
    image[50:100] = 128
    noisy = noisy_rgb(image, 1.0, np.random.default_rng(0)).astype(int)
    error = noisy - image
    assert np.abs(error).max() <= 3
    assert abs(error[50:100].mean()) < 0.05
    assert error[50:100].std() == pytest.approx(2.0, abs=0.1)
    np.testing.assert_array_equal(noisy_rgb(image, 0, np.random.default_rng(0)), image)
