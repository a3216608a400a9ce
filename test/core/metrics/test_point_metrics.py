"""Distances and scores of point sets against libraries, loops and known answers."""

from __future__ import annotations

from hypothesis import given, strategies
import numpy as np
import point_cloud_utils as pcu
import pytest
from recon3d_core import metrics
from recon3d_core.errors import InputError
from scipy import optimize, spatial
import torch

seeds = strategies.integers(0, 10_000)
INF = float('inf')


def clouds(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((n, 3)) for n in sizes]


def test_mse_is_the_chamfer_distance_of_point_cloud_utils():
    a, b = clouds(300, 200)
    assert metrics.mse(a, b) == pytest.approx(pcu.chamfer_distance(a, b), rel=1e-9)
    across = spatial.distance.cdist(a, b, 'cityblock')
    near_a, near_b = (spatial.distance.cdist(*p).argmin(1) for p in ((a, b), (b, a)))
    wanted = across[np.arange(300), near_a].mean() + across[near_b, np.arange(200)].mean()
    assert metrics.mse(a, b, norm=1) == pytest.approx(wanted)


def test_chamfer_is_squared_and_both_ways():
    a, b = clouds(300, 200)
    squared = spatial.distance.cdist(a, b, 'sqeuclidean')
    assert metrics.chamfer(a, b) == pytest.approx(squared.min(1).mean() + squared.min(0).mean())


def test_emd_is_the_least_sum_over_bijections():
    a, b = clouds(80, 80)
    cost = spatial.distance.cdist(a, b)
    least = cost[optimize.linear_sum_assignment(cost)].sum()
    assert metrics.emd(a, b) == pytest.approx(least)
    assert metrics.emd(a, b, normalize=True) == pytest.approx(least / 80)
    assert least <= metrics.emd(a, b, method='auction') * (1 + 1e-9) <= 1.01 * least


@given(seeds)
def test_fscore_equals_plain_counts(seed):
    a, b = clouds(40, 30, seed=seed)
    distances = spatial.distance.cdist(a, b)
    thresholds = [0.05, 0.1, 0.3]
    for value, found in zip(thresholds, metrics.fscore(a, b, thresholds)):
        precision, recall = (distances.min(1) < value).mean(), (distances.min(0) < value).mean()
        wanted = 2 * precision * recall / (precision + recall) if precision + recall else 0
        assert found == pytest.approx(wanted)
        assert metrics.fscore(b, a, value) == pytest.approx(wanted)


def test_fscore_knows_what_is_missing_and_what_is_too_much():
    (a,) = clouds(200)
    assert metrics.fscore(a, a, 1e-9) == 1
    assert metrics.fscore(a[:100], a, 1e-9) == pytest.approx(2 / 3)
    assert metrics.fscore(a, a + 5, 0.01) == 0


def on_sphere(count, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_normals_of_a_sphere_are_consistent():
    a, b = on_sphere(3000), on_sphere(2000, 1)
    assert metrics.normal_consistency(a, a, b, 7 * b) > 0.995
    assert metrics.normal_consistency(a, a, b, -b) > 0.995
    assert metrics.normal_consistency(a, a, b, -b, oriented=True) < -0.995
    sideways = np.cross(b, (0, 0, 1))
    assert metrics.normal_consistency(a, a, b, sideways) < 0.05


def test_normal_consistency_equals_a_loop():
    a, b, n_a, n_b = clouds(30, 20, 30, 20)
    n_a, n_b = ((n - 0.5) / np.linalg.norm(n - 0.5, axis=1, keepdims=True) for n in (n_a, n_b))
    distances = spatial.distance.cdist(a, b)
    there = np.mean([abs(n_a[i] @ n_b[j]) for i, j in enumerate(distances.argmin(1))])
    back = np.mean([abs(n_b[j] @ n_a[i]) for j, i in enumerate(distances.argmin(0))])
    assert metrics.normal_consistency(a, n_a, b, n_b) == pytest.approx((there + back) / 2)


DISTANCES = (metrics.mse, metrics.chamfer, metrics.emd)
every_distance = pytest.mark.parametrize('metric', DISTANCES, ids=lambda f: f.__name__)
every_metric = pytest.mark.parametrize(
    'metric', [*DISTANCES, metrics.fscore], ids=lambda f: f.__name__
)


@every_metric
def test_batches_are_computed_one_by_one(metric):
    a, b = (np.stack(clouds(25, 25, 25, seed=k)) for k in range(2))
    found = metric(a, b)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, [metric(x, y) for x, y in zip(a, b)])
    tensors = metric(torch.from_numpy(a).float(), torch.from_numpy(b))
    np.testing.assert_allclose(tensors, found, rtol=1e-4)
    assert isinstance(metric(a[0], b[0]), float)


