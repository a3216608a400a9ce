"""Probabilities along the rays of pinhole cameras, and ray consistency (Eq. 11)."""

from __future__ import annotations

import dataclasses
import math

from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
from recon3d_core.losses._inputs import (
    check_no_nan,
    check_unit_range,
    check_volumes,
    cut,
    reduced,
    working,
)
from recon3d_core.models.cameras import ViewCameras
import torch
from torch import Tensor
from torch.nn import functional

# A voxel is never quite full, so that what lies behind it keeps a gradient.
FULL = 1 - 1e-6
# How far behind the cube a ray that hits nothing is taken to end, in edges of the cube.
ESCAPE_BEHIND = 1.0


@dataclasses.dataclass(frozen=True)
class Rays:
    """The rays of the pixels of (B, V) views through the cube, sampled once a voxel.

    Attributes:
        occupancy: (B, V, H, W, S) probability of being inside at each sample, front to back; 0 at
            samples behind the cube.
        depth: (B, V, H, W, S) depth of the samples along the optical axis, in edges of the cube.
        exit_depth: (B, V, H, W) depth where the ray leaves the cube, 0 where it misses it.
        hits: (B, V, H, W) whether the ray passes through the cube in front of the camera.
    """

    occupancy: Tensor
    depth: Tensor
    exit_depth: Tensor
    hits: Tensor

    def log_clear(self) -> Tensor:
        """Return (B, V, H, W, S) log of the probability that the ray passes each sample."""
        return torch.log1p(-self.occupancy * FULL)


def trace(
    probabilities: Tensor,
    cameras: ViewCameras,
    height: int,
    width: int,
    interpolation: str = 'nearest',
) -> Rays:
    """Return the occupancy along the rays through all pixels' centres.

    Samples lie one voxel's edge apart, so that a voxel counts about once.

    Args:
        probabilities: (B, N, N, N) occupancy of the cube, indexed [x, y, z].
        cameras: (B, V) cameras.
        height: Rows of pixels.
        width: Columns of pixels.
        interpolation: `nearest`, or `bilinear` for trilinear.

    Raises:
        InputError: A shape differs, values are not in [0, 1], or a camera is not finite
            or cannot be inverted.
    """
    check_volumes('probabilities', probabilities)
    volume = cut(working(probabilities))
    batch, size = volume.shape[0], volume.shape[1]
    check_shape('cameras.K', cameras.K, (batch, 'V', 3, 3))
    check_no_nan('cameras.K', cameras.K)
    check_no_nan('cameras.T_camera_cube', cameras.T_camera_cube)
    origin, direction = _pixel_rays(cameras, height, width, volume)
    near, far = _cube_span(origin[:, :, None, None], direction)
    count = math.ceil(math.sqrt(3) * size)
    step = 1 / (size * direction.norm(dim=-1, keepdim=True))
    places = torch.arange(count, device=volume.device, dtype=volume.dtype) + 0.5
    depth = near[..., None] + step * places
    points = origin[:, :, None, None, None] + depth[..., None] * direction[..., None, :]
    found = functional.grid_sample(
        volume[:, None],
        # The grid's axes are named from the last of the volume to the first.
        2 * points.flip(-1).reshape(batch, 1, 1, -1, 3),
        mode=interpolation,
        padding_mode='border',
        align_corners=False,
    ).reshape(depth.shape)
    hits = far > near
    inside = (depth < far[..., None]) & hits[..., None]
    return Rays(torch.where(inside, cut(found), 0), depth, torch.where(hits, far, 0), hits)


