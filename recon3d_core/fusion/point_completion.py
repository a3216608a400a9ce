"""`point_completion`: depth fused as by `tsdf_object`, its surface completed as a point cloud.

A lighter way than `tsdf_completion`: the network sees some thousand points of the surface, tells
the points of all of it, and of these which voxels are inside. What was seen stays as it was seen.
Without weights the shape is that of `tsdf_object`, which the mesher closes.
"""

from __future__ import annotations

import logging
from typing import ClassVar

from recon3d_core.config import PluginConfig
from recon3d_core.errors import InputError
from recon3d_core.fusion.evidence_cube import cube_of, resampled
from recon3d_core.fusion.tsdf_completion import (
    _colors_in,
    CompletionState,
    TsdfCompletionConfig,
    TsdfCompletionReconstructor,
)
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor, TsdfState
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.interfaces import Reconstructor
from recon3d_core.meshing.closing.known import heights_m
from recon3d_core.models import create_network
from recon3d_core.models.point_completion.model import PointCompletion
from recon3d_core.models.tsdf_completion.evidence import (
    BELOW,
    CHANNELS,
    FREE,
    HEIGHT,
    OBSERVED,
    REACH,
    SDF,
    TRUST,
)
from recon3d_core.types import Plane, Shape
import torch
from torch import Tensor

logger = logging.getLogger(__name__)


class PointCompletionConfig(TsdfCompletionConfig):
    """Options of `point_completion`: those of the fusion, and the network's weights."""


class PointCompletionReconstructor(TsdfCompletionReconstructor):
    """Fuses depth, and completes what no camera saw from points of the fused surface."""

    name = 'point_completion'
    Config: ClassVar[type[PluginConfig]] = PointCompletionConfig

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network.

        Raises:
            InputError: The weights that were named are missing, broken, or of another network.
        """
        Reconstructor.__init__(self, config, device)
        self._fusion = TsdfObjectReconstructor(self.config, device)
        self._points: PointCompletion | None = None
        self._network, self._closed = None, False
        try:
            network = create_network(self.name, self.config.weights, device)
        except InputError as error:
            if self.config.weights != 'default':
                raise
            logger.warning('%s: objects are closed by rule instead', error)
            return
        assert isinstance(network, PointCompletion)
        self._points = network.optimize_for_inference()

    def close(self) -> None:
        """Give the network's memory back; the reconstructor is of no use after that."""
        self._points = None
        super().close()

    def _completed(self, state: CompletionState) -> Shape:
        seen = self._fusion.shape(state.fused)
        network = self._points
        if network is None or not state.views:
            return seen
        cube = cube_of(seen, state.support, state.towards / state.views, network.resolution)
        if cube is None:
            return seen
        evidence = seen_in(cube, seen, state.fused, state.support)
        with torch.inference_mode():
            found = network.probabilities(evidence[None].to(self.device))[0].float().cpu()
        return Shape(
            grid=cube,
            occupancy=found.numpy(),
            sdf_m=(evidence[SDF] * (REACH * cube.voxel_size_m)).numpy(),
            observed=(evidence[OBSERVED] > 0.5).numpy(),
            free=(evidence[FREE] > 0.5).numpy(),
            colors=_colors_in(cube, seen),
            views_used=seen.views_used,
            completed=True,
        )


def seen_in(cube: VoxelGrid, shape: Shape, state: TsdfState, support: Plane | None) -> Tensor:
    """Return what was seen in a cube: (C, N, N, N), as `evidence_in`, but without the rules' work.

    Args:
        cube: The cube; its axes are those of the object's grid.
        shape: What `tsdf_object` makes of the state.
        state: Its state, for the weights.
        support: Plane that the object stands on, or None.
    """
    assert shape.sdf_m is not None
    assert shape.observed is not None
    assert shape.free is not None
    observed = torch.from_numpy(shape.observed).float()
    weight = torch.from_numpy(state.weight.reshape(shape.grid.shape))
    stacked = [torch.from_numpy(shape.sdf_m) * observed, weight * observed, observed]
    stacked.append(torch.from_numpy(shape.free).float())
    sdf_m, weight, share, free = resampled(torch.stack(stacked), shape.grid, cube)
    known, share = share > 0.5, share.clamp_min(1e-6)
    evidence = torch.zeros(CHANNELS, *cube.shape)
    reach_m = REACH * cube.voxel_size_m
    evidence[SDF] = torch.where(known, (sdf_m / share / reach_m).clamp(-1, 1), 0)
    evidence[TRUST] = torch.where(known, weight / (weight + share), 0)
    evidence[OBSERVED] = known
    evidence[FREE] = free > 0.5
    if support is not None:
        height = torch.from_numpy(heights_m(cube, support)) / float(cube.extent_m[0])
        evidence[HEIGHT] = height.clamp(-1, 1)
        evidence[BELOW] = height < 0
    return evidence
