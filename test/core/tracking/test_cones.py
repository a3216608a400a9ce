"""Tracks of masks without depth and without identities: one track for one thing."""

from __future__ import annotations

from collections import Counter, defaultdict
import dataclasses

import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.detection.frame_masks import FrameMasksDetector
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply, invert, look_at
from recon3d_core.tracking.cones import ConesTracker
from recon3d_core.types import Detection, Detections, Frame

CAMERA = Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
BALLS = [(0.0, 0.0, 0.05), (0.2, 0.05, 0.05), (-0.1, 0.2, 0.08), (0.1, -0.2, 0.04)]


def frame_at(turn, radius_m=0.8, height_m=0.5):
    eye = (radius_m * np.cos(turn), radius_m * np.sin(turn), height_m)
    return Frame(0, CAMERA, T_world_camera=look_at(eye, (0, 0, 0.05)))


def disc(frame, center, radius_m=0.05):
    """Return the detection of a ball without colour, depth or identity."""
    local = apply(invert(frame.pose), np.array(center))
    u, v = CAMERA.project(local)
    reach = CAMERA.fx * radius_m / local[2]
    y, x = np.mgrid[: CAMERA.height, : CAMERA.width]
    mask = (x - u) ** 2 + (y - v) ** 2 < reach**2
    rows, columns = np.nonzero(mask)
    box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
    return Detection(mask, box)


def looks(tracker, turns, centers=BALLS):
    """Return `{track: Counter of the balls it was matched to}` and the last update."""
    who = defaultdict(Counter)
    for turn in turns:
        frame = frame_at(turn)
        items = tuple(disc(frame, center) for center in centers)
        update = tracker.associate(frame, Detections(items))
        for track_id, item in update.matches:
            who[track_id][next(i for i, known in enumerate(items) if known is item)] += 1
    return who, update


@pytest.mark.parametrize('step', [0.1, 0.35])
def test_each_ball_is_one_track_at_its_place(step):
    tracker = ConesTracker()
    who, update = looks(tracker, np.arange(12) * step)
    assert len(update.confirmed) == len(BALLS)
    for track_id in update.confirmed:
        (ball, hits), *others = who[track_id].most_common()
        assert hits >= 10
        assert not others
        track = tracker._tracks[track_id]
        np.testing.assert_allclose(track.places[0], BALLS[ball], atol=0.02)
        assert track.sizes_m[0] == pytest.approx(0.1, rel=0.15)


def test_a_camera_that_stands_still_keeps_tracks_apart():
    tracker = ConesTracker()
    who, update = looks(tracker, [0.3] * 6)
    assert len(update.confirmed) == len(BALLS)
    assert all(len(balls) == 1 for balls in who.values())
    assert not any(track.is_placed for track in tracker._tracks.values())


def test_what_is_taken_away_ends_and_does_not_return_as_the_same():
    tracker = ConesTracker()
    looks(tracker, np.arange(6) * 0.2)
    assert len(tracker._tracks) == 4
    removed = []
    for turn in np.arange(6, 26) * 0.2:
        frame = frame_at(turn)
        items = tuple(disc(frame, center) for center in BALLS[1:])
        removed += tracker.associate(frame, Detections(items)).removed
    assert len(removed) == 1
    looks(tracker, [5.2])
    assert max(tracker._tracks) == 5


def test_a_mask_cut_off_by_the_border_starts_nothing():
    tracker = ConesTracker()
    frame = frame_at(0.0)
    item = dataclasses.replace(disc(frame, BALLS[0]), truncated=True)
    assert not tracker.associate(frame, Detections((item,))).matches


def test_tracks_are_bounded_and_forgotten():
    tracker = ConesTracker(ConesTracker.Config(max_tracks=2))
    looks(tracker, [0.0, 0.2, 0.4])
    assert len(tracker._tracks) == 2
    tracker.forget(list(tracker._tracks)[:1])
    assert len(tracker._tracks) == 1
    tracker.reset()
    assert not tracker._tracks


def test_objects_of_a_rendered_table_are_told_apart():
    """Masks of a rendered scene without their identities, 18 degrees from look to look."""
    source = load_source(
        'synthetic:tabletop?masks=true&depth=false&frames=60&width=160&height=120'
    )
    detector = FrameMasksDetector(FrameMasksDetector.Config(min_pixels=20))
    tracker, who = ConesTracker(), defaultdict(Counter)
    for index in range(0, 42, 3):
        frame = source.frame(index)
        found = detector.detect(frame).items
        items = tuple(dataclasses.replace(item, instance=None) for item in found)
        update = tracker.associate(frame, Detections(items))
        for track_id, item in update.matches:
            at = next(i for i, known in enumerate(items) if known is item)
            who[track_id][found[at].instance] += 1
    assert len(update.confirmed) == len(source.objects)
    hits = [who[track_id].most_common(1)[0] for track_id in update.confirmed]
    assert len({instance for instance, _ in hits}) == len(source.objects)
    assert sum(count for _, count in hits) >= 0.97 * sum(who[i].total() for i in update.confirmed)


@pytest.mark.parametrize('believed', [True, False])
def test_identities_of_the_detector_are_believed_or_not(believed):
    tracker = ConesTracker(ConesTracker.Config(use_identities=believed))
    for index, turn in enumerate([0.0, 0.1, 0.2]):
        frame = frame_at(turn)
        items = tuple(
            dataclasses.replace(disc(frame, center), instance=100 * (index // 2) + k)
            for k, center in enumerate(BALLS)
        )
        tracker.associate(frame, Detections(items))
    assert len(tracker._tracks) == (8 if believed else 4)


def test_cameras_that_look_elsewhere_are_no_misses():
    tracker = ConesTracker()
    for turn in np.arange(4) * 0.2:
        for name in ('a', 'b', 'c', 'd', 'e'):
            frame = dataclasses.replace(frame_at(turn), camera_name=name)
            items = (disc(frame, BALLS[0]),) if name == 'a' else ()
            update = tracker.associate(frame, Detections(items))
            if name == 'a':
                confirmed = update.confirmed
    assert len(confirmed) == 1
