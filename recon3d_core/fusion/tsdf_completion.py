"""`tsdf_completion`: depth fused as by `tsdf_object`, the unseen side told by a network.

Fusing is the same and costs the same. When the shape is asked for, what is known goes into a cube
with room for the unseen side; a network gives the probability of each voxel, and what was seen
stays as it was seen. Without weights the shape is that of `tsdf_object`, which the mesher closes.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import InputError, PluginError
from recon3d_core.fusion._project import pose_of
from recon3d_core.fusion.evidence_cube import cube_of, evidence_in
from recon3d_core.fusion.tsdf_object import (
    TsdfObjectConfig,
    TsdfObjectReconstructor,
    TsdfState,
)
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.interfaces import Reconstructor
from recon3d_core.models import create_network
from recon3d_core.models.tsdf_completion.evidence import combined, FREE, OBSERVED, REACH, SDF
from recon3d_core.types import Plane, Shape, View
import torch
from torch import Tensor
from torch.nn import functional

logger = logging.getLogger(__name__)


class CompletionConfig(TsdfObjectConfig):
    """Options of the fusion, and the network's weights."""

    weights: str = option(
        'default', 'Weights of the network: `default` for those of this package, or a file.'
    )


class TsdfCompletionConfig(CompletionConfig):
    """Options of `tsdf_completion`."""

    upsampling: int = option(
        1,
        "Voxels of the shape along an edge for each of the network's. 2 shows what was seen in 128 "
        'voxels instead of 64, and takes eight times the memory.',
        ge=1,
        le=2,
    )


@dataclasses.dataclass
class CompletionState:
    """What is known of an object; its size depends on its grid alone.

    Attributes:
        fused: State of `tsdf_object`.
        support: Plane that the object stands on, or None, as the last view told.
        towards: (3,) sum of the unit vectors from the object to the cameras.
        views: How many views made that sum.
        shape: What was told last, for as many views as are in it.
    """

    fused: TsdfState
    support: Plane | None = None
    towards: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros(3))
    views: int = 0
    shape: Shape | None = None


class TsdfCompletionReconstructor(Reconstructor):
    """Fuses depth, and completes what no camera saw."""

    name = 'tsdf_completion'
    Config: ClassVar[type[PluginConfig]] = TsdfCompletionConfig
    needs = frozenset({'depth', 'mask', 'intrinsics', 'pose'})

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network.

        Raises:
            InputError: The weights that were named are missing, broken, or of another network.
        """
        super().__init__(config, device)
        self._fusion = TsdfObjectReconstructor(self.config, device)
        self._network: Any = None
        self._closed = False
        try:
            network = create_network(self.name, self.config.weights, device)
        except InputError as error:
            if self.config.weights != 'default':
                raise
            logger.warning('%s: objects are closed by rule instead', error)
            return
        self._network = network.optimize_for_inference()

    def start(self, grid: VoxelGrid) -> CompletionState:
        """Return the state of an object of which nothing was seen yet."""
        return CompletionState(self._fusion.start(grid))

    def observe(self, state: CompletionState, view: View) -> CompletionState:
        """Return the state after one view more; the given one is changed.

        Raises:
            FrameError: The view has no depth or pose, or its images differ in size.
        """
        before = state.fused.views
        state.fused = self._fusion.observe(state.fused, view)
        if state.fused.views > before:
            grid = state.fused.grid
            middle = grid.T_world_grid[:3, :3] @ (grid.extent_m / 2) + grid.T_world_grid[:3, 3]
            back = pose_of(view)[:3, 3] - middle
            state.towards = state.towards + back / max(float(np.linalg.norm(back)), 1e-9)
            state.views += 1
        state.support = view.support
        state.shape = None
        return state

    def shape(self, state: CompletionState) -> Shape:
        """Return the completed shape on a cube around the object.

        Raises:
            PluginError: The reconstructor was closed.
        """
        if self._closed:
            raise PluginError(f'reconstructor {self.name} is closed', fix='Make a new one.')
        if state.shape is None:
            state.shape = self._completed(state)
        return state.shape

    def seen_shape(self, state: CompletionState) -> Shape:
        """Return what was fused, on its own grid."""
        return self._fusion.shape(state.fused)

    def close(self) -> None:
        """Give the network's memory back; the reconstructor is of no use after that."""
        self._network, self._closed = None, True
        if self.device != 'cpu':
            torch.cuda.empty_cache()

    def _completed(self, state: CompletionState) -> Shape:
        seen = self._fusion.shape(state.fused)
        network = self._network
        if network is None or not state.views:
            return seen
        towards = state.towards / state.views
        placed = cube_of(seen, state.support, towards, network.resolution)
        if placed is None:
            return seen
        cube, evidence, found = self._told(*placed, seen, state.fused)
        observed = (evidence[OBSERVED] > 0.5).numpy()
        return Shape(
            grid=cube,
            occupancy=found.float().cpu().numpy(),
            sdf_m=(evidence[SDF] * (REACH * cube.voxel_size_m)).numpy(),
            observed=observed,
            free=(evidence[FREE] > 0.5).numpy(),
            colors=_colors_in(cube, seen),
            views_used=seen.views_used,
            completed=True,
        )

    def _told(
        self, cube: VoxelGrid, support: Plane | None, seen: Shape, fused: TsdfState
    ) -> tuple[VoxelGrid, Tensor, Tensor]:
        """Return the cube of the answer, what was seen in it, and the probabilities."""
        evidence = evidence_in(cube, seen, fused, support)
        factor = self.config.upsampling
        with torch.inference_mode():
            logits = self._network(evidence[None].to(self.device)).float()
            if factor > 1:
                cube = _finer(cube, factor)
                evidence = evidence_in(cube, seen, fused, support, rule=False)
                logits = functional.interpolate(
                    logits[:, None], size=cube.shape, mode='trilinear', align_corners=False
                )[:, 0]
            return cube, evidence, combined(logits, evidence[None].to(self.device))[0]


def _finer(cube: VoxelGrid, factor: int) -> VoxelGrid:
    """Return the same cube with `factor` times as many voxels along each edge."""
    nx, ny, nz = cube.shape
    return VoxelGrid(
        cube.T_world_grid, cube.voxel_size_m / factor, (nx * factor, ny * factor, nz * factor)
    )


def _colors_in(cube: VoxelGrid, seen: Shape) -> NDArray[np.uint8] | None:
    """Return the colours (N, N, N, 3) of the nearest voxels; black beyond the seen grid."""
    if seen.colors is None:
        return None
    corner = (seen.grid.T_grid_world @ cube.T_world_grid)[:3, 3]
    places = [
        np.floor(((np.arange(n) + 0.5) * cube.voxel_size_m + start) / seen.grid.voxel_size_m)
        for n, start in zip(cube.shape, corner)
    ]
    inside = [(place >= 0) & (place < n) for place, n in zip(places, seen.grid.shape)]
    nearest = [
        np.clip(place, 0, n - 1).astype(np.intp) for place, n in zip(places, seen.grid.shape)
    ]
    colors: NDArray[np.uint8] = seen.colors[np.ix_(*nearest)] * np.multiply.outer(
        np.multiply.outer(inside[0], inside[1]), inside[2]
    )[..., None].astype(np.uint8)
    return colors
