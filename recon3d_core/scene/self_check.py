"""The self-check: an object's mesh, rendered into the views that made it, against what they saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.meshing.render import cast_mesh
from recon3d_core.scene.options import SelfCheckOptions
from recon3d_core.types import Mesh, SelfCheck, View

MARGIN_PX = 8
MAX_PIXELS = 40_000
IN_FRONT_M = 0.01
NEAR_M = 0.02


def self_check(mesh: Mesh, views: Sequence[View], options: SelfCheckOptions) -> SelfCheck:
    """Compare a mesh with the masks and depths of views.

    Pixels say nothing where something nearer than the mesh hides it. Views that do not see the
    mesh's place at all are left out.

    Args:
        mesh: Mesh in the world's frame.
        views: Views with poses.
        options: Limits.

    Returns:
        The medians over the views; `passed` is False where no view could be compared.
    """
    ious, residuals = [], []
    for view in views:
        result = compare(mesh, view)
        if result is not None:
            ious.append(result[0])
            residuals.append(result[1])
    if not ious:
        return SelfCheck(0.0, float('nan'), False)
    iou = float(np.median(ious))
    measured = [value for value in residuals if np.isfinite(value)]
    residual = float(np.median(measured)) if measured else float('nan')
    passed = iou >= options.min_silhouette_iou
    passed &= not residual > options.max_depth_residual_m
    return SelfCheck(iou, residual, bool(passed))


def compare(mesh: Mesh, view: View) -> tuple[float, float] | None:
    """Return silhouette IoU and median absolute depth error (m, NaN without depth) in a view.

    None where the view has no pose, or neither mesh nor mask has a pixel that counts.
    """
    if view.frame.T_world_camera is None or not len(mesh.faces):
        return None
    window = _window(mesh, view)
    if window is None:
        return None
    x0, y0, x1, y1, step = window
    camera = view.frame.camera.cropped(x0, y0, x1 - x0, y1 - y0).subsampled(step)
    rendered = cast_mesh(mesh, camera, view.frame.T_world_camera)
    part = (slice(y0, y1, step), slice(x0, x1, step))
    mask = view.mask[part]
    silhouette = rendered > 0
    hidden = np.zeros_like(mask)
    depth = None if view.frame.depth_m is None else view.frame.depth_m[part]
    if depth is not None:
        hidden |= silhouette & ~mask & (depth > 0) & (depth < rendered - IN_FRONT_M)
    if view.others is not None:
        hidden |= view.others[part] & ~mask
    union = ((silhouette | mask) & ~hidden).sum()
    if not union:
        return None
    common = silhouette & mask
    iou = float((common & ~hidden).sum() / union)
    return iou, _residual_m(rendered, depth, common)


def _residual_m(
    rendered: NDArray[np.float32], depth: NDArray[np.float32] | None, common: NDArray[np.bool_]
) -> float:
    if depth is None:
        return float('nan')
    valid = common & (depth > 0)
    if not valid.any():
        return float('nan')
    return float(np.median(np.abs(rendered[valid] - depth[valid])))


def _window(mesh: Mesh, view: View) -> tuple[int, int, int, int, int] | None:
    """Return x0, y0, x1, y1 (ends exclusive) and the step of the pixels to compare.

    The part holds mask and mesh; it is subsampled where it is large. None where it is empty.
    """
    camera = view.frame.camera
    assert view.frame.T_world_camera is not None
    low = np.array(view.box_xyxy[:2], np.float64)
    high = np.array(view.box_xyxy[2:], np.float64)
    mesh_box = _pixel_box(mesh, camera, view.frame.T_world_camera)
    if mesh_box is not None:
        low, high = np.minimum(low, mesh_box[0]), np.maximum(high, mesh_box[1])
    elif not view.mask.any():
        return None
    size = np.array([camera.width, camera.height])
    low = np.clip(np.floor(low) - MARGIN_PX, 0, size).astype(int)
    high = np.clip(np.ceil(high) + MARGIN_PX + 1, 0, size).astype(int)
    pixels = int(np.prod(np.maximum(high - low, 0)))
    if not pixels:
        return None
    step = max(1, int(np.ceil(np.sqrt(pixels / MAX_PIXELS))))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1]), step


def _pixel_box(
    mesh: Mesh, camera: Camera, T_world_camera: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the pixel box of the mesh's part before the camera."""
    points = apply(invert(T_world_camera), mesh.vertices_m.astype(np.float64))
    points = points[points[:, 2] > NEAR_M]
    if not len(points):
        return None
    pixels = camera.project(points)
    return pixels.min(0), pixels.max(0)
