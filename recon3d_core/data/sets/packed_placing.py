"""Packed objects turned and placed in other cubes: cameras, lights and occupancy follow."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.rendering.base import Lighting
from recon3d_core.data.rendering.sdf_grids import SdfGrids
from recon3d_core.data.sets.drawn import draw_cube, draw_rotation
import torch
from torch import Tensor
from torch.nn import functional

Array = NDArray[np.float64]

MIDDLE_STEPS = 4  # of the stored distances: so near to the deepest neighbour is the middle


@dataclasses.dataclass(frozen=True)
class Placing:
    """Where an object's cube is in the cube it was packed in, the old one.

    Attributes:
        rotation: (3, 3) old to new directions.
        center: (3,) of the new cube, in the turned old one.
        edge: Of the new cube, in edges of the old one.
    """

    rotation: Array = dataclasses.field(default_factory=lambda: np.eye(3))
    center: Array = dataclasses.field(default_factory=lambda: np.zeros(3))
    edge: float = 1.0

    def old_poses(self, T_camera_cube: Array) -> Array:
        """Return the poses (V, 4, 4) of cameras around the new cube as poses around the old."""
        old = T_camera_cube.copy()
        R = T_camera_cube[:, :3, :3]
        old[:, :3, :3] = R @ self.rotation
        old[:, :3, 3] = self.edge * T_camera_cube[:, :3, 3] - R @ self.center
        return old

    def old_lighting(self, lighting: Lighting) -> Lighting:
        """Return lights around the new cube as lights around the old."""
        directions = (lighting.directions_cube @ self.rotation).astype(np.float32)
        return dataclasses.replace(lighting, directions_cube=directions)


def place_points(
    points: Array, rng: np.random.Generator, upright: bool, *, jitter: bool
) -> Placing:
    """Return a turn of an object and a cube around it, drawn as `drawn.place` draws them.

    Args:
        points: (P, 3) the object's outermost points.
        rng: Draws the turn and the jitter.
        upright: Whether to turn it about the vertical axis only.
        jitter: Whether its cube is off in place and size.
    """
    rotation = draw_rotation(rng, upright)
    center, edge = draw_cube(points @ rotation.T, rng, jitter=jitter)
    return Placing(rotation, center, edge)


def placed_occupancy(
    grids: SdfGrids, indices: Tensor, placings: Sequence[Placing], resolution: int
) -> Tensor:
    """Return occupancies (B, N, N, N) of 0 and 1 of objects in their new cubes.

    A voxel is occupied where its centre is inside, or where a part is in it that is too thin to
    be met by centres: the middle of what an opening as wide as the diagonal of a voxel's face
    takes away, as in `ground_truth.occupancy`.

    Args:
        grids: The objects in their old cubes.
        indices: (B,) which of them.
        placings: Their new cubes.
        resolution: Voxels along an edge, N.
    """
    sdf = grids.sdf[indices].float()[:, None]
    inside = (sdf <= 0).float()
    at_centers = _sample(sdf, _centers(placings, resolution, sdf.device), 'bilinear') <= 0
    width = grids.resolution // resolution
    if width < 2:
        return at_centers.float()
    limits = [2**0.5 * width * placing.edge for placing in placings]
    thin = inside * (1 - torch.cat([_opened(*each) for each in zip(inside, limits)]))
    middle = sdf <= MIDDLE_STEPS - functional.max_pool3d(-sdf, 3, 1, 1)
    steps = math.ceil(width * max(placing.edge for placing in placings))
    finer = _sample(thin * middle, _centers(placings, resolution * steps, sdf.device), 'nearest')
    return torch.maximum(at_centers.float(), functional.max_pool3d(finer[:, None], steps)[:, 0])


def _opened(volume: Tensor, limit: float) -> Tensor:
    """Return (1, 1, N, N, N): a volume (1, N, N, N) without what is thinner than a limit."""
    size = 2 * int((limit - 1) / 2) + 1  # the largest odd number up to it
    volume = volume[None]
    eroded = 1 - functional.max_pool3d(1 - volume, size, 1, size // 2)
    return functional.max_pool3d(eroded, size, 1, size // 2)


def _centers(placings: Sequence[Placing], n: int, device: torch.device) -> Tensor:
    """Return the centres (B, n, n, n, 3) of the new cubes' voxels in the old cubes."""
    places = (torch.arange(n, device=device) + 0.5) / n - 0.5
    new = torch.stack(torch.meshgrid(places, places, places, indexing='ij'), -1)
    turn = torch.tensor(np.stack([p.rotation for p in placings]), device=device).float()
    center = torch.tensor(np.stack([p.center for p in placings]), device=device).float()
    edge = torch.tensor([p.edge for p in placings], device=device).float()
    turned = new * edge[:, None, None, None, None] + center[:, None, None, None]
    return torch.einsum('bxyzi,bij->bxyzj', turned, turn)


def _sample(volume: Tensor, points: Tensor, mode: str) -> Tensor:
    """Return values (B, n, n, n) of a volume (B, 1, N, N, N) at points of the cube.

    The object does not reach the rim of its cube: beyond it, the rim's values hold.
    """
    grid = 2 * points.flip(-1)
    found = functional.grid_sample(
        volume, grid, mode=mode, padding_mode='border', align_corners=False
    )
    return found[:, 0]
