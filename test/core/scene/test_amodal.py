"""Whole outlines of objects: behind one another, behind the unknown, beyond the image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.scene.amodal import amodal_views
from recon3d_core.types import Frame, Mesh, ObjectEstimate, SelfCheck, Shape
import trimesh

CAMERA = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)


def box(number, center, edges):
    solid = trimesh.creation.box(edges)
    mesh = Mesh((solid.vertices + center).astype(np.float32), solid.faces.astype(np.int32))
    shape = Shape(VoxelGrid(np.eye(4), 0.1, (2, 2, 2)), np.zeros((2, 2, 2), np.float32))
    pose = np.eye(4)
    check = SelfCheck(1.0, 0.0, True)
    return ObjectEstimate(
        number, 'box', 1.0, mesh, shape, pose, np.full(3, 0.1), 1, True, 1e-3, 0.5, check, 0, 0
    )


FRAME = Frame(0, CAMERA, None, None, np.eye(4))
FRONT, BEHIND = box(1, (-0.1, 0, 1.0), (0.2, 0.3, 0.1)), box(2, (0, 0, 2.0), (0.4, 0.4, 0.1))


def test_an_object_behind_another_keeps_its_outline():
    seen = amodal_views({1: FRONT, 2: BEHIND}, FRAME)
    assert seen[1].visible_fraction == 1
    alone = amodal_views({2: BEHIND}, FRAME)[2]
    np.testing.assert_array_equal(seen[2].mask, alone.mask)
    np.testing.assert_array_equal(seen[2].visible, alone.mask & ~seen[1].mask)
    assert 0.4 < seen[2].visible_fraction < 0.6
    assert seen[2].box_xyxy == (26, 18, 37, 29)  # 0.2 m at 1.95 m: 5.1 px around the middle
    rows, columns = np.nonzero(alone.mask)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == pytest.approx(
        seen[2].box_xyxy, abs=1
    )


def test_depth_shows_what_no_object_is():
    depth = np.full((48, 64), 3.0, np.float32)
    depth[:, :32] = 1.5
    half = amodal_views({2: BEHIND}, dataclasses.replace(FRAME, depth_m=depth))[2]
    assert half.visible_fraction == pytest.approx(0.5, abs=0.1)
    assert not half.visible[:, :32].any()
    depth[:, :32] = 0  # not measured: nothing known to be in front
    whole = amodal_views({2: BEHIND}, dataclasses.replace(FRAME, depth_m=depth))[2]
    assert whole.visible_fraction == 1


def test_beyond_the_image_and_behind_the_camera():
    cut = box(3, (0.7, 0, 1.0), (0.4, 0.2, 0.1))
    behind = box(4, (0, 0, -1.0), (0.2, 0.2, 0.2))
    aside = box(5, (3.0, 0, 1.0), (0.2, 0.2, 0.2))
    seen = amodal_views({3: cut, 4: behind, 5: aside}, FRAME)
    assert list(seen) == [3]
    assert seen[3].box_xyxy[2] > CAMERA.width
    assert seen[3].mask[:, -1].any()
    assert amodal_views({}, FRAME) == {}
