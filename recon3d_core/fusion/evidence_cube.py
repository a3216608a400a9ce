"""The cube in which an object is completed: its place, and what was seen in it.

The side that no camera saw lies behind the seen one, so the cube is placed around the seen
surface with most of its free room on the side away from the cameras, and down to the support.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.fusion._volumes import places_of
from recon3d_core.fusion.tsdf_object import TsdfState
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.meshing.closed import ClosedMesher
from recon3d_core.meshing.closing.known import heights_m
from recon3d_core.models.tsdf_completion.evidence import CHANNELS, REACH, RULE
from recon3d_core.types import Plane, Shape
import torch
from torch import Tensor
from torch.nn import functional

ROOM = 1.4
"""Edge of the cube by the longest extent of what was seen."""

_MARGIN = 0.06  # free room on the sides that were seen, in edges of the cube
_BELOW = 0.03  # of the cube that is below the support
_TRIM = 0.01
_MIN_POINTS = 20


def cube_of(
    shape: Shape, support: Plane | None, towards_cameras: NDArray[np.float64], resolution: int
) -> tuple[VoxelGrid, Plane | None] | None:
    """Return the cube in which to complete an object; None where too little was seen.

    Args:
        shape: What `tsdf_object` knows.
        support: Plane that the object stands on, or None.
        towards_cameras: (3,) mean of the unit vectors from the object to the cameras, world.
        resolution: Voxels along an edge.

    Returns:
        The cube, and the support; None for a plane so far below what was seen that the cube would
        not reach down to it: the object stands on something that nobody saw.
    """
    assert shape.sdf_m is not None
    assert shape.observed is not None
    grid = shape.grid
    seen = shape.observed & (np.abs(shape.sdf_m) < 0.75 * grid.voxel_size_m)
    if support is not None:
        seen &= heights_m(grid, support) > 0.5 * grid.voxel_size_m
    places = np.argwhere(seen)
    if len(places) < _MIN_POINTS:
        return None
    points = (places + 0.5) * grid.voxel_size_m
    low, high = np.quantile(points, [_TRIM, 1 - _TRIM], axis=0)
    extent = high - low
    edge = ROOM * float(max(extent.max(), 4 * grid.voxel_size_m))
    # Of the room that is left, the far side gets all but a margin, and both the same without a
    # side that is seen alone.
    direction = np.clip(grid.T_world_grid[:3, :3].T @ towards_cameras, -1, 1)
    room = edge - extent
    corner = low - room / 2 - direction * (room / 2 - _MARGIN * edge)
    if support is not None:
        normal = grid.T_world_grid[:3, :3].T @ support.normal_world
        middle = np.append((corner + edge / 2)[:2], 0.0)
        level = support.height_m(grid.T_world_grid[:3, :3] @ middle + grid.T_world_grid[:3, 3])
        bottom = -float(level) / max(normal[2], 0.5) - _BELOW * edge
        if bottom + edge < high[2]:
            support = None
        else:
            corner[2] = bottom
    T = grid.T_world_grid.copy()
    T[:3, 3] += T[:3, :3] @ corner
    return VoxelGrid(T, edge / resolution, (resolution,) * 3), support


def evidence_in(
    cube: VoxelGrid,
    shape: Shape,
    state: TsdfState,
    support: Plane | None,
    rule: bool = True,
) -> Tensor:
    """Return what was seen in a cube: (C, N, N, N) (`models.tsdf_completion.evidence`).

    Args:
        cube: The cube; its axes are those of the object's grid.
        shape: What `tsdf_object` makes of the state.
        state: Its state, for the weights.
        support: Plane that the object stands on, or None.
        rule: Whether the channel of the rules is filled, which is most of the work; else it is 0.
    """
    assert shape.sdf_m is not None
    assert shape.observed is not None
    assert shape.free is not None
    size = shape.grid.shape
    observed = torch.from_numpy(shape.observed).float()
    sdf = torch.from_numpy(shape.sdf_m) * observed
    weight = torch.from_numpy(state.weight.reshape(size)) * observed
    free = torch.from_numpy(shape.free).float()
    values = resampled(torch.stack([sdf, weight, observed, free]), shape.grid, cube)
    share = values[2].clamp_min(1e-6)
    known = values[2] > 0.5
    evidence = torch.zeros(CHANNELS, *cube.shape)
    reach = REACH * cube.voxel_size_m
    evidence[0] = torch.where(known, (values[0] / share / reach).clamp(-1, 1), 0)
    mean_weight = values[1] / share
    evidence[1] = torch.where(known, mean_weight / (mean_weight + 1), 0)
    evidence[2] = known
    evidence[3] = values[3] > 0.5
    if support is not None:
        height = torch.from_numpy(heights_m(cube, support)) / float(cube.extent_m[0])
        evidence[4] = height.clamp(-1, 1)
        evidence[5] = height < 0
    if rule:
        evidence[RULE] = _rule_in(cube, shape, support)
    return evidence


def _rule_in(cube: VoxelGrid, shape: Shape, support: Plane | None) -> Tensor:
    """Return the signed distance of what rules make of it, in `REACH` voxels."""
    filled = ClosedMesher().fill(shape, support)
    if filled is None or filled.sdf_m is None:
        return torch.zeros(cube.shape)
    distance = torch.from_numpy(filled.sdf_m) / (REACH * cube.voxel_size_m)
    # Beyond the grid of the rules nothing is inside.
    return 1 - resampled(1 - distance[None].clamp(-1, 1), filled.grid, cube)[0]


def resampled(volumes: Tensor, held_on: VoxelGrid, grid: VoxelGrid) -> Tensor:
    """Return volumes (C, nx, ny, nz) at the voxel centres of another grid, trilinearly.

    Beyond the first grid the values are 0.
    """
    places = places_of(grid, held_on)
    return functional.grid_sample(volumes[None], places[None], align_corners=False)[0]
