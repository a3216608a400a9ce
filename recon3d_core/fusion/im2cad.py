"""`im2cad`: a model from a library of meshes, placed so that its rendering matches the views.

As IM2CAD (Izadinia, Shan, Seitz, CVPR 2017) does: what is seen is compared with rendered views of
models by learned features; the best are placed by render-and-match of pose and scale. Here models
are retrieved from all views together, and matched with depth and support where these are known.
The shape is as sure as the placed model agrees with the views.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import PluginError
from recon3d_core.fusion._crops import cameras_of, Crop, crop_of, keep_apart, middle_of
from recon3d_core.fusion._network import shape_of
from recon3d_core.fusion._project import NEAR_M, pose_of
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor, TsdfState
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, Array
from recon3d_core.interfaces import Reconstructor
from recon3d_core.matching.descriptors import Describer, Seen
from recon3d_core.matching.evidence import evidence_of, RayEvidence
from recon3d_core.matching.index import AZIMUTHS, kept_index
from recon3d_core.matching.placing import Matcher, Placed
from recon3d_core.matching.retrieval import Candidate, Retriever
from recon3d_core.matching.scale import contact_pixel
from recon3d_core.matching.sources import open_library, RESOLUTION
from recon3d_core.types import Plane, Shape, View
from scipy import ndimage

logger = logging.getLogger(__name__)

_ROOM = 1.12  # of the model's longest extent: the edge of the grid around it
_YAWS = 2
_SOFT_VOXELS = 0.7
_MATCHED_ANEW = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of views at which the match is made again: a bounded number of times."""


