"""Tracks: birth, death, occlusion, sudden growth, merge and split, bounds."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply, invert, look_at
from recon3d_core.tracking.evidence import Look, Place, Surface, thinned
from recon3d_core.tracking.evidence import look_at as look_for
from recon3d_core.tracking.spatial import SpatialConfig, SpatialTracker
from recon3d_core.types import Detection, Detections, Frame

CAMERA = Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
T_WORLD_CAMERA = look_at((0, -1.0, 0.6), (0, 0, 0))


def _blob(x: float, y: float = 0.0, width: float = 0.1, count: int = 400) -> np.ndarray:
    """Return points of the near faces of a box that stands at (x, y)."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (count, 3)) * (width, 0.1, 0.1) + (x, y, 0.05)
    points[: count // 2, 1] = y - 0.05
    points[count // 2 :, 2] = 0.1
    return points.astype(np.float32)


def _frame(step: int, *blobs: np.ndarray, empty_m: float = 3.0) -> Frame:
    """Return a frame whose depth shows the blobs before a far wall."""
    depth = np.full((120, 160), empty_m, np.float32)
    for points in blobs:
        local = (points - T_WORLD_CAMERA[:3, 3]) @ T_WORLD_CAMERA[:3, :3]
        for (x, y), z in zip(np.rint(CAMERA.project(local)).astype(int), local[:, 2]):
            depth[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = z
    return Frame(int(step * 2e8), CAMERA, depth_m=depth, T_world_camera=T_WORLD_CAMERA)


def _detection(points: np.ndarray, **fields: Any) -> Detection:
    mask = np.zeros((120, 160), bool)
    mask[50:60, 50:60] = True
    return Detection(mask, (50, 50, 59, 59), points_world_m=points, **fields)


def _run(tracker: SpatialTracker, steps: list[list[np.ndarray]], start: int = 0) -> list[Any]:
    return [
        tracker.associate(
            _frame(start + step, *blobs), Detections(tuple(_detection(b) for b in blobs))
        )
        for step, blobs in enumerate(steps)
    ]


def test_confirmed_after_some_hits_with_a_stable_id() -> None:
    updates = _run(SpatialTracker(), [[_blob(0), _blob(0.4)]] * 5)
    assert [update.confirmed for update in updates[:2]] == [[], []]
    assert all(update.confirmed == [1, 2] for update in updates[2:])
    assert {i for update in updates for i, _ in update.matches} == {1, 2}


def test_order_of_detections_does_not_matter() -> None:
    tracker = SpatialTracker()
    _run(tracker, [[_blob(0), _blob(0.4)]] * 3)
    (update,) = _run(tracker, [[_blob(0.4), _blob(0)]], start=3)
    by_id = dict(update.matches)
    assert by_id[1].points_world_m[:, 0].mean() < 0.1 < by_id[2].points_world_m[:, 0].mean()


def test_removed_when_the_camera_sees_through() -> None:
    tracker = SpatialTracker(SpatialConfig(misses_to_remove=4))
    _run(tracker, [[_blob(0), _blob(0.4)]] * 4)
    updates = _run(tracker, [[_blob(0.4)]] * 4, start=4)
    assert [update.removed for update in updates] == [[], [], [], [1]]
    assert updates[-1].confirmed == [2]


def test_an_occluded_object_stays() -> None:
    tracker = SpatialTracker()
    _run(tracker, [[_blob(0)]] * 4)
    for step in range(30):
        update = tracker.associate(_frame(4 + step, empty_m=0.3), Detections())
    assert update.confirmed == [1]


def test_an_object_that_is_there_but_not_found_stays_for_long() -> None:
    tracker = SpatialTracker()
    _run(tracker, [[_blob(0)]] * 10)
    for step in range(8):
        update = tracker.associate(_frame(10 + step, _blob(0)), Detections())
    assert update.confirmed == [1]
    assert update.scores[1] < 1.0


def test_a_flicker_is_never_confirmed() -> None:
    tracker = SpatialTracker()
    steps = [[_blob(0)], [], [], [], [_blob(0)], [], [], []]
    for step, blobs in enumerate(steps):
        found = Detections(tuple(_detection(b) for b in blobs))
        update = tracker.associate(_frame(step), found)
        assert update.confirmed == []
    assert not update.points_world_m


def test_truncated_detections_start_nothing() -> None:
    tracker = SpatialTracker()
    for step in range(5):
        found = Detections((_detection(_blob(0), truncated=True),))
        update = tracker.associate(_frame(step, _blob(0)), found)
    assert not update.points_world_m


def test_what_is_cut_off_each_time_is_an_object_where_that_is_asked_for() -> None:
    tracker = SpatialTracker(SpatialConfig(cut_hits_to_confirm=5))
    half, whole = _blob(0, width=0.05), _blob(0.02, width=0.12)
    for step in range(6):
        found = Detections((_detection(half, truncated=True),))
        update = tracker.associate(_frame(step, half), found)
        assert update.confirmed == ([1] if step >= 4 else [])
    (update,) = _run(tracker, [[whole]], start=6)
    assert not update.restarted
    assert [track_id for track_id, _ in update.matches] == [1]
    assert np.ptp(update.points_world_m[1], axis=0).max() > 0.1


def test_a_whole_look_makes_one_of_the_cut_off_an_object_as_quickly_as_others() -> None:
    tracker = SpatialTracker(SpatialConfig(cut_hits_to_confirm=5))
    for step, cut in enumerate((True, True, False)):
        found = Detections((_detection(_blob(0), truncated=cut),))
        update = tracker.associate(_frame(step, _blob(0)), found)
    assert update.confirmed == [1]


def test_things_that_touch_are_not_covered_by_each_other() -> None:
    tracker = SpatialTracker(SpatialConfig(looks_to_merge=3))
    tall, small = _blob(0), _blob(0.075, width=0.04)
    updates = _run(tracker, [[tall, small]] * 12)
    assert all(not update.merged and not update.removed for update in updates)
    assert all([i for i, _ in update.matches] == [1, 2] for update in updates)
    assert updates[-1].confirmed == [1, 2]


def test_what_appears_beside_an_object_is_no_half_of_it() -> None:
    tracker = SpatialTracker()
    _run(tracker, [[_blob(0)]] * 5)
    updates = _run(tracker, [[_blob(0), _blob(0.075, width=0.04)]] * 3, start=5)
    assert updates[-1].confirmed == [1, 2]
    assert not any(update.restarted for update in updates)


def test_one_detection_over_two_objects_is_given_to_neither() -> None:
    tracker = SpatialTracker()
    _run(tracker, [[_blob(-0.06), _blob(0.06)]] * 4)
    both = np.concatenate([_blob(-0.06), _blob(0.06)])
    (update,) = _run(tracker, [[both]], start=4)
    assert update.matches == []
    assert update.confirmed == [1, 2]


def test_objects_that_are_seen_as_one_again_and_again_merge() -> None:
    tracker = SpatialTracker(SpatialConfig(looks_to_merge=4))
    _run(tracker, [[_blob(-0.06), _blob(0.06)]] * 4)
    both = np.concatenate([_blob(-0.06), _blob(0.06)])
    updates = _run(tracker, [[both]] * 4, start=4)
    assert updates[-1].merged == {2: 1}
    assert updates[-1].removed == [2]
    (after,) = _run(tracker, [[both]], start=8)
    assert [i for i, _ in after.matches] == [1]


def test_seen_apart_in_between_they_do_not_merge() -> None:
    tracker = SpatialTracker(SpatialConfig(looks_to_merge=4))
    apart = [_blob(-0.06), _blob(0.06)]
    both = [np.concatenate(apart)]
    updates = _run(tracker, [apart] * 4 + [both, both, apart] * 6)
    assert all(not update.merged for update in updates)


def test_an_object_that_turns_out_to_be_two_is_split() -> None:
    tracker = SpatialTracker()
    both = np.concatenate([_blob(-0.06), _blob(0.06)])
    _run(tracker, [[both]] * 4)
    updates = _run(tracker, [[_blob(-0.06), _blob(0.06)]] * 8, start=4)
    assert updates[-1].confirmed == [1, 2]
    assert [1] in [update.restarted for update in updates]
    assert updates[-1].points_world_m[1][:, 0].max() < 0.02


def test_sudden_growth_is_not_believed_at_once() -> None:
    tracker = SpatialTracker()
    _run(tracker, [[_blob(0)]] * 4)
    grown = np.concatenate([_blob(0, count=200), _blob(0.3, width=0.5, count=600)])
    updates = _run(tracker, [[grown]] * 5, start=4)
    assert [len(update.matches) for update in updates] == [0, 0, 0, 0, 1]


def test_instances_of_the_detector_are_kept() -> None:
    tracker = SpatialTracker()
    for step in range(4):
        found = Detections((
            _detection(None, instance=7, label='mug'), _detection(None, instance=9),
        ))  # fmt: skip
        update = tracker.associate(_frame(step), found)
    assert update.confirmed == [1, 2]
    assert update.labels == {1: 'mug', 2: 'object'}


def test_bounded() -> None:
    tracker = SpatialTracker(SpatialConfig(max_tracks=10, max_points=100))
    rng = np.random.default_rng(0)
    known: set[int] = set()
    for step in range(60):
        blobs = [_blob(x, y) for x, y in rng.uniform(-20, 20, (5, 2))]
        update = tracker.associate(
            _frame(step, empty_m=0.0), Detections(tuple(_detection(b) for b in blobs))
        )
        known |= {track_id for track_id, _ in update.matches}
        known -= set(update.removed)
        assert known == set(update.points_world_m), 'who listens knows which tracks are gone'
    assert len(update.points_world_m) <= 10
    assert all(len(points) <= 100 for points in update.points_world_m.values())


def test_at_the_bound_the_object_not_seen_for_longest_gives_way() -> None:
    tracker = SpatialTracker(SpatialConfig(max_tracks=2))
    _run(tracker, [[_blob(0)]] * 3)
    _run(tracker, [[_blob(0.4)]] * 3, start=3)
    updates = _run(tracker, [[_blob(0), _blob(-0.4)]] * 3, start=6)
    assert updates[0].removed == [2]
    assert updates[-1].confirmed == [1, 3]


def test_reset_does_not_reuse_ids() -> None:
    tracker = SpatialTracker()
    _run(tracker, [[_blob(0)]] * 3)
    tracker.reset()
    updates = _run(tracker, [[_blob(0)]] * 3)
    assert updates[-1].confirmed == [2]


@pytest.mark.parametrize('count', [0, 1, 50, 5000])
def test_thinning_keeps_the_extent(count: int) -> None:
    points = np.random.default_rng(0).uniform(size=(count, 3)).astype(np.float32)
    thin = thinned(points, 200)
    assert len(thin) <= 200
    if count:
        assert np.abs(np.ptp(thin, axis=0) - np.ptp(points, axis=0)).max() < 0.15


def test_thinning_drops_what_is_not_finite() -> None:
    points = np.array([[0, 0, 0], [np.nan, 0, 0], [1, np.inf, 0]], np.float32)
    assert len(thinned(points, 10)) == 1


@pytest.mark.parametrize(
    ('empty_m', 'expected'),
    [(3.0, Look.THROUGH), (0.3, Look.HIDDEN), (0.0, Look.HIDDEN)],
)
def test_look(empty_m: float, expected: Look) -> None:
    surface = Surface(_blob(0), 500)
    assert look_for(_frame(0, empty_m=empty_m), surface) is expected
    assert look_for(_frame(0, _blob(0)), surface) is Look.SURFACE


def _outline(instance: int, x: int = 50, y: int = 50) -> Detection:
    """Return a detection without depth."""
    mask = np.zeros((120, 160), bool)
    mask[y : y + 10, x : x + 10] = True
    return Detection(mask, (x, y, x + 9, y + 9), instance=instance)


def _rgb_frame(step: int, pose: np.ndarray = T_WORLD_CAMERA) -> Frame:
    return Frame(int(step * 2e8), CAMERA, masks={}, T_world_camera=pose)


def _outlined_for(steps: int, **options: Any) -> SpatialTracker:
    tracker = SpatialTracker(SpatialConfig(maskless_to_remove=6, **options))
    for step in range(steps):
        tracker.associate(_rgb_frame(step), Detections((_outline(7), _outline(9, 100, 60))))
    return tracker


def test_an_object_of_outlines_ends_when_its_place_shows_none() -> None:
    tracker = _outlined_for(10)
    updates = [
        tracker.associate(_rgb_frame(10 + step), Detections((_outline(9, 100, 60),)))
        for step in range(8)
    ]
    assert [update.removed for update in updates] == [[]] * 5 + [[1]] + [[]] * 2
    assert updates[-1].confirmed == [2]


def test_an_object_of_outlines_stays_while_its_place_is_out_of_view() -> None:
    tracker = _outlined_for(10)
    away = look_at((0, -1.0, 0.6), (0, -3.0, 0))
    for step in range(20):
        update = tracker.associate(_rgb_frame(10 + step, away), Detections())
    assert update.confirmed == [1, 2]


def test_an_object_of_outlines_stays_behind_the_outline_of_another() -> None:
    tracker = _outlined_for(10)
    cover = dataclasses.replace(_outline(9), mask=np.ones((120, 160), bool))
    for step in range(20):
        update = tracker.associate(_rgb_frame(10 + step), Detections((cover,)))
    assert update.confirmed == [1, 2]


def test_an_outline_that_flickers_by_is_never_an_object() -> None:
    tracker = _outlined_for(1)
    for step in range(3):
        update = tracker.associate(_rgb_frame(1 + step), Detections())
    assert sorted(update.removed) == [1, 2]


@given(
    st.lists(st.floats(-0.6, 0.6), min_size=1, max_size=6),
    st.tuples(*[st.floats(-0.15, 0.15)] * 3),
)
def test_a_place_is_where_its_rays_meet(turns: list[float], center: tuple[float, ...]) -> None:
    """From wherever it was seen, it is found again at its pixel; from elsewhere, with parallax."""
    place = Place()
    target = np.array(center)
    for turn in turns:
        pose = look_at((np.sin(turn), -np.cos(turn), 0.6), (0, 0, 0))
        x, y = CAMERA.project(apply(invert(pose), target)).tolist()
        frame = Frame(0, CAMERA, T_world_camera=pose)
        place.add(frame, (round(x) - 5, round(y) - 5, round(x) + 5, round(y) + 5))
        found = place.pixel(frame)
        assert found is not None
        assert np.abs(np.array(found) - (x, y)).max() <= 4
    if np.ptp(turns) > 0.3:
        side = Frame(0, CAMERA, T_world_camera=look_at((1.0, 0.3, 0.7), (0, 0, 0)))
        expected = CAMERA.project(apply(invert(side.pose), target))
        found = place.pixel(side)
        assert found is None or np.abs(np.array(found) - expected).max() <= 8


def test_a_known_thing_without_any_depth_is_matched() -> None:
    tracker = SpatialTracker()
    for step in range(5):
        item = _detection(_blob(0.0), instance=3)
        tracker.associate(_frame(step, _blob(0.0)), Detections((item,)))
    item = dataclasses.replace(item, points_world_m=np.zeros((0, 3), np.float32))
    update = tracker.associate(_frame(5, _blob(0.0)), Detections((item,)))
    assert [track_id for track_id, _ in update.matches] == update.confirmed


def test_a_part_that_the_border_cuts_off_is_no_object_of_its_own() -> None:
    tracker = SpatialTracker(SpatialConfig(cut_hits_to_confirm=3))
    whole, part = _blob(0, width=0.2), _blob(0.06, width=0.05)
    _run(tracker, [[whole]] * 4)
    for step in range(4, 14):
        found = Detections((_detection(whole), _detection(part, truncated=True)))
        update = tracker.associate(_frame(step, whole), found)
    assert update.confirmed == [1]


def test_what_was_one_for_long_is_seen_apart_for_as_long_before_it_is_two() -> None:
    both = np.concatenate([_blob(-0.06), _blob(0.06)])
    for looks, apart_after in ((4, 6), (9, 9), (40, 12)):
        tracker = SpatialTracker()
        _run(tracker, [[both]] * looks)
        updates = _run(tracker, [[_blob(-0.06), _blob(0.06)]] * 14, start=looks)
        assert [u.confirmed for u in updates].index([1, 2]) == apart_after - 1
