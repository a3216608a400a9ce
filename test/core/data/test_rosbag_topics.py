"""ROS 2 recordings: which topics are cameras, their calibration, what is not to be found."""

from __future__ import annotations

from bag_tools import (
    Bag,
    CAMERA,
    depth_of,
    OPTICAL,
    plain_bag,
    rgb_of,
    SECOND,
    TIMES,
)
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.data.bags import messages
from recon3d_core.errors import ConfigError, SourceError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import make_transform


def test_namespaces_of_usual_drivers(tmp_path):
    small = Camera(20, 15, 17.5, 18.0, 9.25, 7.0)
    bag = Bag()
    for topic, camera in (('color', CAMERA), ('depth', small), ('aligned_depth_to_color', CAMERA)):
        bag.info(f'/robot/front/{topic}/camera_info', 0.9, camera)
    for index, s in enumerate(TIMES):
        bag.color('/robot/front/color/image_raw', s, index)
        bag.depth('/robot/front/depth/image_rect_raw', s, depth=np.ones((15, 20), np.float32))
        bag.depth('/robot/front/aligned_depth_to_color/image_raw', s, index)
        gray = messages.image(np.zeros((15, 20), np.uint8), 'mono8', 'ir', int(s * SECOND))
        bag.add('/robot/front/infra1/image_rect_raw', gray)
        bag.color('/detector/debug_image', s, 99)
        bag.tf(np.eye(4), 'map', OPTICAL, s)
    path = bag.write(tmp_path / 'b.mcap')
    got = list(load_source(path))
    assert [f.camera_name for f in got] == ['front'] * 4
    np.testing.assert_array_equal(got[1].depth_m, depth_of(1))
    got = list(load_source(path, depth_topic='/robot/front/depth/image_rect_raw'))
    assert got[0].camera == small
    assert got[0].rgb.shape == (15, 20, 3)
    only = list(load_source(path, depth_topic='none'))
    assert only[0].inputs == {'intrinsics', 'rgb', 'pose'}


def test_rectified_topic_uses_p(tmp_path):
    bag = Bag()
    info = messages.camera_info(
        Camera(40, 30, 30.0, 30.0, 18.0, 13.0, 'plumb_bob', (-0.3, 0.1, 0, 0, 0)), OPTICAL, SECOND
    )
    info.message.p[:] = [35, 0, 19, 0, 0, 36, 14.5, 0, 0, 0, 1, 0]
    bag.add('/cam/camera_info', info).color('/cam/image_rect', 1.0).tf(
        np.eye(4), 'map', OPTICAL, 1
    )
    bag.color('/plain/image', 1.0).add('/plain/camera_info', info)
    got = {f.camera_name: f for f in load_source(bag.write(tmp_path / 'b.mcap'))}
    assert got['cam'].camera == CAMERA
    assert got['plain'].camera.fx == 30
    assert not np.array_equal(got['plain'].rgb, rgb_of(0))  # undistorted


def test_depth_camera_beside_the_colour_camera_is_registered(tmp_path):
    """A box at 1 m before a plane at 2 m, seen from 0.1 m to the left of the depth camera."""
    depth = np.full((30, 40), 2.0, np.float32)
    depth[10:20, 15:25] = 1.0
    bag = Bag().info('/c/color/camera_info', frame='color').info('/c/depth/camera_info', frame='d')
    bag.color('/c/color/image_raw', 1.0, frame='color')
    bag.depth('/c/depth/image_raw', 1.0, depth=depth, frame='d')
    bag.tf(np.eye(4), 'map', 'color', 1.0)
    path = bag.write(tmp_path / 'same.mcap')  # equal intrinsics, no transform: taken as one
    np.testing.assert_array_equal(next(iter(load_source(path))).depth_m, depth)
    bag.tf(make_transform(translation=(0.1, 0, 0)), 'color', 'd', static=True)
    frame = next(iter(load_source(bag.write(tmp_path / 'apart.mcap'))))
    near, far = 4, 2  # 35 px * 0.1 m / 1 m = 3.5 px, and 1.75 px at 2 m
    assert (frame.depth_m[10:20, 15 + near : 25 + near] == 1.0).all()
    assert (frame.depth_m[:10, far:] == 2.0).all()
    assert (frame.depth_m[:, :far] == 0).all()
    assert (frame.depth_m[10:20, 15 + far : 15 + near] == 0).sum() <= 20  # what colour alone sees


def test_unregistered_depth_of_other_intrinsics_is_dropped(tmp_path):
    bag = Bag().info('/c/color/camera_info', frame='color')
    bag.info('/c/depth/camera_info', camera=Camera(40, 30, 50.0, 50.0, 20, 15), frame='d')
    bag.color('/c/color/image_raw', 1.0, frame='color').depth('/c/depth/image_raw', 1.0, frame='d')
    bag.tf(np.eye(4), 'map', 'color', 1.0)
    source = load_source(bag.write(tmp_path / 'b.mcap'))
    assert list(source) == []
    assert source.dropped == {'not_registered': 1}


@pytest.mark.parametrize(
    'options',
    [
        {'color_topic': '/camera/imag'},
        {'depth_topic': 'camera/dept'},
        {'info_topic': '/info'},
        {'pose_source': 'odometry'},
        {'pose_topic': '/pose'},
        {'cameras': ['left']},
    ],
)
def test_unknown_topics_list_those_of_the_bag(tmp_path, options):
    path = plain_bag().write(tmp_path / 'b.mcap')
    with pytest.raises(SourceError) as caught:
        load_source(path, **options)
    assert '\n' not in str(caught.value)
    assert 'camera' in str(caught.value)


def test_unknown_option(tmp_path):
    path = plain_bag().write(tmp_path / 'b.mcap')
    with pytest.raises(ConfigError, match='color_topic'):
        load_source(path, colour_topic='/camera/image')


def test_uncalibrated_camera_is_refused(tmp_path):
    bag = plain_bag()
    info = messages.camera_info(CAMERA, OPTICAL, SECOND)
    info.message.k[:] = 0
    bag.items = [i for i in bag.items if i[0] != '/camera/camera_info']
    path = bag.add('/camera/camera_info', info).write(tmp_path / 'b.mcap')
    with pytest.raises(SourceError, match=r'K\[0\] = 0'):
        load_source(path)


def test_bag_without_images_or_camera_info(tmp_path):
    path = Bag().tf(np.eye(4), 'map', 'x', 1.0).write(tmp_path / 'a.mcap')
    with pytest.raises(SourceError, match='no images'):
        load_source(path)
    path = Bag().color('/camera/image', 1.0).write(tmp_path / 'b.mcap')
    with pytest.raises(SourceError, match='no camera_info'):
        load_source(path)
