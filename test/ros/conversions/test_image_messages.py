"""Images: content by encoding, hostile messages, and the same contract for every library."""

import array

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_core.errors import FrameError, InputError
from recon3d_ros.conversions import images
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.ros

LIBRARIES = ['recon3d', 'cv_bridge']


@pytest.fixture(params=LIBRARIES)
def library(request):
    if request.param == 'recon3d':
        return images.STANDIN
    found = images.ros_library()
    if found is None:
        pytest.skip('cv_bridge cannot be imported')
    return found


def make_message(pixels, encoding, padding=0, bigendian=False):
    rows = np.ascontiguousarray(
        pixels.astype(pixels.dtype.newbyteorder('>' if bigendian else '<'))
    )
    rows = rows.reshape(len(pixels), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = rows.shape[1]
    message.is_bigendian = int(bigendian)
    message.data = array.array('B', rows.tobytes())
    return message


def random_pixels(channels, dtype=np.uint8, seed=0):
    shape = (5, 8, channels) if channels > 1 else (5, 8)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype)


@pytest.mark.parametrize('padding_px', [0, 3])
@pytest.mark.parametrize(
    ('encoding', 'channels', 'order'),
    [
        ('rgb8', 3, (0, 1, 2)),
        ('bgr8', 3, (2, 1, 0)),
        ('rgba8', 4, (0, 1, 2)),
        ('bgra8', 4, (2, 1, 0)),
        ('8UC3', 3, (2, 1, 0)),
    ],
)
def test_color_orders(library, encoding, channels, order, padding_px):
    pixels = random_pixels(channels)
    # Rows of whole pixels: cv_bridge reads no others.
    message = make_message(pixels, encoding, padding_px * channels)
    rgb = images.color_from_image(message, library)
    np.testing.assert_array_equal(rgb, pixels[..., list(order)])
    assert rgb.dtype == np.uint8


def test_gray_becomes_gray_rgb(library):
    pixels = random_pixels(1)
    rgb = images.color_from_image(make_message(pixels, 'mono8'), library)
    np.testing.assert_array_equal(rgb, np.repeat(pixels[..., None], 3, 2))


@pytest.mark.parametrize('bigendian', [False, True])
def test_16_bit_gray_keeps_its_upper_8_bits(library, bigendian):
    pixels = random_pixels(1, np.uint16)
    rgb = images.color_from_image(make_message(pixels, 'mono16', bigendian=bigendian), library)
    np.testing.assert_array_equal(rgb[..., 1], pixels >> 8)


def test_rgb8_is_not_copied():
    message = make_message(random_pixels(3), 'rgb8')
    rgb = images.color_from_image(message)
    message.data[0] ^= 0xFF
    assert rgb[0, 0, 0] == message.data[0]


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
    bigendian=st.booleans(),
    seed=st.integers(0, 99),
)
def test_millimetres_equal_a_loop_over_the_bytes(height, width, padding, bigendian, seed):
    pixels = np.random.default_rng(seed).integers(0, 65536, (height, width)).astype(np.uint16)
    message = make_message(pixels, '16UC1', padding, bigendian)
    depth = images.depth_from_image(message)
    for y in range(height):
        for x in range(width):
            at = y * message.step + 2 * x
            two = bytes(message.data[at : at + 2])
            value = int.from_bytes(two, 'big' if bigendian else 'little')
            want = 0.0 if value in (0, 65535) else value / 1000
            assert depth[y, x] == pytest.approx(want, rel=1e-6)


def test_float_depth_is_metres_with_nan_and_inf_as_zero():
    pixels = np.array([[1.5, np.nan, np.inf], [-np.inf, 0.0, -1.0]], np.float32)
    for bigendian in (False, True):
        depth = images.depth_from_image(make_message(pixels, '32FC1', 4, bigendian))
        np.testing.assert_array_equal(depth, [[1.5, 0, 0], [0, 0, 0]])
        assert depth.dtype == np.float32


