"""Losses between a volume and the 2.5-D sketch of one view: normals (Eq. 12), depth (Eq. 13).

Wu et al. 2017 (MarrNet). The volume is aligned with an orthographic camera: index x runs right, y
down, z away from it, and pixel (x, y) looks along column [x, y, :]. Depths are in voxels from the
front face, so that a surface at depth d lies in voxel floor(d).
"""

from __future__ import annotations

from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
from recon3d_core.losses._inputs import check_no_nan, check_unit_range, reduced, working
import torch
from torch import Tensor

# A surface seen at a flatter angle has its neighbours outside any volume.
MIN_FACING = 1e-3


def _prepared(probabilities: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the volume, and the depth with what is outside of it at -1 and Z or beyond."""
    check_shape('probabilities', probabilities, ('B', 'X', 'Y', 'Z'))
    if not probabilities.numel():
        raise InputError('probabilities is empty', tuple(probabilities.shape), 'some voxels')
    check_unit_range('probabilities', probabilities)
    check_shape('depth', depth, tuple(probabilities.shape[:3]))
    if bool(depth.isnan().any()):
        bad = int(depth.isnan().sum())
        raise InputError(
            'depth has values that are not numbers',
            f'{bad} of {depth.numel()}',
            fix='Use infinity where the ray hits nothing, and `known` where nothing is known.',
        )
    return working(probabilities), depth.detach().clamp(-1, probabilities.shape[3])


def depth_loss(
    probabilities: Tensor, depth: Tensor, known: Tensor | None = None, reduction: str = 'mean'
) -> Tensor:
    """Return how a volume disagrees with a depth image (Eq. 13).

    A voxel v in front of the depth costs v^2, the one at it (1 - v)^2, those behind nothing; the
    sum along each ray is averaged over the known pixels, and is 0 where none is known.

    Args:
        probabilities: (B, X, Y, Z) occupancy in [0, 1], aligned with the camera.
        depth: (B, X, Y) in voxels from the front face; infinite where the ray hits nothing, so that
            all its voxels should be empty.
        known: (B, X, Y) bool, which pixels count; all where None.
        reduction: `mean` over the objects, or `none`.

    Returns:
        () or (B,).

    Raises:
        InputError: A shape is wrong, values are not in [0, 1], or a depth is NaN.
    """
    volume, depth = _prepared(probabilities, depth)
    at = depth.floor()[..., None]
    z = torch.arange(volume.shape[3], device=volume.device, dtype=depth.dtype)
    cost = torch.where(z < at, volume.square(), torch.where(z == at, (1 - volume).square(), 0))
    return reduced(_mean(cost.sum(3), _known(known, depth)), reduction)


def normal_loss(
    probabilities: Tensor,
    depth: Tensor,
    normals: Tensor,
    known: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Return how a volume disagrees with an image of normals (Eq. 12).

    With the normal (a, b, c) at a surface voxel (x, y, z), the four voxels (x, y -+ 1, z +- b/c) and
    (x -+ 1, y, z +- a/c) of its tangent plane should be full: each costs (1 - v)^2. The sum over
    the four is averaged over the known pixels of the surface, and is 0 where there is none;
    neighbours outside the volume cost nothing.

    Args:
        probabilities: (B, X, Y, Z) occupancy in [0, 1], aligned with the camera.
        depth: (B, X, Y) in voxels from the front face; infinite where the ray hits nothing.
        normals: (B, X, Y, 3) in the camera's axes, of any length and either sign.
        known: (B, X, Y) bool, which pixels count; all where None.
        reduction: `mean` over the objects, or `none`.

    Returns:
        () or (B,).

    Raises:
        InputError: A shape is wrong, values are not in [0, 1], a depth is NaN, or a normal is not
            finite.
    """
    volume, depth = _prepared(probabilities, depth)
    check_shape('normals', normals, (*depth.shape, 3))
    check_no_nan('normals', normals)
    a, b, c = normals.detach().to(depth.dtype).unbind(-1)
    facing = c.abs() > MIN_FACING
    surface = (depth >= 0) & (depth < volume.shape[3]) & facing & _known(known, depth)
    along_x, along_y = a / torch.where(facing, c, 1), b / torch.where(facing, c, 1)
    cost = torch.zeros_like(volume[..., 0])
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        cost = cost + _neighbour_cost(volume, depth - dx * along_x - dy * along_y, dx, dy)
    return reduced(_mean(cost, surface), reduction)


def _neighbour_cost(volume: Tensor, depth: Tensor, dx: int, dy: int) -> Tensor:
    """Return (B, X, Y) the cost of each pixel's neighbour at a depth, 0 outside the volume."""
    _, X, Y, Z = volume.shape
    x = torch.arange(X, device=volume.device)[:, None] + dx
    y = torch.arange(Y, device=volume.device) + dy
    z = depth.floor()
    inside = (x >= 0) & (x < X) & (y >= 0) & (y < Y) & (z >= 0) & (z < Z)
    columns = volume[:, x.clamp(0, X - 1), y.clamp(0, Y - 1)]
    value = columns.gather(3, z.clamp(0, Z - 1).long()[..., None])[..., 0]
    return torch.where(inside, (1 - value).square(), 0)


def _known(known: Tensor | None, depth: Tensor) -> Tensor:
    if known is None:
        return torch.ones_like(depth, dtype=torch.bool)
    check_shape('known', known, tuple(depth.shape))
    return known.bool()


def _mean(cost: Tensor, counted: Tensor) -> Tensor:
    """Return (B,) the mean over the pixels that count, 0 where there is none."""
    total = torch.where(counted, cost, 0).sum((1, 2))
    return total / counted.sum((1, 2)).clamp_min(1)
