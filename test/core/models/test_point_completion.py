"""`point_completion`: clouds lie on surfaces, the network learns, and evidence is as elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from quick_networks import solid, weights_of
from recon3d_core.errors import InputError
from recon3d_core.models import create_network
from recon3d_core.models.point_completion.clouds import (
    chosen,
    crossings,
    seen_cloud,
    solid_cloud,
)
from recon3d_core.models.tsdf_completion.evidence import (
    CHANNELS,
    FREE,
    HEIGHT,
    OBSERVED,
    REACH,
    SDF,
    TRUST,
)
import torch

SMALL = {'resolution': 16, 'width': 32, 'layers': 1, 'tokens': 32, 'seen_points': 128}


def ball_evidence(n, radius):
    """Return what is known (C, n, n, n) of a ball (radius in edges) whose upper half was seen."""
    at = (torch.arange(n) + 0.5) / n - 0.5
    x, y, z = torch.meshgrid(at, at, at, indexing='ij')
    distance = (x**2 + y**2 + z**2).sqrt() - radius
    evidence = torch.zeros(CHANNELS, n, n, n)
    evidence[OBSERVED] = ((z > 0) & (distance.abs() * n < 3)).float()
    evidence[SDF] = (distance * n / REACH).clamp(-1, 1) * evidence[OBSERVED]
    evidence[TRUST] = 0.8 * evidence[OBSERVED]
    evidence[FREE] = ((z > 0) & (distance * n > 1)).float()
    evidence[HEIGHT] = z + 0.5
    return evidence


def test_the_cloud_of_a_ball_lies_on_it_with_its_normals():
    cloud = seen_cloud(ball_evidence(32, 0.3))
    points, normals = cloud[:, :3], cloud[:, 3:6]
    assert len(cloud) > 300
    assert (points.norm(dim=1) - 0.3).abs().max() < 0.1 / 32
    radial = (normals * points / points.norm(dim=1, keepdim=True)).sum(1)
    assert radial.median() > 0.98
    assert torch.allclose(cloud[:, 6], points[:, 2] + 0.5, atol=0.6 / 32)
    assert (cloud[:, 7] == 1).all()
    nothing = seen_cloud(torch.zeros(CHANNELS, 16, 16, 16))
    assert nothing.tolist() == [[0.0] * 8]


def test_crossings_are_those_of_a_plane_and_only_where_both_sides_are_known():
    values = (torch.arange(8.0) - 2.25).expand(8, 8, 8)
    known = torch.ones(8, 8, 8, dtype=torch.bool)
    known[:4] = False
    points = crossings(values, known)
    assert len(points) == 4 * 8
    assert torch.allclose(points[:, 2], torch.tensor((2.25 + 0.5) / 8 - 0.5))


def test_a_point_more_changes_no_other_choice():
    cloud = solid_cloud(torch.tensor(solid(np.random.default_rng(2), 32)))
    some, again = chosen(cloud, 200), chosen(cloud[1:], 200)
    same = (torch.cdist(some, again).min(1).values < 1e-6).float().mean()
    assert same > 0.98
    assert len(chosen(cloud[:7], 200)) == 200


def test_it_learns_the_side_that_nobody_saw():
    torch.manual_seed(0)
    network = create_network('point_completion', **SMALL).train()
    evidence = ball_evidence(16, 0.35)
    at = torch.rand(1, 100, 3) - 0.5
    inside = (at.norm(dim=2) < 0.35).float()
    whole = torch.nn.functional.normalize(torch.randn(1, 200, 3), dim=2) * 0.35
    seen = chosen(seen_cloud(evidence), 128)[None]
    unseen = whole[:, whole[0, :, 2] < -0.1]

    def gap():
        return torch.cdist(unseen, network.complete(evidence[None]).points).min(2).values.mean()

    optimizer, before = torch.optim.Adam(network.parameters(), 5e-3), gap()
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = network.loss(seen, whole, at, inside)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]
    found = network.eval().probabilities(evidence[None])[0]
    assert gap() < 0.8 * before
    assert not (found[evidence[FREE] > 0.5] > 0.5).any()


def test_wrong_sizes_are_told():
    with pytest.raises(InputError, match='tokens'):
        create_network('point_completion', tokens=200, seen_points=100)
    network = create_network('point_completion', weights=weights_of('point_completion'))
    with pytest.raises(InputError, match='seen'):
        network(torch.zeros(1, 5, 8))
