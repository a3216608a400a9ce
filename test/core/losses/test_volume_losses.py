"""L2, negative IoU and cross-entropy against their formulas, voxel by voxel."""

from __future__ import annotations

import math

from hypothesis import given, strategies
import numpy as np
import pytest
from recon3d_core import losses
from recon3d_core.errors import InputError
import torch
from torch.autograd import gradcheck

LOSSES = (losses.volumetric_l2, losses.negative_iou, losses.cross_entropy)
every_loss = pytest.mark.parametrize('loss', LOSSES, ids=lambda f: f.__name__)


def pair(seed=0, batch=3, size=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, size, size, size)
    probabilities = torch.rand(shape, generator=generator, dtype=dtype)
    return probabilities, torch.rand(shape, generator=generator) > 0.6


def plain(name, probabilities, occupancy):
    """Return the loss of one object by a loop over its voxels."""
    values = [(float(p), float(t)) for p, t in zip(probabilities.ravel(), occupancy.ravel())]
    if name == 'volumetric_l2':
        return sum((p - t) ** 2 for p, t in values) / len(values)
    if name == 'negative_iou':
        return 1 - sum(p * t for p, t in values) / sum(p + t - p * t for p, t in values)
    terms = [t * math.log(p) + (1 - t) * math.log(1 - p) for p, t in values]
    return -sum(terms) / len(values)


@every_loss
def test_equals_the_formula(loss):
    probabilities, occupancy = pair()
    each = loss(probabilities, occupancy, reduction='none')
    wanted = [plain(loss.__name__, p, t) for p, t in zip(probabilities, occupancy)]
    np.testing.assert_allclose(each.numpy(), wanted, rtol=1e-12)
    assert float(loss(probabilities, occupancy)) == pytest.approx(np.mean(wanted), rel=1e-12)


@every_loss
def test_gradients_are_right(loss):
    probabilities, occupancy = pair(size=2)
    probabilities = (probabilities * 0.9 + 0.05).requires_grad_()
    assert gradcheck(lambda p: loss(p, occupancy, 'none'), (probabilities,))


@every_loss
def test_perfect_volumes_cost_nothing_and_wrong_ones_more(loss):
    occupancy = pair()[1]
    truth = occupancy.float()
    assert float(loss(truth, occupancy)) == 0
    assert float(loss(1 - truth, occupancy)) > float(loss(0.5 + 0 * truth, occupancy)) > 0


@every_loss
@pytest.mark.parametrize('value', [0.0, 1.0])
def test_all_full_and_all_empty_are_finite_with_gradients(loss, value):
    probabilities = torch.full((2, 3, 3, 3), value, requires_grad=True)
    for truth in (0.0, 1.0):
        cost = loss(probabilities, torch.full((2, 3, 3, 3), truth))
        (gradient,) = torch.autograd.grad(cost, probabilities)
        assert math.isfinite(cost.item())
        assert gradient.isfinite().all()
        assert (cost.item() == 0) == (truth == value)


def test_certain_mistakes_cost_a_hundred():
    ones, zeros = torch.ones(1, 8), torch.zeros(1, 8)
    assert float(losses.cross_entropy(ones, zeros)) == 100
    assert float(losses.cross_entropy(zeros, ones)) == 100


@given(strategies.integers(0, 1000), strategies.floats(1, 8))
def test_logits_agree_with_probabilities(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 5, 5, 5, generator=generator, dtype=torch.float64)
    truth = torch.rand(2, 5, 5, 5, generator=generator, dtype=torch.float64)
    direct = losses.cross_entropy_from_logits(logits, truth, 'none')
    through = losses.cross_entropy(logits.sigmoid(), truth, 'none')
    torch.testing.assert_close(direct, through, rtol=5e-5, atol=0)


def test_gradients_from_logits_are_right_and_survive_certainty():
    logits, truth = torch.randn(1, 8, dtype=torch.float64), torch.ones(1, 8)
    logits.requires_grad_()
    assert gradcheck(lambda x: losses.cross_entropy_from_logits(x, truth), (logits,))
    lost = torch.full((1, 8), -500.0, requires_grad=True)
    losses.cross_entropy_from_logits(lost, truth).backward()
    assert (lost.grad == -1 / 8).all()  # through probabilities nothing would be left of it


@every_loss
@given(strategies.integers(0, 1000))
def test_the_order_of_voxels_does_not_matter(loss, seed):
    probabilities, occupancy = pair(seed, batch=1, size=3)
    order = torch.randperm(27, generator=torch.Generator().manual_seed(seed))
    shuffled = probabilities.reshape(1, -1)[:, order], occupancy.reshape(1, -1)[:, order]
    torch.testing.assert_close(loss(*shuffled), loss(probabilities, occupancy))


@every_loss
def test_half_precision_is_computed_in_single(loss):
    probabilities, occupancy = pair(dtype=torch.float32)
    rounded = probabilities.bfloat16()
    cost = loss(rounded, occupancy)
    assert cost.dtype == torch.float32
    assert float(cost) == float(loss(rounded.float(), occupancy))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert float(loss(rounded, occupancy)) == float(cost)


@every_loss
def test_bad_input_is_refused(loss):
    probabilities, occupancy = pair(dtype=torch.float32)
    with pytest.raises(
        InputError, match=r'occupancy.*got \(2, 4, 4, 4\), expected \(3, 4, 4, 4\)'
    ):
        loss(probabilities, occupancy[:2])
    with pytest.raises(InputError, match='not finite.*got 1 of 192'):
        broken = probabilities.clone()
        broken[1, 2, 3, 0] = torch.nan
        loss(broken, occupancy)
    with pytest.raises(InputError, match=r'got 0.\d+ to 1.5, expected values in \[0, 1\]'):
        loss(probabilities.clamp_max(0.9).index_fill(0, torch.tensor(0), 1.5), occupancy)
    with pytest.raises(InputError, match='probabilities has the wrong shape.*not empty'):
        loss(probabilities[:0], occupancy[:0])
    with pytest.raises(InputError, match="reduction, got 'sum', expected one of mean, none"):
        loss(probabilities, occupancy, 'sum')
    with pytest.raises(InputError, match='logits has values that are not finite'):
        losses.cross_entropy_from_logits(probabilities / 0, occupancy)


@pytest.mark.gpu
@every_loss
def test_gpu_agrees(loss):
    probabilities, occupancy = pair(dtype=torch.float32, size=16)
    on_gpu = loss(probabilities.cuda(), occupancy.cuda(), 'none').cpu()
    torch.testing.assert_close(on_gpu, loss(probabilities, occupancy, 'none'))
