"""The self-check: passes what is right, fails what is not, forgives what is hidden."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon3d_core.scene.options import SelfCheckOptions
from recon3d_core.scene.self_check import compare, self_check
from recon3d_core.types import Mesh
from tabletop import box_of, tabletop

OPTIONS = SelfCheckOptions()
EMPTY = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))


def true_mesh(name, shift=(0, 0, 0), scale=1.0):
    solid = tabletop(name).solid
    vertices = (solid.vertices * scale + shift).astype(np.float32)
    return Mesh(vertices, solid.faces.astype(np.int32))


@pytest.mark.parametrize('name', ['box', 'mug', 'bottle'])
def test_the_true_mesh_passes(name):
    check = self_check(true_mesh(name), tabletop(name).orbit(4), OPTIONS)
    assert check.passed
    assert check.silhouette_iou > 0.9
    assert check.depth_residual_m < 0.003


def test_without_noise_it_agrees_to_the_pixel():
    check = self_check(true_mesh('box'), tabletop('box').orbit(3, seed=None), OPTIONS)
    assert check.silhouette_iou > 0.995
    assert check.depth_residual_m < 1e-5


def test_a_mesh_at_another_place_fails_by_its_silhouette():
    check = self_check(true_mesh('mug', (0.08, 0, 0)), tabletop('mug').orbit(4), OPTIONS)
    assert not check.passed
    assert check.silhouette_iou < 0.5


def test_a_mesh_too_near_fails_by_its_depth():
    views = tabletop('box').orbit(1)
    toward = views[0].frame.T_world_camera[:3, 3] * 0.12
    check = self_check(true_mesh('box', toward, 0.88), views, OPTIONS)
    assert check.silhouette_iou > 0.7
    assert check.depth_residual_m > 0.02
    assert not check.passed


def occluded(view):
    """Return the view with something in front of the mask's right half."""
    x0, y0, x1, y1 = view.box_xyxy
    mask, depth = view.mask.copy(), view.frame.depth_m.copy()
    hidden = np.zeros_like(mask)
    hidden[y0 - 5 : y1 + 5, (x0 + x1) // 2 : x1 + 5] = True
    mask[hidden] = False
    depth[hidden] = 0.3
    frame = dataclasses.replace(view.frame, depth_m=depth)
    return dataclasses.replace(view, frame=frame, mask=mask, box_xyxy=box_of(mask)), hidden


def test_what_stands_in_front_is_no_error():
    view, hidden = occluded(tabletop('box').orbit(1)[0])
    by_depth = self_check(true_mesh('box'), [view], OPTIONS)
    assert by_depth.silhouette_iou > 0.85
    blind = dataclasses.replace(view, frame=dataclasses.replace(view.frame, depth_m=None))
    assert self_check(true_mesh('box'), [blind], OPTIONS).silhouette_iou < 0.7
    told = dataclasses.replace(blind, others=hidden)
    assert self_check(true_mesh('box'), [told], OPTIONS).silhouette_iou > 0.85


def test_masks_alone_give_no_depth_residual_and_can_pass():
    views = [
        dataclasses.replace(view, frame=dataclasses.replace(view.frame, depth_m=None))
        for view in tabletop('ball').orbit(3)
    ]
    check = self_check(true_mesh('ball'), views, OPTIONS)
    assert np.isnan(check.depth_residual_m)
    assert check.passed


def test_one_bad_view_of_three_does_not_fail_it():
    views = tabletop('bottle').orbit(3)
    views[1] = dataclasses.replace(views[1], mask=np.roll(views[1].mask, 60, 1))
    assert self_check(true_mesh('bottle'), views, OPTIONS).passed


def test_nothing_to_compare_does_not_pass():
    view = tabletop('box').orbit(1)[0]
    lost = dataclasses.replace(view, frame=dataclasses.replace(view.frame, T_world_camera=None))
    assert not self_check(true_mesh('box'), [], OPTIONS).passed
    assert not self_check(true_mesh('box'), [lost], OPTIONS).passed
    assert not self_check(EMPTY, [view], OPTIONS).passed
    assert compare(EMPTY, view) is None


def test_large_masks_are_subsampled_with_the_same_answer():
    camera = dataclasses.replace(
        tabletop('box').orbit(1)[0].frame.camera.scaled(3.0), width=960, height=720
    )
    fine = tabletop('box').orbit(1, 0.4, 0.25, seed=None, camera=camera)[0]
    result = compare(true_mesh('box'), fine)
    assert fine.mask.sum() > 40_000
    assert result is not None
    assert result[0] > 0.98
    assert result[1] < 1e-4