class Im2CadConfig(PluginConfig):
    """Options of `im2cad`."""

    library: str = option(
        '', 'Folder of meshes, file of `recon3d pack`, or `procedural`; empty: the mesh '
        'collection of the recorded data, or `procedural` where that is absent.'
    )  # fmt: skip
    max_models: int = option(
        300, 'Most models of the library, evenly spread over it.', ge=1, le=20000
    )
    indexed_poses: int = option(
        1, 'In how many poses models are indexed: upright, then as they likeliest fall. Others '
        'are tried for the best models where upright ones do not agree.', ge=1, le=4
    )  # fmt: skip
    candidates: int = option(
        8, 'How many models are matched to what is seen.', ge=1, le=64, live=True
    )
    match: bool = option(
        True, 'Whether pose and scale are matched; otherwise the model that looks most alike is '
        'put where it was seen.', live=True
    )  # fmt: skip
    keep_views: int = option(
        6, 'Most views kept of an object, from directions that differ, to match with.', ge=1, le=32
    )
    min_agreement: float = option(
        0.4, 'Below this agreement, objects with depth are closed by rule instead.', ge=0.0,
        le=1.0, live=True
    )  # fmt: skip
    encoder_weights: str = option(
        'default', 'Weights of `posed_fusion`, whose encoder compares views: `default`, or a file.'
    )
    cache: str = option(
        '', 'Folder for the index of the library; `RECON3D_CACHE`, or one in the home folder, '
        'where empty.'
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _SeenCrop(Crop):
    """A crop with the rays of its view."""

    rays: RayEvidence | None = None


@dataclasses.dataclass
class Im2CadState:
    """What is known of an object; its size does not grow with the views.

    Attributes:
        grid: Place at birth; its z axis is up.
        scores: (entries, yaws) float32 similarities, added up over the views.
        views: Number of views.
        kept: A bounded number of views, from directions that differ.
        support: What it stands on, or None where no view told.
        fused: Fused depth of the seen surface, or None where there was no depth.
        placed: The model in its place, for `placed_views` views.
        placed_views: Number of views when it was placed.
    """

    grid: VoxelGrid
    scores: NDArray[np.float32]
    views: int = 0
    kept: tuple[_SeenCrop, ...] = ()
    support: Plane | None = None
    fused: TsdfState | None = None
    placed: Placed | None = None
    placed_views: int = 0

    @property
    def T_world_local(self) -> Array:
        """Frame (4, 4) in which models are placed: the grid's axes about its middle."""
        T = self.grid.T_world_grid.copy()
        T[:3, 3] = middle_of(self.grid)
        return T


class Im2CadReconstructor(Reconstructor):
    """Takes the model of a library that agrees best with what is seen."""

    name = 'im2cad'
    Config: ClassVar[type[PluginConfig]] = Im2CadConfig
    needs = frozenset({'rgb', 'mask', 'intrinsics', 'pose'})

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Open the library; its index is made where it is not in the cache.

        Raises:
            SourceError: There is no such library.
            InputError: No model of it is usable, or the weights are.
            RunError: The index cannot be written.
        """
        super().__init__(config, device)
        self._fusion = TsdfObjectReconstructor()
        self._describer: Describer | None = Describer(self.config.encoder_weights, device)
        library = open_library(self.config.library)
        logger.info('im2cad: library of %s', library.note)
        self._retriever: Retriever | None = Retriever(
            kept_index(
                library, self._describer, most=self.config.max_models,
                poses=self.config.indexed_poses,
                cache=self.config.cache,
            )
        )  # fmt: skip

    @property
    def retriever(self) -> Retriever:
        """What compares views with the library.

        Raises:
            PluginError: It was given back by `close`.
        """
        if self._retriever is None:
            raise PluginError(f'reconstructor {self.name} is closed', fix='Make a new one.')
        return self._retriever

    def close(self) -> None:
        """Give the memory of encoder and index back; it is of no use after that."""
        self._describer = self._retriever = None

    def start(self, grid: VoxelGrid) -> Im2CadState:
        """Return the state of an object of which nothing was seen yet."""
        entries = len(self.retriever.index.owner)
        return Im2CadState(grid, np.zeros((entries, AZIMUTHS), np.float32))

    def observe(self, state: Im2CadState, view: View) -> Im2CadState:
        """Return the state after one view more; the given one is changed.

        A view with an empty mask, or from within the object's cube, says nothing.

        Raises:
            FrameError: The view has no colour or pose, or its mask has not the image's size.
        """
        retriever, describer = self.retriever, self._describer
        assert describer is not None
        crop = crop_of(view, describer.size)
        if crop is None or crop.depth_m(middle_of(state.grid)) < NEAR_M:
            return state
        state.support = view.support
        up_camera = pose_of(view)[:3, :3].T @ state.grid.T_world_grid[:3, 2]
        rays = evidence_of(view, contact_pixel(view.mask, view.frame.camera, up_camera))
        fields = {field.name: getattr(crop, field.name) for field in dataclasses.fields(Crop)}
        kept = keep_apart(
            (*state.kept, _SeenCrop(**fields, rays=rays)), self.config.keep_views, state.grid
        )
        state.kept = tuple(one for one in kept if isinstance(one, _SeenCrop))
        cameras = cameras_of(crop, state.grid, 'cpu')
        seen = Seen(crop.image[None], crop.mask[None], cameras.K[0].numpy(),
                    cameras.T_camera_cube[0].numpy())  # fmt: skip
        eye = apply(state.grid.T_grid_world, crop.T_world_camera[:3, 3]).astype(np.float64)
        towards = eye - state.grid.extent_m / 2
        state.scores += retriever.scores(describer(seen)[0], towards)
        state.views += 1
        if view.frame.depth_m is not None:
            state.fused = self._fusion.observe(state.fused or self._fusion.start(state.grid), view)
        return state

    def shape(self, state: Im2CadState) -> Shape:
        """Return the placed model's solid on a cube around it, as sure as it agrees.

        p is 0.5 + agreement * (p - 0.5). Objects with depth that no model agrees with are as they
        were fused, for the mesher to close.
        """
        placed = self.placed(state)
        if placed is None:
            return Shape(state.grid, np.full(state.grid.shape, 0.5, np.float32))
        if placed.agreement < self.config.min_agreement and state.fused is not None:
            return self.seen_shape(state)
        grid = _grid_around(placed, state.T_world_local)
        occupancy = _occupancy(placed, grid, state.T_world_local)
        sure = (0.5 + placed.agreement * (occupancy - 0.5)).astype(np.float32)
        shape = shape_of(sure, grid, state.kept, state.views)
        return dataclasses.replace(shape, completed=True)

    def seen_shape(self, state: Im2CadState) -> Shape:
        """Return the fused depth, or the model where there is none."""
        return self.shape(state) if state.fused is None else self._fusion.shape(state.fused)

    def placed(self, state: Im2CadState) -> Placed | None:
        """Return the model in its place; None where nothing was seen.

        It is matched anew at some numbers of views only, so that many views cost no more.
        """
        if not state.views:
            return None
        due = any(state.placed_views < count <= state.views for count in _MATCHED_ANEW)
        if state.placed is None or due:
            state.placed, state.placed_views = self._matched(state), state.views
        return state.placed

    def _matched(self, state: Im2CadState) -> Placed | None:
        retriever = self.retriever
        found = retriever.best(state.scores, state.views, self.config.candidates, _YAWS)
        if state.placed is not None:  # what agreed before is tried from where it was, too
            former = state.placed
            found.append(Candidate(former.entry, float(former.theta[0]), former.similarity))
        # In an order of their own, so that the order of views changes nothing.
        kept = sorted(state.kept, key=lambda crop: tuple(crop.T_world_camera.ravel()))
        views = [crop.rays for crop in kept if crop.rays is not None]
        matcher = Matcher(retriever.index, views, state.T_world_local, state.support, self.device)
        return matcher.best(found, self.config.match)


def _grid_around(placed: Placed, T_world_local: Array) -> VoxelGrid:
    """Return a cube of voxels around a placed model, along the local axes."""
    low, high = placed.bounds_local_m()
    edge_m = _ROOM * float((high - low).max())
    T = T_world_local.copy()
    T[:3, 3] = apply(T, (low + high) / 2 - edge_m / 2)
    return VoxelGrid(T, edge_m / RESOLUTION, (RESOLUTION,) * 3)


def _occupancy(placed: Placed, grid: VoxelGrid, T_world_local: Array) -> NDArray[np.float32]:
    """Return how sure the voxels of a grid are inside a placed model, by its distances."""
    offset = (grid.T_world_grid[:3, 3] - T_world_local[:3, 3]) @ T_world_local[:3, :3]
    own = placed.to_model(grid.centers_grid_m().astype(np.float64) + offset)
    held = np.clip(own, -0.5, 0.5)
    places = (held + 0.5) * RESOLUTION - 0.5
    sdf = ndimage.map_coordinates(placed.model.sdf, np.moveaxis(places, -1, 0), order=1,
                                  mode='nearest')  # fmt: skip
    distance = sdf + np.linalg.norm(own - held, axis=-1)
    voxels = distance * float(placed.edge_m.mean()) / grid.voxel_size_m
    return np.asarray(1 / (1 + np.exp(voxels / _SOFT_VOXELS)), np.float32)
