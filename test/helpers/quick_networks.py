"""Small networks trained for seconds on solids of revolution: real weights where none are shipped."""

from __future__ import annotations

import functools
from pathlib import Path
import tempfile

import numpy as np
from recon3d_core import registry
from recon3d_core.interfaces import Reconstructor
from recon3d_core.models import create_model, create_network
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.point_completion.clouds import chosen, solid_cloud
from recon3d_core.models.tsdf_completion.evidence import CHANNELS, FREE
from recon3d_core.models.weights import save_weights, shipped_weights, WeightsCard
from tabletop import make_solid
import torch
from torch import Tensor

OPTIONS = {
    'posed_fusion': {
        'image_size': 32, 'resolution': 16, 'width': 8, 'context': 3, 'depth_bins': 8,
        'refiner_width': 8,
    },
    'pix2vox_s': {'image_size': 96},
    'r2n2_s': {'image_size': 96},
}  # fmt: skip
STEPS = {'posed_fusion': 30, 'pix2vox_s': 10, 'r2n2_s': 10}
OBJECTS, VIEWS = 4, 2
RED = (0.78, 0.16, 0.16)


def solid(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return a random upright cylinder, ball or box in its cube as (n, n, n) bool."""
    axis = (np.arange(n) + 0.5) / n - 0.5
    x, y, z = np.meshgrid(axis, axis, axis, indexing='ij')
    width, height = rng.uniform(0.2, 0.45, 2)
    width, height = np.array([width, height]) * 0.45 / max(width, height)
    kind = rng.integers(3)
    if kind == 0:
        return (x**2 + y**2 < width**2) & (np.abs(z) < height)
    if kind == 1:
        return (x / width) ** 2 + (y / width) ** 2 + (z / height) ** 2 < 1
    return (np.abs(x) < 0.8 * width) & (np.abs(y) < 0.8 * width) & (np.abs(z) < height)


def seen(
    inside: np.ndarray, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mask (size, size), K and T_camera_cube of one random view."""
    turn, rise, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.9), rng.uniform(2, 6)
    back = np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
    right = np.array([-np.sin(turn), np.cos(turn), 0])
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(-back, right), -back])
    T[:3, 3] = 0, 0, distance
    n = len(inside)
    points = (np.argwhere(np.kron(inside, np.ones((2, 2, 2), bool))) + 0.5) / (2 * n) - 0.5
    local = points @ T[:3, :3].T + T[:3, 3]
    slopes = local[:, :2] / local[:, 2:]
    low, high = slopes.min(0), slopes.max(0)
    side = 1.2 * (high - low).max()
    corner = (low + high - side) / 2
    column, row = np.clip((slopes - corner) / side * size, 0, size - 1).astype(int).T
    mask = np.zeros((size, size))
    mask[row, column] = 1
    K = np.array([[1 / side, 0, -corner[0] / side], [0, 1 / side, -corner[1] / side], [0, 0, 1]])
    return mask, K, T


def batch(rng: np.random.Generator, size: int, n: int) -> tuple[Tensor, Tensor, ViewCameras]:
    """Return masks (B, V, 1, size, size), occupancy (B, n, n, n) and cameras."""
    solids = [solid(rng, n) for _ in range(OBJECTS)]
    views = [[seen(inside, rng, size) for _ in range(VIEWS)] for inside in solids]
    masks, K, T = (
        torch.tensor(np.array([[view[k] for view in row] for row in views]), dtype=torch.float32)
        for k in range(3)
    )
    occupancy = torch.tensor(np.array(solids), dtype=torch.float32)
    return masks[:, :, None], occupancy, ViewCameras(K, T)


@functools.cache
def quick_weights(name: str) -> Path:
    """Return a file with the weights of a small network, trained on its first use."""
    torch.manual_seed(0)
    model = create_model(name, **OPTIONS[name]).train()
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    color = torch.tensor(RED)[:, None, None]
    for _ in range(STEPS[name]):
        masks, occupancy, cameras = batch(rng, model.config.image_size, model.resolution)
        views = model.preprocess(color * masks + 0.4 * (1 - masks), masks)
        optimizer.zero_grad()
        model.loss(views, occupancy, cameras).backward()
        optimizer.step()
    folder = Path(tempfile.mkdtemp(prefix='recon3d_test_'))
    path = folder / f'{name}.safetensors'
    card = WeightsCard(name, config=model.config.model_dump(), threshold=0.4)
    save_weights(path, model.state_dict(), card)
    return path


