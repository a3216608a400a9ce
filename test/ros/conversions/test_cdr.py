"""Serialisation of any message, against rclpy's."""

import array

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from geometry_msgs.msg import Point, Point32, PolygonStamped, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.serialization import deserialize_message, serialize_message
from recon3d_ros.conversions import cdr
from sensor_msgs.msg import CameraInfo, JointState, PointCloud2, PointField
from shape_msgs.msg import Mesh, MeshTriangle
from std_msgs.msg import Header

pytestmark = pytest.mark.ros


def messages():
    cloud = PointCloud2(header=Header(frame_id='a'), height=1, width=2, point_step=4, row_step=8)
    cloud.fields = [PointField(name='x', datatype=7, count=1)] * 2
    cloud.data = array.array('B', range(8))
    yield cloud
    info = CameraInfo(d=[1.0, 2.0], k=np.arange(9.0), distortion_model='plumb_bob')
    info.roi.do_rectify = True
    yield info
    yield PoseWithCovarianceStamped()
    yield OccupancyGrid(data=array.array('b', [-1, 0, 100]))
    yield JointState(name=['a', 'bcd', ''], position=[1.0, 2.0])
    triangle = MeshTriangle(vertex_indices=np.array([0, 1, 2], np.uint32))
    yield Mesh(triangles=[triangle] * 2, vertices=[Point(x=1.0)] * 3)


@pytest.mark.parametrize('message', list(messages()), ids=lambda message: type(message).__name__)
def test_equals_rclpy(message):
    data = cdr.serialize(message)
    own = serialize_message(message)
    # Fast CDR reckons with padding after empty sequences that it then does not write.
    assert len(data) <= len(own) <= len(data) + 8
    assert deserialize_message(data, type(message)) == message


def test_arrays_stand_for_sequences_of_structs():
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    polygon = PolygonStamped(header=Header(frame_id='abc'))
    bulk = cdr.Bulk(polygon, {'polygon': cdr.Bulk(polygon.polygon, {'points': points})})
    back = deserialize_message(cdr.serialize(bulk), PolygonStamped)
    want = [Point32(x=x, y=y, z=z) for x, y, z in points.astype(float).tolist()]
    assert back.polygon.points == want
    assert back.header.frame_id == 'abc'
