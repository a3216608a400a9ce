"""The contract of the renderers: an object in its cube, cameras and lights in, images out.

Open3D's ray casting (CPU) and the torch one (any device, no display) both keep it, so that their
masks and depths can be compared. Backgrounds, occluders, blur and noise come after rendering.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Cameras:
    """V pinhole cameras of one image size, undistorted, pixel centres at integers.

    Attributes:
        K: (V, 3, 3) float64 intrinsics in pixels.
        T_camera_cube: (V, 4, 4) float64 cube to camera's optical frame, in edges of the cube.
        height: Rows of the images.
        width: Columns of the images.
    """

    K: NDArray[np.float64]
    T_camera_cube: NDArray[np.float64]
    height: int
    width: int

    def normalized_K(self) -> NDArray[np.float32]:
        """Return (V, 3, 3) intrinsics for image coordinates in [0, 1] (`ViewCameras.K`)."""
        to_unit = np.array(
            [
                [1 / self.width, 0, 0.5 / self.width],
                [0, 1 / self.height, 0.5 / self.height],
                [0, 0, 1],
            ]
        )
        return (to_unit @ self.K).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Lighting:
    """Lights and gloss of a rendering, the same for all its views.

    Attributes:
        directions_cube: (L, 3) float32 unit vectors towards distant lights.
        powers: (L, 3) float32 RGB radiance on a white surface that faces each light.
        ambient: (3,) float32 RGB radiance from everywhere.
        gloss: Strength of the Blinn-Phong highlight, 0 = matt.
        shininess: Its exponent.
    """

    directions_cube: NDArray[np.float32]
    powers: NDArray[np.float32]
    ambient: NDArray[np.float32]
    gloss: float = 0.0
    shininess: float = 32.0


@dataclasses.dataclass(frozen=True)
class Rendered:
    """What V cameras see of one object alone.

    Attributes:
        rgb: (V, H, W, 3) uint8 colour of the object alone, not mixed with a background; 0 where
            it covers nothing.
        mask: (V, H, W) bool, pixels whose centre sees the object.
        depth: (V, H, W) float32 along the optical axis in edges of the cube, 0 = nothing.
        normals_camera: (V, H, W, 3) float32 unit normals towards the camera, 0 = nothing.
        coverage: (V, H, W) uint8, how much of each pixel the object covers, 0 to 255; None where
            a renderer does not know.
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    depth: NDArray[np.float32]
    normals_camera: NDArray[np.float32]
    coverage: NDArray[np.uint8] | None = None
