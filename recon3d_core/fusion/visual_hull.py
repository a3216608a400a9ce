"""`visual_hull`: the shape from masks and camera poses alone, without depth.

Each view votes on every voxel that it sees: for inside where its centre falls into the mask, for
outside elsewhere. The votes are log-odds and bounded, so that one bad mask does not erase an
object for ever (Laurentini 1994 for the hull; soft votes as in occupancy maps).

A few of the masks are kept, coarsely: they tell where the object may end level above and below
(`level_ends`), and which part of its surface some camera saw.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import InputError
from recon3d_core.fusion._cones import box_from_views
from recon3d_core.fusion._outlines import keep, level_ends, Outline, outline_of, seen_voxels
from recon3d_core.fusion._project import pose_of, project_centers, window_of
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.interfaces import Reconstructor
from recon3d_core.types import Plane, Shape, View

GUESS_VOXELS = 24
MARGIN_VOXELS = 3
MIN_SHOWN = 0.35
MAX_LOST = 0.003  # part of the masks that a level end may leave empty: what is lost to rounding
UNLIKELY = 0.2  # probability beyond a level end, which nobody saw to be empty


class VisualHullConfig(PluginConfig):
    """Options of `visual_hull`."""

    hit_probability: float = option(
        0.52,
        'Probability that a voxel is inside, after one view that has it in the mask.',
        ge=0.5,
        le=0.99,
        live=True,
    )
    miss_probability: float = option(
        0.1,
        'Probability that a voxel is inside, after one view that has it outside.',
        ge=0.01,
        le=0.5,
        live=True,
    )
    max_log_odds: float = option(
        6.0,
        "Bound of a voxel's log-odds, so that later views can change it.",
        ge=1.0,
        le=50.0,
        live=True,
    )
    blur_px: float = option(
        0.8, "Softness of the masks' borders.", unit='px', ge=0.0, le=20.0, live=True
    )
    level_ends: bool = option(
        True,
        'Whether top and bottom are taken to be level where the sides run up to them straight '
        'and the outlines allow it, instead of the tents that carving leaves there.',
        live=True,
    )


@dataclasses.dataclass
class HullState:
    """Votes on an object's voxels; its size depends on the grid alone.

    Attributes:
        grid: Place and resolution.
        log_odds: (n,) float32, 0 where nobody voted.
        hits: (n,) float32, views that had the voxel inside the mask.
        hidden: (n,) float32, views that had another object at its pixel.
        views: Number of views.
        outlines: A bounded number of the masks, from directions that differ.
    """

    grid: VoxelGrid
    log_odds: NDArray[np.float32]
    hits: NDArray[np.float32]
    hidden: NDArray[np.float32]
    views: int = 0
    outlines: tuple[Outline, ...] = ()

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which voxels (n,) are more likely inside than not."""
        return (self.log_odds > 0) & ~self.elsewhere

    @property
    def elsewhere(self) -> NDArray[np.bool_]:
        """Which voxels (n,) are in another object.

        Something in front may hide a voxel in some views; what is behind another object's
        pixels in most of them belongs to that one.
        """
        return self.hits < MIN_SHOWN * (self.hits + self.hidden)


