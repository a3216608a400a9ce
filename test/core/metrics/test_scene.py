"""Matching of objects, distances of surfaces and id switches on cases with known answers."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from recon3d_core.data.synth import solids
from recon3d_core.data.synth.truth import object_truth
from recon3d_core.errors import InputError
from recon3d_core.metrics.boxes import box_iou_3d
from recon3d_core.metrics.scene import (
    center_error_m,
    edge_errors,
    IdSwitchCounter,
    match_objects,
    same_axes_overlap,
    surface_distances_m,
    surface_error_m,
    upright_overlap,
)
from recon3d_core.types import Mesh


def a_box(instance, x, size=(0.2, 0.1, 0.1)):
    mesh = solids.moved(solids.box(size), None, (x, 0, 0))
    return object_truth(instance, 'box', mesh)


def test_perfect_estimates_are_all_matched():
    truth = [a_box(i, 0.5 * i) for i in range(4)]
    result = match_objects(truth[::-1], truth)
    assert (result.precision, result.recall) == (1, 1)
    assert [(m.estimate_id, m.truth_id) for m in result.matches] == [(i, i) for i in range(4)]


def test_misses_phantoms_and_poor_boxes_lower_the_scores():
    truth = [a_box(1, 0.0), a_box(2, 1.0), a_box(3, 2.0)]
    estimates = [a_box(7, 0.02), a_box(8, 1.15), a_box(9, 5.0), a_box(10, 6.0)]
    result = match_objects(estimates, truth)
    assert [(m.estimate_id, m.truth_id) for m in result.matches] == [(7, 1)]
    assert result.precision == 0.25
    assert result.recall == pytest.approx(1 / 3)


def test_nothing_found_and_nothing_there():
    assert match_objects([], [a_box(1, 0)]).recall == 0
    assert match_objects([], [a_box(1, 0)]).precision == 1
    assert match_objects([a_box(1, 0)], []).precision == 0
    assert match_objects([], []).matches == ()


def test_matching_is_the_best_of_all_assignments():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = [a_box(i, x) for i, x in enumerate(rng.uniform(0, 0.3, 4))]
        estimates = [a_box(i, x) for i, x in enumerate(rng.uniform(0, 0.3, 4))]
        result = match_objects(estimates, truth, 0.3)
        best = 0.0
        for order in itertools.permutations(range(4)):
            pairs = [(estimates[i], truth[j]) for i, j in enumerate(order)]
            overlaps = [
                box_iou_3d(a.T_world_object, a.size_m, b.T_world_object, b.size_m)
                for a, b in pairs
            ]
            best = max(best, sum(value for value in overlaps if value >= 0.3))
        assert sum(match.iou for match in result.matches) == pytest.approx(best)


def test_along_the_same_axes_a_can_is_itself_however_its_box_is_turned():
    profile = [(0, -0.05), (0.04, -0.05), (0.04, 0.05), (0, 0.05)]
    can = object_truth(1, 'can', solids.revolve(profile, 64))
    turned = can.T_world_object.copy()
    half = np.sqrt(0.5)
    turned[:3, :3] = turned[:3, :3] @ [[half, -half, 0], [half, half, 0], [0, 0, 1]]
    other = dataclasses.replace(can, T_world_object=turned)
    assert upright_overlap(other, can) == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert same_axes_overlap(other, can) == pytest.approx(1)
    # Askew in the world: .8 of its length and as wide and high.
    c, s = np.cos(0.5), np.sin(0.5)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    whole = solids.moved(solids.box((0.2, 0.1, 0.1)), turn)
    shorter = solids.moved(solids.box((0.16, 0.1, 0.1)), turn)
    true = object_truth(1, 'box', whole)
    found = object_truth(2, 'box', shorter)
    assert same_axes_overlap(found, true) == pytest.approx(0.8, abs=1e-4)
    aside = object_truth(3, 'box', solids.moved(whole, None, (1, 0, 0)))
    assert same_axes_overlap(aside, true) == 0
    matched = match_objects([aside, found], [true], 0.75, same_axes_overlap)
    assert [match.estimate_id for match in matched.matches] == [2]


def test_surface_distance_of_a_shrunken_ball():
    profile = np.stack([np.cos(np.linspace(-np.pi / 2, np.pi / 2, 90)),
                        np.sin(np.linspace(-np.pi / 2, np.pi / 2, 90))], 1)  # fmt: skip
    profile[[0, -1], 0] = 0
    outer, inner = solids.revolve(profile * 0.1), solids.revolve(profile * 0.095)
    distances = surface_distances_m(inner, outer, samples=3000)
    np.testing.assert_allclose(distances, 0.005, atol=2e-4)
    assert surface_error_m(outer, outer) < 1e-7


def test_only_observed_faces_count():
    truth = solids.box((0.2, 0.2, 0.2))
    wrong_top = solids.box((0.2, 0.2, 0.3))
    top = wrong_top.vertices_m[wrong_top.faces][:, :, 2].min(1) > 0.29
    bottom = wrong_top.vertices_m[wrong_top.faces][:, :, 2].max(1) < 0.01
    seen = dataclasses.replace(wrong_top, face_observed=bottom)
    assert surface_error_m(seen, truth) < 1e-6
    seen = dataclasses.replace(wrong_top, face_observed=top)
    assert surface_error_m(seen, truth) == pytest.approx(0.1)
    everything = surface_distances_m(seen, truth, observed_only=False)
    # The top (4 dm²) and the upper third of the sides (8 dm²) stand off, of 32 dm² in all.
    assert (everything > 1e-6).mean() == pytest.approx(12 / 32, abs=0.02)


def test_samples_are_even_over_the_area():
    # One large and one tiny triangle beside a far plane: the mean distance is that of the large.
    vertices = np.array([(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 5), (0.01, 0, 5), (0, 0.01, 5)])
    mesh = Mesh(vertices.astype(np.float32), np.array([(0, 1, 2), (3, 4, 5)], np.int32))
    ground = Mesh(
        np.array([(-9, -9, 0), (9, -9, 0), (0, 9, 0)], np.float32), np.array([(0, 1, 2)], np.int32)
    )
    assert surface_distances_m(mesh, ground).mean() == pytest.approx(1.0004, abs=0.002)


def test_a_mesh_without_seen_faces_is_an_error():
    box = solids.box((1, 1, 1))
    unseen = dataclasses.replace(box, face_observed=np.zeros(len(box.faces), bool))
    with pytest.raises(InputError, match='no surface'):
        surface_error_m(unseen, box)


def test_center_and_edges():
    truth = a_box(1, 0.0, (0.2, 0.1, 0.1))
    other = a_box(1, 0.03, (0.1, 0.22, 0.05))
    assert center_error_m(other, truth) == pytest.approx(np.hypot(0.03, 0.025), abs=1e-6)
    np.testing.assert_allclose(edge_errors(other, truth), (0, 0.1, 0.5), atol=1e-5)


def test_id_switches_are_counted_once_each():
    truth = {1: a_box(1, 0.0), 2: a_box(2, 1.0)}
    counter = IdSwitchCounter()

    def see(**ids):
        counter.update({i: a_box(i, x) for i, x in ((ids['a'], 0.01), (ids['b'], 1.01))}, truth)

    see(a=5, b=6)
    see(a=5, b=6)
    assert counter.switches == 0
    see(a=5, b=8)
    assert counter.switches == 1
    see(a=5, b=8)
    assert counter.switches == 1
    see(a=8, b=5)
    assert counter.switches == 3
    counter.update({}, truth)
    see(a=8, b=5)
    assert counter.switches == 3, 'lost and found again under its own id'


def test_an_owner_that_still_fits_is_not_replaced_by_a_better_double():
    truth = {1: a_box(1, 0.0)}
    counter = IdSwitchCounter()
    counter.update({5: a_box(5, 0.03)}, truth)
    counter.update({5: a_box(5, 0.03), 6: a_box(6, 0.0)}, truth)
    assert counter.switches == 0