def _pixel_rays(
    cameras: ViewCameras, height: int, width: int, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the cameras' centres (B, V, 3) and the rays (B, V, H, W, 3) of depth 1 in the cube."""
    T = cameras.T_camera_cube.to(like)
    u = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    v = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    rows, columns = torch.meshgrid(v, u, indexing='ij')
    image = torch.stack((columns, rows, torch.ones_like(rows)), -1)
    R_cube_camera = T[..., :3, :3].transpose(-1, -2)
    inverse, failed = torch.linalg.inv_ex(cameras.K.to(like))
    if bool(failed.any()):
        raise InputError('cameras.K has no inverse', f'{int((failed > 0).sum())} such matrices')
    ray = R_cube_camera @ inverse
    origin = -(R_cube_camera @ T[..., :3, 3:])[..., 0]
    return origin, torch.einsum('bvij,hwj->bvhwi', ray, image)


def _cube_span(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return the depths (...) where rays enter and leave the cube; equal where they miss it."""
    steep = torch.where(direction.abs() < 1e-9, 1e-9, direction)
    bounds = torch.stack(((-0.5 - origin) / steep, (0.5 - origin) / steep))
    near = bounds.amin(0).amax(-1).clamp_min(0)
    return near, torch.maximum(bounds.amax(0).amin(-1), near)


def event_probabilities(rays: Rays) -> tuple[Tensor, Tensor]:
    """Return how likely each ray ends where (Tulsiani et al. 2017, section 3.1).

    Returns:
        (B, V, H, W, S) probability that it ends at each sample, and (B, V, H, W) that it escapes;
        they add up to 1.
    """
    passed = rays.log_clear().cumsum(-1)
    before = functional.pad(passed[..., :-1], (1, 0))
    return rays.occupancy * FULL * before.exp(), passed[..., -1].exp()


def ray_consistency(
    probabilities: Tensor,
    cameras: ViewCameras,
    masks: Tensor | None = None,
    depths: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Return the expected cost of the events along the rays (Eq. 11, Tulsiani et al. 2017).

    A ray ends at sample i with probability p_i or escapes, and costs sum_i p_i psi(i). For masks,
    psi is 1 - coverage where the ray ends and the coverage where it escapes. For depths it is
    |d_i - d|, where a ray that escapes, and one of which the depth says nothing (0), ends one edge
    of the cube behind it. The result is the mean over the rays that pass through the cube, 0 where
    none does; masks and depths together add up.

    Args:
        probabilities: (B, N, N, N) occupancy of the cube, indexed [x, y, z].
        cameras: (B, V) cameras.
        masks: (B, V, 1, H, W) coverage by the object in [0, 1].
        depths: (B, V, 1, H, W) depth along the optical axis in edges of the cube, 0 = nothing
            there.
        reduction: `mean` over the objects, or `none`.

    Returns:
        () or (B,).

    Raises:
        InputError: Neither masks nor depths are given, a shape is wrong, or a value is not finite
            or out of range.
    """
    observed = masks if masks is not None else depths
    if observed is None:
        raise InputError('no observation of the rays', 'neither masks nor depths', 'one of them')
    _check_observations(probabilities, cameras, masks, depths)
    rays = trace(probabilities, cameras, *observed.shape[-2:])
    ends, escapes = event_probabilities(rays)
    cost = torch.zeros_like(escapes)
    if masks is not None:
        covered = cut(masks[:, :, 0].to(ends.dtype))
        cost = cost + (1 - covered) * ends.sum(-1) + covered * escapes
    if depths is not None:
        outside = rays.exit_depth + ESCAPE_BEHIND
        known = depths[:, :, 0].to(ends.dtype)
        seen = torch.where(known > 0, known, outside)
        cost = cost + (ends * (rays.depth - seen[..., None]).abs()).sum(-1)
        cost = cost + escapes * (outside - seen).abs()
    count = rays.hits.sum((1, 2, 3)).clamp_min(1)
    return reduced(torch.where(rays.hits, cost, 0).sum((1, 2, 3)) / count, reduction)


def _check_observations(
    probabilities: Tensor, cameras: ViewCameras, masks: Tensor | None, depths: Tensor | None
) -> None:
    shape: tuple[int | str, ...] = (probabilities.shape[0], cameras.K.shape[1], 1, 'H', 'W')
    if masks is not None:
        check_shape('masks', masks, shape)
        check_unit_range('masks', masks)
    if depths is not None:
        check_shape('depths', depths, shape if masks is None else tuple(masks.shape))
        check_no_nan('depths', depths)
