"""Point clouds of a cube: what was seen of a surface, and a solid's surface.

Coordinates are those of the cube, [-0.5, 0.5]^3, x y z. A cloud that goes into the network has
`FEATURES` columns: x, y, z, the unit normal (3) away from the solid, the height above the support
in edges of the cube, and whether a support is known; the height is 0 where none is.
"""

from __future__ import annotations

from recon3d_core.models.tsdf_completion.evidence import (
    BELOW,
    FREE,
    HEIGHT,
    MIN_TRUST,
    OBSERVED,
    SDF,
    TRUST,
)
import torch
from torch import Tensor
from torch.nn import functional

FEATURES = 8
_CELLS = 256  # of the cube: places within one are the same
_PRIMES, _KEYS = (73_856_093, 19_349_663, 83_492_791), 1_000_003
_SUPPORT_VOXELS = 0.75  # points as low as that are of the support as likely


def crossings(values: Tensor, known: Tensor) -> Tensor:
    """Return where values cross zero between neighbouring voxels: (n, 3), in the cube.

    Args:
        values: (N, N, N), negative inside.
        known: (N, N, N) bool, where they are known; both neighbours must be.
    """
    N, found = len(values), []
    inside = values < 0
    for axis in range(3):
        first, second = (slice(0, N - 1), slice(1, N))
        low, high = (_cut(values, axis, part) for part in (first, second))
        sides = _cut(inside, axis, first) != _cut(inside, axis, second)
        sides &= _cut(known, axis, first) & _cut(known, axis, second)
        places = sides.nonzero().float() + 0.5
        places[:, axis] += low[sides] / (low[sides] - high[sides])
        found.append(places)
    return torch.cat(found) / N - 0.5


def _cut(volume: Tensor, axis: int, part: slice) -> Tensor:
    return volume[tuple(part if k == axis else slice(None) for k in range(3))]


def seen_cloud(evidence: Tensor) -> Tensor:
    """Return the visible surface (n, FEATURES) in what is known of a cube.

    Args:
        evidence: (C, N, N, N) (`models.tsdf_completion.evidence`).

    Returns:
        At least one row; the cube's middle where no surface was seen.
    """
    N = evidence.shape[-1]
    known = (evidence[OBSERVED] > 0.5) & (evidence[TRUST] >= MIN_TRUST)
    supported = bool(evidence[HEIGHT].any())
    if supported:
        known &= evidence[HEIGHT] > _SUPPORT_VOXELS / N
    points = crossings(evidence[SDF], known)
    if not len(points):
        points = torch.zeros(1, 3)
    index = ((points + 0.5) * N).long().clamp(0, N - 1)
    normals = _gradients(evidence[SDF], known, index)
    height = evidence[HEIGHT][index.unbind(1)][:, None]
    return torch.cat([points, normals, height, torch.full_like(height, float(supported))], 1)


def solid_cloud(occupancy: Tensor) -> Tensor:
    """Return the surface (n, 3) of a solid (N, N, N) of 0 and 1: middles of its voxels' faces."""
    return crossings(0.5 - occupancy.float(), torch.ones_like(occupancy, dtype=torch.bool))


def _gradients(values: Tensor, known: Tensor, index: Tensor) -> Tensor:
    """Return the directions (n, 3) in which values rise at voxels (n, 3); 0 where unknown."""
    here, parts = values[index.unbind(1)], []
    for axis in range(3):
        rise, count = torch.zeros_like(here), torch.zeros_like(here)
        for step in (-1, 1):
            beside = index.clone()
            beside[:, axis] = (beside[:, axis] + step).clamp(0, len(values) - 1)
            place = beside.unbind(1)
            both = known[place] & (beside != index).any(1)
            rise += torch.where(both, step * (values[place] - here), 0)
            count += both
        parts.append(rise / count.clamp_min(1))
    return functional.normalize(torch.stack(parts, 1), dim=1)


def chosen(cloud: Tensor, count: int) -> Tensor:
    """Return `count` rows of a cloud (n, F) in a random order, repeated where there are fewer.

    The order depends on the places alone: a point more or less does not change the others.
    """
    cells = (cloud[:, :3] * _CELLS).round().long()
    keys = (cells * torch.tensor(_PRIMES)).sum(1) % _KEYS
    order = torch.argsort(keys, stable=True)
    return cloud[order.repeat(-(-count // len(cloud)))[:count]]


def open_space(evidence: Tensor) -> Tensor:
    """Return where (N, N, N) a solid may be: neither seen to be empty nor below the support."""
    return ~((evidence[FREE] > 0.5) | (evidence[BELOW] > 0.5))
