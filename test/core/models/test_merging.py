"""Softmax over views: streamed in any order it equals the formula; its logits are exact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.models.merging import merge, merge_logits, MergeState
import torch


def drawn(seed, views, spread):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(2, views, 3, 3, 3, generator=generator)
    return logits, spread * torch.randn(2, views, 3, 3, 3, generator=generator)


def streamed(probabilities, scores, order):
    state = MergeState.empty(2, 3)
    for index in order:
        state = state.add(probabilities[:, index], scores[:, index])
    return state.merged()


@given(
    st.integers(0, 2**31), st.integers(1, 24), st.sampled_from([0.0, 1.0, 30.0, 1e4]), st.data()
)
def test_streamed_in_any_order_it_equals_the_formula(seed, views, spread, data):
    logits, scores = drawn(seed, views, spread)
    order = data.draw(st.permutations(range(views)))
    found = streamed(logits.sigmoid(), scores, order)
    torch.testing.assert_close(found, merge(logits.sigmoid(), scores), atol=1e-5, rtol=0)


@given(st.integers(0, 2**31), st.integers(1, 8))
def test_logits_of_the_mixture(seed, views):
    logits, scores = drawn(seed, views, 1.0)
    plain = np.zeros((2, 3, 3, 3))
    weights = np.exp(scores.double().numpy())
    for index in range(views):
        share = weights[:, index] / weights.sum(1)
        plain += share / (1 + np.exp(-logits[:, index].double().numpy()))
    found = merge_logits(logits, scores).sigmoid().numpy()
    np.testing.assert_allclose(found, plain, atol=1e-6)


def test_views_that_are_sure_and_wrong_still_have_gradients():
    logits = torch.full((1, 3, 2, 2, 2), 40.0, requires_grad=True)  # sigmoid is exactly 1
    scores = torch.zeros(1, 3, 2, 2, 2)
    wanted = torch.zeros(1, 2, 2, 2)
    merged = merge_logits(logits, scores)
    torch.nn.functional.binary_cross_entropy_with_logits(merged, wanted).backward()
    assert (logits.grad > 0).all()


def test_before_the_first_view_nothing_is_known():
    assert (MergeState.empty(2, 3).merged() == 0.5).all()


@pytest.mark.parametrize('peak', [-1e30, 0.0, 1e30])
def test_extreme_scores_stay_finite(peak):
    probabilities = torch.rand(2, 4, 3, 3, 3)
    scores = torch.full((2, 4, 3, 3, 3), peak)
    found = streamed(probabilities, scores, range(4))
    torch.testing.assert_close(found, probabilities.mean(1), atol=1e-6, rtol=0)


def test_memory_is_constant():
    state = MergeState.empty(1, 8)
    sizes = [state.bytes]
    for _ in range(30):
        state = state.add(torch.rand(1, 8, 8, 8), torch.randn(1, 8, 8, 8))
        sizes.append(state.bytes)
    assert set(sizes) == {3 * 4 * 8**3}
