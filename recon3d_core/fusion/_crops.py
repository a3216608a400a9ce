"""What networks see of a view: a square crop around the mask, as in training, with its camera."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.crops import (
    cut_square,
    mask_box,
    normalized_K,
    resize_square,
    square_around,
    WHITE,
)
from recon3d_core.errors import FrameError
from recon3d_core.fusion._outlines import CELL_VOXELS, Outline
from recon3d_core.fusion._project import NEAR_M, pose_of
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, Array, invert
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.types import Frame, View
import torch
from torch import Tensor

_TOUCHING = 0.2  # two pixels wide, by the root of the mask's area: some 3 % of the outline
SOLID = 128  # coverage from which a pixel is the object's


@dataclasses.dataclass(frozen=True)
class Crop:
    """A view at a network's size; all that a reconstructor keeps of it.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        mask: (S, S) uint8 coverage by the object, 0 to 255.
        K: (3, 3) float32 intrinsics for image coordinates in [0, 1] (`ViewCameras`).
        T_world_camera: (4, 4) pose of the camera.
        whole: Whether all of the object is in the image.
        meets: Whether its mask meets another object's, which may hide a part of it.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    K: NDArray[np.float32]
    T_world_camera: Array
    whole: bool
    meets: bool = False

    @property
    def camera(self) -> Camera:
        """Intrinsics in the crop's pixels."""
        size = len(self.mask)
        K = self.K.astype(np.float64) * size
        return Camera(
            size, size, float(K[0, 0]), float(K[1, 1]), float(K[0, 2] - 0.5), float(K[1, 2] - 0.5)
        )

    def view(self) -> View:
        """Return it as a view of the pipeline."""
        solid = self.mask >= SOLID
        x0, y0, x1, y1 = mask_box(solid)
        frame = Frame(0, self.camera, rgb=self.image, T_world_camera=self.T_world_camera)
        return View(frame, solid, (int(x0), int(y0), int(x1) - 1, int(y1) - 1))

    def outline(self, grid: VoxelGrid) -> tuple[Outline, int]:
        """Return its mask at about a grid's resolution, and how many pixels make a cell."""
        camera = self.camera
        distance_m = max(float(self.depth_m(middle_of(grid))), NEAR_M)
        step = max(1, round(CELL_VOXELS * grid.voxel_size_m * camera.fx / distance_m))
        mask = self.mask[::step, ::step] >= SOLID
        return Outline(mask, camera.subsampled(step), self.T_world_camera), step

    def depth_m(self, point_world_m: NDArray[np.floating]) -> float:
        """Return the depth of a point (3,) along the optical axis."""
        return float((point_world_m - self.T_world_camera[:3, 3]) @ self.T_world_camera[:3, 2])


def crop_of(view: View, size: int) -> Crop | None:
    """Return the crop of a view, or None where its mask is empty, or too thin for the size.

    Where the image's border cuts the object off, the crop ends there too: what lies beyond was
    not seen to be empty.

    Args:
        view: A view with colour and pose.
        size: Edge of the crop, pixels.

    Raises:
        FrameError: The view has no colour or pose, or its mask has not the image's size.
    """
    T_world_camera = pose_of(view)
    if view.frame.rgb is None:
        raise FrameError('no_color', 'view without a colour image', fix='Check the camera.')
    if not view.mask.any():
        return None
    height, width = view.mask.shape
    box = mask_box(view.mask)
    x0, y0, side = square_around(box)
    cut = (box[0] <= 0, box[1] <= 0, box[2] >= width, box[3] >= height)
    x0, y0 = _inside(x0, side, width, cut[0], cut[2]), _inside(y0, side, height, cut[1], cut[3])
    image = cut_square(view.frame.rgb, x0, y0, side, WHITE)
    mask = resize_square(cut_square(view.mask.astype(np.uint8) * 255, x0, y0, side), size)
    if not (mask >= SOLID).any():
        return None
    return Crop(
        resize_square(image, size),
        mask,
        normalized_K(view.frame.camera.K, x0, y0, side),
        T_world_camera,
        not any(cut),
        _meets(view),
    )


def _meets(view: View) -> bool:
    """Return whether a noticeable part of a mask's outline runs along other objects."""
    if view.others is None:
        return False
    around = cv2.dilate(view.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    touching = np.count_nonzero(around & view.others & ~view.mask)
    return bool(touching > _TOUCHING * np.sqrt(np.count_nonzero(view.mask)))


def _inside(start: int, side: int, end: int, cut_low: bool, cut_high: bool) -> int:
    """Return where a crop starts, moved off the border that cuts the object off."""
    if cut_low and not cut_high:
        return max(start, 0)
    if cut_high and not cut_low:
        return min(start, end - side)
    return start


def keep_apart(crops: Sequence[Crop], limit: int, grid: VoxelGrid) -> tuple[Crop, ...]:
    """Return at most `limit` crops, the newest last; the older of the two most alike goes."""
    kept = list(crops)
    middle = middle_of(grid)
    while len(kept) > limit:
        offsets = np.array([crop.T_world_camera[:3, 3] - middle for crop in kept])
        offsets /= np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-9)
        alike = np.triu(offsets @ offsets.T, 1) + np.tril(np.full((len(kept),) * 2, -2.0))
        del kept[int(alike.argmax()) // len(kept)]
    return tuple(kept)


def middle_of(grid: VoxelGrid) -> NDArray[np.float64]:
    """Return the centre (3,) of a grid in the world."""
    middle: NDArray[np.float64] = apply(grid.T_world_grid, grid.extent_m / 2).astype(np.float64)
    return middle


def as_tensors(crop: Crop, device: str) -> tuple[Tensor, Tensor]:
    """Return image (1, 1, 3, S, S) and coverage (1, 1, 1, S, S) in [0, 1], float32."""
    image = torch.from_numpy(crop.image).to(device).permute(2, 0, 1).float() / 255
    mask = torch.from_numpy(crop.mask).to(device).float() / 255
    return image[None, None], mask[None, None, None]


def cameras_of(crop: Crop, grid: VoxelGrid, device: str) -> ViewCameras:
    """Return the crop's camera (1, 1) about the cube around a grid, in edges of that cube."""
    T_world_cube = grid.T_world_grid.copy()
    T_world_cube[:3, 3] = middle_of(grid)
    T = invert(crop.T_world_camera) @ T_world_cube
    T[:3, 3] /= grid.extent_m.max()
    K = torch.from_numpy(crop.K).to(device)
    return ViewCameras(K[None, None], torch.from_numpy(T).float().to(device)[None, None])
