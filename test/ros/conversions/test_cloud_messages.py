"""PointCloud2 against a reader that unpacks byte by byte, for every library."""

import array
import struct

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_core.errors import FrameError, InputError
from recon3d_ros.conversions import clouds
from recon3d_ros.conversions.headers import make_header
from sensor_msgs.msg import PointCloud2, PointField

pytestmark = pytest.mark.ros

FORMATS = {1: 'b', 2: 'B', 3: 'h', 4: 'H', 5: 'i', 6: 'I', 7: 'f', 8: 'd'}


@pytest.fixture(scope='module', params=['recon3d', 'sensor_msgs_py'])
def library(request):
    if request.param == 'recon3d':
        return clouds.STANDIN
    found = clouds.ros_library()
    if found is None:
        pytest.skip('sensor_msgs_py cannot be imported')
    return found


def read_slowly(message):
    """Return a list of dictionaries, one per point."""
    order = '>' if message.is_bigendian else '<'
    points = []
    for row in range(message.height):
        for column in range(message.width):
            start = row * message.row_step + column * message.point_step
            points.append(
                {
                    field.name: struct.unpack_from(
                        order + FORMATS[field.datatype], bytes(message.data), start + field.offset
                    )[0]
                    for field in message.fields
                }
            )
    return points


def some_points(count=20, seed=0):
    rng = np.random.default_rng(seed)
    xyz = rng.normal(size=(count, 3)).astype(np.float32)
    return xyz, rng.integers(0, 256, (count, 3), np.uint8), rng


def test_scene_points(library):
    xyz, rgb, _ = some_points()
    header = make_header('map', 12_000_000_034)
    message = clouds.cloud_message(clouds.scene_points(xyz, rgb), header, library)
    assert [field.name for field in message.fields] == ['x', 'y', 'z', 'rgb']
    assert (message.header.frame_id, message.header.stamp.nanosec) == ('map', 34)
    assert (message.height, message.width, message.is_dense) == (1, 20, True)
    assert message.row_step == 20 * message.point_step == len(message.data)
    for point, want_xyz, (red, green, blue) in zip(read_slowly(message), xyz, rgb.tolist()):
        assert [point['x'], point['y'], point['z']] == want_xyz.tolist()
        packed = struct.unpack('<I', struct.pack('<f', point['rgb']))[0]
        assert packed == red << 16 | green << 8 | blue


def test_object_points(library):
    xyz, rgb, rng = some_points()
    p_occ, observed = rng.random(20, np.float32), rng.random(20) > 0.5
    points = clouds.object_points(xyz, rgb, 7, p_occ, observed)
    message = clouds.cloud_message(points, make_header('map', 0), library)
    names = ['x', 'y', 'z', 'rgb', 'object_id', 'p_occ', 'observed']
    assert [field.name for field in message.fields] == names
    for index, point in enumerate(read_slowly(message)):
        assert point['object_id'] == 7
        assert point['p_occ'] == p_occ[index]
        assert point['observed'] == observed[index]


@given(count=st.integers(0, 40), seed=st.integers(0, 99))
def test_round_trip(library, count, seed):
    xyz, rgb, _ = some_points(count, seed)
    message = clouds.cloud_message(clouds.scene_points(xyz, rgb), make_header('a', 0), library)
    back = clouds.points_from_cloud(message, library)
    np.testing.assert_array_equal(clouds.xyz_from_points(back), xyz)
    np.testing.assert_array_equal(clouds.rgb_from_points(back), rgb)


@pytest.mark.parametrize('bigendian', [False, True])
def test_padded_organised_and_foreign_byte_order(library, bigendian):
    order = '>' if bigendian else '<'
    message = PointCloud2(height=2, width=3, point_step=24, row_step=80, is_bigendian=bigendian)
    message.fields = [
        PointField(name='y', offset=4, datatype=PointField.FLOAT32, count=1),
        PointField(name='x', offset=8, datatype=PointField.FLOAT32, count=1),
        PointField(name='z', offset=16, datatype=PointField.FLOAT64, count=1),
    ]
    data = bytearray(160)
    for row in range(2):
        for column in range(3):
            start = row * 80 + column * 24
            struct.pack_into(order + 'f', data, start + 4, row + 0.5)
            struct.pack_into(order + 'f', data, start + 8, column + 0.25)
            struct.pack_into(order + 'd', data, start + 16, -1.0)
    message.data = array.array('B', bytes(data))
    points = clouds.points_from_cloud(message, library)
    want = [[p['x'], p['y'], p['z']] for p in read_slowly(message)]
    np.testing.assert_array_equal(clouds.xyz_from_points(points), want)


def test_points_that_are_not_finite_are_marked():
    xyz, rgb, _ = some_points()
    xyz[3, 1] = np.nan
    message = clouds.cloud_message(clouds.scene_points(xyz, rgb), make_header('a', 0))
    assert not message.is_dense


BREAK = {
    'bad_step': lambda m: setattr(m, 'row_step', m.row_step - 1),
    'short_data': lambda m: setattr(m, 'data', m.data[:-1]),
    'bad_encoding': lambda m: setattr(m.fields[1], 'datatype', 99),
}


@pytest.mark.parametrize('reason', BREAK)
def test_malformed_clouds(library, reason):
    xyz, rgb, _ = some_points()
    message = clouds.cloud_message(clouds.scene_points(xyz, rgb), make_header('a', 0))
    BREAK[reason](message)
    with pytest.raises(FrameError) as error:
        clouds.points_from_cloud(message, library)
    assert error.value.reason == reason


def test_fields_that_are_missing_or_outside():
    points = np.zeros(3, [('x', '<f4'), ('y', '<f4')])
    with pytest.raises(FrameError, match='x, y, z'):
        clouds.xyz_from_points(points)
    message = clouds.cloud_message(clouds.scene_points(np.zeros((2, 3))), make_header('a', 0))
    message.fields[3].offset = 14
    with pytest.raises(FrameError) as error:
        clouds.points_from_cloud(message)
    assert error.value.reason == 'bad_step'


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match='points_m'):
        clouds.scene_points(np.zeros((4, 2), np.float32))
    with pytest.raises(InputError, match='colors'):
        clouds.scene_points(np.zeros((4, 3), np.float32), np.zeros((3, 3), np.uint8))