BREAK = {
    'zero_size': lambda m: setattr(m, 'width', 0),
    'absurd_size': lambda m: setattr(m, 'height', 2**31),
    'bad_step': lambda m: setattr(m, 'step', m.step - 1),
    'short_data': lambda m: setattr(m, 'data', m.data[:-1]),
    'bad_encoding': lambda m: setattr(m, 'encoding', 'rgb9'),
}


@pytest.mark.parametrize('reason', BREAK)
@pytest.mark.parametrize('kind', ['color', 'depth'])
def test_malformed_messages_are_errors_with_a_reason(library, reason, kind):
    if kind == 'color':
        message = make_message(random_pixels(3), 'rgb8')
    else:
        message = make_message(random_pixels(1, np.uint16), '16UC1')
    BREAK[reason](message)
    with pytest.raises(FrameError) as error:
        if kind == 'color':
            images.color_from_image(message, library)
        else:
            images.depth_from_image(message)
    assert error.value.reason == reason
    assert '\n' not in str(error.value)


def test_depth_is_no_color_and_color_no_depth(library):
    with pytest.raises(FrameError, match='16UC1'):
        images.color_from_image(make_message(random_pixels(1, np.uint16), '16UC1'), library)
    with pytest.raises(FrameError, match='rgb8'):
        images.depth_from_image(make_message(random_pixels(3), 'rgb8'))


@given(
    encoding=st.sampled_from(['rgb8', '16UC1', '32FC1', 'bayer_rggb8', 'yuv422', '']) | st.text(),
    height=st.integers(0, 2**32 - 1) | st.integers(0, 8),
    width=st.integers(0, 2**32 - 1) | st.integers(0, 8),
    step=st.integers(0, 2**32 - 1) | st.integers(0, 64),
    data=st.binary(max_size=300),
)
def test_nothing_but_frame_errors_whatever_is_in_a_message(encoding, height, width, step, data):
    message = Image(height=height, width=width, step=step)
    message._encoding = encoding
    message.data = array.array('B', data)
    for convert in (images.color_from_image, images.depth_from_image):
        try:
            result = convert(message)
        except FrameError:
            continue
        assert result.shape[:2] == (height, width)


@given(image_format=st.text(max_size=40), data=st.binary(max_size=300))
def test_nothing_but_frame_errors_whatever_is_compressed(image_format, data):
    message = CompressedImage()
    message._format = image_format
    message.data = array.array('B', data)
    for convert in (images.color_from_compressed, images.depth_from_compressed):
        with pytest.raises(FrameError):
            convert(message)


def test_truncated_compressed_images_are_errors():
    whole = images.compressed_from_color(random_pixels(3))
    assert images.color_from_compressed(whole).shape == (5, 8, 3)
    whole.data = whole.data[: len(whole.data) // 2]
    with pytest.raises(FrameError) as error:
        images.color_from_compressed(whole)
    assert error.value.reason == 'bad_color'


def test_color_round_trip():
    rgb = random_pixels(3)
    np.testing.assert_array_equal(images.color_from_image(images.image_from_color(rgb)), rgb)
    smooth = np.full((16, 24, 3), (200, 60, 30), np.uint8)
    back = images.color_from_compressed(images.compressed_from_color(smooth))
    assert np.abs(back.astype(int) - smooth).max() <= 6


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_depth_round_trip(encoding):
    depth = np.array([[0.0, 0.5, 1.2344], [9.9, 0.0, 65.0]], np.float32)
    back = images.depth_from_image(images.image_from_depth(depth, encoding))
    np.testing.assert_allclose(back, depth, atol=0.0006 if encoding == '16UC1' else 0)


def test_compressed_depth_round_trip():
    depth = np.array([[0.0, 0.5], [9.9, 0.001]], np.float32)
    message = images.compressed_from_depth(depth)
    assert message.format == '16UC1; compressedDepth png'
    np.testing.assert_allclose(images.depth_from_compressed(message), depth, atol=0.0006)


def test_wrong_arrays_are_refused():
    with pytest.raises(InputError, match='uint8'):
        images.image_from_color(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(InputError, match='encoding'):
        images.image_from_depth(np.zeros((4, 4), np.float32), '8UC1')
