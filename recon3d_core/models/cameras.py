"""The cameras of a batch of views, independent of the images' size in pixels."""

from __future__ import annotations

import dataclasses

from recon3d_core.checks import check_shape
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class ViewCameras:
    """Pinhole cameras around an object's cube ([-0.5, 0.5]^3, in units of its edge).

    Attributes:
        K: (B, V, 3, 3) float32. It maps points of the camera's optical frame to image coordinates
            (u, v, 1) * z where (0, 0) is the image's outer upper left corner and (1, 1) its lower
            right one: pixel column i of a width W has its centre at u = (i + 0.5) / W.
        T_camera_cube: (B, V, 4, 4) float32, cube coordinates to the camera's optical frame, both
            in edges of the cube.
    """

    K: Tensor
    T_camera_cube: Tensor

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            InputError: A shape is wrong.
        """
        check_shape('K', self.K, ('B', 'V', 3, 3))
        check_shape('T_camera_cube', self.T_camera_cube, (*self.K.shape[:2], 4, 4))

    def to(self, device: torch.device | str) -> ViewCameras:
        """Return them on another device."""
        return ViewCameras(self.K.to(device), self.T_camera_cube.to(device))

    def view(self, index: int) -> ViewCameras:
        """Return the cameras (B, 1) of one view."""
        part = slice(index, index + 1) if index >= 0 else slice(index, index + 1 or None)
        return ViewCameras(self.K[:, part], self.T_camera_cube[:, part])

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project points of the cube.

        Args:
            points: (P, 3), or (B, V, P, 3).

        Returns:
            Image coordinates (B, V, P, 2) in [0, 1] where inside the image, and depths (B, V, P)
            along the optical axis in edges of the cube. Coordinates of points that are not in
            front of the camera mean nothing.
        """
        # Autocast and TF32 leave float64 alone; in their precision points are a pixel off.
        T, K = self.T_camera_cube.double(), self.K.double()
        camera = points.double() @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]
        image = camera @ K.transpose(-1, -2)
        depth = camera[..., 2]
        places = image[..., :2] / depth[..., None].clamp_min(1e-6)
        return places.to(self.K.dtype), depth.to(self.K.dtype)
