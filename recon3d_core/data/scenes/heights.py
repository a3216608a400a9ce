"""Dropping objects onto one another by maps of heights.

The scene is known by the height of its highest surface in each cell of a raster, an object by
the heights of its lowest and highest ones. An object sinks until the first cells touch; where
the cells that touch surround its centre, it rests there.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.scenes.resting import is_within
from scipy import ndimage

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

CONTACT_M = 0.003  # cells so close to touching carry
NOTHING = np.float32(1e6)


@dataclasses.dataclass(frozen=True)
class Footprint:
    """What of an object a vertical ray meets first, in cells.

    Attributes:
        low_m: (nx, ny) height of the lowest surface, `NOTHING` beside the object; lower by what
            is lowest among the neighbours, so that steep sides keep clear of one another.
        high_m: (nx, ny) height of the highest one, `-NOTHING` beside it.
        corner_m: (2,) place of cell (0, 0)'s centre from the object's origin.
        center_m: (2,) place of the centre of mass.
    """

    low_m: Floats
    high_m: Floats
    corner_m: Array
    center_m: Array


def footprint(
    vertices_m: NDArray[np.floating], faces: NDArray[np.integer], cell_m: float
) -> Footprint:
    """Return the footprint of a mesh (V, 3), (F, 3) in the attitude in which it is to lie."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices_m, np.float32)),
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(faces, np.uint32)),
    )
    low, high = vertices_m.min(0).astype(np.float64), vertices_m.max(0).astype(np.float64)
    # Two cells of rim: one for the neighbours, one for rounding.
    first = np.floor(low[:2] / cell_m).astype(int) - 2
    count = np.ceil(high[:2] / cell_m).astype(int) + 3 - first
    x, y = ((first[k] + np.arange(count[k])) * cell_m for k in (0, 1))
    rays = np.zeros((count[0], count[1], 6), np.float32)
    rays[..., 0], rays[..., 1] = np.meshgrid(x, y, indexing='ij')
    below, above = rays.copy(), rays
    below[..., 2], below[..., 5] = low[2] - 1, 1
    above[..., 2], above[..., 5] = high[2] + 1, -1
    up, down = (
        scene.cast_rays(o3d.core.Tensor.from_numpy(part))['t_hit'].numpy()
        for part in (below, above)
    )
    bottom = np.where(np.isfinite(up), low[2] - 1 + up, NOTHING).astype(np.float32)
    top = np.where(np.isfinite(down), high[2] + 1 - down, -NOTHING).astype(np.float32)
    hit = np.argwhere(np.isfinite(up))
    # Corners and edges pass between the rays.
    at = tuple(np.round(vertices_m[:, :2] / cell_m).astype(int).T - first[:, None])
    np.minimum.at(bottom, at, vertices_m[:, 2].astype(np.float32))
    np.maximum.at(top, at, vertices_m[:, 2].astype(np.float32))
    center = (first + hit.mean(0)) * cell_m if len(hit) else (low[:2] + high[:2]) / 2
    grown = ndimage.minimum_filter(bottom, 3, mode='nearest')
    return Footprint(grown, top, first * cell_m, center)


@dataclasses.dataclass(frozen=True)
class Landing:
    """Where an object would come to lie.

    Attributes:
        height_m: Height of its origin.
        on_support: Whether it touches nothing but the support.
        stable: Whether what it touches carries it.
        inside: Whether all of it is over the raster.
    """

    height_m: float
    on_support: bool
    stable: bool
    inside: bool


class HeightMap:
    """The highest surface of a scene on a raster around the origin.

    Attributes:
        cell_m: Edge of a cell.
        support_m: Height of the empty support.
        heights_m: (nx, ny) heights.
    """

    def __init__(self, half_size_m: tuple[float, float], cell_m: float, support_m: float) -> None:
        """Make the map of an empty support, a rectangle of these half edges."""
        self.cell_m, self.support_m = cell_m, support_m
        self._half_m = np.floor(np.asarray(half_size_m) / cell_m) * cell_m
        nx, ny = (2 * np.round(self._half_m / cell_m).astype(int) + 1).tolist()
        self.heights_m = np.full((nx, ny), support_m, np.float32)

    def _window(self, shape: Footprint, place_m: Array) -> tuple[slice, slice] | None:
        corner = np.round((place_m + shape.corner_m + self._half_m) / self.cell_m).astype(int)
        end = corner + shape.low_m.shape
        if (corner < 0).any() or (end > self.heights_m.shape).any():
            return None
        return slice(corner[0], end[0]), slice(corner[1], end[1])

    def snapped(self, place_m: Array) -> Array:
        """Return the place (2,) of a cell's centre that is nearest to another."""
        return np.asarray(np.round(np.asarray(place_m) / self.cell_m) * self.cell_m)

    def land(self, shape: Footprint, place_m: Array) -> Landing:
        """Return where an object comes to lie that sinks at a place (2,), a cell's centre."""
        window = self._window(shape, place_m)
        if window is None:
            return Landing(0.0, False, False, False)
        below = self.heights_m[window]
        room = below - shape.low_m
        height = float(room.max())
        touching = room > height - CONTACT_M
        alone = bool((below[touching] < self.support_m + 1e-4).all())
        stable = alone or is_within(
            np.argwhere(touching) * self.cell_m + shape.corner_m, shape.center_m, self.cell_m
        )
        return Landing(height, alone, stable, True)

    def put(self, shape: Footprint, place_m: Array, height_m: float) -> None:
        """Add an object that came to lie."""
        window = self._window(shape, place_m)
        assert window is not None
        part = self.heights_m[window]
        np.maximum(part, shape.high_m + np.float32(height_m), out=part)
