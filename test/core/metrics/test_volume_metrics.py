"""IoU, cross-entropy and average precision against plain counts and known answers."""

from __future__ import annotations

from hypothesis import given, strategies
import numpy as np
import pytest
from recon3d_core import metrics
from recon3d_core.errors import InputError
import torch

seeds = strategies.integers(0, 10_000)


def pair(seed=0, batch=3, size=4, levels=None):
    rng = np.random.default_rng(seed)
    probabilities = rng.random((batch, size, size, size)).astype(np.float32)
    if levels:
        probabilities = np.round(probabilities * levels) / np.float32(levels)
    return probabilities, rng.random(probabilities.shape) < 0.4


def plain_iou(probabilities, occupancy, threshold):
    both = either = 0
    for p, t in zip(probabilities.ravel(), occupancy.ravel()):
        both += p >= np.float32(threshold) and t
        either += p >= np.float32(threshold) or t
    return both / either if either else 1.0


def plain_ap(probabilities, occupancy, thresholds=None):
    """Return the area under the steps of precision over recall, one threshold after the other."""
    values, true = probabilities.ravel(), occupancy.ravel()
    levels = np.unique(values) if thresholds is None else np.asarray(thresholds, np.float32)
    area = before = 0.0
    for level in np.sort(levels)[::-1]:
        chosen = values >= level
        if chosen.any():
            recall = (true & chosen).sum() / true.sum()
            area += (recall - before) * true[chosen].mean()
            before = recall
    return area


@given(seeds, strategies.sampled_from([None, 4]))
def test_iou_equals_plain_counts_at_every_threshold(seed, levels):
    probabilities, occupancy = pair(seed, 2, 3, levels)
    thresholds = (0.25, 0.3, 0.5, 1.0)
    found = metrics.iou(probabilities, occupancy, thresholds)
    assert found.shape == (2, 4)
    wanted = [[plain_iou(p, t, x) for x in thresholds] for p, t in zip(probabilities, occupancy)]
    np.testing.assert_allclose(found, wanted)
    assert np.array_equal(metrics.iou(probabilities, occupancy, 0.3), found[:, 1])
    assert metrics.iou(probabilities[1], occupancy[1], 0.5) == found[1, 2]


@given(seeds, strategies.sampled_from([None, 4, 10]))
def test_average_precision_equals_the_steps_of_the_curve(seed, levels):
    probabilities, occupancy = pair(seed, 2, 3, levels)
    occupancy[:, 0, 0, 0] = True
    found = metrics.average_precision(probabilities, occupancy)
    wanted = [plain_ap(p, t) for p, t in zip(probabilities, occupancy)]
    np.testing.assert_allclose(found, wanted)
    assert metrics.mean_average_precision(probabilities, occupancy) == pytest.approx(
        np.mean(wanted)
    )
    chosen = (0.7, 0.1, 0.4)
    found = metrics.average_precision(probabilities, occupancy, chosen)
    np.testing.assert_allclose(
        found, [plain_ap(p, t, chosen) for p, t in zip(probabilities, occupancy)]
    )


def test_average_precision_of_textbook_rankings():
    truth = np.array([1, 0, 1, 0, 0, 0, 0, 0], bool).reshape(2, 2, 2)
    ranking = np.linspace(0.9, 0.1, 8).reshape(2, 2, 2)
    assert metrics.average_precision(ranking, truth) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision(truth.astype(float), truth) == 1
    assert metrics.average_precision(np.full((2, 2, 2), 0.5), truth) == pytest.approx(2 / 8)


@given(seeds)
def test_average_precision_depends_on_the_ranking_alone(seed):
    probabilities, occupancy = pair(seed, 1, 3)
    occupancy[:, 0, 0, 0] = True
    found = metrics.average_precision(probabilities, occupancy)
    np.testing.assert_allclose(metrics.average_precision(probabilities**3, occupancy), found)


def test_mean_over_categories_weighs_them_equally():
    probabilities, occupancy = pair(batch=4)
    each = metrics.average_precision(probabilities, occupancy)
    found = metrics.mean_average_precision(
        probabilities, occupancy, categories=('mug', 'chair', 'mug', 'mug')
    )
    assert found == pytest.approx((each[[0, 2, 3]].mean() + each[1]) / 2)


