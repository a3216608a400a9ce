"""Baselines of outlines and known cameras alone: the visual hull and its convex hull."""

from __future__ import annotations

from typing import Any

import numpy as np
from recon3d_core.errors import InputError
from recon3d_core.models.baselines.base import Baseline
from recon3d_core.models.cameras import ViewCameras
from scipy.spatial import ConvexHull as HullOfPoints
from scipy.spatial import QhullError
import torch
from torch import Tensor
from torch.nn import functional


def voxel_centers(resolution: int) -> Tensor:
    """Return (N * N * N, 3) centres of the cube's voxels, in the order of a flat volume."""
    along = (torch.arange(resolution) + 0.5) / resolution - 0.5
    return torch.stack(torch.meshgrid(along, along, along, indexing='ij'), -1).reshape(-1, 3)


class VisualHull(Baseline):
    """The largest shape that agrees with all outlines (Laurentini 1994).

    A voxel's probability is the smallest coverage that its centre has in any view; what is
    outside of an image is not of the object.
    """

    name = 'visual_hull'
    needs = frozenset({'mask', 'intrinsics', 'pose'})

    def preprocess(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return the masks (B, V, 1, H, W).

        Raises:
            InputError: There are none.
        """
        if masks is None:
            raise InputError(f'{self.name} needs masks', 'None', '(B, V, 1, H, W)')
        if masks.shape[:2] != images.shape[:2]:
            raise InputError('masks', tuple(masks.shape), f'{tuple(images.shape[:2])} views')
        return masks.float()

    def start(self, batch: int = 1) -> Any:
        """Return the cube as a whole, (B, N, N, N), and 0 views."""
        return torch.ones(batch, *[self.resolution] * 3, device=self.device), 0

    def observe(self, state: Any, view: Tensor, camera: ViewCameras | None = None) -> Any:
        """Carve by one outline more (B, 1, H, W).

        Raises:
            InputError: There is no camera.
        """
        if camera is None:
            raise InputError(f'{self.name} needs cameras', 'None', 'ViewCameras')
        hull, views = state
        places, depth = camera.project(voxel_centers(self.resolution).to(view.device))
        grid = places[:, 0, None] * 2 - 1
        cover = functional.grid_sample(view, grid, align_corners=False)[:, 0, 0]
        cover = torch.where(depth[:, 0] > 0, cover, 0.0)
        return torch.minimum(hull, cover.reshape(hull.shape).clamp(0, 1)), views + 1

    def probabilities(self, state: Any) -> Tensor:
        """Return the hull so far (B, N, N, N)."""
        hull, views = state
        return hull.clone() if views else self.unknown(len(hull))


class ConvexHull(VisualHull):
    """The convex hull of the visual hull: right for convex objects."""

    name = 'convex_hull'

    def probabilities(self, state: Any) -> Tensor:
        """Return the convex hull (B, N, N, N) of the voxels that are inside so far."""
        hull = super().probabilities(state)
        return torch.stack([filled(volume) for volume in hull]) if state[1] else hull


def filled(volume: Tensor) -> Tensor:
    """Return the convex hull of a volume's voxels from 0.5 on; flat ones stay as they are."""
    inside = volume >= 0.5
    points = voxel_centers(volume.shape[0])
    corners = points[inside.flatten().cpu()].numpy()
    if len(corners) < 4:
        return inside.float()
    try:
        faces = HullOfPoints(corners).equations.astype(np.float32)
    except QhullError:  # all in a plane
        return inside.float()
    distances = points.numpy() @ faces[:, :3].T + faces[:, 3]
    within = torch.from_numpy((distances <= 1e-5).all(1))
    return within.reshape(volume.shape).float().to(volume.device)
