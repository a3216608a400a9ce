"""The level surface around a thing's foot, where no support was found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon3d_core.detection.footing import foot_is_hidden, ground_at_foot
from recon3d_core.detection.surfaces import world_points
from recon3d_core.types import Frame
from tabletop import tabletop

UP = np.array([0.0, 0.0, 1.0])


def seen(name='box'):
    """Return frame, mask and points of a thing on a table at height 0."""
    view = tabletop(name).orbit(1)[0]
    points = world_points(view.frame, view.mask & (view.frame.depth > 0), (0, 0))
    return view.frame, view.mask, points


@pytest.mark.parametrize('name', ['box', 'mug', 'bowl'])
def test_the_table_is_found_around_the_foot(name):
    frame, mask, points = seen(name)
    plane = ground_at_foot(frame, mask, points, 0.001, UP)
    assert plane.normal_world == pytest.approx(UP)
    assert abs(plane.offset_m) < 0.004


def test_what_hangs_above_the_table_does_not_stand_on_it():
    frame, mask, points = seen()
    raised = points + np.float32([0, 0, 0.1])
    assert ground_at_foot(frame, mask, raised, 0.001, UP) is None


def test_without_depth_around_it_nothing_is_known():
    frame, mask, points = seen()
    depth = np.where(mask, frame.depth, 0).astype(np.float32)
    bare = dataclasses.replace(frame, depth_m=depth)
    assert ground_at_foot(bare, mask, points, 0.001, UP) is None


def test_a_wall_is_no_ground():
    frame, mask, points = seen()
    # The table, turned upright: as many points at every height.
    side = np.array([0.0, 1.0, 0.0])
    assert isinstance(frame, Frame)
    assert ground_at_foot(frame, mask, points, 0.001, side) is None


def test_a_foot_in_the_open_is_seen_and_one_behind_another_thing_is_not():
    frame, mask, _ = seen()
    none = np.zeros_like(mask)
    assert not foot_is_hidden(frame, mask, none, UP)
    rows = np.flatnonzero(mask.any(1))
    before = none.copy()
    before[rows[4 * len(rows) // 5] :] = True
    assert foot_is_hidden(frame, mask & ~before, before, UP)
    # As much of it in the open, and the other thing above.
    above = none.copy()
    above[: rows[len(rows) // 2]] = True
    assert not foot_is_hidden(frame, mask & ~above, above, UP)
    assert not foot_is_hidden(frame, mask & ~before, before, None), 'which way is down?'


def test_a_thing_far_behind_the_foot_hides_nothing():
    frame, mask, _ = seen()
    rows = np.flatnonzero(mask.any(1))
    low = np.zeros_like(mask)
    low[rows[4 * len(rows) // 5] :] = True
    for away_m, hidden in ((-0.1, True), (0.3, False)):
        depth = np.where(low, frame.depth + np.float32(away_m), frame.depth)
        other = dataclasses.replace(frame, depth_m=depth.astype(np.float32))
        assert foot_is_hidden(other, mask & ~low, low, UP) is hidden


@pytest.mark.parametrize('blind_px', [0, 3, 6])
def test_the_border_of_the_image_hides_a_foot(blind_px):
    frame, mask, _ = seen()
    last = np.flatnonzero(mask.any(1))[-1] - 8
    camera = dataclasses.replace(frame.camera, height=last)
    depth = frame.depth[:last].copy()
    depth[last - blind_px :] = 0  # as Kinect-like cameras have it
    cut = dataclasses.replace(
        frame, camera=camera, rgb=frame.rgb[:last], depth_m=depth, truth=None
    )
    assert foot_is_hidden(cut, mask[:last], np.zeros_like(mask[:last]), UP)
