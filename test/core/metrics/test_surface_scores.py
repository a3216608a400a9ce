"""Surfaces of volumes against samples of balls and boxes of known size."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.metrics import surface_scores


def ball(size=32, radius=0.35, center=(0, 0, 0)):
    axis = (np.arange(size) + 0.5) / size - 0.5
    places = np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), -1) - center
    return np.clip((radius - np.linalg.norm(places, axis=-1)) * size / 2 + 0.5, 0, 1)


def on_sphere(count, radius=0.35, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, 3))
    normals = x / np.linalg.norm(x, axis=1, keepdims=True)
    return radius * normals, normals


def test_the_true_ball_scores_full_marks():
    surface, normals = on_sphere(30_000)
    found = surface_scores(ball(), surface, 0.5, normals)
    assert found.fscore > 0.99
    assert found.chamfer < 1e-4
    assert found.normal_consistency > 0.99
    assert surface_scores(ball(), surface, 0.5).normal_consistency is None


def test_a_shift_shows_in_the_scores():
    surface, _ = on_sphere(30_000)
    moved = surface_scores(ball(center=(0.05, 0, 0)), surface, 0.5)
    # The shells are nearer than 0.01 where |cos| < 0.2 of the direction of the shift.
    assert moved.fscore == pytest.approx(0.2, abs=0.03)
    # The mean square of 0.05 cos over a sphere, both ways.
    assert moved.chamfer == pytest.approx(2 * 0.05**2 / 3, rel=0.1)


def test_what_is_missing_lowers_recall_and_what_is_added_precision():
    surface, _ = on_sphere(20_000)
    half = ball()
    half[:, :, :16] = 0
    cut = surface_scores(half, surface, 0.5, tolerance=0.02)
    # Half of the sphere, and a disc of half its area that is not there.
    assert cut.recall == pytest.approx(0.5, abs=0.06)
    assert cut.precision == pytest.approx(2 / 3, abs=0.06)
    assert cut.fscore == pytest.approx(
        2 * cut.precision * cut.recall / (cut.precision + cut.recall)
    )


def test_the_threshold_moves_the_surface():
    soft = ball() * 0.6
    surface, _ = on_sphere(20_000)
    scores = [surface_scores(soft, surface, t, tolerance=0.02).fscore for t in (0.05, 0.3, 0.55)]
    assert scores[1] > 0.97 > max(scores[0], scores[2])
    assert surface_scores(soft, surface, 0.7).fscore == 0


def test_empty_volumes_are_worst():
    surface, normals = on_sphere(100)
    found = surface_scores(np.zeros((8, 8, 8)), surface, 0.5, normals)
    assert (found.fscore, found.precision, found.recall) == (0, 0, 0)
    assert found.chamfer == float('inf')
    assert found.normal_consistency == 0


def test_two_calls_give_the_same():
    surface, normals = on_sphere(2000)
    assert surface_scores(ball(), surface, 0.5, normals) == surface_scores(
        ball(), surface, 0.5, normals
    )


def test_bad_surfaces_are_refused():
    surface, normals = on_sphere(10)
    with pytest.raises(InputError, match='the true surface is empty'):
        surface_scores(ball(8), surface[:0], 0.5)
    with pytest.raises(InputError, match='surface has the wrong shape'):
        surface_scores(ball(8), surface.T, 0.5)
    with pytest.raises(InputError, match='normals has the wrong shape'):
        surface_scores(ball(8), surface, 0.5, normals[:5])
    with pytest.raises(InputError, match='surface has values that are not finite'):
        surface_scores(ball(8), surface * np.nan, 0.5)
    with pytest.raises(InputError, match='probabilities has the wrong shape'):
        surface_scores(ball(8)[0], surface, 0.5)
    for threshold in (0, 1, np.nan):
        with pytest.raises(InputError, match='threshold'):
            surface_scores(ball(8), surface, threshold)
    with pytest.raises(InputError, match='tolerance'):
        surface_scores(ball(8), surface, 0.5, tolerance=0)
