"""ROS image encodings against pixels written out by hand."""

from __future__ import annotations

import array
import struct

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.data import compressed, encodings
from recon3d_core.data.encodings import (
    decode_color,
    decode_depth,
    decode_raw,
    depth_to_mm,
    ENCODINGS,
)
from recon3d_core.errors import FrameError


def picture(height=6, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def padded(rows: np.ndarray, padding: int) -> tuple[int, bytes]:
    """Return step and data of an image (H, bytes per row) with junk after each row."""
    junk = np.full((len(rows), padding), 0xAB, np.uint8)
    return rows.shape[1] + padding, np.hstack([rows, junk]).tobytes()


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(
    ('name', 'order'),
    [
        ('rgb8', (0, 1, 2)),
        ('bgr8', (2, 1, 0)),
        ('8UC3', (2, 1, 0)),
        ('rgba8', (0, 1, 2, None)),
        ('bgra8', (2, 1, 0, None)),
        ('8UC4', (2, 1, 0, None)),
    ],
)
def test_channel_orders(name, order, padding):
    rgb = picture(5, 7)
    planes = [np.full((5, 7), 77, np.uint8) if c is None else rgb[..., c] for c in order]
    step, data = padded(np.stack(planes, -1).reshape(5, -1), padding)
    np.testing.assert_array_equal(decode_color(name, 5, 7, step, data), rgb)


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize(('name', 'order'), [('rgb16', (0, 1, 2)), ('bgr16', (2, 1, 0))])
def test_sixteen_bits_keep_the_upper_eight(name, order, big):
    rgb = picture(3, 5).astype(np.uint16) * 256 + 99
    stored = rgb[..., list(order)].astype('>u2' if big else '<u2').reshape(3, -1)
    step, data = padded(stored.view(np.uint8), 3)
    np.testing.assert_array_equal(decode_color(name, 3, 5, step, data, big), rgb >> 8)


@pytest.mark.parametrize('name', ['mono8', '8UC1', 'mono16'])
def test_gray(name):
    gray = picture(4, 6)[..., 0]
    stored = (gray.astype('<u2') << 8).view(np.uint8) if name == 'mono16' else gray
    got = decode_color(name, 4, 6, stored.shape[1], stored.tobytes())
    np.testing.assert_array_equal(got, np.repeat(gray[..., None], 3, -1))


@pytest.mark.parametrize(
    ('name', 'luma_first'),
    [
        ('yuyv', True),
        ('yuv422_yuy2', True),
        ('uyvy', False),
        ('yuv422', False),
    ],
)
def test_yuv422_against_bt601_by_hand(name, luma_first):
    rng = np.random.default_rng(1)
    luma = rng.integers(60, 190, (4, 6))
    u, v = rng.integers(100, 156, (2, 4, 3))
    stored = np.zeros((4, 12), np.uint8)
    chroma = np.stack([u, v], -1).reshape(4, 6)
    stored[:, 0::2], stored[:, 1::2] = (luma, chroma) if luma_first else (chroma, luma)
    u2, v2 = np.repeat(u, 2, 1) - 128.0, np.repeat(v, 2, 1) - 128.0
    scaled = 1.164 * (luma - 16)
    wanted = np.stack(
        [scaled + 1.596 * v2, scaled - 0.813 * v2 - 0.391 * u2, scaled + 2.018 * u2], -1
    )
    got = decode_color(name, 4, 6, 12, stored.tobytes())
    np.testing.assert_allclose(got, wanted, atol=1.5)


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('bits', [8, 16])
def test_bayer_mosaic_of_one_colour_gives_that_colour(pattern, bits):
    colour = {'r': 200, 'g': 120, 'b': 40}
    tile = np.array(
        [[colour[pattern[0]], colour[pattern[1]]], [colour[pattern[2]], colour[pattern[3]]]]
    )
    mosaic = np.tile(tile, (4, 5)).astype(np.uint8)
    stored = mosaic if bits == 8 else (mosaic.astype('<u2') << 8).view(np.uint8)
    got = decode_color(f'bayer_{pattern}{bits}', 8, 10, stored.shape[1], stored.tobytes())
    np.testing.assert_array_equal(
        got[2:-2, 2:-2].reshape(-1, 3).T, np.array([[200], [120], [40]]).repeat(24, 1)
    )


@pytest.mark.parametrize('big', [False, True])
def test_depth_follows_the_encoding(big):
    order = '>' if big else '<'
    millimetres = np.array([[0, 1, 1500], [65534, 65535, 40000]])
    data = millimetres.astype(f'{order}u2').tobytes()
    got = decode_depth('16UC1', 2, 3, 6, data, big)
    np.testing.assert_allclose(got, [[0, 0.001, 1.5], [65.534, 0, 40]], rtol=1e-6)
    metres = np.array([[np.nan, np.inf, -np.inf], [-1.0, 0.5, 0.0]])
    got = decode_depth('32FC1', 2, 3, 12, metres.astype(f'{order}f4').tobytes(), big)
    np.testing.assert_array_equal(got, [[0, 0, 0], [0, 0.5, 0]])
    assert got.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(ENCODINGS)),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 7),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_raw_pixels_equal_a_loop_over_bytes(name, height, width, padding, big, seed):
    kind = ENCODINGS[name]
    item = np.dtype(kind.dtype)
    row = width * kind.channels * item.itemsize
    data = np.random.default_rng(seed).bytes(height * (row + padding))
    got = decode_raw(name, height, width, row + padding, data, big)
    got = got.reshape(height, width, kind.channels)
    code = ('>' if big else '<') + {'uint8': 'B', 'uint16': 'H', 'float32': 'f'}[item.name]
    for y in range(height):
        for x in range(width):
            for c in range(kind.channels):
                at = y * (row + padding) + (x * kind.channels + c) * item.itemsize
                wanted = struct.unpack_from(code, data, at)[0]
                np.testing.assert_equal(float(got[y, x, c]), float(wanted))


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        (('rgb8', 2, 3, 8, bytes(100)), 'bad_image'),
        (('rgb8', 2, 3, 9, bytes(17)), 'bad_image'),
        (('rgb8', 0, 3, 9, b''), 'bad_image'),
        (('rgb8', 2, 0, 9, b''), 'bad_image'),
        (('rgb8', 2**31, 2**31, 2**33, b''), 'bad_image'),
        (('rgb9', 2, 3, 9, bytes(18)), 'bad_encoding'),
        (('', 2, 3, 9, bytes(18)), 'bad_encoding'),
        (('16UC1', 2, 3, 6, bytes(12)), 'bad_encoding'),
        (('yuyv', 2, 3, 6, bytes(12)), 'bad_image'),
    ],
)
def test_malformed_colour_is_refused_in_one_line(fields, reason):
    with pytest.raises(FrameError) as caught:
        decode_color(*fields)
    assert caught.value.reason == reason
    assert '\n' not in str(caught.value)


