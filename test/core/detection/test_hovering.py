"""The shade of a lamp is a part of the lamp; a box on a box is another box."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.detection.hovering import join_hovering
from recon3d_core.types import Detection, Plane

TABLE = Plane(np.array([0.0, 0.0, 1.0]), -0.7)


def block(width_m, bottom_m, top_m, x=0.0, y=0.0, support=TABLE):
    """Return a detection of the front and the top of a block on a table 0.7 m high."""
    rng = np.random.default_rng(0)
    front, top = rng.uniform(-0.5, 0.5, (2, 400, 3))
    front[:, 1], top[:, 2] = -0.5, 0.5
    size = (width_m, width_m, top_m - bottom_m)
    points = np.concatenate([front, top]) * size + (x, y, 0.7 + (bottom_m + top_m) / 2)
    return Detection(
        mask=np.ones((2, 2), bool),
        box_xyxy=(0, 0, 1, 1),
        points_world_m=points.astype(np.float32),
        support=support,
    )


SHADE = block(0.2, 0.25, 0.4)


@pytest.mark.parametrize(
    'foot',
    [
        pytest.param(block(0.15, 0.0, 0.03), id='its stem is not seen'),
        pytest.param(block(0.03, 0.0, 0.26), id='a stem alone'),
    ],
)
def test_a_shade_over_its_foot_is_one_lamp(foot):
    assert join_hovering([SHADE, foot]) == [[1, 0]]


def test_the_nearest_middle_has_the_shade():
    foot, beside = block(0.15, 0.0, 0.03, x=0.01), block(0.15, 0.0, 0.03, x=0.05)
    assert join_hovering([beside, SHADE, foot]) == [[0], [2, 1]]


@pytest.mark.parametrize(
    'other',
    [
        pytest.param(block(0.15, 0.0, 0.25), id='what it rests on'),
        pytest.param(block(0.3, 0.0, 0.4), id='what it is within'),
        pytest.param(block(0.15, 0.0, 0.03, y=-0.2), id='what hides its lower part'),
        pytest.param(block(0.15, 0.0, 0.03, support=None), id='what stands on nothing known'),
        pytest.param(block(0.15, 0.1, 0.2), id='what hovers itself'),
        pytest.param(block(0.25, 0.0, 0.03), id='what is wider, and carries it unseen'),
        pytest.param(block(0.06, 0.0, 0.25), id='what is narrow, and carries it'),
    ],
)
def test_what_is_carried_is_an_object_of_its_own(other):
    assert join_hovering([SHADE, other]) == [[0], [1]]


def test_what_stands_stays_alone():
    low = block(0.2, 0.0, 0.1)
    assert join_hovering([low, low]) == [[0], [1]]
    assert join_hovering([]) == []
