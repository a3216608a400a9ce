"""Overlap of boxes against counting of random points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import apply, frame_from_normal, invert, make_transform
from recon3d_core.metrics.boxes import box_iou_3d, clip_convex, polygon_area

size = st.tuples(*[st.floats(0.05, 0.4)] * 3)
shift = st.tuples(*[st.floats(-0.2, 0.2)] * 3)


def upright(angle, center, up=(0.0, 0.0, 1.0)):
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    base = frame_from_normal(up)
    return make_transform(base @ turn, base @ np.asarray(center))


def counted_iou(T_a, size_a, T_b, size_b):
    """Count points drawn from box a; the slow obvious way."""
    rng = np.random.default_rng(0)
    points = apply(T_a, rng.uniform(-0.5, 0.5, (40000, 3)) * size_a)
    inside = (np.abs(apply(invert(T_b), points)) <= np.asarray(size_b) / 2).all(1)
    shared = inside.mean() * np.prod(size_a)
    return shared / (np.prod(size_a) + np.prod(size_b) - shared)


@given(size, size, shift, st.floats(-4, 4), st.floats(-4, 4), st.sampled_from([(0, 0, 1),
       (0.3, -0.5, 0.8), (0, -1, 0)]))  # fmt: skip
def test_iou_equals_the_counted_one(size_a, size_b, center, angle_a, angle_b, up):
    T_a, T_b = upright(angle_a, (0, 0, 0), up), upright(angle_b, center, up)
    iou = box_iou_3d(T_a, size_a, T_b, size_b)
    assert iou == pytest.approx(counted_iou(T_a, size_a, T_b, size_b), abs=0.02)
    assert iou == pytest.approx(box_iou_3d(T_b, size_b, T_a, size_a), abs=1e-9)


@given(size, shift, st.floats(-4, 4), st.integers(0, 3))
def test_a_box_equals_itself_however_its_edges_are_named(edges, center, angle, quarters):
    T_a = upright(angle, center)
    T_b = upright(angle + quarters * np.pi / 2, center)
    other = np.array(edges)[[1, 0, 2]] if quarters % 2 else edges
    assert box_iou_3d(T_a, edges, T_b, other) == pytest.approx(1, abs=1e-9)


def test_known_overlaps():
    one = (1, 1, 1)
    assert box_iou_3d(upright(0, (0, 0, 0)), one, upright(0, (0.5, 0, 0)), one) == pytest.approx(
        1 / 3
    )
    octagon = 2 * (np.sqrt(2) - 1)
    turned = box_iou_3d(upright(0, (0, 0, 0)), one, upright(np.pi / 4, (0, 0, 0)), one)
    assert turned == pytest.approx(octagon / (2 - octagon))
    assert box_iou_3d(upright(0, (0, 0, 0)), one, upright(0, (0, 0, 1.5)), one) == 0
    assert box_iou_3d(upright(0, (0, 0, 0)), (0, 0, 0), upright(0, (0, 0, 0)), (0, 0, 0)) == 0


def test_tilted_boxes_are_refused():
    up = np.array((0, np.sin(0.3), np.cos(0.3)))
    with pytest.raises(InputError, match='17 degrees'):
        box_iou_3d(np.eye(4), (1, 1, 1), upright(0, (0, 0, 0), up), (1, 1, 1))
    little = np.array((0, np.sin(0.02), np.cos(0.02)))
    assert box_iou_3d(np.eye(4), (1, 1, 1), upright(0, (0, 0, 0), little), (1, 1, 1)) > 0.99


@pytest.mark.parametrize('bad', [(1, 1), (1, -1, 1), (1, np.nan, 1)])
def test_bad_sizes_are_refused(bad):
    with pytest.raises(InputError, match='size_b_m'):
        box_iou_3d(np.eye(4), (1, 1, 1), np.eye(4), bad)


def test_clipping_leaves_what_both_hold():
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    assert polygon_area(clip_convex(square, square + 0.5)) == pytest.approx(0.25)
    assert len(clip_convex(square, square + 2)) == 0
    assert polygon_area(clip_convex(square, 3 * square - 1)) == pytest.approx(1)