@every_distance
@given(seeds, strategies.floats(0.1, 10))
def test_distances_follow_scale_and_ignore_order_and_motion(metric, seed, scale):
    a, b = clouds(10, 10, seed=seed)
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    power = 2 if metric is metrics.chamfer else 1
    moved = [scale * rng.permutation(cloud) @ turn + (1, 2, 3) for cloud in (a, b)]
    assert metric(*moved) == pytest.approx(scale**power * metric(a, b))
    assert metric(b, a) == pytest.approx(metric(a, b))
    assert metric(a, a) == 0


def test_empty_sets_and_single_points_are_defined():
    none, (one, some) = np.zeros((0, 3)), clouds(1, 5)
    far = one + np.array((3, 0, 4))
    for metric in (metrics.mse, metrics.chamfer):
        assert metric(none, none) == 0
        assert metric(none, some) == metric(some, none) == INF
    assert metrics.emd(none, none) == 0
    assert metrics.fscore(none, none) == 1
    assert metrics.fscore(some, none) == metrics.fscore(none, some) == 0
    assert (
        metrics.fscore(np.zeros((2, 0, 3)), np.zeros((2, 0, 3)), [0.1, 0.2]).tolist()
        == [[1, 1]] * 2
    )
    assert metrics.normal_consistency(none, none, none, none) == 1
    assert metrics.normal_consistency(none, none, some, some) == 0
    assert metrics.mse(one, far) == pytest.approx(10)
    assert metrics.chamfer(one, far) == pytest.approx(50)
    assert metrics.emd(one, far) == pytest.approx(5)


@every_metric
def test_bad_sets_are_refused(metric):
    a, b = clouds(5, 5)
    with pytest.raises(InputError, match=r'points has the wrong shape, got \(5, 2\), expected'):
        metric(a[:, :2], b[:, :2])
    with pytest.raises(InputError, match='target has the wrong shape'):
        metric(a, b[None])
    with pytest.raises(InputError, match='target has values that are not finite, got 3 of 15'):
        broken = b.copy()
        broken[1] = np.nan
        metric(a, broken)
    with pytest.raises(InputError, match='a batch of point sets is empty'):
        metric(np.zeros((0, 5, 3)), np.zeros((0, 5, 3)))
    with pytest.raises(InputError, match='points is no array of numbers'):
        metric(np.array([['a', 'b', 'c']]), b)


def test_bad_options_are_refused():
    a, b = clouds(5, 4)
    with pytest.raises(InputError, match='sets of one size'):
        metrics.emd(a, b)
    with pytest.raises(InputError, match='norm, got 3, expected 1 or 2'):
        metrics.mse(a, b, norm=3)
    with pytest.raises(InputError, match='threshold, got 0'):
        metrics.fscore(a, b, 0)
    with pytest.raises(InputError, match='normals has vectors without length, got 5'):
        metrics.normal_consistency(a, 0 * a, b, b)
    with pytest.raises(InputError, match='target_normals has the wrong shape'):
        metrics.normal_consistency(a, a, b, a)


@pytest.mark.gpu
@every_metric
def test_gpu_agrees_on_sets(metric):
    a, b = (torch.from_numpy(cloud).float() for cloud in clouds(400, 400))
    assert metric(a.cuda(), b.cuda()) == pytest.approx(metric(a, b), rel=1e-4)
