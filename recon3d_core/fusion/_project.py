"""Where the voxels of a grid fall in an image; the part that all fusions share."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import FrameError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, Array, invert
from recon3d_core.types import View

NEAR_M = 0.02


@dataclasses.dataclass(frozen=True)
class Window:
    """The part of an image in which a grid is seen.

    Attributes:
        rows: Rows of the image.
        columns: Columns of the image.
    """

    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def pose_of(view: View) -> Array:
    """Return `T_world_camera` of a view.

    Raises:
        FrameError: The frame has none, or the mask has not the image's size.
    """
    if view.frame.T_world_camera is None:
        raise FrameError('no_pose', 'view without a camera pose', fix='Check the pose source.')
    size = (view.frame.camera.height, view.frame.camera.width)
    if view.mask.shape != size:
        raise FrameError('size_mismatch', 'mask', view.mask.shape, f'{size} as camera')
    return view.frame.T_world_camera


def window_of(grid: VoxelGrid, camera: Camera, T_world_camera: Array) -> Window | None:
    """Return the part of the image that a grid may cover, or None where it is out of sight."""
    corners = np.array(list(np.ndindex(2, 2, 2)), np.float64) * grid.extent_m
    T_camera_grid = invert(T_world_camera) @ grid.T_world_grid
    points = apply(T_camera_grid, corners)
    if (points[:, 2] < NEAR_M).all():
        return None
    low, high = np.zeros(2), np.array([camera.width, camera.height], np.float64)
    if (points[:, 2] >= NEAR_M).all():
        pixels = camera.project(points)
        low = np.maximum(low, np.floor(pixels.min(0)) - 1)
        high = np.minimum(high, np.ceil(pixels.max(0)) + 2)
    if (low >= high).any():
        return None
    (x0, y0), (x1, y1) = low.astype(int).tolist(), high.astype(int).tolist()
    return Window(slice(y0, y1), slice(x0, x1))


def project_centers(
    grid: VoxelGrid, camera: Camera, T_world_camera: Array, window: Window
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Project all voxel centres into a window of an image.

    Args:
        grid: The voxels.
        camera: Intrinsics of the whole image, without distortion.
        T_world_camera: Pose of the camera.
        window: Part of the image to index.

    Returns:
        Flat index (n,) of the nearest pixel in the window, one past its last pixel where the
        voxel falls outside; and the voxels' depths (n,) in metres.
    """
    T_camera_grid = invert(T_world_camera) @ grid.T_world_grid
    steps = [
        ((np.arange(n) + 0.5) * grid.voxel_size_m)[:, None] * T_camera_grid[:3, axis]
        for axis, n in enumerate(grid.shape)
    ]
    # K R, so that one division gives pixels; pixel centres at integers make + 0.5 a rounding.
    matrix = np.eye(3)
    matrix[0] = camera.fx, 0, camera.cx - window.columns.start + 0.5
    matrix[1] = 0, camera.fy, camera.cy - window.rows.start + 0.5
    ax, ay, az = (step @ matrix.T for step in steps)
    az = az + matrix @ T_camera_grid[:3, 3]
    x, y, z = (
        (ax[:, None, None, i] + ay[None, :, None, i]).astype(np.float32)
        + az[None, None, :, i].astype(np.float32)
        for i in range(3)
    )
    height, width = window.shape
    inverse = 1 / np.maximum(z, np.float32(NEAR_M))
    x *= inverse
    y *= inverse
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z > NEAR_M)
    np.clip(x, 0, width - 1, out=x)
    np.clip(y, 0, height - 1, out=y)
    index = y.astype(np.int32) * np.int32(width) + x.astype(np.int32)
    index[~inside] = height * width
    return index.ravel(), z.ravel()
