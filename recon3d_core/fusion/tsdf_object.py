"""`tsdf_object`: a truncated signed distance field of one object, from depth and masks.

Every voxel is projected into the view once (Curless and Levoy 1996). What lies behind the depth
of a pixel of the object is inside for the length of the truncation and unknown beyond; what lies
in front of any measured depth is free. Nothing is taken back by one view alone: distances are
weighted means and free space is a vote.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.fusion._evidence import (
    BACKGROUND,
    depth_of,
    Evidence,
    gather,
    HOLE,
    OBJECT,
)
from recon3d_core.fusion._grow import growth
from recon3d_core.fusion._project import pose_of, project_centers, window_of
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.interfaces import Reconstructor
from recon3d_core.types import Shape, View

FADING = 0.4
MIN_TRUST = 0.05


class TsdfObjectConfig(PluginConfig):
    """Options of `tsdf_object`."""

    truncation_voxels: float = option(
        4.0,
        'Distance from a surface up to which voxels are updated, in voxels.',
        ge=1.5,
        le=16.0,
        live=True,
    )
    min_truncation_m: float = option(
        0.012,
        'Smallest truncation; a few times the noise of the depth.',
        unit='m',
        ge=0.001,
        le=0.2,
        live=True,
    )
    max_weight: float = option(
        30.0, 'Weight at which the running means stop to slow down.', ge=1.0, le=1000.0, live=True
    )
    hole_vote: float = option(
        0.15,
        'Vote for free space of a pixel outside of the mask without depth.',
        ge=0.0,
        le=1.0,
        live=True,
    )
    background_vote: float = option(
        0.4, 'Vote for free space of a surface outside of the mask.', ge=0.0, le=1.0, live=True
    )
    min_weight: float = option(
        0.03,
        'Weight below which a distance counts as not measured; a pixel weighs up to 1.',
        ge=0.0,
        le=10.0,
        live=True,
    )
    free_ratio: float = option(
        1.5,
        'A voxel is free when its votes for free exceed this many times those of the surface.',
        ge=0.1,
        le=10.0,
        live=True,
    )
    max_voxels_per_axis: int = option(
        128, 'Bound of the grid when it grows with the object.', ge=16, le=256, live=True
    )


@dataclasses.dataclass
class TsdfState:
    """What was seen of an object; its size depends on the grid alone.

    Attributes:
        grid: Place and resolution.
        sdf_m: (n,) float32 weighted mean of the signed distances.
        weight: (n,) float32 weight of that mean.
        hits: (n,) float32 votes for being near the object's surface.
        free: (n,) float32 votes for free space.
        color: (n, 3) float32 weighted mean of the colours.
        color_weight: (n,) float32 weight of that mean.
        views: Number of views that saw the grid.
    """

    grid: VoxelGrid
    sdf_m: NDArray[np.float32]
    weight: NDArray[np.float32]
    hits: NDArray[np.float32]
    free: NDArray[np.float32]
    color: NDArray[np.float32]
    color_weight: NDArray[np.float32]
    views: int = 0

    ARRAYS = ('sdf_m', 'weight', 'hits', 'free', 'color', 'color_weight')


class TsdfObjectReconstructor(Reconstructor):
    """Fuses the depth of one object's views into a signed distance field."""

    name = 'tsdf_object'
    Config = TsdfObjectConfig
    needs = frozenset({'depth', 'intrinsics', 'pose'})

    def start(self, grid: VoxelGrid) -> TsdfState:
        """Return the state of an object of which nothing was seen yet."""
        n = int(np.prod(grid.shape))
        sdf, weight, hits, free, color_weight = np.zeros((5, n), np.float32)
        color = np.zeros((n, 3), np.float32)
        return TsdfState(grid, sdf, weight, hits, free, color, color_weight)

    def truncation_m(self, grid: VoxelGrid) -> float:
        """Return the truncation distance on a grid, metres."""
        voxels = float(self.config.truncation_voxels)
        return max(voxels * grid.voxel_size_m, float(self.config.min_truncation_m))

    def observe(self, state: TsdfState, view: View) -> TsdfState:
        """Return the state after one view more; the given one is changed.

        Raises:
            FrameError: The view has no depth or pose, or its images differ in size.
        """
        T_world_camera = pose_of(view)
        depth_of(view)
        self._grow(state, view)
        window = window_of(state.grid, view.frame.camera, T_world_camera)
        if window is None:
            return state
        truncation = self.truncation_m(state.grid)
        evidence = gather(view, window, truncation)
        index, depth = project_centers(state.grid, view.frame.camera, T_world_camera, window)
        self._update(state, evidence, index, depth)
        state.views += 1
        return state

    def _update(
        self,
        state: TsdfState,
        evidence: Evidence,
        index: NDArray[np.int32],
        depth_m: NDArray[np.float32],
    ) -> None:
        """Add one view's evidence, given each voxel's pixel and depth."""
        truncation = np.float32(self.truncation_m(state.grid))
        pixel = index.astype(np.intp)  # once: every look-up would convert it anew
        label = evidence.label.take(pixel)
        ahead = evidence.depth_m.take(pixel)
        ahead -= depth_m
        apart = np.abs(ahead)
        background, thing = label == BACKGROUND, label == OBJECT
        # That it is behind, depth says. Whose surface it is, masks may get wrong: it is a vote, so
        # that what some masks hold of a neighbour goes to whom most give it.
        free = background & (ahead > 0.4 * truncation)
        free |= thing & (ahead > truncation)
        state.free += free
        surface = background & (apart <= 0.4 * truncation)
        state.free += surface * np.float32(self.config.background_vote)
        if self.config.hole_vote > 0:
            state.free += (label == HOLE) * np.float32(self.config.hole_vote)
        np.minimum(state.free, self.config.max_weight, out=state.free)
        # The slope is at least MIN_COSINE, hence the two steps: first coarse, then exact.
        near = np.flatnonzero(thing & (apart < truncation * 2))
        pixels = pixel[near]
        distance = ahead[near] * evidence.slope[pixels]
        keep = np.flatnonzero((apart[near] < truncation) | (np.abs(distance) < truncation * 0.5))
        near, pixels, distance = near[keep], pixels[keep], distance[keep]
        # Behind the surface trust fades quickly: what the other side of a thin wall was seen to
        # be like counts more than what the first side tells of its depth.
        fading = np.clip(1 + distance / (FADING * truncation), MIN_TRUST, 1)
        hits = state.hits[near] + fading * evidence.vote[pixels]
        state.hits[near] = np.minimum(hits, self.config.max_weight)
        weight = fading * evidence.weight[pixels]
        self._average(state, near, distance, weight)
        if evidence.rgb is not None:
            close = np.flatnonzero(np.abs(distance) < 1.5 * state.grid.voxel_size_m)
            colors = evidence.rgb.take(pixels[close], axis=0)
            self._paint(state, near[close], colors, weight[close])

    def _average(
        self,
        state: TsdfState,
        voxels: NDArray[np.intp],
        distance_m: NDArray[np.float32],
        weight: NDArray[np.float32],
    ) -> None:
        old = state.weight[voxels]
        total = old + weight
        state.sdf_m[voxels] = (state.sdf_m[voxels] * old + distance_m * weight) / total
        state.weight[voxels] = np.minimum(total, self.config.max_weight)

    def _paint(
        self,
        state: TsdfState,
        voxels: NDArray[np.intp],
        rgb: NDArray[np.float32],
        weight: NDArray[np.float32],
    ) -> None:
        old = state.color_weight[voxels]
        total = old + weight
        state.color[voxels] += (weight / total)[:, None] * (rgb - state.color[voxels])
        state.color_weight[voxels] = np.minimum(total, self.config.max_weight)

    def _grow(self, state: TsdfState, view: View) -> None:
        """Enlarge grid and arrays where the view shows the object to reach beyond the grid."""
        low, high = growth(state.grid, view, self.config.max_voxels_per_axis)
        if not (low.any() or high.any()):
            return
        old = state.grid.shape
        state.grid = state.grid.padded(low, high)
        inner = tuple(slice(a, a + n) for a, n in zip(low.tolist(), old))
        for name in TsdfState.ARRAYS:
            values = getattr(state, name)
            grown = np.zeros((*state.grid.shape, *values.shape[1:]), np.float32)
            grown[inner] = values.reshape((*old, *values.shape[1:]))
            setattr(state, name, grown.reshape((-1, *values.shape[1:])))

    def shape(self, state: TsdfState) -> Shape:
        """Return what is known: 0.5 where nothing was seen.

        `observed` holds the voxels within the truncation of a seen surface; only there `sdf_m`
        was measured. Elsewhere it is plus or minus the truncation, or 0 where unknown.
        """
        truncation = np.float32(self.truncation_m(state.grid))
        free = (state.free > self.config.free_ratio * state.hits) & (state.free >= 0.3)
        observed = (state.weight > self.config.min_weight) & ~free
        free |= observed & (state.sdf_m > 1.5 * state.grid.voxel_size_m)
        sdf = np.where(observed, state.sdf_m, np.where(free, truncation, 0)).astype(np.float32)
        # Without a measurement the distance is 0, or large: half, or nothing.
        slope = np.float32(-0.5 / state.grid.voxel_size_m)
        occupancy = np.clip(sdf * slope + np.float32(0.5), 0, 1)
        size = state.grid.shape
        return Shape(
            grid=state.grid,
            occupancy=occupancy.reshape(size),
            sdf_m=sdf.reshape(size),
            observed=observed.reshape(size),
            free=free.reshape(size),
            colors=self._colors(state),
            views_used=state.views,
        )

    def _colors(self, state: TsdfState) -> NDArray[np.uint8] | None:
        painted = np.flatnonzero(state.color_weight)
        if not len(painted):
            return None
        colors = np.zeros(state.color.shape, np.uint8)
        colors[painted] = np.clip(state.color.take(painted, axis=0) + np.float32(0.5), 0, 255)
        return colors.reshape((*state.grid.shape, 3))
