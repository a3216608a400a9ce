"""CameraInfo: calibrated, rectified, distorted, binned, cropped and wrong ones."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_core.errors import FrameError
from recon3d_core.geometry.cameras import Camera
from recon3d_ros.conversions.camera_info import camera_from_info, info_from_camera

pytestmark = pytest.mark.ros

PINHOLE = Camera(640, 480, 525.0, 520.0, 319.5, 239.5)
PLUMB_BOB = Camera(
    640, 480, 525.0, 520.0, 319.5, 239.5, 'plumb_bob', (0.1, -0.2, 1e-3, 2e-3, 0.05)
)
RATIONAL = Camera(
    640,
    480,
    525.0,
    520.0,
    319.5,
    239.5,
    'rational_polynomial',
    (0.1, -0.2, 1e-3, 2e-3, 0.05, 0.02, 0.01, 0.003),
)


@pytest.mark.parametrize('camera', [PINHOLE, PLUMB_BOB, RATIONAL])
def test_round_trip(camera):
    assert camera_from_info(info_from_camera(camera), image_size=(480, 640)) == camera


def reason_of(info, **kwargs):
    with pytest.raises(FrameError) as error:
        camera_from_info(info, **kwargs)
    assert '\n' not in str(error.value)
    return error.value.reason


def test_uncalibrated():
    info = info_from_camera(PINHOLE)
    info.k = np.zeros(9)
    assert reason_of(info) == 'uncalibrated'


def test_another_size_than_the_image():
    assert reason_of(info_from_camera(PINHOLE), image_size=(240, 320)) == 'camera_info_size'


def test_rectified_takes_p_and_no_distortion():
    info = info_from_camera(PLUMB_BOB)
    info.p = np.array([400.0, 0, 300, 0, 0, 410, 200, 0, 0, 0, 1, 0])
    assert camera_from_info(info, rectified=True) == Camera(640, 480, 400.0, 410.0, 300.0, 200.0)
    info.p = np.zeros(12)
    assert reason_of(info, rectified=True) == 'bad_camera_info'


@pytest.mark.parametrize('model', ['equidistant', 'thin_prism', ''])
def test_unsupported_distortion(model):
    info = info_from_camera(PLUMB_BOB)
    info.distortion_model = model
    assert reason_of(info) == 'bad_distortion'
    assert not camera_from_info(info, rectified=True).distorted


def test_fisheye_of_zeros_is_refused_too():
    info = info_from_camera(PINHOLE)
    info.distortion_model, info.d = 'equidistant', [0.0] * 4
    assert reason_of(info) == 'bad_distortion'


def test_padded_and_short_coefficients():
    info = info_from_camera(RATIONAL)
    info.d = [*RATIONAL.distortion, 0.0, 0.0, 0.0, 0.0]
    assert camera_from_info(info) == RATIONAL
    info.d = list(RATIONAL.distortion[:7])
    assert reason_of(info) == 'bad_distortion'


@pytest.mark.parametrize('value', [np.nan, np.inf, -1.0])
def test_impossible_intrinsics(value):
    info = info_from_camera(PINHOLE)
    k = PINHOLE.K.ravel()
    k[4] = value
    info.k = k
    assert reason_of(info) == 'bad_camera_info'


def test_zero_and_absurd_sizes():
    info = info_from_camera(PINHOLE)
    for width in (0, 2**31):
        info.width = width
        assert reason_of(info) == 'bad_camera_info'


def test_binning_and_region_see_the_same_ray():
    info = info_from_camera(PINHOLE)
    info.binning_x = info.binning_y = 2
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 60, 320, 240
    camera = camera_from_info(info, image_size=(120, 160))
    point = np.array([0.1, -0.05, 2.0])
    full = PINHOLE.project(point)
    np.testing.assert_allclose(camera.project(point), (full - (100, 60)) / 2)


def test_region_outside_of_the_sensor():
    info = info_from_camera(PINHOLE)
    info.roi.x_offset, info.roi.width, info.roi.height = 600, 100, 480
    assert reason_of(info) == 'bad_camera_info'
