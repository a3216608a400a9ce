"""What carries a thing, of all that detections told."""

from __future__ import annotations

import numpy as np
from recon3d_core.tracking.grounds import Grounds
from recon3d_core.types import Plane

RNG = np.random.default_rng(0)


def level(height_m):
    return Plane(np.array([0.0, 0.0, 1.0]), -height_m)


def surface(low_m, high_m=0.3):
    return RNG.uniform((0, 0, low_m), (0.1, 0.1, high_m), (300, 3)).astype(np.float32)


def told(*planes):
    grounds = Grounds()
    for height_m in planes:
        grounds.add(level(height_m), surface(0.2))
    return grounds


def test_nothing_is_known_at_first():
    assert Grounds().best(surface(0.0)) is None


def test_what_most_detections_told_carries_it():
    assert -told(0.0, 0.12, 0.12).best(surface(0.12)).offset_m == 0.12
    assert -told(0.12, 0.0, 0.0).best(surface(0.0)).offset_m == 0.0
    assert -told(0.12, 0.0).best(surface(0.0)).offset_m == 0.0, 'the newest of equals'


def test_a_plane_amid_the_surface_carries_nothing():
    grounds = told(0.0, 0.12, 0.12)
    assert -grounds.best(surface(0.0)).offset_m == 0.0
    some_of_what_it_stands_on = np.concatenate([surface(0.12)] * 9 + [surface(0.0, 0.12)])
    assert -grounds.best(some_of_what_it_stands_on).offset_m == 0.12


def test_planes_that_differ_by_noise_are_one_and_the_newest_counts():
    assert -told(0.0, 0.01, 0.004).best(surface(0.0)).offset_m == 0.004


def test_where_all_are_pierced_the_most_frequent_counts():
    assert -told(0.1, 0.1, 0.2).best(surface(-0.3)).offset_m == 0.1


def test_the_number_of_planes_is_bounded():
    grounds = told(0.0, 0.0, *np.arange(0.1, 3.0, 0.1))
    assert len(grounds._planes) == 6
    assert -grounds.best(surface(0.0)).offset_m == 0.0


def test_what_begins_far_above_a_plane_does_not_stand_on_it():
    grounds = told(0.0, 0.0)
    assert grounds.best(surface(0.2)) is None
    assert grounds.best(surface(0.03)) is not None
    assert grounds.best(surface(0.08, 0.5)) is not None, 'something hides the foot of a tall thing'
