"""The object TSDF voxel by voxel: slow and obvious, for tests."""

from __future__ import annotations

import numpy as np
from recon3d_core.fusion._evidence import BACKGROUND, gather, HOLE, OBJECT
from recon3d_core.fusion._project import Window
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor, TsdfState
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import View


def observe_reference(
    reconstructor: TsdfObjectReconstructor, state: TsdfState, view: View
) -> TsdfState:
    """Return the state after one view more, without growing the grid or painting it."""
    camera, T_world_camera = view.frame.camera, view.frame.T_world_camera
    assert T_world_camera is not None
    config = reconstructor.config
    truncation = reconstructor.truncation_m(state.grid)
    window = Window(slice(0, camera.height), slice(0, camera.width))
    evidence = gather(view, window, truncation)
    points = apply(invert(T_world_camera), state.grid.centers_world_m().reshape(-1, 3))
    for voxel, point in enumerate(points):
        if point[2] <= 0:
            continue
        x, y = np.floor(camera.project(point) + 0.5).astype(int)
        if not (0 <= x < camera.width and 0 <= y < camera.height):
            continue
        pixel = y * camera.width + x
        label = evidence.label[pixel]
        ahead = float(evidence.depth_m[pixel] - point[2])
        if label == HOLE:
            state.free[voxel] += config.hole_vote
        elif label == BACKGROUND and ahead > 0.4 * truncation:
            state.free[voxel] += 1
        elif label == BACKGROUND and abs(ahead) <= 0.4 * truncation:
            state.free[voxel] += config.background_vote
        elif label == OBJECT and ahead > truncation:
            state.free[voxel] += 1
        distance = ahead * float(evidence.slope[pixel])
        near = abs(ahead) < truncation
        near |= abs(ahead) < 2 * truncation and abs(distance) < 0.5 * truncation
        if label == OBJECT and near:
            fading = np.clip(1 + distance / (0.4 * truncation), 0.05, 1)
            hits = state.hits[voxel] + fading * float(evidence.vote[pixel])
            state.hits[voxel] = min(hits, config.max_weight)
            weight = float(evidence.weight[pixel]) * fading
            total = state.weight[voxel] + weight
            mean = state.sdf_m[voxel] * state.weight[voxel] + distance * weight
            state.sdf_m[voxel] = mean / total
            state.weight[voxel] = min(total, config.max_weight)
        state.free[voxel] = min(state.free[voxel], config.max_weight)
    state.views += 1
    return state
