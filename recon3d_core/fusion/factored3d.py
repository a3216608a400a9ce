"""`factored3d`: the shape that each single image tells, joined over views with known poses.

Every image is looked at as a whole once (`models.factored3d`); each object is told from its box. The
direction up is the grid's, which is upright. One image leaves the scale open, so an object keeps
the image that it has and is moved along its rays to the depth of the grid's middle, which comes
from the poses of several views. There the log-odds of all views are averaged, and what lies
outside of the masks is free.
"""

from __future__ import annotations

from collections import deque
import dataclasses
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import PluginConfig
from recon3d_core.errors import PluginError
from recon3d_core.fusion._crops import Crop, crop_of, keep_apart, middle_of
from recon3d_core.fusion._network import NetworkConfig, shape_of
from recon3d_core.fusion._project import NEAR_M, project_centers, window_of
from recon3d_core.fusion._replace import replaced
from recon3d_core.fusion._volumes import recalibrated, sample_cube
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, Array, invert
from recon3d_core.interfaces import Reconstructor
from recon3d_core.models import create_network
from recon3d_core.models.factored3d.model import Factored3d
from recon3d_core.models.factored3d.parsing import ParsedObject, see_image, SeenImage, tell_objects
from recon3d_core.types import Frame, Shape, View
import torch

Floats = NDArray[np.float32]

_CROP_PX = 128  # of the views kept for colours and for the object's place
_FRAMES = 4  # images whose features are kept, since one image shows several objects
_PLACED_ANEW = (4, 8, 16, 32)
_SURE = 0.02  # no view says more than this, or 1 - this
_FREE = -4.0  # log-odds outside of the masks
_INSIDE = 0.6  # log-odds within the masks of views from one more direction
_MOST_INSIDE = 3.5  # less than what a view may say to the contrary: hollows stay
_APART = 0.98  # cosine of two directions that tell as much as one
_FEW = 0.2  # of the views: so many masks may lack a voxel, as masks err


@dataclasses.dataclass(frozen=True)
class ToldView:
    """What is kept of a view.

    Attributes:
        crop: Its image and mask around the object.
        told: What the network says of the object, at the scale that the network believes.
    """

    crop: Crop
    told: ParsedObject


@dataclasses.dataclass
class Evidence:
    """Sums over views on a grid (nx, ny, nz).

    Attributes:
        log_odds: What the network says.
        outside: How many masks lack the voxel.
        views: How many views these are of.
    """

    log_odds: Floats
    outside: NDArray[np.int16]
    views: int = 0


@dataclasses.dataclass
class ParsedState:
    """What is known of an object; its size does not grow with the views.

    Attributes:
        grid: Place and resolution.
        evidence: Sums over the views.
        views: Number of views.
        kept: A bounded number of views, from directions that differ.
    """

    grid: VoxelGrid
    evidence: Evidence
    views: int = 0
    kept: tuple[ToldView, ...] = ()


