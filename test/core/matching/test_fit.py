"""Render-and-match: its derivatives, and that it finds where a model is."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at
from recon3d_core.matching.evidence import evidence_of
from recon3d_core.matching.fit import _jacobian as jacobian
from recon3d_core.matching.fit import (
    agreement,
    fit,
    Hypotheses,
    LARGEST_STRETCH,
    Priors,
    rays_of,
    to_resting,
)
from recon3d_core.matching.models import CadModel
from recon3d_core.types import Frame, View
import torch

CAMERA = Camera(96, 80, 110.0, 110.0, 47.5, 39.5)
TURN = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


UPRIGHT = np.eye(3)


def step_model(turn: np.ndarray = UPRIGHT) -> CadModel:
    """Return a step: a low block beside a high one, that no turn leaves as it is."""
    inside = np.zeros((64, 64, 64), bool)
    inside[8:56, 16:48, 16:30] = True
    inside[8:28, 16:48, 16:50] = True
    return CadModel('step', 'toy', 0.2, True, np.packbits(inside), turn)


def view_of(model: CadModel, theta: torch.Tensor, eye: np.ndarray, *, depth: bool) -> View:
    """Return what a camera sees of a placed model, by marching along each ray."""
    pose = look_at(eye, (0, 0, 0.05))
    y, x = np.mgrid[: CAMERA.height, : CAMERA.width]
    rays = CAMERA.unproject(np.stack([x, y], -1).reshape(-1, 2), np.ones(x.size)) @ pose[:3, :3].T
    t = np.linspace(0.4, 0.75, 150)
    points = eye + rays[:, None] * t[:, None]
    flat = torch.from_numpy(points.reshape(1, -1, 3)).float()
    own = to_resting(theta[None], flat)[0].numpy() @ model.turn
    index = np.floor((own + 0.5) * 64).astype(int)
    held = ((index >= 0) & (index < 64)).all(1)
    hit = np.zeros(len(own), bool)
    hit[held] = model.occupancy[tuple(index[held].T)]
    hit = hit.reshape(len(rays), -1)
    mask = hit.any(1).reshape(80, 96)
    first = np.where(mask, t[hit.argmax(1)].reshape(80, 96), 0).astype(np.float32)
    rows, columns = np.nonzero(mask)
    box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
    return View(Frame(0, CAMERA, None, first if depth else None, pose), mask, box)


@pytest.mark.parametrize('turn', [UPRIGHT, TURN], ids=['upright', 'turned'])
def test_derivatives_are_those_of_the_distances(turn):
    models = Hypotheses([step_model(turn)], 'cpu')
    models.sdf = models.sdf.double()
    models.turn = models.turn.double()
    # A ball: smooth, unlike the voxels' distances.
    axis = (torch.arange(64).double() + 0.5) / 64 - 0.5
    x, y, z = torch.meshgrid(axis, axis, axis, indexing='ij')
    models.sdf[0, 0] = ((x - 0.1) ** 2 + 2 * y**2 + 3 * (z + 0.05) ** 2) / 2
    theta = torch.tensor([[0.4, 0.02, -0.01, 0.05, -1.5, -1.4, -1.6]], dtype=torch.float64)
    points = torch.from_numpy(np.random.default_rng(0).normal(0, 0.04, (1, 40, 3)))
    points += theta[:, None, 1:4]
    found = jacobian(models, theta, points)[0]
    scale = theta[:, 4:7].mean().exp()
    for k in range(7):
        step = torch.zeros(1, 7, dtype=torch.float64)
        step[0, k] = 1e-3
        ahead, back = (models.distance(to_resting(theta + s, points))[0] for s in (step, -step))
        wanted = scale * (ahead - back) / 2e-3
        np.testing.assert_allclose(found[:, k], wanted, atol=0.08 * float(wanted.abs().max()))


@pytest.mark.parametrize('depth', [True, False], ids=['depth', 'outlines'])
def test_a_model_is_found_from_beside_where_it_is(depth):
    model = step_model()
    true = torch.tensor([0.3, 0.02, 0.01, 0.05, -1.6, -1.7, -1.6])
    eyes = [np.array([0.5, 0.1, 0.35]), np.array([-0.1, 0.5, 0.35])]
    views = [evidence_of(view_of(model, true, eye, depth=depth)) for eye in eyes]
    rays = rays_of(views, np.eye(4), 'cpu')
    start = true + torch.tensor([0.25, 0.02, -0.015, 0.01, 0.1, 0.15, 0.1])
    models = Hypotheses([model, model], 'cpu')
    edge = torch.full((2,), float(np.log(model.edge_m)))
    priors = Priors(None, edge, torch.tensor([0.3, 0.3]), torch.zeros(3), torch.eye(3))
    begin = torch.stack([start, start + torch.tensor([np.pi, 0, 0, 0, 0, 0, 0])]).float()
    theta, cost = fit(models, begin, rays.some(500), priors, rounds=12, samples=20)
    np.testing.assert_allclose(theta[0, 0], true[0], atol=0.03)
    np.testing.assert_allclose(theta[0, 1:4], true[1:4], atol=0.004)
    np.testing.assert_allclose(theta[0, 4:7], true[4:7], atol=0.06)
    assert cost[0] < 0.5 * cost[1]  # the other way round it does not fit
    found = agreement(models, theta, rays)
    assert found.overlap[0] > 0.93 > found.overlap[1]
    assert torch.isnan(found.depth_m).all() != depth
    stretch = theta[:, 4:7] - theta[:, 4:7].mean(1, keepdim=True)
    assert stretch.abs().max() <= LARGEST_STRETCH + 1e-5


def test_nothing_is_told_where_something_hides_it():
    mask = np.zeros((80, 96), bool)
    mask[30:50, 30:60] = True
    others = np.zeros_like(mask)
    others[30:50, 60:70] = True  # it may go on behind
    frame = Frame(0, CAMERA, None, None, np.eye(4))
    view = View(frame, mask, (30, 30, 59, 49), others)
    rays = evidence_of(view)
    pixels = np.rint(CAMERA.project(rays.rays_world)).astype(int)
    outside = pixels[rays.outline_px > 0]
    assert not others[pixels[:, 1], pixels[:, 0]].any()
    # Right of the occluder is nearer to it than to the mask; left is free.
    assert not ((outside[:, 0] > 65) & (abs(outside[:, 1] - 40) < 8)).any()
    assert ((outside[:, 0] < 29) & (abs(outside[:, 1] - 40) < 8)).any()
    nearest = np.abs(pixels - (29, 40)).sum(1).argmin()
    wanted = 30 - pixels[nearest, 0] - 0.5
    assert abs(abs(rays.outline_px[nearest]) - abs(wanted)) < 0.6
    assert evidence_of(View(frame, np.zeros_like(mask), (0, 0, 0, 0))) is None