class VisualHullReconstructor(Reconstructor):
    """Carves an object out of its grid by soft votes of masks."""

    name = 'visual_hull'
    Config = VisualHullConfig
    needs = frozenset({'mask', 'intrinsics', 'pose'})

    def start(self, grid: VoxelGrid) -> HullState:
        """Return the state of an object of which nothing was seen yet."""
        n = math.prod(grid.shape)
        zero = np.zeros(n, np.float32)
        return HullState(grid, zero, zero.copy(), zero.copy())

    def observe(self, state: HullState, view: View) -> HullState:
        """Return the state after one view more; the given one is changed.

        Raises:
            FrameError: The view has no pose, or its mask has not the image's size.
        """
        T_world_camera = pose_of(view)
        window = window_of(state.grid, view.frame.camera, T_world_camera)
        if window is None:
            return state
        part = (window.rows, window.columns)
        mask = view.mask[part]
        votes = self._votes(mask)
        index, _ = project_centers(state.grid, view.frame.camera, T_world_camera, window)
        if view.others is not None:
            others = view.others[part] & ~mask
            votes[others] = 0
            state.hidden += _at(others, index)
        state.hits += _at(mask, index)
        state.log_odds += _at(votes, index)
        bound = self.config.max_log_odds
        np.clip(state.log_odds, -bound, bound, out=state.log_odds)
        outline = outline_of(view, window, state.grid, T_world_camera)
        state.outlines = keep(state.outlines, outline, state.grid)
        state.views += 1
        return state

    def _votes(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the log-odds (H, W) that each pixel adds."""
        hit = math.log(self.config.hit_probability / (1 - self.config.hit_probability))
        miss = math.log(self.config.miss_probability / (1 - self.config.miss_probability))
        soft = np.ascontiguousarray(mask).astype(np.float32)
        if self.config.blur_px > 0 and mask.size:
            soft = cv2.GaussianBlur(soft, (0, 0), self.config.blur_px)
        # The border of the blurred mask is at 0.5: there a voxel gets no vote either way.
        votes = np.where(soft >= 0.5, hit * (2 * soft - 1), miss * (1 - 2 * soft))
        return votes.astype(np.float32)

    def shape(self, state: HullState) -> Shape:
        """Return the probabilities, with what was voted out (`free`) and what was `observed`.

        Observed are the voxels of the surface that are in front, in a mask, in one of the kept
        views: a camera saw them, although outlines alone do not measure how far away they are.
        """
        size, grid = state.grid.shape, state.grid
        outside = (state.elsewhere | (state.hits == 0)).reshape(size)
        log_odds = state.log_odds.reshape(size)
        occupancy = np.where(outside, 0, 1 / (1 + np.exp(-log_odds))).astype(np.float32)
        if self.config.level_ends and state.outlines:
            bottom, top = level_ends(occupancy > 0.5, grid, state.outlines, MAX_LOST)
            for beyond in (occupancy[:, :, :bottom], occupancy[:, :, top:]):
                np.minimum(beyond, UNLIKELY, out=beyond)
        return Shape(
            grid=grid,
            occupancy=occupancy,
            observed=seen_voxels(occupancy > 0.5, grid, state.outlines),
            free=outside | (log_odds < 0),
            views_used=state.views,
        )


def _at(image: NDArray[Any], index: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the values (n,) of an image (H, W) at pixels; 0 where the index is behind its end."""
    values: NDArray[np.float32] = np.append(image.ravel(), 0).astype(np.float32)[index]
    return values


def initial_grid_from_views(
    views: Sequence[View],
    resolution: int = 64,
    support: Plane | None = None,
    up: NDArray[np.float64] | None = None,
) -> VoxelGrid:
    """Return a grid around the object that all masks show, from the masks' cones.

    Args:
        views: At least two views with poses and masks that are not empty.
        resolution: Voxels along the longest edge.
        support: Plane that bounds the object below, or None where unknown.
        up: (3,) direction of the grid's z axis where there is no support; z of the world if None.

    Raises:
        InputError: Fewer than two usable views, or no place that is in all their cones.
    """
    usable = [view for view in views if view.mask.any()]
    if len(usable) < 2:
        raise InputError(
            'volume from masks',
            f'{len(usable)} views with a mask',
            'at least 2',
            'Wait for more views.',
        )
    rough = box_from_views(usable, support, up)
    carver = VisualHullReconstructor()
    for _ in range(2):
        voxel = float(rough.extent_m.max()) / GUESS_VOXELS
        grid = _with_voxel(rough, voxel)
        state = carver.start(grid)
        for view in usable:
            state = carver.observe(state, view)
        inside = state.inside.reshape(grid.shape)
        if support is not None:
            inside &= support.height_m(grid.centers_world_m()) > -voxel
        if not inside.any():
            raise InputError(
                'volume from masks',
                'cones that do not meet',
                'masks of one object',
                'Check the poses and the masks.',
            )
        rough = _cropped(grid, inside)
    return _with_voxel(
        rough, float(rough.extent_m.max()) / (resolution - 2 * MARGIN_VOXELS), MARGIN_VOXELS
    )


def _with_voxel(grid: VoxelGrid, voxel_size_m: float, margin: int = 0) -> VoxelGrid:
    """Return a grid of the same place with other voxels and a margin of some of them."""
    count = np.maximum(np.ceil(grid.extent_m / voxel_size_m - 1e-6), 1).astype(int)
    nx, ny, nz = count.tolist()
    return VoxelGrid(grid.T_world_grid, voxel_size_m, (nx, ny, nz)).padded(
        [margin] * 3, [margin] * 3
    )


def _cropped(grid: VoxelGrid, inside: NDArray[np.bool_]) -> VoxelGrid:
    """Return the part of a grid that holds some voxels, and one more on each side."""
    index = np.argwhere(inside)
    low, high = index.min(0) - 1, index.max(0) + 2
    return grid.padded(-low, high - np.array(grid.shape))
