"""A small data set of boxes and ellipsoids, and a small network, for tests of the training.

Other processes find them by `PLUGINS` in `RECON3D_PLUGINS` and this folder on their path.
"""

from __future__ import annotations

import os
from pathlib import Path
import time
from typing import Any

import numpy as np
from recon3d_core.config import option
from recon3d_core.data.samples import collate, Sample
from recon3d_core.data.sets.base import DataSet, DataSetConfig
from recon3d_core.errors import InputError
from recon3d_core.models.base import ModelConfig, VolumeNetwork
import torch
from torch import nn
from torch.nn import functional

PLUGINS = (
    'dataset:solids=solids:Solids,model:tiny=solids:Tiny,model:touchy=solids:Touchy,'
    'model:slow_tiny=solids:SlowTiny'
)
FOLDER = Path(__file__).resolve().parent
COUNTS = {'train': 40, 'val': 6, 'test': 6}
VIEWS = 8
FOCAL = 1.8
DISTANCE = 2.0


def environment(**more: str) -> dict[str, str]:
    """Return what other processes need to find the plugins."""
    path = os.pathsep.join([str(FOLDER.parent.parent), str(FOLDER)])
    return {**os.environ, 'PYTHONPATH': path, 'RECON3D_PLUGINS': PLUGINS, 'COLUMNS': '200', **more}


def orbit_pose(azimuth: float, elevation: float) -> np.ndarray:
    """Return `T_camera_cube` of a camera that looks at the cube's centre."""
    ahead = -np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    right = np.cross(ahead, (0, 0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(ahead, right), ahead])
    pose[:3, 3] = (0, 0, DISTANCE)
    return pose


class SolidsConfig(DataSetConfig):
    image_size: int = option(32, 'Edge of the images.', ge=16, le=512)
    resolution: int = option(16, 'Voxels along an edge.', ge=8, le=256)
    broken: str = option('', 'What is wrong with it.')
    delay_s: float = option(0.0, 'How long a batch takes.')


class Solids(DataSet):
    """Boxes stand, ellipsoids lie; colours say which is which."""

    name = 'solids'
    Config = SolidsConfig

    def names(self, split):
        if split not in COUNTS:
            raise InputError('split', repr(split), f'one of {", ".join(COUNTS)}')
        return [f'solids/{split}/{k:03d}' for k in range(COUNTS[split])]

    def category(self, name):
        return ('box', 'ellipsoid')[int(name[-3:]) % 2]

    @property
    def categories(self):
        return ('box', 'ellipsoid')

    @property
    def max_views(self):
        return VIEWS

    def fingerprint(self):
        return f'solids {self.config.image_size} {self.config.resolution}'

    def sample(self, name, views):
        if views > VIEWS:
            raise InputError('views', views, f'at most {VIEWS}')
        azimuths = 2 * np.pi * np.arange(views) / VIEWS * 3 + 0.3
        made = self._make(name, azimuths, np.linspace(0.2, 0.9, views))
        if self.config.broken == 'nan pose' and name.endswith('test/003'):
            made.T_camera_cube[:, 0, 3] = np.nan
        return made

    def batch(self, names, views, seed):
        if self.config.broken == 'batch':
            raise InputError('image of an object', 'no JPEG')
        time.sleep(self.config.delay_s)
        rng = np.random.default_rng(seed)
        return collate(
            [
                self._make(name, rng.uniform(0, 6.28, views), rng.uniform(0.1, 0.9, views))
                for name in names
            ]
        )

    def _inside(self, name, points):
        rng = np.random.default_rng([len(name), sum(name.encode())])
        half = rng.uniform(0.12, 0.46, 3)
        if self.category(name) == 'box':
            return (np.abs(points) <= half).all(-1)
        return ((points / half) ** 2).sum(-1) <= 1

    def _make(self, name, azimuths, elevations):
        size, n = self.config.image_size, self.config.resolution
        poses = np.stack([orbit_pose(a, e) for a, e in zip(azimuths, elevations)])
        u = ((np.arange(size) + 0.5) / size - 0.5) / FOCAL
        x, y = np.meshgrid(u, u)
        depths = np.linspace(DISTANCE - 0.9, DISTANCE + 0.9, 30)
        rays = np.stack([x, y, np.ones_like(x)], -1)[..., None, :] * depths[:, None]
        masks = []
        for pose in poses:
            cube = (rays - pose[:3, 3]) @ pose[:3, :3]
            masks.append(self._inside(name, cube).any(-1))
        masks = np.stack(masks)
        color = ((200, 60, 40), (40, 90, 210))[int(name[-3:]) % 2]
        images = np.where(masks[..., None], np.array(color), 230).astype(np.uint8)
        K = np.array([[FOCAL, 0, 0.5], [0, FOCAL, 0.5], [0, 0, 1]], np.float32)
        centers = (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing='ij'), -1) + 0.5) / n - 0.5
        occupancy = self._inside(name, centers)
        return Sample(
            name,
            self.category(name),
            images,
            masks.astype(np.uint8) * 255,
            np.repeat(K[None], len(poses), 0),
            poses.astype(np.float32),
            occupancy,
            1.0,
            surface=(centers[occupancy][::3]).astype(np.float32),
        )


class TinyConfig(ModelConfig):
    image_size: int = option(32, 'Edge of the image.', ge=16, le=256)
    resolution: int = option(16, 'Voxels along an edge.', ge=8, le=64)


class Tiny(VolumeNetwork):
    """Mean of the views' features, with dropout so that random numbers matter."""

    name = 'tiny'
    Config = TinyConfig
    needs = frozenset({'rgb'})

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        n = self.resolution
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(),
        )  # fmt: skip
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.Linear(64, n**3))
        self.steps = 0

    def preprocess(self, images, masks=None):
        if images.shape[-1] != self.config.image_size:
            raise InputError('images', tuple(images.shape), f'{self.config.image_size} px')
        return images - 0.5

    def _features(self, views):
        return self.encoder(views.flatten(0, 1)).unflatten(0, views.shape[:2])

    def _logits(self, feature):
        n = self.resolution
        return self.decoder(feature).view(-1, n, n, n)

    def forward(self, views, cameras=None):
        return self._logits(self._features(views).mean(1)).sigmoid()

    def start(self, batch=1):
        return torch.zeros(batch, 64, device=self.device), 0

    def observe(self, state, view, camera=None):
        total, count = state
        return total + self._features(view[:, None])[:, 0], count + 1

    def probabilities(self, state):
        total, count = state
        if not count:
            return torch.full((len(total), *[self.resolution] * 3), 0.5, device=total.device)
        return self._logits(total / count).sigmoid()

    def loss(self, views, occupancy, cameras=None):
        self.steps += 1
        logits = self._logits(self._features(views).mean(1))
        return functional.binary_cross_entropy_with_logits(logits, occupancy)

    def parts(self):
        return {'encoder': self.encoder, 'decoder': self.decoder}


class SlowTiny(Tiny):
    """Slow enough to be killed in the middle."""

    name = 'slow_tiny'

    def loss(self, views, occupancy, cameras=None):
        time.sleep(0.05)
        return super().loss(views, occupancy, cameras)


class SlowView(Tiny):
    """Takes 50 ms for a view."""

    def observe(self, state, view, camera=None):
        time.sleep(0.05)
        return super().observe(state, view, camera)


class Touchy(Tiny):
    """Fails with a NaN in its third step."""

    name = 'touchy'

    def loss(self, views, occupancy, cameras=None):
        loss = super().loss(views, occupancy, cameras)
        return loss * float('nan') if self.steps == 3 else loss
