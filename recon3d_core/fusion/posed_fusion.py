"""`posed_fusion`: the shape from colour, masks and poses, by the network of the same name.

The network works on the cube around the object's grid, in the grid's axes (z up). Every view is
cropped around its mask as in training, and joined in the network's state once. Its probabilities
are shifted, as logits, so that the threshold stored with the weights becomes 0.5.

The first views may place the grid badly. A few times in an object's life it is looked at again: where
masks reach out of it, or the solid fills little of it, the grid is replaced and the state begun
anew from the kept views.

The network takes a mask for the whole outline. Views in which another object's mask is next to it,
which may hide a part, count only as long as there are no others.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import PluginConfig
from recon3d_core.fusion._crops import Crop, crop_of, keep_apart, middle_of
from recon3d_core.fusion._network import NetworkConfig, NetworkReconstructor, shape_of
from recon3d_core.fusion._project import NEAR_M
from recon3d_core.fusion._replace import replaced
from recon3d_core.fusion._volumes import places_in_cube, recalibrated, sample_cube
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.types import Shape, View

PLACED_ANEW = (4, 8, 16, 32)
"""Numbers of views at which the grid is looked at again: a bounded number of times."""


@dataclasses.dataclass
class PosedState:
    """What is known of an object; its size does not grow with the views.

    Attributes:
        grid: Place and resolution.
        network: The network's state on the cube around the grid.
        views: Number of views in it.
        whole: Whether they show the object with nothing before it.
        kept: A bounded number of crops, from directions that differ.
    """

    grid: VoxelGrid
    network: Any
    views: int = 0
    whole: bool = False
    kept: tuple[Crop, ...] = ()


class PosedFusionReconstructor(NetworkReconstructor):
    """Views with known poses, joined by a network in the object's own grid."""

    name = 'posed_fusion'
    Config: ClassVar[type[PluginConfig]] = NetworkConfig
    needs = frozenset({'rgb', 'mask', 'intrinsics', 'pose'})

    @property
    def model_name(self) -> str:
        """Name of the network."""
        return 'posed_fusion'

    def start(self, grid: VoxelGrid) -> PosedState:
        """Return the state of an object of which nothing was seen yet."""
        return PosedState(grid, self.network.start())

    def observe(self, state: PosedState, view: View) -> PosedState:
        """Return the state after one view more; the given one is changed.

        A view with an empty mask, or from within the object's cube, says nothing; nor does one whose
        mask meets another object's, once there are better ones. The first better one begins anew.

        Raises:
            FrameError: The view has no colour or pose, or its mask has not the image's size.
        """
        crop = crop_of(view, self.crop_size)
        if crop is None or crop.depth_m(middle_of(state.grid)) < _least_depth_m(state.grid):
            return state
        if crop.meets and state.whole:
            return state
        if state.views and not crop.meets and not state.whole:
            state.network, state.views, state.kept = self.network.start(), 0, ()
        state.whole = not crop.meets
        state.kept = keep_apart((*state.kept, crop), self.config.keep_views, state.grid)
        state.network = self._see(state.network, crop, state.grid)
        state.views += 1
        if state.views in PLACED_ANEW:
            self._place_anew(state)
        return state

    def _place_anew(self, state: PosedState) -> None:
        grid = replaced(state.grid, state.kept, self._occupancy(state) > 0.5)
        if grid is None:
            return
        state.grid, state.network = grid, self.network.start()
        for crop in state.kept:
            state.network = self._see(state.network, crop, grid)

    def shape(self, state: PosedState) -> Shape:
        """Return the probabilities on the grid, what was `observed` of the solid, and colours."""
        if not state.views:
            half = np.full(state.grid.shape, 0.5, np.float32)
            return Shape(state.grid, half)
        return shape_of(self._occupancy(state), state.grid, state.kept, state.views)

    def _occupancy(self, state: PosedState) -> NDArray[np.float32]:
        cube = recalibrated(self._probabilities(state.network), self.network.threshold)
        return sample_cube(cube, places_in_cube(state.grid, self.device))


def _least_depth_m(grid: VoxelGrid) -> float:
    """Return how far the middle of a grid must be from a camera that looks at all of it."""
    return max(0.5 * float(grid.extent_m.max()), NEAR_M)
