"""`point_completion`: depth fused as by `tsdf_object`, its surface completed as a point cloud.

A lighter way than `tsdf_completion`: the network sees some thousand points of the surface, tells
the points of all of it, and of these which voxels are inside. What was seen stays as it was seen.
Without weights the shape is that of `tsdf_object`, which the mesher closes.
"""

from __future__ import annotations

from typing import ClassVar

from recon3d_core.config import PluginConfig
from recon3d_core.fusion.evidence_cube import evidence_in
from recon3d_core.fusion.tsdf_completion import CompletionConfig, TsdfCompletionReconstructor
from recon3d_core.fusion.tsdf_object import TsdfState
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.types import Plane, Shape
import torch
from torch import Tensor


class PointCompletionConfig(CompletionConfig):
    """Options of `point_completion`."""


class PointCompletionReconstructor(TsdfCompletionReconstructor):
    """Fuses depth, and completes what no camera saw from points of the fused surface."""

    name = 'point_completion'
    Config: ClassVar[type[PluginConfig]] = PointCompletionConfig

    def _told(
        self, cube: VoxelGrid, support: Plane | None, seen: Shape, fused: TsdfState
    ) -> tuple[VoxelGrid, Tensor, Tensor]:
        evidence = evidence_in(cube, seen, fused, support, rule=False)
        with torch.inference_mode():
            return cube, evidence, self._network.probabilities(evidence[None].to(self.device))[0]
