"""Chamfer and earth mover's distance against loops, libraries and known answers."""

from __future__ import annotations

import itertools

from hypothesis import given, strategies
import numpy as np
import point_cloud_utils as pcu
import pytest
from recon3d_core import losses
from recon3d_core.errors import InputError
from recon3d_core.losses import nearest as nearest_module
from recon3d_core.losses.assignment import auction_assignment, exact_assignment
from recon3d_core.losses.nearest import nearest
from scipy import optimize
import torch
from torch.autograd import gradcheck

seeds = strategies.integers(0, 10_000)


def clouds(*sizes, seed=0, batch=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(batch, n, 3, generator=generator, dtype=dtype) for n in sizes]


def plain_chamfer(a, b):
    squared = ((a[:, None] - b[None]) ** 2).sum(-1)
    return float(squared.min(1).mean() + squared.min(0).mean())


@pytest.mark.parametrize('method', ['auto', 'brute', 'tree'])
@pytest.mark.parametrize('sizes', [(1, 1), (1, 7), (40, 25), (900, 700)])
def test_chamfer_equals_all_pairs(method, sizes):
    a, b = clouds(*sizes)
    each = losses.chamfer_distance(a, b, 'none', method)
    wanted = [plain_chamfer(x.numpy(), y.numpy()) for x, y in zip(a, b)]
    np.testing.assert_allclose(each.numpy(), wanted, rtol=1e-10)
    assert float(losses.chamfer_distance(a, b)) == pytest.approx(np.mean(wanted), rel=1e-10)


def test_neighbours_are_those_of_point_cloud_utils():
    a, b = (cloud[0].numpy() for cloud in clouds(300, 200, batch=1))
    _, index = pcu.k_nearest_neighbors(a, b, 1)
    for method in ('brute', 'tree'):
        found = nearest(torch.from_numpy(a)[None], torch.from_numpy(b)[None], method)
        assert found[0].tolist() == index.ravel().tolist()


def test_blocks_do_not_change_the_neighbours(monkeypatch):
    a, b = clouds(100, 90)
    whole = nearest(a, b, 'brute')
    for pairs in (1, 1000, 7777):
        monkeypatch.setattr(nearest_module, 'MAX_PAIRS', pairs)
        assert torch.equal(nearest(a, b, 'brute'), whole)


def test_near_points_far_from_the_origin_are_told_apart():
    a, b = clouds(300, 300, dtype=torch.float32)
    a, b = (0.01 * a + 100).float(), (0.01 * b + 100).float()
    exact = [plain_chamfer(x.double().numpy(), y.double().numpy()) for x, y in zip(a, b)]
    for method in ('brute', 'tree'):
        found = losses.chamfer_distance(a, b, 'none', method)
        np.testing.assert_allclose(found.numpy(), exact, rtol=1e-3)


def test_gradients_are_right():
    a, b = (cloud.requires_grad_() for cloud in clouds(4, 5, batch=1))
    assert gradcheck(lambda x, y: losses.chamfer_distance(x, y, 'none'), (a, b))


@pytest.mark.parametrize('method', ['exact', 'auction'])
def test_gradients_through_a_bijection_are_right(method):
    a, b = (cloud.requires_grad_() for cloud in clouds(4, 4, batch=1))
    assert gradcheck(lambda x, y: losses.earth_movers_distance(x, y, method), (a, b))


def test_equal_points_have_no_distance_and_no_gradient():
    (a,) = clouds(9)
    for loss in (losses.chamfer_distance, losses.earth_movers_distance):
        moved = a[:, torch.randperm(9, generator=torch.Generator().manual_seed(1))]
        moved = moved.clone().requires_grad_()
        cost = loss(moved, a)
        cost.backward()
        assert cost == 0
        assert (moved.grad == 0).all()


def test_emd_is_the_best_of_all_bijections():
    a, b = clouds(6, 6, batch=3)
    for x, y, found in zip(a, b, losses.earth_movers_distance(a, b, reduction='none')):
        sums = [
            float((x - y[list(order)]).norm(dim=1).sum())
            for order in itertools.permutations(range(6))
        ]
        assert float(found) == pytest.approx(min(sums), rel=1e-12)