def test_colour_is_no_depth():
    with pytest.raises(FrameError) as caught:
        decode_depth('rgb8', 2, 3, 9, bytes(18))
    assert caught.value.reason == 'bad_encoding'


def test_last_row_may_lack_its_padding_and_any_buffer_will_do():
    data = bytes(range(3 * 8 - 2))
    got = decode_raw('mono8', 3, 6, 8, data)
    np.testing.assert_array_equal(got[2], np.arange(16, 22))
    for buffer in (bytearray(data), array.array('B', data), np.frombuffer(data, np.uint8)):
        np.testing.assert_array_equal(decode_raw('mono8', 3, 6, 8, buffer), got)


def test_rgb8_without_padding_is_not_copied():
    data = np.zeros(480 * 640 * 3, np.uint8)
    assert np.shares_memory(decode_color('rgb8', 480, 640, 1920, data), data)


def test_depth_to_mm_rounds_and_drops_what_does_not_fit():
    depth = np.array([[0, 0.0004, 0.0006, 1.2345, 65.534, 65.535, 100]], np.float32)
    np.testing.assert_array_equal(depth_to_mm(depth), [[0, 0, 1, 1234, 65534, 0, 0]])


def smooth_depth_mm(height=40, width=56):
    y, x = np.mgrid[:height, :width]
    depth = (1500 + 3 * x + 5 * y + 400 * (x > 30)).astype(np.uint16)
    depth[5:9, 10:40] = 0
    depth[0, 0] = 0
    return depth