@functools.cache
def quick_completion() -> Path:
    """Return a file with the weights of a small network that fills solids seen from above."""
    torch.manual_seed(0)
    network = create_network('tsdf_completion', resolution=16, width=8).train()
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(10):
        truth = torch.tensor(np.stack([solid(rng, 16) for _ in range(OBJECTS)]))
        evidence = torch.zeros(OBJECTS, CHANNELS, 16, 16, 16)
        evidence[:, FREE] = (truth.flip(-1).cumsum(-1).flip(-1) == 0).float()
        optimizer.zero_grad()
        network.loss(evidence, truth.float()).backward()
        optimizer.step()
    path = Path(tempfile.mkdtemp(prefix='recon3d_test_')) / 'tsdf_completion.safetensors'
    card = WeightsCard(network.name, config=network.config.model_dump())
    save_weights(path, network.state_dict(), card)
    return path


@functools.cache
def quick_points() -> Path:
    """Return a file with the weights of a small network that completes clouds of solids."""
    torch.manual_seed(0)
    network = create_network(
        'point_completion', resolution=16, width=32, layers=1, tokens=32, seen_points=128
    ).train()
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(10):
        truths = [torch.tensor(solid(rng, 16)) for _ in range(OBJECTS)]
        surface = torch.stack([chosen(solid_cloud(truth), 128) for truth in truths])
        seen = torch.cat([surface, torch.zeros(OBJECTS, 128, 5)], 2)
        index = torch.from_numpy(rng.integers(16, size=(200, 3)))
        inside = torch.stack([truth[index.unbind(1)] for truth in truths]).float()
        places = ((index + 0.5) / 16 - 0.5).float().expand(OBJECTS, -1, -1)
        optimizer.zero_grad()
        network.loss(seen, surface, places, inside).backward()
        optimizer.step()
    path = Path(tempfile.mkdtemp(prefix='recon3d_test_')) / 'point_completion.safetensors'
    card = WeightsCard(network.name, config=network.config.model_dump())
    save_weights(path, network.state_dict(), card)
    return path


@functools.cache
def quick_parser() -> Path:
    """Return a file with the weights of a small network that tells of balls in boxes."""
    torch.manual_seed(0)
    network = create_network('factored3d', width=96, height=64, channels=8, code=8).train()
    at = (torch.arange(32) + 0.5) / 32 - 0.5
    x, y, z = torch.meshgrid(at, at, at, indexing='ij')
    ball = (x**2 + y**2 + z**2 < 0.24).float().expand(4, -1, -1, -1)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    boxes = torch.tensor(
        [[20.0, 15, 60, 50], [40, 10, 80, 40], [10, 20, 40, 60], [50, 30, 90, 60]]
    )
    K = torch.tensor([[80.0, 0, 47.5], [0, 80.0, 31.5], [0, 0, 1]]).repeat(2, 1, 1)
    for _ in range(10):
        _, factors = network(torch.rand(2, 3, 64, 96), K, boxes, torch.tensor([0, 0, 1, 1]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(factors.shape_logits, ball)
        optimizer.zero_grad()
        (loss + factors.offset.square().mean() + factors.log_edges.square().mean()).backward()
        optimizer.step()
    path = Path(tempfile.mkdtemp(prefix='recon3d_test_')) / 'factored3d.safetensors'
    save_weights(
        path, network.state_dict(), WeightsCard(network.name, network.config.model_dump())
    )
    return path


def weights_of(name: str) -> str:
    """Return `default` where the weights of a network are shipped, else a file of quick ones."""
    if name in shipped_weights():
        return 'default'
    made_here = {
        'factored3d': quick_parser,
        'point_completion': quick_points,
        'tsdf_completion': quick_completion,
    }
    return str(made_here[name]() if name in made_here else quick_weights(name))


@functools.cache
def small_library() -> str:
    """Return a folder of a few meshes; it goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix='recon3d_test_')) / 'meshes'
    folder.mkdir()
    for name in ('box', 'mug', 'cylinder'):
        make_solid(name).export(folder / f'{name}.ply')
    return str(folder)


def made(name: str) -> Reconstructor:
    """Return a reconstructor of the registry with its default options, and weights as above."""
    kind = registry.load('reconstructor', name)
    if name == 'im2cad':
        library = small_library()
        return kind(kind.Config(library=library, candidates=2, cache=f'{library}_cache'))
    fields = kind.Config.model_fields
    if 'weights' not in fields:
        return kind()
    model = fields['model'].default if 'model' in fields else name
    return kind(kind.Config(weights=weights_of(model)))