def test_cross_entropy_equals_the_formula():
    probabilities, occupancy = pair()
    likelihood = np.where(occupancy, probabilities, 1 - probabilities).astype(np.float64)
    found = metrics.cross_entropy(probabilities, occupancy)
    np.testing.assert_allclose(found, -np.log(likelihood).mean((1, 2, 3)), rtol=1e-5)
    assert metrics.cross_entropy(occupancy[0], ~occupancy[0]) == 100


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_full_and_empty_volumes_are_defined(value):
    volume = np.full((3, 3, 3), value)
    other = np.full((3, 3, 3), 1 - value)
    assert metrics.iou(volume, volume) == 1
    assert metrics.iou(volume, other) == 0
    assert metrics.cross_entropy(volume, volume) == 0
    assert metrics.average_precision(volume, volume) == 1
    assert metrics.average_precision(other, volume) == value  # all of one rank, or wrongly found


def test_tensors_lists_and_types_give_the_same():
    probabilities, occupancy = pair(levels=8)
    wanted = metrics.iou(probabilities, occupancy, [0.3, 0.6])
    for one in (torch.from_numpy(probabilities), torch.from_numpy(probabilities).double(),
                probabilities.astype(np.float16), probabilities.astype('>f4'),
                torch.from_numpy(probabilities).half().requires_grad_()):  # fmt: skip
        for truth in (torch.from_numpy(occupancy), occupancy.astype(np.uint8), occupancy):
            assert np.array_equal(metrics.iou(one, truth, [0.3, 0.6]), wanted)
    assert isinstance(metrics.iou(probabilities[0], occupancy[0]), float)
    assert isinstance(metrics.iou(torch.from_numpy(probabilities), occupancy), np.ndarray)


VOLUME_METRICS = (metrics.iou, metrics.cross_entropy, metrics.average_precision,
                  metrics.mean_average_precision)  # fmt: skip


@pytest.mark.parametrize('metric', VOLUME_METRICS, ids=lambda f: f.__name__)
def test_bad_volumes_are_refused(metric):
    probabilities, occupancy = pair()
    with pytest.raises(InputError, match=r'occupancy has the wrong shape, got \(2, 4, 4, 4\)'):
        metric(probabilities, occupancy[:2])
    with pytest.raises(InputError, match=r'probabilities has the wrong shape, got \(64,\)'):
        metric(probabilities[0].ravel(), occupancy[0].ravel())
    with pytest.raises(InputError, match=r'probabilities has the wrong shape, got \(3, 4, 4, 2\)'):
        metric(probabilities[..., :2], occupancy[..., :2])
    with pytest.raises(InputError, match='not finite, got 3 of 192'):
        broken = probabilities.copy()
        broken[0, 1, 2, :3] = np.nan
        metric(broken, occupancy)
    with pytest.raises(InputError, match='probabilities are no probabilities'):
        metric(probabilities * 9 - 3, occupancy)
    with pytest.raises(InputError, match='probabilities is empty'):
        metric(probabilities[:0], occupancy[:0])
    with pytest.raises(InputError, match='probabilities is no array of numbers, got object'):
        metric(np.full((2, 2, 2), None), occupancy)


def test_bad_thresholds_and_categories_are_refused():
    probabilities, occupancy = pair()
    for threshold in (0, -1, float('nan'), [], [0.5, 0]):
        with pytest.raises(InputError, match='threshold, got .* numbers above 0'):
            metrics.iou(probabilities, occupancy, threshold)
    with pytest.raises(InputError, match='thresholds'):
        metrics.average_precision(probabilities, occupancy, [0.0])
    with pytest.raises(InputError, match='categories, got 1 names, expected 3'):
        metrics.mean_average_precision(probabilities, occupancy, categories=['mug'])


@pytest.mark.gpu
def test_gpu_agrees_on_volumes():
    probabilities, occupancy = pair(size=16)
    on_gpu = torch.from_numpy(probabilities).cuda()
    for metric in VOLUME_METRICS:
        np.testing.assert_allclose(
            metric(on_gpu, torch.from_numpy(occupancy).cuda()),
            metric(probabilities, occupancy),
            rtol=1e-5,
        )