def slow_rvl(pixels: np.ndarray) -> bytes:
    """RVL encoder after the paper's listing, one nibble at a time."""
    nibbles = []

    def put(value):
        while True:
            rest, digit = value >> 3, value & 7
            nibbles.append(digit | (8 if rest else 0))
            value = rest
            if not value:
                return

    flat, at, last = pixels.ravel().astype(int).tolist(), 0, 0
    while at < len(flat):
        zeros = next((i for i, v in enumerate(flat[at:]) if v), len(flat) - at)
        put(zeros)
        at += zeros
        run = next((i for i, v in enumerate(flat[at:]) if not v), len(flat) - at)
        put(run)
        for value in flat[at : at + run]:
            delta = value - last
            put((delta << 1) ^ (delta >> 31))
            last = value
        at += run
    nibbles += [0] * (-len(nibbles) % 8)
    words = []
    for start in range(0, len(nibbles), 8):
        word = 0
        for nibble in nibbles[start : start + 8]:
            word = word << 4 | nibble
        words.append(word)
    size = struct.pack('<ii', pixels.shape[1], pixels.shape[0])
    return size + struct.pack(f'<{len(words)}I', *words)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 2**31), st.floats(0, 1))
def test_rvl_against_slow_encoder(height, width, seed, share):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 65536, (height, width)).astype(np.uint16)
    pixels[rng.random((height, width)) < share] = 0
    payload = struct.pack('<iff', 0, 0, 0) + slow_rvl(pixels)
    got = compressed.decode_compressed_depth('16UC1; compressedDepth rvl', payload)
    np.testing.assert_array_equal(depth_to_mm(got), np.where(pixels == 65535, 0, pixels))


@pytest.mark.parametrize('name', ['16UC1; compressedDepth', '16UC1; compressedDepth png'])
def test_compressed_depth_of_16_bits_is_exact(name):
    depth = smooth_depth_mm()
    got = compressed.decode_compressed_depth(name, compressed.encode_compressed_depth(depth))
    np.testing.assert_array_equal(depth_to_mm(got), depth)


def test_compressed_depth_of_32_bits_undoes_the_inverse_quantisation():
    depth = smooth_depth_mm().astype(np.float32) / 1000
    z0, z_max = 100.0, 10.0  # the plugin's defaults depth_quantization and depth_max
    a = z0 * (z0 + 1)
    b = 1 - a / z_max
    with np.errstate(divide='ignore'):
        stored = np.where(depth > 0, a / depth + b, 0).astype(np.uint16)
    png = cv2.imencode('.png', stored)[1].tobytes()
    payload = struct.pack('<iff', 0, a, b) + png
    got = compressed.decode_compressed_depth('32FC1; compressedDepth png', payload)
    np.testing.assert_array_equal(got == 0, depth == 0)
    np.testing.assert_allclose(got, depth, atol=depth.max() ** 2 / a)  # one step of 1 / depth


