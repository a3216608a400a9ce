"""Views of one object with its true shape: what networks are trained and judged on.

The object's cube is the axis-aligned cube around it: coordinates in [-0.5, 0.5]^3, z up, in
units of the cube's edge. Voxel (i, j, k) of an (N, N, N) occupancy has its centre at
((i, j, k) + 0.5) / N - 0.5 in the cube.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.models.cameras import ViewCameras
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Sample:
    """One object, seen V times by square images that were cropped around it.

    Attributes:
        name: The object's name, unique over all sets.
        category: What it is.
        images: (V, H, W, 3) uint8 RGB, as a camera would see it, background included.
        masks: (V, H, W) uint8 coverage by the object, 0 to 255.
        K: (V, 3, 3) float32 intrinsics for image coordinates in [0, 1] (`ViewCameras`).
        T_camera_cube: (V, 4, 4) float32 cube to camera's optical frame, in edges of the cube.
        occupancy: (N, N, N) bool, indexed [x, y, z].
        edge_m: Edge of the cube in metres.
        depth: (V, H, W) float32 along the optical axis in edges of the cube, 0 = nothing; or None.
        surface: (P, 3) float32 points of the true surface in the cube; or None.
        normals: (P, 3) float32 outward unit normals there; or None.
    """

    name: str
    category: str
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    K: NDArray[np.float32]
    T_camera_cube: NDArray[np.float32]
    occupancy: NDArray[np.bool_]
    edge_m: float
    depth: NDArray[np.float32] | None = None
    surface: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None


@dataclasses.dataclass(frozen=True)
class Batch:
    """Objects of one training step; all tensors are on one device.

    Attributes:
        images: (B, V, 3, H, W) float32 RGB in [0, 1].
        masks: (B, V, 1, H, W) float32 coverage in [0, 1].
        cameras: Their (B, V) cameras.
        occupancy: (B, N, N, N) float32 of 0 and 1.
        names: Names of the objects.
        categories: Their categories.
    """

    images: Tensor
    masks: Tensor
    cameras: ViewCameras
    occupancy: Tensor
    names: tuple[str, ...]
    categories: tuple[str, ...]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        return dataclasses.replace(
            self,
            images=self.images.to(device, non_blocking=True),
            masks=self.masks.to(device, non_blocking=True),
            cameras=self.cameras.to(device),
            occupancy=self.occupancy.to(device, non_blocking=True),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Join samples of the same number of views, image size and resolution to a batch."""
    images = torch.from_numpy(np.stack([sample.images for sample in samples]))
    masks = torch.from_numpy(np.stack([sample.masks for sample in samples]))
    occupancy = torch.from_numpy(np.stack([sample.occupancy for sample in samples]))
    return Batch(
        images=images.permute(0, 1, 4, 2, 3).float() / 255,
        masks=masks[:, :, None].float() / 255,
        cameras=ViewCameras(
            torch.from_numpy(np.stack([sample.K for sample in samples])),
            torch.from_numpy(np.stack([sample.T_camera_cube for sample in samples])),
        ),
        occupancy=occupancy.float(),
        names=tuple(sample.name for sample in samples),
        categories=tuple(sample.category for sample in samples),
    )
