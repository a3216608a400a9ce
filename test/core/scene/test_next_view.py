"""Views that tell most: towards what is unknown, past what is solid."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.scene.next_view import _entropy, _visible, next_views, NextViewOptions
from recon3d_core.types import Mesh, ObjectEstimate, Plane, SelfCheck, Shape

N, EDGE_M = 24, 0.24
TABLE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)


def estimate(occupancy, observed=None, free=None, support=TABLE):
    T = np.eye(4)
    T[:3, 3] = (-EDGE_M / 2, -EDGE_M / 2, 0)
    shape = Shape(VoxelGrid(T, EDGE_M / N, (N, N, N)), occupancy, None, observed, free)
    center = np.eye(4)
    center[2, 3] = 0.1
    mesh = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    check = SelfCheck(1.0, 0.0, True)
    return ObjectEstimate(
        1, 'box', 1.0, mesh, shape, center, np.full(3, 0.1), 1, True, 1e-3, 0.5, check, 0, 0, support
    )  # fmt: skip


def half_seen(axis_sign):
    """Return a box of which the half on one side of x is solid and known, the other open."""
    occupancy = np.zeros((N, N, N), np.float32)
    observed = np.ones((N, N, N), bool)
    box = np.s_[6:18, 6:18, 0:14]
    occupancy[box] = 1
    far = np.zeros((N, N, N), bool)
    far[(slice(12, 18) if axis_sign > 0 else slice(6, 12)), 6:18, 0:14] = True
    occupancy[far], observed[far] = 0.5, False
    return estimate(occupancy, observed)


@pytest.mark.parametrize('sign', [1, -1])
def test_the_unknown_side_is_looked_at_from_above_the_support(sign):
    found = next_views(half_seen(sign), NextViewOptions(distance_m=0.7))
    pose = found[0].T_world_camera
    assert sign * pose[0, 3] > 0.2
    assert pose[2, 3] > 0.1
    np.testing.assert_allclose(np.linalg.norm(pose[:3, 3] - (0, 0, 0.1)), 0.7)
    to_object = (0, 0, 0.1) - pose[:3, 3]
    np.testing.assert_allclose(pose[:3, 2], to_object / np.linalg.norm(to_object), atol=1e-9)
    assert 0 < found[0].share <= 1


def test_a_second_view_shows_what_the_first_did_not():
    occupancy = np.zeros((N, N, N), np.float32)
    observed = np.ones((N, N, N), bool)
    # Two unknown parts, the larger one at +x, each to be seen from its own side only.
    for solid in (np.s_[10:14], np.s_[:, :2], np.s_[:, 22:], np.s_[:, :, 14:]):
        occupancy[solid] = 1
    for part in (np.s_[16:22, 4:20, 0:12], np.s_[4:8, 4:20, 0:12]):
        occupancy[part], observed[part] = 0.3, False
    one, two = next_views(estimate(occupancy, observed), NextViewOptions(views_per_object=2))
    assert one.T_world_camera[0, 3] > 0 > two.T_world_camera[0, 3]
    assert one.gain_bits > two.gain_bits > 0


def test_a_view_that_would_tell_nothing_more_is_left_out():
    occupancy, observed = np.zeros((N, N, N), np.float32), np.ones((N, N, N), bool)
    occupancy[12:14, 12:14, 12:14], observed[12:14, 12:14, 12:14] = 0.5, False  # in the open
    found = next_views(estimate(occupancy, observed), NextViewOptions(views_per_object=8))
    assert len(found) == 1
    assert found[0].share == pytest.approx(1)


def test_where_all_is_known_there_is_none():
    occupancy = np.zeros((N, N, N), np.float32)
    occupancy[8:16, 8:16, 0:8] = 1
    assert next_views(estimate(occupancy), NextViewOptions()) == []
    whole = half_seen(1)
    known = dataclasses.replace(whole.shape, observed=np.ones((N, N, N), bool))
    assert next_views(dataclasses.replace(whole, shape=known), NextViewOptions()) == []


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_visibility_is_that_of_a_walk_along_the_ray(seed):
    rng = np.random.default_rng(seed)
    occupancy = rng.random((5, 6, 7)) * (rng.random((5, 6, 7)) < 0.3)
    place, eye = rng.integers(0, (5, 6, 7)), rng.normal(0, 1, 3)
    eye = eye / np.linalg.norm(eye) * 30 + 3
    expected, direction = 1.0, (eye - place - 0.5) / np.linalg.norm(eye - place - 0.5)
    for step in range(1, 11):
        at = np.floor(place + 0.5 + step * direction).astype(int)
        if ((at >= 0) & (at < occupancy.shape)).all():
            expected *= max(1 - occupancy[tuple(at)], 1e-3)
    found = _visible(occupancy, place[None], eye[None])
    assert found[0, 0] == pytest.approx(expected, rel=1e-4)


def test_entropy_is_a_bit_where_nothing_is_known():
    assert _entropy(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 1, 0], abs=1e-4)
