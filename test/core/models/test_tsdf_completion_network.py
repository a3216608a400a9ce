"""The completion network: what binds it, its layers, its loss."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.models import create_network
from recon3d_core.models.tsdf_completion.evidence import (
    BELOW,
    CHANNELS,
    combined,
    FREE,
    HEIGHT,
    OBSERVED,
    REACH,
    RULE,
    SDF,
    TRUST,
    undecided,
)
from recon3d_core.models.tsdf_completion.model import _spread
from recon3d_core.models.weights import save_weights, WeightsCard
import torch

N = 16


def half_seen_ball(radius: float = 5.0, n: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    """Return evidence (1, C, n, n, n) of a ball seen from +x, and the truth (1, n, n, n)."""
    axis = torch.arange(n) + 0.5 - n / 2
    x, y, z = torch.meshgrid(axis, axis, axis, indexing='ij')
    sdf = (x**2 + y**2 + z**2).sqrt() - radius
    evidence = torch.zeros(1, CHANNELS, n, n, n)
    seen = (sdf.abs() < REACH) & (x > 0)
    evidence[0, SDF] = (sdf / REACH) * seen
    evidence[0, TRUST], evidence[0, OBSERVED] = 0.5 * seen, seen
    evidence[0, FREE] = (sdf > 1.5) & ((x > 0) | (y**2 + z**2 > radius**2))
    evidence[0, HEIGHT] = (z + n / 2) / n
    evidence[0, RULE] = ((x.abs() + y.abs() + z.abs() - radius) / REACH).clamp(-1, 1)
    return evidence, (sdf < 0).float()[None]


@pytest.fixture(scope='module')
def network():
    """Return a small network whose normalisations have seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_network('tsdf_completion', resolution=N, width=8)
        for module in network.modules():
            if hasattr(module, 'running_mean'):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return network


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), loud=st.floats(0.1, 50))
def test_what_was_observed_stays_whatever_the_network_says(seed, loud):
    evidence, _ = half_seen_ball()
    evidence[0, BELOW, :, :, :2] = 1
    generator = torch.Generator().manual_seed(seed)
    logits = loud * torch.randn(1, N, N, N, generator=generator)
    found = combined(logits, evidence)
    distance = evidence[:, SDF] * REACH
    below, free = evidence[:, BELOW] > 0, evidence[:, FREE] > 0
    near = (evidence[:, OBSERVED] > 0) & (distance.abs() < 1) & ~below & ~free
    torch.testing.assert_close(found[near], 0.5 - distance[near] / 2)
    assert (found[free | below] == 0).all()
    in_front = (evidence[:, OBSERVED] > 0) & (distance >= 1)
    assert (found[in_front] == 0).all()
    left = undecided(evidence)
    assert 0.2 < left.float().mean() < 0.9
    assert torch.equal(found[left], torch.sigmoid(logits)[left])


def test_a_distance_of_little_trust_decides_nothing():
    evidence, _ = half_seen_ball()
    evidence[:, TRUST] *= 0.1
    evidence[:, FREE] = 0
    logits = torch.randn(1, N, N, N, generator=torch.Generator().manual_seed(0))
    assert torch.equal(combined(logits, evidence), torch.sigmoid(logits))
    assert undecided(evidence).all()


def test_blocks_are_spread_to_their_voxels():
    blocks = torch.arange(8 * 27).float().reshape(1, 8, 3, 3, 3)
    volume = _spread(blocks)[0, 0].numpy()
    for i, j, k in np.ndindex(6, 6, 6):
        channel = 4 * (i % 2) + 2 * (j % 2) + k % 2
        assert volume[i, j, k] == blocks[0, channel, i // 2, j // 2, k // 2]


def test_all_parameters_learn(network):
    network = copy.deepcopy(network).train()
    evidence, truth = half_seen_ball()
    both = torch.cat([evidence, evidence.flip(2)]), torch.cat([truth, truth.flip(1)])
    network.loss(*both).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key


def test_it_learns_the_unseen_side(network):
    network = copy.deepcopy(network).train()
    evidence, truth = half_seen_ball()
    evidence, truth = torch.cat([evidence, evidence.flip(2)]), torch.cat([truth, truth.flip(1)])
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(25):
        optimizer.zero_grad()
        network.loss(evidence, truth).backward()
        optimizer.step()
    with torch.no_grad():
        found = network.probabilities(evidence)[0]
    unseen, solid = found[: N // 2], truth[0, : N // 2] > 0
    assert ((unseen > 0.5) & solid).sum() > 0.8 * ((unseen > 0.5) | solid).sum()


def test_stored_or_made_quick_it_says_the_same(network, tmp_path):
    evidence, _ = half_seen_ball()
    card = WeightsCard(network.name, config=network.config.model_dump(), threshold=0.4)
    save_weights(tmp_path / 'w.safetensors', network.state_dict(), card)
    loaded = create_network(network.name, tmp_path / 'w.safetensors')
    assert loaded.threshold == 0.4
    with torch.no_grad():
        expected = network(evidence)
        assert torch.equal(loaded(evidence), expected)
        quick = loaded.optimize_for_inference()(evidence)
    torch.testing.assert_close(quick, expected, atol=1e-4, rtol=0)


def test_other_sizes_are_refused_in_one_line(network):
    for shape in ((1, CHANNELS, 32, 32, 32), (1, 5, N, N, N), (CHANNELS, N, N, N)):
        with pytest.raises(InputError) as caught:
            network(torch.zeros(shape))
        assert '\n' not in str(caught.value)
    with pytest.raises(InputError, match='multiple of 16'):
        create_network('tsdf_completion', resolution=40)
