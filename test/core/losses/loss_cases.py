"""Volumes and cameras with known pictures, for the tests of losses."""

from __future__ import annotations

import numpy as np
from recon3d_core.geometry.transforms import invert, look_at
from recon3d_core.models.cameras import ViewCameras
import torch


def sphere(size=24, radius=0.35, center=(0.0, 0.0, 0.0), dtype=torch.float32):
    """Return a (1, N, N, N) ball whose border is one voxel wide."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    places = np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), -1) - center
    inside = (radius - np.linalg.norm(places, axis=-1)) * size + 0.5
    return torch.from_numpy(np.clip(inside, 0, 1))[None].to(dtype)


def orbit(eyes, focal=(1.2, 1.2), middle=(0.5, 0.5), dtype=torch.float32):
    """Return (1, V) cameras at places (V, 3) that look at the cube's middle."""
    K = np.array([[focal[0], 0, middle[0]], [0, focal[1], middle[1]], [0, 0, 1]])
    poses = [invert(look_at(eye, (0, 0, 0), (0, 0, 1))) for eye in eyes]
    return ViewCameras(
        torch.from_numpy(np.broadcast_to(K, (1, len(poses), 3, 3)).copy()).to(dtype),
        torch.from_numpy(np.stack(poses)[None]).to(dtype),
    )


EYES = ((2.0, 0.3, 0.4), (-0.5, 1.9, 0.8), (-1.2, -1.2, 1.0), (0.3, -2.0, -0.6))
