"""The self-check: an object's mesh, rendered into the views that made it, against what they saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply, Array, invert
from recon3d_core.scene.options import SelfCheckOptions
from recon3d_core.types import Mesh, SelfCheck, View

MARGIN_PX = 8
MAX_PIXELS = 8_000
BOX_VERTICES = 1_000
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
    scene = _RayScene(mesh)
    found = [one for view in views if (one := scene.compare(view)) is not None]
    if not found:
        return SelfCheck(0.0, float('nan'), False)
    iou = float(np.median([one.silhouette_iou for one in found]))
    residual = _median([one.depth_residual_m for one in found])
    passed = iou >= options.min_silhouette_iou
    passed &= not residual > options.max_depth_residual_m
    free = [one.free_share for one in found if np.isfinite(one.free_share)]
    return SelfCheck(iou, residual, bool(passed), float(np.mean(free)) if free else float('nan'))


def _median(values: Sequence[float]) -> float:
    measured = [value for value in values if np.isfinite(value)]
    return float(np.median(measured)) if measured else float('nan')


def compare(mesh: Mesh, view: View) -> Agreement | None:
    """Return how a mesh agrees with one view.

    None where the view has no pose, or neither mesh nor mask has a pixel that counts.
    """
    return _RayScene(mesh).compare(view)


class Agreement(NamedTuple):
    """How a mesh agrees with one view.

    Attributes:
        silhouette_iou: IoU of rendered and seen mask.
        depth_residual_m: Median absolute error of the depth in both; NaN without depth.
        free_share: Part of the volume between front and back of the mesh that the camera looked
            through to something behind it; NaN without depth.
    """

    silhouette_iou: float
    depth_residual_m: float
    free_share: float


class _RayScene:
    """A mesh made ready for rays once, for all views."""

    def __init__(self, mesh: Mesh) -> None:
        self._empty = not len(mesh.faces)
        if self._empty:
            return
        # About the middle: far from the origin, single precision would be too coarse.
        self._middle = mesh.vertices_m.mean(0, dtype=np.float64)
        local = (mesh.vertices_m - self._middle).astype(np.float32)
        self._reach_m = float(np.linalg.norm(np.ptp(local, axis=0)))
        self._sample = local[:: -(-len(local) // BOX_VERTICES)]
        self._scene = o3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(
            o3d.core.Tensor.from_numpy(local),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, np.uint32)),
        )

    def compare(self, view: View) -> Agreement | None:
        """Return what `compare` does."""
        if view.frame.T_world_camera is None or self._empty:
            return None
        T_mesh_camera = view.frame.T_world_camera.copy()
        T_mesh_camera[:3, 3] -= self._middle
        window = _window(self._sample, T_mesh_camera, view)
        if window is None:
            return None
        x0, y0, x1, y1, step = window
        camera = view.frame.camera.cropped(x0, y0, x1 - x0, y1 - y0).subsampled(step)
        part = (slice(y0, y1, step), slice(x0, x1, step))
        front, back = self._depths_m(
            camera, T_mesh_camera, with_back=view.frame.depth_m is not None
        )
        return _agreement(front, back, view, part)

    def _depths_m(
        self, camera: Camera, T_mesh_camera: Array, *, with_back: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the depth images (H, W) of the mesh's front and back, 0 where there is none."""
        y, x = np.mgrid[: camera.height, : camera.width]
        directions = camera.unproject(np.stack([x, y], -1), np.ones(x.shape))
        rays = np.empty((*x.shape, 6), np.float32)
        rays[..., :3] = T_mesh_camera[:3, 3]
        rays[..., 3:] = directions @ T_mesh_camera[:3, :3].T
        # The rays have z = 1 in the camera, hence the distance along them is depth.
        front = self._cast(rays)
        back = np.zeros_like(front)
        hit = front > 0
        if with_back and hit.any():
            far = float(front.max()) + 2 * self._reach_m
            behind = rays[hit]
            behind[:, :3] += far * behind[:, 3:]
            behind[:, 3:] *= -1
            back[hit] = far - self._cast(behind)
        return front, back

    def _cast(self, rays: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how far along rays (..., 6) the mesh is, 0 where they miss it."""
        found: NDArray[np.float32] = self._scene.cast_rays(o3d.core.Tensor.from_numpy(rays))[
            't_hit'
        ].numpy()
        return np.where(np.isfinite(found), found, np.float32(0))


def _agreement(
    rendered: NDArray[np.float32],
    back: NDArray[np.float32],
    view: View,
    part: tuple[slice, slice],
) -> Agreement | None:
    """Return what `compare` does, of depth images (h, w) of front and back, and a view's part."""
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
    return Agreement(iou, _residual_m(rendered, depth, common), _free_share(rendered, back, depth))


def _residual_m(
    rendered: NDArray[np.float32], depth: NDArray[np.float32] | None, common: NDArray[np.bool_]
) -> float:
    if depth is None:
        return float('nan')
    valid = common & (depth > 0)
    if not valid.any():
        return float('nan')
    return float(np.median(np.abs(rendered[valid] - depth[valid])))


def _free_share(
    front: NDArray[np.float32], back: NDArray[np.float32], depth: NDArray[np.float32] | None
) -> float:
    """Return which part of what lies between front and back was seen to be empty."""
    if depth is None:
        return float('nan')
    known = (front > 0) & (depth > 0)
    thick = np.maximum(back - front, 0)[known]
    # Pixels cover an area that grows with the square of the depth.
    weight = front[known] ** 2
    total = float((thick * weight).sum())
    if total <= 0:
        return float('nan')
    through = np.clip(depth[known] - IN_FRONT_M - front[known], 0, thick)
    return float((through * weight).sum()) / total


def _window(
    points_m: NDArray[np.float32], T_mesh_camera: Array, view: View
) -> tuple[int, int, int, int, int] | None:
    """Return x0, y0, x1, y1 (ends exclusive) and the step of the pixels to compare.

    The part holds mask and mesh; it is subsampled where it is large. None where it is empty.
    """
    camera = view.frame.camera
    low = np.array(view.box_xyxy[:2], np.float64)
    high = np.array(view.box_xyxy[2:], np.float64)
    mesh_box = _pixel_box(points_m, camera, T_mesh_camera)
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
    points_m: NDArray[np.float32], camera: Camera, T_mesh_camera: Array
) -> tuple[Array, Array] | None:
    """Return the pixel box of the points before the camera."""
    points = apply(invert(T_mesh_camera), points_m.astype(np.float64))
    points = points[points[:, 2] > NEAR_M]
    if not len(points):
        return None
    pixels = camera.project(points)
    return pixels.min(0), pixels.max(0)