def test_emd_is_at_least_that_of_entropic_transport():
    a, b = clouds(60, 60, batch=1)
    mean = float(losses.earth_movers_distance(a, b, normalize=True))
    assert mean == pytest.approx(float(losses.earth_movers_distance(a, b)) / 60)
    blurred, _ = pcu.earth_movers_distance(
        a[0].numpy(), b[0].numpy(), eps=2e-3, max_iters=2000, stop_thresh=1e-9
    )
    assert blurred == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize('tolerance', [0.2, 0.05, 0.01, 0.001])
def test_auction_keeps_its_tolerance_and_gives_a_bijection(tolerance):
    a, b = clouds(120, 120, batch=3)
    b[1] *= 0.1  # far from an even match: everybody wants the same ones
    b[2] = a[2].roll(1, 0)  # a perfect match exists
    cost = torch.cdist(a, b)
    found = auction_assignment(cost, tolerance)
    for k in range(3):
        rows, columns = optimize.linear_sum_assignment(cost[k].numpy())
        least = float(cost[k].numpy()[rows, columns].sum())
        assert sorted(found.index[k].tolist()) == list(range(120))
        assert float(found.lower_bound[k]) <= least + 1e-9
        assert least - 1e-9 <= float(found.cost[k]) <= (1 + tolerance) * least + 120 * 1e-6
    assert torch.equal(found.index, auction_assignment(cost, tolerance).index)
    exact = cost.gather(2, exact_assignment(cost)[..., None]).sum((1, 2))
    assert (exact <= found.cost + 1e-9).all()


def test_auction_of_one_and_of_equal_points():
    one = auction_assignment(torch.ones(2, 1, 1))
    assert one.index.tolist() == [[0], [0]]
    assert one.cost.tolist() == one.lower_bound.tolist() == [1, 1]
    same = auction_assignment(torch.zeros(1, 20, 20))
    assert sorted(same.index[0].tolist()) == list(range(20))
    assert float(same.cost[0]) == 0


@given(seeds, strategies.floats(0.1, 10))
def test_distances_are_symmetric_and_follow_the_scale(seed, scale):
    a, b = clouds(12, 12, seed=seed)
    for loss, power in ((losses.chamfer_distance, 2), (losses.earth_movers_distance, 1)):
        cost = loss(a, b, reduction='none')
        torch.testing.assert_close(loss(b, a, reduction='none'), cost)
        torch.testing.assert_close(
            loss(scale * a, scale * b, reduction='none'), cost * scale**power
        )


@given(seeds)
def test_order_of_points_and_common_motion_do_not_matter(seed):
    a, b = clouds(12, 12, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(12, generator=generator)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    shift = torch.randn(3, generator=generator, dtype=torch.float64)
    for loss in (losses.chamfer_distance, losses.earth_movers_distance):
        moved = loss(a[:, order] @ rotation + shift, b @ rotation + shift)
        torch.testing.assert_close(moved, loss(a, b))


@pytest.mark.parametrize('loss', [losses.chamfer_distance, losses.earth_movers_distance])
def test_bad_points_are_refused(loss):
    a, b = clouds(5, 5)
    with pytest.raises(InputError, match='target is an empty set'):
        loss(a, b[:, :0])
    with pytest.raises(InputError, match=r'points has the wrong shape, got \(5, 3\)'):
        loss(a[0], b[0])
    with pytest.raises(InputError, match='target has the wrong shape'):
        loss(a, b[:1])
    with pytest.raises(InputError, match='points has values that are not finite, got 15 of 30'):
        loss(a * torch.tensor([1, torch.nan])[:, None, None], b)
    with pytest.raises(InputError, match='method'):
        loss(a, b, method='magic')


def test_bijections_need_sets_of_one_size_and_tolerances_above_zero():
    a, b = clouds(5, 4)
    with pytest.raises(InputError, match='sets of one size, got 5 and 4 points'):
        losses.earth_movers_distance(a, b)
    with pytest.raises(InputError, match='tolerance, got 0'):
        losses.earth_movers_distance(a, a, 'auction', tolerance=0)


@pytest.mark.gpu
def test_gpu_agrees_on_points():
    a, b = clouds(700, 700, dtype=torch.float32)
    chamfer = losses.chamfer_distance(a.cuda(), b.cuda(), 'none').cpu()
    torch.testing.assert_close(chamfer, losses.chamfer_distance(a, b, 'none'))
    emd = losses.earth_movers_distance(a.cuda(), b.cuda(), reduction='none').cpu()
    exact = losses.earth_movers_distance(a, b, 'exact', reduction='none')
    assert (emd >= exact * (1 - 1e-5)).all()
    assert (emd <= 1.01 * exact).all()
