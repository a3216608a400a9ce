"""The detector for colour alone: on a rendered table, on drawn images, over frames, on bad input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.detection.foreground import ForegroundConfig, ForegroundDetector, regions
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at
from recon3d_core.types import Frame

CAMERA = Camera(320, 240, 290.0, 290.0, 159.5, 119.5)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def table(seed: int = 0) -> np.ndarray:
    """Return a picture of a table in light that fades from left to right, with noise."""
    rng = np.random.default_rng(seed)
    light = np.linspace(1.0, 0.75, 320)[None, :, None]
    noise = rng.normal(0, 2, (240, 320, 3))
    return np.clip(np.array([190, 150, 110]) * light + noise, 0, 255).astype(np.uint8)


def frame_of(rgb: np.ndarray, T: np.ndarray | None = None) -> Frame:
    return Frame(0, Camera(rgb.shape[1], rgb.shape[0], 290.0, 290.0, 160, 120), rgb, None, T)


def apart_in_view(instances: np.ndarray) -> dict[int, np.ndarray]:
    """Return the true masks of objects that are wholly in view and touch no other."""
    found = {}
    for k in np.unique(instances[instances > 0]).tolist():
        mask = instances == k
        near = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        rim = mask[:3].any() or mask[-3:].any() or mask[:, :3].any() or mask[:, -3:].any()
        if mask.sum() > 800 and not rim and not ((instances > 0) & ~mask & near).any():
            found[k] = mask
    return found


@pytest.mark.parametrize(('seed', 'least'), [(0, 0.75), (3, 0.75)])
def test_objects_that_stand_apart_on_a_rendered_table(seed: int, least: float) -> None:
    source = load_source(f'synthetic:tabletop?seed={seed}', depth=False, frames=60)
    best = []
    for index in (0, 9, 20):
        frame = source.frame(index)
        masks = regions(frame.rgb, ForegroundConfig())
        truth = apart_in_view(frame.truth.instance_mask)
        best += [max((iou(mask, m) for m in masks), default=0.0) for mask in truth.values()]
    found = [value for value in best if value > 0.5]
    assert len(best) >= 8
    assert len(found) >= least * len(best)
    assert np.mean(found) > 0.88


def test_a_shadow_is_no_object_and_a_thing_of_another_colour_is() -> None:
    rgb = table()
    linear = (rgb / 255.0) ** 2.2
    linear[60:180, 60:140] *= 0.4  # neutral light, as a shadow's
    rgb = (255 * linear ** (1 / 2.2)).astype(np.uint8)
    assert regions(rgb, ForegroundConfig()) == []
    truth = np.zeros((240, 320), bool)
    truth[80:160, 180:250] = True
    rgb[truth] = 40, 90, 160
    [mask] = regions(rgb, ForegroundConfig())
    assert iou(mask, truth) > 0.95


def test_the_hole_of_a_ring_stays_and_a_speck_in_a_thing_is_filled() -> None:
    rgb = table()
    ring = np.zeros((240, 320), np.uint8)
    cv2.circle(ring, (160, 120), 60, 1, -1)
    cv2.circle(ring, (160, 120), 30, 0, -1)
    rgb[ring > 0] = 30, 60, 150
    rgb[74:78, 158:162] = table()[74:78, 158:162]
    [mask] = regions(rgb, ForegroundConfig())
    assert not mask[120, 160]
    assert mask[76, 160]
    assert iou(mask, ring > 0) > 0.93


def test_white_on_a_table_before_a_white_wall() -> None:
    rgb = table()
    rgb[:80] = 225, 226, 224
    truth = np.zeros((240, 320), bool)
    truth[150:200, 120:170] = True
    rgb[truth] = 224, 225, 226
    [mask] = regions(rgb, ForegroundConfig())
    assert iou(mask, truth) > 0.9


def test_size_limits_and_borders() -> None:
    rgb = table()
    rgb[100:104, 100:104] = 0, 0, 255  # too small
    rgb[180:, 280:] = 0, 200, 0  # a corner of something else
    assert regions(rgb, ForegroundConfig()) == []
    rgb[40:200, 40:270] = 0, 0, 200
    assert len(regions(rgb, ForegroundConfig(max_part=0.9))) == 1
    assert regions(rgb, ForegroundConfig(max_part=0.2)) == []


def moving(centers: list[tuple[int, int]], colors: list[tuple[int, int, int]]) -> Frame:
    rgb = table()
    for (x, y), color in zip(centers, colors):
        cv2.circle(rgb, (x, y), 22, color, -1)
    return frame_of(rgb)


def test_identities_last_and_joined_things_are_left_out() -> None:
    detector = ForegroundDetector()
    colors = [(30, 60, 160), (30, 150, 60)]
    names = []
    for shift in (0, 8, 16, 24):
        found = detector.detect(moving([(70 + shift, 120), (220, 120)], colors)).items
        names.append({item.instance for item in found})
    assert len(names[0]) == 2
    assert all(name == names[0] for name in names)
    assert detector.detect(moving([(182, 120), (220, 120)], colors)).items == ()
    again = detector.detect(moving([(94, 120), (220, 120)], colors)).items
    assert {item.instance for item in again} == names[0]
    detector.reset()
    fresh = detector.detect(moving([(94, 120), (220, 120)], colors)).items
    assert not {item.instance for item in fresh} & names[0]


def test_identities_with_poses_on_a_path_around_the_table() -> None:
    source = load_source('synthetic:tabletop?seed=3', depth=False, frames=60)
    detector = ForegroundDetector()
    owners: dict[int, list[int]] = {}
    for index in range(0, 30, 3):
        frame = source.frame(index)
        truth = apart_in_view(frame.truth.instance_mask)
        for item in detector.detect(frame).items:
            k = max(truth, key=lambda k: iou(truth[k], item.mask), default=0)
            if k and iou(truth[k], item.mask) > 0.6:
                owners.setdefault(item.instance, []).append(k)
    assert sum(map(len, owners.values())) >= 12
    assert all(len(set(seen)) == 1 for seen in owners.values())
    lasting = [seen for seen in owners.values() if len(seen) >= 3]
    assert len(lasting) >= 2


def test_a_thing_cut_by_the_border_begins_no_object() -> None:
    assert ForegroundDetector().detect(moving([(2, 120)], [(30, 60, 160)])).items == ()


def test_a_known_support_drops_what_does_not_stand_on_it() -> None:
    T = look_at((0.0, -0.8, 0.5), (0, 0, 0))
    rgb = table()
    cv2.circle(rgb, (160, 120), 20, (30, 60, 160), -1)  # at the origin
    cv2.circle(rgb, (60, 40), 20, (30, 150, 60), -1)  # far behind, where the support is 2 m away
    options = ForegroundConfig(support_known=True, support_height_m=-0.02, max_distance_m=1.1)
    found = ForegroundDetector(options).detect(frame_of(rgb, T))
    [item] = found.items
    assert item.mask[120, 160]
    assert item.support is found.planes[0]
    assert len(ForegroundDetector().detect(frame_of(rgb, T)).items) == 2


@pytest.mark.parametrize(
    'rgb',
    [
        np.zeros((240, 320, 3), np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
        np.full((3, 700, 3), 9, np.uint8),
        np.full((700, 3, 3), 9, np.uint8),
        np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8),
    ],
    ids=['black', 'one pixel', 'wide', 'high', 'noise', 'small noise'],
)
def test_images_without_objects_do_not_break_it(rgb: np.ndarray) -> None:
    for item in ForegroundDetector().detect(frame_of(rgb)).items:
        assert item.mask.shape == rgb.shape[:2]


def test_the_same_frame_gives_the_same_masks() -> None:
    frame = load_source('synthetic:tabletop', depth=False, frames=4).frame(1)
    first, second = regions(frame.rgb, ForegroundConfig()), regions(frame.rgb, ForegroundConfig())
    assert len(first) == len(second) > 0
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)
