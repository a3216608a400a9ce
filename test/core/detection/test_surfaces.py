"""Surface points of masks: where they lie, and what of a mask's rim is none of the object."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.detection.surfaces import detection_of, surface_points
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at
from recon3d_core.types import Frame

CAMERA = Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
POSE = look_at((0.0, -1.0, 0.6), (0.0, 0.0, 0.0))


def frame_with(depth: np.ndarray) -> Frame:
    return Frame(0, CAMERA, depth_m=depth, T_world_camera=POSE)


def disc(radius: float, middle: tuple[float, float] = (80, 60)) -> np.ndarray:
    y, x = np.mgrid[:120, :160]
    return (x - middle[0]) ** 2 + (y - middle[1]) ** 2 <= radius**2


def test_what_the_rim_shows_of_the_background_is_left_out() -> None:
    depth = np.full((120, 160), 2.5, np.float32)
    depth[disc(18)] = 1.0
    frame, mask = frame_with(depth), disc(19)  # a pixel too wide
    assert (depth[mask] > 2).sum() > 60
    found = detection_of(frame, mask, max_points=4000)
    local = (found.points_world_m - POSE[:3, 3]) @ POSE[:3, :3]
    assert len(local) == (depth[mask] < 2).sum()
    np.testing.assert_allclose(local[:, 2], 1.0, atol=1e-5)
    assert found.box_xyxy == (61, 41, 99, 79)
    assert not found.truncated


@pytest.mark.parametrize(('share', 'stays'), [(0.15, True), (0.04, False)])
def test_a_part_of_its_own_stays_where_it_is_large(share: float, stays: bool) -> None:
    depth, mask = np.full((120, 160), 1.0, np.float32), np.zeros((120, 160), bool)
    mask[10:60, 60:100] = True
    rows = round(share * 2000 / 40)
    mask[90 : 90 + rows, 60:100] = True  # as a lamp's foot, whose stem is too thin for depth
    box = (60, 10, 99, 89 + rows)
    points = surface_points(frame_with(depth), mask, box, 10_000)
    assert len(points) == 2000 + (40 * rows if stays else 0)


def test_there_are_no_points_without_depth_or_pose() -> None:
    mask = disc(10)
    for frame in (
        Frame(0, CAMERA, T_world_camera=POSE),
        Frame(0, CAMERA, depth_m=np.ones((120, 160), np.float32)),
    ):
        assert detection_of(frame, mask, max_points=100).points_world_m is None
    blind = frame_with(np.zeros((120, 160), np.float32))
    assert detection_of(blind, mask, max_points=100).points_world_m.shape == (0, 3)


def test_the_border_cuts_what_comes_near_to_it() -> None:
    frame = frame_with(np.ones((120, 160), np.float32))
    near = disc(10, (14, 60))  # 4 px from the left border
    assert not detection_of(frame, near, max_points=100).truncated
    assert detection_of(frame, near, max_points=100, border_px=5).truncated
    assert len(detection_of(frame, near, max_points=100).points_world_m) <= 100
