"""Poses, transforms and quaternions, for every library that can compute rotations."""

from geometry_msgs.msg import Pose, Quaternion, Transform
from hypothesis import assume, given
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_core.errors import FrameError
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion
from recon3d_ros.conversions import transforms
from scipy.spatial.transform import Rotation

pytestmark = pytest.mark.ros

NUMBER = st.floats(-1, 1, allow_nan=False)


@pytest.fixture(scope='module', params=['recon3d', 'tf_transformations'])
def library(request):
    if request.param == 'recon3d':
        return transforms.STANDIN
    found = transforms.tf_library()
    if found is None:
        pytest.skip('tf_transformations cannot be imported')
    return found


@given(xyzw=st.tuples(NUMBER, NUMBER, NUMBER, NUMBER))
def test_rotation_equals_scipy(library, xyzw):
    assume(np.linalg.norm(xyzw) > 0.01)
    x, y, z, w = xyzw
    rotation = transforms.rotation_from_message(Quaternion(x=x, y=y, z=z, w=w), library)
    np.testing.assert_allclose(rotation, Rotation.from_quat(xyzw).as_matrix(), atol=1e-9)
    back = transforms.message_from_rotation(rotation, library)
    assert back.w >= 0
    again = Rotation.from_quat([back.x, back.y, back.z, back.w]).as_matrix()
    np.testing.assert_allclose(again, rotation, atol=1e-6)


def test_a_quarter_turn_about_z_is_what_ros_means_by_it(library):
    half = float(np.sqrt(0.5))
    rotation = transforms.rotation_from_message(Quaternion(z=half, w=half), library)
    np.testing.assert_allclose(rotation @ (1, 0, 0), (0, 1, 0), atol=1e-12)


@given(xyzw=st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), xyz=st.tuples(NUMBER, NUMBER, NUMBER))
def test_round_trips(xyzw, xyz):
    assume(np.linalg.norm(xyzw) > 0.01)
    T = make_transform(rotation_from_quaternion(xyzw), xyz)
    pose = transforms.pose_from_matrix(T)
    np.testing.assert_allclose(transforms.matrix_from_pose(pose), T, atol=1e-9)
    message = transforms.transform_from_matrix(T)
    np.testing.assert_allclose(transforms.matrix_from_transform(message), T, atol=1e-9)
    assert (pose.position.x, pose.position.y, pose.position.z) == xyz


@pytest.mark.parametrize('bad', [np.nan, np.inf, 1e300])
@pytest.mark.parametrize('field', ['x', 'y', 'z'])
def test_bad_positions(bad, field):
    pose = Pose()
    pose.orientation.w = 1.0
    setattr(pose.position, field, bad)
    with pytest.raises(FrameError) as error:
        transforms.matrix_from_pose(pose)
    assert error.value.reason == 'bad_pose'


@pytest.mark.parametrize('w', [np.nan, np.inf, 0.0, 1e-12, 1e300])
def test_bad_quaternions(library, w):
    message = Transform()
    message.rotation = Quaternion(x=0.0, y=0.0, z=0.0, w=w)
    with pytest.raises(FrameError) as error:
        transforms.rotation_from_message(message.rotation, library)
    assert error.value.reason == 'bad_pose'