class Factored3dReconstructor(Reconstructor):
    """What a network tells of single images, placed by the views' poses."""

    name = 'factored3d'
    Config: ClassVar[type[PluginConfig]] = NetworkConfig
    needs = frozenset({'rgb', 'mask', 'intrinsics', 'pose'})

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network and warm it up.

        Raises:
            InputError: The weights are missing, broken, or of another network.
        """
        super().__init__(config, device)
        network = create_network('factored3d', self.config.weights, device)
        assert isinstance(network, Factored3d)
        self._network: Factored3d | None = network.optimize_for_inference()
        self._seen: deque[tuple[Frame, SeenImage]] = deque(maxlen=_FRAMES)
        blank = np.full((48, 64, 3), 128, np.uint8)
        camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
        self._tell(Frame(0, camera, rgb=blank), (20, 10, 40, 30), np.array((0.0, -1.0, 0.0)))
        self._seen.clear()

    @property
    def network(self) -> Factored3d:
        """The network.

        Raises:
            PluginError: It was given back by `close`.
        """
        if self._network is None:
            raise PluginError(f'reconstructor {self.name} is closed', fix='Make a new one.')
        return self._network

    def close(self) -> None:
        """Give the network's memory back; the reconstructor is of no use after that."""
        self._network = None
        self._seen.clear()
        if self.device != 'cpu':
            torch.cuda.empty_cache()

    def start(self, grid: VoxelGrid) -> ParsedState:
        """Return the state of an object of which nothing was seen yet."""
        return ParsedState(grid, _nothing(grid))

    def observe(self, state: ParsedState, view: View) -> ParsedState:
        """Return the state after one view more; the given one is changed.

        A view with an empty mask, or from within the object's grid, says nothing.

        Raises:
            FrameError: The view has no colour or pose, or its mask has not the image's size.
        """
        crop = crop_of(view, _CROP_PX)
        nearest = max(0.5 * float(state.grid.extent_m.max()), NEAR_M)
        if crop is None or crop.depth_m(middle_of(state.grid)) < nearest:
            return state
        up_camera = crop.T_world_camera[:3, :3].T @ state.grid.T_world_grid[:3, 2]
        told = ToldView(crop, self._tell(view.frame, view.box_xyxy, up_camera))
        crops = keep_apart(
            (*(one.crop for one in state.kept), crop), self.config.keep_views, state.grid
        )
        state.kept = tuple(
            one for one in (*state.kept, told) if any(one.crop is other for other in crops)
        )
        hidden = view.others if view.others is not None else np.zeros_like(view.mask)
        self._add(state, told, view.frame.camera, view.mask | hidden)
        state.views += 1
        if state.views in _PLACED_ANEW:
            self._place_anew(state)
        return state

    def _tell(self, frame: Frame, box: tuple[int, int, int, int], up: Array) -> ParsedObject:
        """Return what an image tells of the object in a box of pixels, both ends inside."""
        x0, y0, x1, y1 = box
        return tell_objects(self.network, self._see(frame), [(x0, y0, x1 + 1, y1 + 1)], up)[0]

    def _see(self, frame: Frame) -> SeenImage:
        for known, seen in self._seen:
            if known is frame:
                return seen
        assert frame.rgb is not None
        seen = see_image(self.network, frame.rgb, frame.camera.K)
        self._seen.append((frame, seen))
        return seen

    def _add(
        self, state: ParsedState, told: ToldView, camera: Camera, may_be: NDArray[np.bool_]
    ) -> None:
        """Add a view whose object may be in pixels (H, W) of an image."""
        grid, evidence = state.grid, state.evidence
        evidence.log_odds += self._log_odds(told, grid)
        evidence.outside += _outside(grid, camera, told.crop.T_world_camera, may_be)
        evidence.views += 1

    def _log_odds(self, told: ToldView, grid: VoxelGrid) -> Floats:
        """Return the log-odds (nx, ny, nz) of what an image tells, at the depth of a grid."""
        placed = at_depth(told.told, told.crop.depth_m(middle_of(grid)))
        T_object_grid = (
            invert(placed.T_camera_object) @ invert(told.crop.T_world_camera) @ grid.T_world_grid
        )
        places = apply(T_object_grid, grid.centers_grid_m()) / placed.size_m.astype(np.float32)
        cube = torch.from_numpy(placed.probabilities)
        known = recalibrated(cube, self.network.threshold)
        chances = np.clip(sample_cube(known, torch.from_numpy(places)), _SURE, 1 - _SURE)
        odds: Floats = np.log(chances / (1 - chances)).astype(np.float32)
        return odds

    def _place_anew(self, state: ParsedState) -> None:
        crops = [one.crop for one in state.kept]
        grid = replaced(state.grid, crops, _occupancy(state) > 0.5)
        if grid is None:
            return
        state.grid, state.evidence = grid, _nothing(grid)
        for one in state.kept:
            # Around the crop nothing is known: a voxel there is not outside of a mask.
            self._add(state, one, one.crop.camera, one.crop.view().mask)

    def shape(self, state: ParsedState) -> Shape:
        """Return the probabilities on the grid, what was `observed` of the solid, and colours."""
        if not state.views:
            return Shape(state.grid, np.full(state.grid.shape, 0.5, np.float32))
        crops = tuple(one.crop for one in state.kept)
        return shape_of(_occupancy(state), state.grid, crops, state.views)


def at_depth(told: ParsedObject, depth_m: float) -> ParsedObject:
    """Return an object at another depth of its middle, and so much larger: the same image."""
    return told.scaled(depth_m / max(float(told.T_camera_object[2, 3]), 1e-6))


def _nothing(grid: VoxelGrid) -> Evidence:
    return Evidence(np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.int16))


def _occupancy(state: ParsedState) -> Floats:
    """Return probabilities: the network's, and the more directions agree, the masks'."""
    evidence = state.evidence
    mean = evidence.log_odds / np.float32(max(evidence.views, 1))
    mean += np.float32(min(_INSIDE * (_directions(state) - 1), _MOST_INSIDE))
    mean[evidence.outside > _FEW * evidence.views] = _FREE
    occupancy: Floats = 1 / (1 + np.exp(-mean))
    return occupancy


def _outside(
    grid: VoxelGrid, camera: Camera, T_world_camera: Array, may_be: NDArray[np.bool_]
) -> NDArray[np.int16]:
    """Return 1 for the voxels (nx, ny, nz) that an image shows where the object is not."""
    window = window_of(grid, camera, T_world_camera)
    if window is None:
        return np.zeros(grid.shape, np.int16)
    index, _ = project_centers(grid, camera, T_world_camera, window)
    free = np.append(~may_be[window.rows, window.columns].ravel(), False)
    return free[index].reshape(grid.shape).astype(np.int16)


def _directions(state: ParsedState) -> int:
    """Return from how many directions that differ the kept views look."""
    middle, apart = middle_of(state.grid), list[Array]()
    for one in state.kept:
        sight = middle - one.crop.T_world_camera[:3, 3]
        sight = sight / max(float(np.linalg.norm(sight)), 1e-9)
        if all(float(sight @ other) < _APART for other in apart):
            apart.append(sight)
    return max(len(apart), 1)
