"""Oriented boxes against the plain formula."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry.regions import Box
from recon3d_core.geometry.transforms import look_at, make_transform

POSE = look_at((1.0, 2.0, 3.0), (0.5, -1.0, 0.2))


@given(st.lists(st.tuples(*[st.floats(-2, 2)] * 3), min_size=2, max_size=9))
def test_a_box_around_points_contains_them_and_no_more(points):
    local = np.array(points)
    spread = np.ptp(local, axis=0)
    if (spread < 1e-6).any():
        with pytest.raises(InputError, match='edges of a box'):
            Box.around(local, POSE)
        return
    box = Box.around(local, POSE)
    np.testing.assert_allclose(box.size_m, spread, atol=1e-12)
    world = local @ POSE[:3, :3].T + POSE[:3, 3]
    assert box.contains(world, 1e-9).all()
    outside = local.max(0) + np.array((0.0, 0.0, 0.01))
    assert not box.contains(outside @ POSE[:3, :3].T + POSE[:3, 3])
    assert box.contains(outside @ POSE[:3, :3].T + POSE[:3, 3], 0.011)


def test_shapes_follow_the_points():
    box = Box(make_transform(None, (1, 0, 0)), np.array([2.0, 1.0, 0.5]))
    points = np.zeros((3, 4, 3))
    assert box.contains(points).shape == (3, 4)
    assert box.contains(points).all()
    assert not box.contains(points, -0.1).any()


@pytest.mark.parametrize(
    'points',
    [
        [[0, 0, 0]],
        [[0, 0, 0], [1, 1, 0]],
        [[0, 0, 0], [np.nan, 1, 1]],
        [[0, 0, 0], [np.inf, 1, 1]],
    ],
)
def test_what_is_no_box_is_refused(points):
    with pytest.raises(InputError):
        Box.around(np.array(points, float), np.eye(4))
