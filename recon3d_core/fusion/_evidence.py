"""What each pixel of a view says of an object's voxels: labels, distances, weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import FrameError
from recon3d_core.fusion._project import Window
from recon3d_core.geometry.cameras import Camera, pixel_rays
from recon3d_core.types import View

SILENT, OBJECT, BACKGROUND, HOLE = 0, 1, 2, 3
MIN_COSINE = 0.2
FULL_TRUST_M = 0.8
EDGE_TRUST = 0.15


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A view's pixels in a window, flattened, with one silent pixel appended.

    Attributes:
        label: (n + 1,) uint8: SILENT says nothing; OBJECT and BACKGROUND, other objects
            included, have depth; HOLE has none, and lies outside of the mask and of
            the others that the view tells of.
        depth_m: (n + 1,) float32.
        weight: (n + 1,) float32 trust in [0, 1] of a depth; OBJECT pixels only.
        vote: (n + 1,) float32 vote of a depth, in [0, 1], for the surface being the object's.
        slope: (n + 1,) float32 factor from depth difference to distance from the surface.
        rgb: (n + 1, 3) float32, or None.
    """

    label: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    weight: NDArray[np.float32]
    vote: NDArray[np.float32]
    slope: NDArray[np.float32]
    rgb: NDArray[np.float32] | None


def depth_of(view: View) -> NDArray[np.float32]:
    """Return the depth image of a view.

    Raises:
        FrameError: It has none, or one of another size than the camera's.
    """
    depth = view.frame.depth_m
    if depth is None:
        raise FrameError('no_depth', 'view without depth', fix='Take a reconstructor for RGB.')
    size = (view.frame.camera.height, view.frame.camera.width)
    if depth.shape != size:
        raise FrameError('size_mismatch', 'depth image', depth.shape, f'{size} as camera')
    return depth


def gather(view: View, window: Window, jump_m: float) -> Evidence:
    """Return what the pixels of a window say.

    Args:
        view: The view; it has depth.
        window: Part of the image.
        jump_m: Neighbouring depths that differ by more than this lie on different surfaces.
    """
    part = (window.rows, window.columns)
    depth = np.where(np.isfinite(depth_of(view)[part]), depth_of(view)[part], 0)
    depth = np.ascontiguousarray(depth, np.float32)
    mask = view.mask[part]
    valid = depth > 0
    label = np.where(mask, np.where(valid, OBJECT, SILENT), np.where(valid, BACKGROUND, HOLE))
    if view.others is not None:
        other = view.others[part] & ~mask
        label[other & ~valid] = SILENT
    camera = view.frame.camera.cropped(
        window.columns.start, window.rows.start, window.shape[1], window.shape[0]
    )
    label[_leaks(depth, mask, jump_m)] = SILENT
    cosine, edge = _surface(camera, depth, mask, jump_m)
    weight = cosine * np.clip(FULL_TRUST_M / np.maximum(depth, 0.01), 0.3, 1)
    vote = np.where(edge, np.float32(EDGE_TRUST), np.float32(1))
    weight *= vote
    rgb = view.frame.rgb
    return Evidence(
        _append(label.astype(np.uint8), SILENT),
        _append(depth, 0),
        _append(np.maximum(weight, 0.01).astype(np.float32), 0),
        _append(vote, 0),
        _append(cosine, 1),
        None if rgb is None else _colors(rgb[part]),
    )


def _leaks(
    depth: NDArray[np.float32], mask: NDArray[np.bool_], jump_m: float
) -> NDArray[np.bool_]:
    """Return the pixels (H, W) of a mask's fringe that show what is behind the object."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) > 0
    reach = cv2.dilate(np.where(inner, depth, 0).astype(np.float32), np.ones((7, 7), np.uint8))
    return mask & (reach > 0) & (depth > reach + 0.5 * jump_m)


def _append(image: NDArray[Any], value: float) -> NDArray[Any]:
    return np.append(image.ravel(), image.dtype.type(value))


def _colors(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.vstack([rgb.reshape(-1, 3), np.zeros((1, 3), np.uint8)]).astype(np.float32)


def _surface(
    camera: Camera, depth: NDArray[np.float32], mask: NDArray[np.bool_], jump_m: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the factor from ray to normal distance (H, W) and which pixels are at an edge."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    low = cv2.erode(depth, np.ones((3, 3), np.uint8))
    high = cv2.dilate(depth, np.ones((3, 3), np.uint8))
    edge = (inner == 0) | (high - low > jump_m + 0.02 * depth)
    # Normals of a smoothed depth: single pixels of a depth camera are too noisy for them.
    smooth = cv2.blur(np.where(edge, 0, depth), (5, 5))
    count = cv2.blur(np.where(edge, 0, 1).astype(np.float32), (5, 5))
    smooth = np.where(count > 0.2, smooth / np.maximum(count, 0.2), depth)
    cosine = _facing(pixel_rays_uncached(camera), smooth)
    cosine[edge] = np.maximum(cosine[edge], np.float32(0.5))
    return np.clip(cosine, np.float32(MIN_COSINE), np.float32(1)), edge


def _facing(rays: NDArray[np.float32], depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return distance from the surface over distance along the axis (H, W); 1 where unknown.

    Args:
        rays: (H, W, 3) rays of the pixels, scaled to z = 1.
        depth_m: (H, W).
    """
    ray_x, ray_y = rays[..., 0], rays[..., 1]
    axes = (ray_x * depth_m, ray_y * depth_m, depth_m)
    ax, ay, az = (cv2.Sobel(values, cv2.CV_32F, 1, 0, ksize=3) for values in axes)
    dx, dy, dz = (cv2.Sobel(values, cv2.CV_32F, 0, 1, ksize=3) for values in axes)
    # Axis by axis: products and sums over a short last axis are several times slower.
    x, y, z = ay * dz - az * dy, az * dx - ax * dz, ax * dy - ay * dx
    length = np.sqrt(x * x + y * y + z * z)
    facing = np.abs(x * ray_x + y * ray_y + z)
    return np.where(length > 0, facing / np.maximum(length, np.float32(1e-12)), np.float32(1))


def pixel_rays_uncached(camera: Camera) -> NDArray[np.float32]:
    """Return the rays (H, W, 3) of a pinhole window; windows differ each time, so none is kept."""
    if camera.distorted:
        return pixel_rays(camera)
    rays = np.ones((camera.height, camera.width, 3), np.float32)
    rays[..., 0] = (np.arange(camera.width) - camera.cx) / camera.fx
    rays[..., 1] = ((np.arange(camera.height) - camera.cy) / camera.fy)[:, None]
    return rays
