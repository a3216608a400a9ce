"""Models of an index, as retrieval and matching want them: voxels, distances, surface points."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.scenes.resting import resting_poses
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import Array
from recon3d_core.matching.sources import RESOLUTION
from scipy import ndimage

_POINTS = 240


@dataclasses.dataclass(frozen=True)
class CadModel:
    """One model in one of the poses in which it rests, in its cube [-0.5, 0.5]^3.

    Attributes:
        name: Its name in its library.
        category: What it is.
        edge_m: Edge of the cube, metres.
        metric: Whether that size is real.
        bits: (32768,) uint8, its voxels (64, 64, 64) packed.
        turn: (3, 3) rotation from the model as it is stored, upright, to how it rests.
    """

    name: str
    category: str
    edge_m: float
    metric: bool
    bits: NDArray[np.uint8]
    turn: Array

    @functools.cached_property
    def occupancy(self) -> NDArray[np.bool_]:
        """Which voxels (64, 64, 64) it fills, upright."""
        n = RESOLUTION
        return np.unpackbits(self.bits).reshape(n, n, n).astype(bool)

    @functools.cached_property
    def sdf(self) -> NDArray[np.float32]:
        """Signed distances (64, 64, 64) at the voxels' centres, upright, in edges of the cube."""
        inside = self.occupancy
        outer = ndimage.distance_transform_edt(~inside)
        inner = ndimage.distance_transform_edt(inside)
        # The surface is half-way between the centres of neighbours.
        distance = np.where(inside, 0.5 - inner, outer - 0.5) / RESOLUTION
        return distance.astype(np.float32)

    @functools.cached_property
    def points(self) -> Array:
        """A few centres (n, 3) of voxels at the surface, as it rests."""
        index = np.argwhere(self._rim)
        index = index[:: max(1, len(index) // _POINTS)]
        points: Array = ((index + 0.5) / RESOLUTION - 0.5) @ self.turn.T
        return points

    @functools.cached_property
    def bounds(self) -> Array:
        """Lowest and highest corner (2, 3) of its box, as it rests."""
        index = np.argwhere(self._rim)
        turned = ((index + 0.5) / RESOLUTION - 0.5) @ self.turn.T
        half = np.abs(self.turn).sum(1) * (0.5 / RESOLUTION)
        return np.stack([turned.min(0) - half, turned.max(0) + half])

    @functools.cached_property
    def resting(self) -> tuple[Array, ...]:
        """Turns (3, 3) from upright to how it can lie: upright first, then the likeliest."""
        points = (np.argwhere(self._rim) + 0.5) / RESOLUTION - 0.5
        try:
            poses = resting_poses(points)
        except InputError:  # thinner than a voxel
            poses = []
        return (np.eye(3), *(pose.rotation for pose in poses if not pose.upright))

    @functools.cached_property
    def _rim(self) -> NDArray[np.bool_]:
        inside = self.occupancy
        return np.asarray(inside & ~ndimage.binary_erosion(inside))
