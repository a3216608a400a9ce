"""Average precision of instance masks, against a slow reference and cases known by hand."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.metrics.instances import (
    instance_ap,
    instance_f1,
    InstanceMatch,
    mask_ious,
    match_instances,
)

LABELS = np.array([[1, 1, 0, 2], [1, 1, 0, 2], [0, 0, 0, 2], [3, 0, 0, 2]])


def masks_of(labels: np.ndarray, *ids: int) -> np.ndarray:
    return np.stack([labels == k for k in ids])


def slow_ap(matches: list[InstanceMatch], threshold: float) -> float:
    """Return the area below the precision, one prediction and one recall after the other."""
    every = sorted(
        ((-score, image, k) for image, m in enumerate(matches) for k, score in enumerate(m.scores))
    )
    total = sum(m.ious.shape[1] for m in matches)
    taken: set[tuple[int, int]] = set()
    points = [(0.0, 1.0)]
    true = false = 0
    for _, image, k in every:
        row = matches[image].ious[k]
        free = [(v, -j) for j, v in enumerate(row) if (image, j) not in taken and v >= threshold]
        if free:
            taken.add((image, -max(free)[1]))
            true += 1
        elif matches[image].elsewhere[k] > 0.5:
            continue
        else:
            false += 1
        points.append((true / total, true / (true + false)))
    area = 0.0
    for (before, _), (recall, _) in itertools.pairwise(points):
        area += (recall - before) * max(p for r, p in points[1:] if r >= recall)
    return area


@st.composite
def images(draw: st.DrawFn) -> list[InstanceMatch]:
    found = []
    for _ in range(draw(st.integers(1, 3))):
        p, t = draw(st.integers(0, 5)), draw(st.integers(1, 4))
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        # Scores that differ: equal ones may be taken in any order.
        scores = rng.permutation(1000)[:p] / 1000
        elsewhere = rng.choice([0.0, 0.8], p, p=[0.8, 0.2])
        found.append(InstanceMatch(scores, rng.choice([0.2, 0.6, 0.9], (p, t)), elsewhere))
    return found


@settings(max_examples=60, deadline=None)
@given(images(), st.sampled_from([0.5, 0.75]))
def test_area_is_that_of_the_slow_reference(matches, threshold):
    assert instance_ap(matches, threshold) == pytest.approx(slow_ap(matches, threshold))


def test_perfect_masks_score_one_and_a_doubled_one_is_false():
    perfect = match_instances(masks_of(LABELS, 1, 2, 3), [0.5, 0.9, 0.7], LABELS)
    assert instance_ap([perfect]) == 1
    assert instance_f1([perfect], 0.5, 0.0) == 1
    doubled = match_instances(masks_of(LABELS, 1, 1, 2), [0.9, 0.8, 0.7], LABELS)
    # Of three objects the first is found at precision 1, the second after a false one at 2/3.
    assert instance_ap([doubled]) == pytest.approx((1 + 2 / 3) / 3)
    assert instance_f1([doubled], 0.5, 0.85) == pytest.approx(2 / (1 + 3))


def test_iou_counts_pixels():
    halves = np.zeros((2, 4, 4), bool)
    halves[0, :, :2] = halves[1, :2] = True
    assert mask_ious(halves, halves).tolist() == [[1, 4 / 12], [4 / 12, 1]]


def test_small_objects_and_void_neither_help_nor_harm():
    labels = LABELS.copy()
    labels[2, 0] = -1
    found = np.concatenate([masks_of(labels, 1, 2, 3), masks_of(labels, -1)])
    match = match_instances(found, [0.6, 0.7, 0.8, 0.9], labels, least_px=2)
    assert match.ious.shape == (4, 2)
    assert instance_ap([match]) == 1


def test_nothing_found_and_nothing_there():
    none = np.zeros((0, *LABELS.shape), bool)
    assert instance_ap([match_instances(none, [], LABELS)]) == 0
    blank = match_instances(masks_of(LABELS, 1), [0.5], 0 * LABELS)
    assert np.isnan(instance_ap([blank]))
    assert instance_ap([blank, match_instances(masks_of(LABELS, 1, 2, 3), [1, 1, 1], LABELS)]) == 1


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match='scores'):
        match_instances(masks_of(LABELS, 1), [0.5, 0.6], LABELS)
    with pytest.raises(InputError, match='masks'):
        mask_ious(np.zeros((1, 3, 4), bool), np.zeros((1, 4, 3), bool))
    with pytest.raises(InputError, match='threshold'):
        instance_ap([], 0.0)
    assert np.isnan(instance_ap([]))
