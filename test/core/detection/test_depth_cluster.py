"""The detector on rendered tables, without and with a plane, and on bad input."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.detection.depth_cluster import DepthClusterConfig, DepthClusterDetector
from recon3d_core.types import Detection, Frame


def _frame(scene: str, index: int, **options: Any) -> Frame:
    source = load_source(f'synthetic:{scene}', frames=12, width=480, height=360, **options)
    return source.frame(index)


def _best_iou(frame: Frame, mask: np.ndarray, found: tuple[Detection, ...]) -> float:
    ious = [
        np.logical_and(mask, item.mask).sum() / np.logical_or(mask, item.mask).sum()
        for item in found
    ]
    return max(ious, default=0.0)


def _visible(frame: Frame, least_px: int = 800) -> dict[int, np.ndarray]:
    """Return the true masks of the objects that are wholly in view and not tiny."""
    ids = frame.truth.instance_mask
    masks = {int(i): ids == i for i in np.unique(ids) if i > 0}
    inner = np.zeros_like(ids, bool)
    inner[14:-14, 14:-14] = True
    return {i: m for i, m in masks.items() if m.sum() > least_px and not (m & ~inner).any()}


@pytest.mark.parametrize('scene', ['tabletop_01', 'tabletop_03'])
def test_finds_the_objects_of_a_table(scene: str) -> None:
    frame = _frame(scene, 2)
    found = DepthClusterDetector().detect(frame.checked())
    truth = _visible(frame)
    hits = [_best_iou(frame, mask, found.items) > 0.6 for mask in truth.values()]
    assert len(truth) >= 3
    assert np.mean(hits) >= 0.75
    assert len(found.items) <= len(truth) + 2


def test_plane_is_the_table_top() -> None:
    frame = _frame('tabletop_01', 0)
    found = DepthClusterDetector().detect(frame.checked())
    bottoms = {
        round(float(o.T_world_object[2, 3] - o.size_m[2] / 2), 2)
        for o in frame.truth.objects.values()
    }
    heights = [-plane.offset_m / plane.normal_world[2] for plane in found.planes]
    assert all(min(abs(b - h) for h in heights) < 0.01 for b in bottoms)
    assert all(plane.normal_world[2] > 0.98 for plane in found.planes)


def test_needs_no_gravity() -> None:
    frame = dataclasses.replace(_frame('tabletop_01', 2), gravity_world=None)
    found = DepthClusterDetector().detect(frame.checked())
    hits = [_best_iou(frame, mask, found.items) > 0.6 for mask in _visible(frame).values()]
    assert np.mean(hits) >= 0.7


def test_same_frame_same_result() -> None:
    frame = _frame('tabletop_02', 4).checked()
    first, second = DepthClusterDetector(), DepthClusterDetector()
    first.detect(_frame('tabletop_02', 0).checked())  # what was seen before does not matter
    a, b = first.detect(frame), second.detect(frame)
    assert len(a.items) == len(b.items) > 0
    for one, other in zip(a.items, b.items):
        np.testing.assert_array_equal(one.mask, other.mask)


def test_box_holds_the_mask_and_points_are_on_the_surface() -> None:
    frame = _frame('tabletop_02', 4)
    for item in DepthClusterDetector().detect(frame.checked()).items:
        x0, y0, x1, y1 = item.box_xyxy
        rows, columns = np.nonzero(item.mask)
        assert (columns.min(), rows.min(), columns.max(), rows.max()) == (x0, y0, x1, y1)
        assert item.points_world_m is not None
        assert np.isfinite(item.points_world_m).all()
        assert item.support is not None
        assert item.support.height_m(item.points_world_m).min() > -0.005
        assert 0 <= item.score <= 1


def _floating_ball(frame: Frame, background_m: float) -> Frame:
    """Return the frame with a ball of 10 cm in front of a wall, and nothing else."""
    x, y = np.meshgrid(np.arange(frame.camera.width), np.arange(frame.camera.height))
    rays = np.stack([(x - frame.camera.cx) / frame.camera.fx, (y - frame.camera.cy) /
                     frame.camera.fy, np.ones_like(x)], -1)  # fmt: skip
    center, radius = np.array([0.02, -0.01, 0.8]), 0.1
    a, b = (rays**2).sum(-1), rays @ center
    root = b**2 - a * (center @ center - radius**2)
    depth = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, background_m)
    return dataclasses.replace(frame, depth_m=depth.astype(np.float32), rgb=None)


def test_without_a_plane_in_view() -> None:
    # The wall is vertical: with gravity known it is no support.
    frame = _floating_ball(_frame('tabletop_01', 0), 0.0)
    found = DepthClusterDetector().detect(frame.checked())
    assert found.planes == ()
    assert len(found.items) == 1
    expected = np.logical_and(frame.depth_m > 0, frame.depth_m < 0.9)
    assert np.logical_and(found.items[0].mask, expected).sum() > 0.85 * expected.sum()


@pytest.mark.parametrize('fill', [0.0, np.nan, np.inf, 50.0, 0.05])
def test_depth_without_information_gives_nothing(fill: float) -> None:
    frame = _frame('tabletop_01', 0)
    depth = np.full((360, 480), fill, np.float32)
    found = DepthClusterDetector().detect(dataclasses.replace(frame, depth_m=depth).checked())
    assert found.items == ()


def test_limits_are_live() -> None:
    frame = _frame('tabletop_01', 2).checked()
    detector = DepthClusterDetector(DepthClusterConfig())
    assert detector.detect(frame).items
    detector.config.min_pixels = 100000
    assert not detector.detect(frame).items


@pytest.mark.data
def test_kitchen_table(kitchen_dir: Any) -> None:
    """A person sees a mug, papers, a magazine, a mug and a part of a box in frame 294."""
    source = load_source(str(kitchen_dir), start=147, max=1)
    found = DepthClusterDetector().detect(next(iter(source)))
    whole = [item for item in found.items if not item.truncated]
    assert 3 <= len(whole) <= 5
    heights = sorted(np.ptp(item.points_world_m, axis=0).max() for item in whole)
    assert heights[0] < 0.15 < heights[-1]
