"""Where a camera should look next: the views that tell most of what is still unknown.

Each voxel's entropy counts as far as a ray from it reaches the camera, past what is probably
solid: the "occlusion-aware" gain of Isler et al., *An Information Gain Formulation for Active
Volumetric 3D Reconstruction*, ICRA 2016.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.geometry.transforms import apply, frame_from_normal, look_at
from recon3d_core.types import ObjectEstimate, Plane, Shape

Array = NDArray[np.float64]

_RESOLUTION = 20  # voxels along the longest edge; gains are sums, which need no more
_ELEVATIONS = np.deg2rad((15.0, 40.0, 65.0))
_AZIMUTHS = 8
_LEAST_SHARE = 1e-3  # of the entropy, that a view is worth having for
_BLOCK_M3 = 1e-6  # gains are told for voxels of a cubic centimetre


class NextViewOptions(PluginConfig):
    """Where a camera may be."""

    distance_m: float = option(
        0.6, "Distance of the camera from an object's centre.", unit='m', ge=0.1, le=5.0, live=True
    )
    views_per_object: int = option(
        1, 'Views of each object, the second without what the first would show.', ge=1, le=8,
        live=True,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NextView:
    """A view worth having.

    Attributes:
        object_id: Whose.
        T_world_camera: (4, 4) pose of the camera's optical frame: z forward, x right, y down.
        gain_bits: Entropy that the view is expected to take away, of voxels of 1 cm^3.
        share: That, of all entropy left of the object, in [0, 1].
    """

    object_id: int
    T_world_camera: Array
    gain_bits: float
    share: float


def next_views(estimate: ObjectEstimate, options: NextViewOptions) -> list[NextView]:
    """Return the views of an object that tell most, the best first; none where all is known.

    Those that would tell nearly nothing after the ones before are left out.
    """
    shape = _above(estimate.shape, estimate.support)
    occupancy, size = _coarse(shape.occupancy, shape.grid.voxel_size_m)
    entropy = _entropy(occupancy)
    entropy *= 1 - _coarse(_known(shape), shape.grid.voxel_size_m)[0]
    places = np.argwhere(entropy > 0.05)
    if not len(places):
        return []
    up = estimate.support.normal_world if estimate.support else shape.grid.T_world_grid[:3, 2]
    middle = estimate.T_world_object[:3, 3]
    distance = max(options.distance_m, 1.2 * float(np.linalg.norm(estimate.size_m)))
    eyes = _eyes(up) * distance + middle
    local = apply(shape.grid.T_grid_world, eyes) / size
    seen = _visible(occupancy, places, local)
    left = entropy[tuple(places.T)]
    total = float(left.sum())
    scale = size**3 / _BLOCK_M3
    found = []
    for _ in range(options.views_per_object):
        gains = seen @ left
        best = int(gains.argmax())
        gain = float(gains[best])
        if gain < _LEAST_SHARE * total:
            break
        pose = look_at(eyes[best], middle, up)
        found.append(NextView(estimate.id, pose, gain * scale, gain / total))
        left = left * (1 - seen[best])
    return found


def _above(shape: Shape, support: Plane | None) -> Shape:
    if support is None:
        return shape
    height = support.height_m(shape.grid.centers_world_m())
    return dataclasses.replace(
        shape, occupancy=np.where(height < 0, np.float32(0), shape.occupancy)
    )


def _known(shape: Shape) -> NDArray[np.float32]:
    """Return 1 where a voxel was observed or seen to be free."""
    known = np.zeros(shape.grid.shape, bool)
    for part in (shape.observed, shape.free):
        if part is not None:
            known |= part
    return known.astype(np.float32)


def _coarse(values: NDArray[np.float32], voxel_size_m: float) -> tuple[NDArray[np.float64], float]:
    """Return means over blocks of voxels, and the edge of a block in metres."""
    step = -(-max(values.shape) // _RESOLUTION)
    sizes = [-(-n // step) for n in values.shape]
    padded = np.zeros([n * step for n in sizes], np.float64)
    padded[tuple(slice(n) for n in values.shape)] = values
    blocks = padded.reshape(sizes[0], step, sizes[1], step, sizes[2], step).mean((1, 3, 5))
    return blocks, step * voxel_size_m


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of probabilities in bits."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    entropy: NDArray[np.float64] = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return entropy


def _eyes(up: Array) -> Array:
    """Return unit vectors (n, 3) towards candidate cameras, around and above an object."""
    elevation, azimuth = np.meshgrid(
        _ELEVATIONS, np.arange(_AZIMUTHS) * (2 * np.pi / _AZIMUTHS), indexing='ij'
    )
    level = np.cos(elevation)
    local = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], -1)
    turned: Array = local.reshape(-1, 3) @ frame_from_normal(up).T
    return turned


def _visible(
    occupancy: NDArray[np.float64], places: NDArray[np.int64], eyes: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return with what probability (cameras, n) nothing is between voxels and cameras.

    Args:
        occupancy: (nx, ny, nz).
        places: (n, 3) the voxels.
        eyes: (cameras, 3) in voxels from the grid's corner.
    """
    shape = np.array(occupancy.shape)
    clear = np.pad(np.log(np.clip(1 - occupancy, 1e-3, 1)), 1).astype(np.float32)
    centers = places + 0.5
    rays = (eyes[:, None] - centers).astype(np.float32)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    total = np.zeros(rays.shape[:2], np.float32)
    for step in np.arange(1.0, float(np.linalg.norm(shape)), 1.0, dtype=np.float32):
        # Beyond the grid, at the padding, nothing is in the way.
        index = np.clip(np.floor(centers + step * rays).astype(np.intp), -1, shape) + 1
        total += clear[index[..., 0], index[..., 1], index[..., 2]]
    return np.exp(total).astype(np.float64)
