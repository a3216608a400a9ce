"""`pix2vox` and `r2n2`: shapes in a canonical pose, placed by how well they fill the masks.

These networks need no camera pose for the shape. Its place in the object's grid follows from the
kept views (`canonical_pose`): z is up, and yaw, scale and centre are those at which its
silhouettes fill the masks best. How well they do limits how sure the shape is.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.fusion._crops import Crop, crop_of, keep_apart, middle_of
from recon3d_core.fusion._network import NetworkConfig, NetworkReconstructor, shape_of
from recon3d_core.fusion._project import NEAR_M
from recon3d_core.fusion._volumes import places_in_cube, recalibrated, sample_cube
from recon3d_core.fusion.canonical_pose import CanonicalPose, match
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.types import Shape, View
import torch
from torch import Tensor


class Pix2VoxConfig(NetworkConfig):
    """Options of `pix2vox`."""

    model: Literal['pix2vox_s', 'pix2vox_a', 'pix2vox_f', 'pix2voxpp_a', 'pix2voxpp_f'] = option(
        'pix2vox_s', 'The network.'
    )


class R2N2Config(NetworkConfig):
    """Options of `r2n2`."""

    model: Literal['r2n2_s', 'r2n2_gru', 'r2n2_lstm'] = option('r2n2_s', 'The network.')


@dataclasses.dataclass
class CanonicalState:
    """What is known of an object; its size does not grow with the views.

    Attributes:
        grid: Place and resolution.
        network: The network's state.
        views: Number of views.
        kept: A bounded number of crops, from directions that differ.
        pose: Where the shape was placed last, or None.
    """

    grid: VoxelGrid
    network: Any
    views: int = 0
    kept: tuple[Crop, ...] = ()
    pose: CanonicalPose | None = None


class CanonicalReconstructor(NetworkReconstructor):
    """Shapes of a network that knows objects in a canonical pose."""

    needs = frozenset({'rgb', 'mask', 'intrinsics', 'pose'})

    @property
    def model_name(self) -> str:
        """Name of the network."""
        return str(self.config.model)

    def start(self, grid: VoxelGrid) -> CanonicalState:
        """Return the state of an object of which nothing was seen yet."""
        return CanonicalState(grid, self.network.start())

    def observe(self, state: CanonicalState, view: View) -> CanonicalState:
        """Return the state after one view more; a view with an empty mask says nothing.

        Raises:
            FrameError: The view has no colour or pose, or its mask has not the image's size.
        """
        crop = crop_of(view, self.crop_size)
        if crop is None or crop.depth_m(middle_of(state.grid)) < NEAR_M:
            return state
        state.kept = keep_apart((*state.kept, crop), self.config.keep_views, state.grid)
        state.network = self._see(state.network, crop, state.grid)
        state.views += 1
        return state

    def shape(self, state: CanonicalState) -> Shape:
        """Return the probabilities on the grid, what was `observed` of the solid, and colours.

        Probabilities are drawn towards 0.5 by what the placed shape disagrees with the masks:
        p becomes 0.5 + agreement * (p - 0.5).
        """
        if not state.views:
            return Shape(state.grid, np.full(state.grid.shape, 0.5, np.float32))
        cube = recalibrated(self._probabilities(state.network), self.network.threshold)
        inside = (cube > 0.5).cpu().numpy()
        former = None if state.pose is None else state.pose.yaw
        state.pose = match(inside, state.kept, state.grid, former)
        if state.pose is None:
            empty = np.zeros(state.grid.shape, np.float32)
            return Shape(state.grid, empty, views_used=state.views)
        occupancy = self._placed(cube, state.pose, state.grid)
        return shape_of(occupancy, state.grid, state.kept, state.views)

    def _placed(self, cube: Tensor, pose: CanonicalPose, grid: VoxelGrid) -> NDArray[np.float32]:
        """Return the probabilities (nx, ny, nz) of a cube that stands in a grid."""
        places = places_in_cube(grid, self.device)
        c, s = np.cos(pose.yaw), np.sin(pose.yaw)
        turn = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float32)
        center = torch.from_numpy(pose.center).float().to(self.device)
        canonical = (places - center) @ turn.to(self.device) / pose.edge
        occupancy = sample_cube(cube, canonical)
        sure: NDArray[np.float32] = np.float32(0.5) + np.float32(pose.agreement) * (
            occupancy - np.float32(0.5)
        )
        return sure


class Pix2VoxReconstructor(CanonicalReconstructor):
    """Views fused by the context-aware softmax of Pix2Vox."""

    name = 'pix2vox'
    Config: ClassVar[type[PluginConfig]] = Pix2VoxConfig


class R2N2Reconstructor(CanonicalReconstructor):
    """Views fused by the recurrent unit of 3D-R2N2; their order matters a little."""

    name = 'r2n2'
    Config: ClassVar[type[PluginConfig]] = R2N2Config