def test_compressed_colour_channel_order():
    rgb = np.zeros((32, 48, 3), np.uint8)
    rgb[..., 0] = 220
    png = compressed.encode_color(rgb, 'png')
    np.testing.assert_array_equal(compressed.decode_compressed_color('png', png), rgb)
    for name in ('jpeg', 'rgb8; jpeg compressed bgr8', 'bgr8; jpeg compressed bgr8'):
        got = compressed.decode_compressed_color(name, compressed.encode_color(rgb))
        np.testing.assert_allclose(got.astype(int), rgb, atol=4)
    swapped = compressed.decode_compressed_color('rgb8; png compressed rgb8', png)
    np.testing.assert_array_equal(swapped, rgb[..., ::-1])


@pytest.mark.parametrize('kind', ['png', 'jpeg'])
def test_small_payloads_that_claim_huge_images_are_refused(kind):
    data = bytearray(compressed.encode_color(picture(), kind))
    if kind == 'png':
        data[16:24] = struct.pack('>II', 20000, 20000)
    else:
        at = data.index(b'\xff\xc0')
        data[at + 5 : at + 9] = struct.pack('>HH', 20000, 20000)
    with pytest.raises(FrameError, match='20000x20000'):
        compressed.decode_compressed_color('', bytes(data))


@pytest.mark.parametrize('kind', ['png', 'jpeg'])
def test_the_claimed_size_is_read_from_real_images(kind):
    data = np.frombuffer(compressed.encode_color(picture(), kind), np.uint8)
    assert compressed._claimed_size(data) == (8, 6)


@pytest.mark.parametrize('kind', ['.webp', '.tiff', '.bmp', '.ppm', '.hdr'])
def test_other_formats_are_refused_although_opencv_reads_them(kind):
    pixels = picture().astype(np.float32) if kind == '.hdr' else picture()
    done, data = cv2.imencode(kind, pixels)
    assert done
    assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
    with pytest.raises(FrameError, match='JPEG or PNG') as caught:
        compressed.decode_compressed_color('jpeg', data.tobytes())
    assert caught.value.reason == 'bad_color'
    with pytest.raises(FrameError, match='PNG') as caught:
        compressed.decode_compressed_depth('16UC1; compressedDepth png', bytes(12) + bytes(data))
    assert caught.value.reason == 'bad_depth'


@pytest.mark.parametrize('cut', [0, 1, 20, 0.5, -3])
@pytest.mark.parametrize('kind', ['jpeg', 'png', 'depth', 'rvl'])
def test_truncated_payloads_are_refused(kind, cut):
    rgb, depth = picture(64, 80), smooth_depth_mm()
    data = {
        'jpeg': lambda: compressed.encode_color(rgb),
        'png': lambda: compressed.encode_color(rgb, 'png'),
        'depth': lambda: compressed.encode_compressed_depth(depth),
        'rvl': lambda: struct.pack('<iff', 0, 0, 0) + slow_rvl(depth),
    }[kind]()
    data = data[: int(len(data) * cut) if isinstance(cut, float) else cut]
    with pytest.raises(FrameError) as caught:
        if kind in ('jpeg', 'png'):
            compressed.decode_compressed_color(kind, data)
        else:
            name = '16UC1; compressedDepth' + (' rvl' if kind == 'rvl' else '')
            compressed.decode_compressed_depth(name, data)
    assert caught.value.reason == ('bad_color' if kind in ('jpeg', 'png') else 'bad_depth')


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            '',
            'jpeg',
            '16UC1; compressedDepth',
            '16UC1; compressedDepth rvl',
            '32FC1; compressedDepth',
        ]
    ),
)
def test_noise_never_raises_anything_else(data, name):
    for decode in (compressed.decode_compressed_color, compressed.decode_compressed_depth):
        with pytest.raises(FrameError):
            decode(name, data)


def test_eight_bit_png_is_no_depth():
    png = cv2.imencode('.png', picture()[..., 0])[1].tobytes()
    with pytest.raises(FrameError) as caught:
        compressed.decode_compressed_depth('16UC1; png compressed ', png)
    assert caught.value.reason == 'bad_depth'
    assert set(ENCODINGS) >= encodings.DEPTH_ENCODINGS
