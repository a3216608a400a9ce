"""Masks and clusters vote: what both say, what one says alone, and what touches."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from recon3d_core import registry
from recon3d_core.data import load_source
from recon3d_core.detection.planes import Support
from recon3d_core.detection.surfaces import detection_of
from recon3d_core.detection.voting import (
    _carrier,
    _carries,
    _count,
    _give_rim,
    _is_top,
    _Vote,
)
from recon3d_core.metrics.instances import instance_f1, match_instances
from recon3d_core.types import Detections, Plane
from tabletop import tabletop


def mask(*boxes):
    """Return a mask (40, 60) of boxes y0, y1, x0, x1."""
    made = np.zeros((40, 60), bool)
    for y0, y1, x0, x1 in boxes:
        made[y0:y1, x0:x1] = True
    return made


def test_what_both_see_counts_fully_and_reaches_where_depth_ends():
    (found,) = _count(
        [_Vote(mask((12, 28, 12, 28)), 0.9)], [_Vote(mask((10, 30, 10, 30)), 0.6)], 0.5
    )
    assert found.score == 0.9
    np.testing.assert_array_equal(found.mask, mask((10, 30, 10, 30)))


def test_a_cluster_with_two_masks_is_two_things():
    cluster = mask((10, 30, 10, 50))
    left, right = mask((10, 30, 12, 28)), mask((10, 30, 31, 48))
    found = _count([_Vote(left, 0.9), _Vote(right, 0.8)], [_Vote(cluster, 0.6)], 0.5)
    assert [vote.score for vote in found] == [0.9, 0.8]
    assert not (found[0].mask & found[1].mask).any()
    np.testing.assert_array_equal(found[0].mask | found[1].mask, cluster)
    first = found[0].mask[10:30]
    assert first[:, 28].all(), 'the gap is shared'
    assert not first[:, 30].any()


@pytest.mark.parametrize('stands', [True, False])
def test_a_mask_with_two_clusters_that_stand_is_two_things(stands):
    left, right = mask((10, 30, 10, 28)), mask((10, 30, 31, 50))
    joined = _Vote(mask((10, 30, 10, 50)), 0.9, confirmed=True)
    clusters = [_Vote(left, 0.9, stands=True), _Vote(right, 0.9, stands=stands)]
    found = _count([joined], clusters, 0.5)
    if not stands:  # as the shade of a lamp
        assert len(found) == 1
        return
    assert [vote.score for vote in found] == [0.9, 0.9]
    assert not (found[0].mask & found[1].mask).any()
    assert (found[0].mask | left == found[0].mask).all()
    assert (found[1].mask | right == found[1].mask).all()


def test_a_mask_that_another_thing_cuts_in_two_is_one_thing():
    left, right = mask((10, 30, 10, 26)), mask((10, 30, 33, 50))
    cut = _Vote(left | right, 0.9, confirmed=True)
    clusters = [_Vote(left, 0.9, stands=True), _Vote(right, 0.9, stands=True)]
    (found,) = _count([cut], clusters, 0.5)
    np.testing.assert_array_equal(found.mask, left | right)


def test_what_no_support_carries_counts_less_and_clusters_count_alone():
    seen, measured = mask((5, 15, 5, 15)), mask((20, 36, 30, 50))
    standing = _Vote(mask((5, 15, 30, 40)), 0.7, confirmed=True)
    found = _count([_Vote(seen, 0.8), standing], [_Vote(measured, 0.6)], 0.5)
    assert [vote.score for vote in found] == pytest.approx([0.7, 0.6, 0.4])
    np.testing.assert_array_equal(found[1].mask, measured)


def test_the_rest_of_a_cluster_is_a_thing_only_if_it_is_most_of_it():
    cluster, small = mask((10, 30, 10, 50)), mask((10, 30, 10, 22))
    found = _count([_Vote(small, 0.8)], [_Vote(cluster, 0.6)], 0.5)
    assert len(found) == 2
    assert not (found[0].mask & found[1].mask).any()
    (alone,) = _count([_Vote(mask((10, 30, 10, 40)), 0.8)], [_Vote(cluster, 0.6)], 0.5)
    assert alone.mask[:, 46].sum() == 20, 'some of the rim'
    assert not alone.mask[:, 48].any()


def test_the_weights_of_the_package_tell_apart_what_depth_joins():
    detectors = {name: registry.load('detector', name)() for name in ('voting', 'depth_cluster')}
    matches = {name: [] for name in detectors}
    for frame in list(load_source('synthetic:clutter?frames=12&width=320&height=240'))[::4]:
        truth = frame.truth.instance_mask
        for name, detector in detectors.items():
            items = detector.detect(frame).items
            masks = np.stack([item.mask > 0 for item in items])
            matches[name].append(match_instances(masks, [i.score for i in items], truth, 100))
    f1 = {name: instance_f1(found, 0.5, 0.0) for name, found in matches.items()}
    assert f1['voting'] > 0.8
    assert f1['voting'] > f1['depth_cluster'] + 0.1


def level(height_m, low, high):
    """Return a level support over a square."""
    cells = round((high - low) / 0.02)
    area = np.ones((cells, cells), bool)
    return Support(
        Plane(np.array((0.0, 0.0, 1.0)), -height_m), np.eye(3), np.full(2, low), area, 0.02
    )


def test_a_cabinet_stands_on_the_floor_and_not_on_its_own_top():
    rng = np.random.default_rng(0)
    front = rng.uniform((0, 0, 0.02), (0.8, 0.02, 0.78), (300, 3))
    top = rng.uniform((0, 0, 0.77), (0.8, 0.45, 0.79), (200, 3))
    cabinet = np.concatenate([front, top]).astype(np.float32)
    floor_before_it = level(0.0, -1.5, -0.05)
    assert _carries(floor_before_it, cabinet)
    assert not _carries(level(0.78, 0.0, 0.8), cabinet)
    hung = cabinet + np.float32([0, 0, 0.6])
    assert not _carries(floor_before_it, hung)


def test_thin_parts_that_join_two_masks_go_to_them():
    foot, shade = mask((2, 12, 20, 40)), mask((28, 38, 20, 40))
    stem, tail = mask((12, 28, 28, 31)), mask((5, 8, 40, 60))
    votes = [_Vote(foot.copy(), 0.9), _Vote(shade.copy(), 0.9)]
    _give_rim(foot | shade | stem | tail, votes)
    joined = votes[0].mask | votes[1].mask
    assert joined[stem].all()
    assert not joined[:, 50:].any(), 'what leads to one mask only is no stem'


class _Told:
    """In place of the network: masks that are given."""

    def __init__(self, masks):
        self.masks = masks

    def detect(self, frame):
        return Detections(
            tuple(detection_of(frame, mask, max_points=500, score=0.9) for mask in self.masks)
        )


def test_a_plate_is_a_thing_and_a_print_is_none():
    frame = next(iter(load_source('synthetic:tabletop_05?frames=1')))
    instances, objects = frame.truth.instance_mask, frame.truth.objects
    (plate,) = [key for key, truth in objects.items() if truth.category == 'plate']
    rows, columns = np.nonzero(instances == plate)
    table = np.zeros_like(instances, bool)
    table[rows.max() + 8 : rows.max() + 40, columns.min() : columns.max()] = True
    table &= instances == 0
    assert table.sum() > 500
    detector = registry.load('detector', 'voting')()
    detector._masks = _Told([instances == plate, table])
    found = detector.detect(frame).items
    with_plate = [item for item in found if item.mask[instances == plate].mean() > 0.8]
    assert len(with_plate) == 1
    assert with_plate[0].support is not None
    assert not [item for item in found if item.mask[table].mean() > 0.5]


def standing(**more):
    """Return a frame, a box on its table, and a detector that is told masks of it."""
    view = tabletop('box').orbit(1)[0]
    frame = dataclasses.replace(view.frame, **more)
    return frame, view.mask, registry.load('detector', 'voting')()


def test_a_fringe_on_the_table_is_cut_off_and_half_of_a_mask_is_not():
    frame, mask, detector = standing()
    fringed = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rows = np.flatnonzero(mask.any(1))
    table = np.zeros_like(mask)
    # Two thirds of the second mask rise: more than its half, less than most of it.
    table[rows[-1] + 4 : rows[-1] + 4 + round(0.5 * mask.sum() / 60), 130:190] = True
    for told, kept in ((fringed, False), (mask | table, True)):
        detector._masks = _Told([told])
        whole = max((item.mask & told & ~mask).sum() for item in detector.detect(frame).items)
        assert (whole > 0.9 * (told & ~mask).sum()) == kept


@pytest.mark.parametrize('hidden', [True, False])
def test_what_hides_a_foot_is_not_held_against_a_thing(hidden, monkeypatch):
    frame, mask, detector = standing()
    detector._masks = _Told([mask])
    # As in a view in which no ground is seen around it, though one was seen before.
    monkeypatch.setattr(detector._clusters, 'look', lambda frame: ([], []))
    monkeypatch.setattr(detector._clusters, 'knows_supports', lambda frame: True)
    monkeypatch.setattr('recon3d_core.detection.voting.ground_at_foot', lambda *_: None)
    rows = np.flatnonzero(mask.any(1))
    if hidden:
        last = rows[-1] - 8
        camera = dataclasses.replace(frame.camera, height=last)
        frame = dataclasses.replace(
            frame, camera=camera, rgb=frame.rgb[:last], depth_m=frame.depth[:last], truth=None
        )
        detector._masks = _Told([mask[:last]])
    frame = dataclasses.replace(frame, gravity_world=np.array([0.0, 0.0, -1.0]))
    scores = [item.score for item in detector.detect(frame).items]
    assert scores == ([0.9] if hidden else [])


def test_what_lies_flat_over_all_of_a_plane_is_not_carried_by_it():
    rng = np.random.default_rng(0)
    lid = rng.uniform((0, 0, 0.038), (0.6, 0.4, 0.042), (4000, 3)).astype(np.float32)
    own, floor = level(0.04, 0.0, 0.6), level(0.0, -1.0, 1.6)
    assert _is_top(own, lid)
    assert not _is_top(floor, lid)
    assert _carrier([own, floor], lid, lid) is floor.plane


def test_a_plane_that_a_thing_reaches_through_carries_it_only_for_want_of_another():
    rng = np.random.default_rng(0)
    thing = rng.uniform((0.1, 0.1, 0.0), (0.2, 0.2, 0.2), (400, 3)).astype(np.float32)
    beside, floor = level(0.04, 0.0, 1.0), level(0.0, 0.0, 1.0)
    assert _carrier([beside, floor], thing, thing) is floor.plane
    assert _carrier([beside], thing, thing) is beside.plane
