"""Masks made of boxes, against the true masks of rendered solids."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon3d_core.detection.boxes import mask_in_box
from recon3d_core.geometry.cameras import Camera
from recon3d_core.types import Frame
from tabletop import tabletop


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def loose(view, by: int = 3) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = view.box_xyxy
    return x0 - by, y0 - by, x1 + by, y1 + by


@pytest.mark.parametrize('name', ['box', 'bottle', 'mug'])
@pytest.mark.parametrize(('sees', 'least'), [('depth', 0.8), ('rgb', 0.9), ('both', 0.9)])
def test_masks_of_noisy_views(name, sees, least):
    view = tabletop(name).orbit(1)[0]
    frame = view.frame
    if sees == 'depth':
        frame = dataclasses.replace(frame, rgb=None)
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 6, view.frame.rgb.shape)
    noisy = np.clip(view.frame.rgb + noise, 0, 255).astype(np.uint8)
    if sees != 'depth':
        frame = dataclasses.replace(
            frame, rgb=noisy, depth_m=frame.depth_m if sees == 'both' else None
        )
    mask = mask_in_box(frame, loose(view))
    assert iou(mask, view.mask) > least
    np.testing.assert_array_equal(mask, mask_in_box(frame, loose(view)))
    outside = np.ones_like(mask)
    x0, y0, x1, y1 = loose(view)
    outside[y0 : y1 + 1, x0 : x1 + 1] = False
    assert not (mask & outside).any()


def test_depth_tells_what_colour_cannot():
    view = tabletop('cylinder').orbit(1)[0]
    gray = np.full_like(view.frame.rgb, 90)
    hidden = dataclasses.replace(view.frame, rgb=gray)
    assert iou(mask_in_box(hidden, loose(view)), view.mask) > 0.8
    blind = mask_in_box(hidden, loose(view), use_depth=False)
    assert iou(blind, view.mask) < 0.9  # an ellipse


def test_what_stands_in_front_and_goes_on_beyond_the_box_is_left_out():
    view = tabletop('box').orbit(1, seed=None)[0]
    x0, _, x1, _ = view.box_xyxy
    depth, hidden = view.frame.depth_m.copy(), np.zeros(view.mask.shape, bool)
    third = x0 + (x1 - x0) // 3
    hidden[:, third - 8 : third + 8] = True  # a pole, from the top of the image to its bottom
    depth[hidden] = 0.3
    frame = dataclasses.replace(view.frame, depth_m=depth, rgb=None)
    mask = mask_in_box(frame, view.box_xyxy)
    assert not (mask & hidden).any()
    assert (mask & view.mask).sum() > 0.9 * mask.sum()
    assert mask.sum() > 0.6 * (view.mask & ~hidden).sum()


def test_a_large_mask_stays_where_depth_shows_it():
    camera = Camera(640, 480, 580.0, 580.0, 319.5, 239.5)
    rows, columns = np.mgrid[:480, :640]
    ball = (columns - 300) ** 2 + (rows - 200) ** 2 <= 72**2
    depth = np.where(ball, 0.8, 1.6).astype(np.float32)
    mask = mask_in_box(Frame(0, camera, None, depth), (228, 128, 372, 272))
    center = np.argwhere(mask).mean(0)
    np.testing.assert_allclose(center, (200, 300), atol=0.3)
    assert iou(mask, ball) > 0.98


@pytest.mark.parametrize('box', [(0, 0, 63, 47), (5, 5, 5, 5), (60, 0, 63, 47), (0, 20, 63, 21)])
@pytest.mark.parametrize('depth', [None, 0.0, 1.0])
@pytest.mark.parametrize('color', [None, 0, 255])
def test_boxes_of_every_form_in_images_that_show_nothing(box, depth, color):
    camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
    rgb = None if color is None else np.full((48, 64, 3), color, np.uint8)
    depth_m = None if depth is None else np.full((48, 64), depth, np.float32)
    mask = mask_in_box(Frame(0, camera, rgb, depth_m), box)
    assert mask.shape == (48, 64)
    assert mask.any()
    rows, columns = np.nonzero(mask)
    assert columns.min() >= box[0]
    assert columns.max() <= box[2]
    assert rows.min() >= box[1]
    assert rows.max() <= box[3]
