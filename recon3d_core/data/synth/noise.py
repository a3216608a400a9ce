"""What a structured-light RGB-D camera makes of an exact depth image.

The disparity between projector and camera is measured in steps of 1/8 pixel (Khoshelham and
Elberink, Sensors 2012), so that the step of the depth grows as z². Axial and lateral noise
follow Nguyen, Izadi and Lovell, "Modeling Kinect Sensor Noise for Improved 3D Reconstruction and
Tracking" (3DIMPVT 2012). Missing depth has the causes that it has in the sensor: places that the
projector does not light, dark and grazing surfaces, edges, and the limits of the range.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.cameras import Camera

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class DepthNoise:
    """The sensor.

    Attributes:
        strength: Factor on all errors; 0 gives the exact depth within the range, 1 is typical.
        baseline_m: Distance of the projector, which is to the camera's left.
        disparity_step_px: Resolution of the disparity, for an image 640 pixels wide.
        min_range_m: Nearest depth that is measured.
        max_range_m: Farthest one.
    """

    strength: float = 1.0
    baseline_m: float = 0.075
    disparity_step_px: float = 0.125
    min_range_m: float = 0.3
    max_range_m: float = 5.0

    def apply(
        self,
        camera: Camera,
        depth_m: Floats,
        cosine: Floats,
        reflected: Floats,
        rng: np.random.Generator,
    ) -> Floats:
        """Return the measured depth.

        Args:
            camera: Intrinsics of the depth image.
            depth_m: (H, W) exact depth, 0 = nothing there.
            cosine: (H, W) cosine between the surface's normal and the ray, in [0, 1].
            reflected: (H, W) reflectance of the surface in [0, 1].
            rng: Source of randomness.

        Returns:
            (H, W) float32, 0 = invalid.
        """
        in_range = (depth_m >= self.min_range_m) & (depth_m <= self.max_range_m)
        if self.strength <= 0:
            return depth_m * in_range
        edge = _discontinuities(depth_m)
        measured = _laterally_shifted(depth_m, edge, self.strength, rng)
        lost = self._lost(camera, depth_m, cosine, reflected, edge, rng)
        measured = measured + self.strength * _axial_sigma(measured, cosine) * _smooth_normal(
            depth_m.shape, rng
        )
        measured = self._quantised(camera, measured)
        in_range &= (measured >= self.min_range_m) & (measured <= self.max_range_m)
        return measured * (in_range & ~lost)

    def _quantised(self, camera: Camera, depth_m: Floats) -> Floats:
        step = np.float32(self.strength * self.disparity_step_px * camera.width / 640)
        disparity_m = np.float32(camera.fx * self.baseline_m)
        steps = np.rint(disparity_m / (np.maximum(depth_m, np.float32(1e-3)) * step))
        quantised: Floats = (disparity_m / step) / np.maximum(steps, np.float32(1))
        return quantised

    def _lost(
        self,
        camera: Camera,
        depth_m: Floats,
        cosine: Floats,
        reflected: Floats,
        edge: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> NDArray[np.bool_]:
        """Return where no depth is measured."""
        chance = 0.5 * edge
        # From 75 degrees on the pattern smears, beyond 86 nothing is left of it.
        chance = np.maximum(chance, _ramp(cosine, 0.26, 0.07))
        light = reflected * np.sqrt(cosine) / np.maximum(depth_m, np.float32(0.5))
        chance = np.maximum(chance, np.float32(0.9) * _ramp(light, 0.05, 0.015))
        patchy = rng.random((depth_m.shape[0] // 2 + 1, depth_m.shape[1] // 2 + 1), np.float32)
        draw = cv2.resize(patchy, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
        draw = draw[: depth_m.shape[0], : depth_m.shape[1]]
        return np.asarray((draw < self.strength * chance) | self._unlit(camera, depth_m))

    def _unlit(self, camera: Camera, depth_m: Floats) -> NDArray[np.bool_]:
        """Return which pixels the projector does not reach.

        Seen from the projector a pixel at x lies at x + disparity; it is in the shadow of a
        nearer surface to its left that reaches further right there.
        """
        far = np.where(depth_m > 0, depth_m, np.float32(1e3))
        place = (
            np.arange(camera.width, dtype=np.float32)
            + np.float32(camera.fx * self.baseline_m) / far
        )
        reach = np.maximum.accumulate(place, axis=1)
        return np.asarray(place < reach - 1.5)


def noisy_rgb(
    rgb: NDArray[np.uint8], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a colour image (H, W, 3) with sensor noise of about 2 grey values."""
    if strength <= 0:
        return rgb
    spread = max(1, round(3 * strength))
    grain = rng.integers(0, 2 * spread + 1, rgb.shape, np.uint8)
    # Saturating arithmetic of OpenCV; numpy would need a wider type.
    return np.asarray(cv2.subtract(cv2.add(rgb, grain), np.full_like(rgb, spread)))


def _ramp(values: Floats, zero_at: float, one_at: float) -> Floats:
    scaled: Floats = (values - np.float32(zero_at)) / np.float32(one_at - zero_at)
    return np.asarray(np.clip(scaled, 0, 1))


def _axial_sigma(depth_m: Floats, cosine: Floats) -> Floats:
    """Return the standard deviation of z in metres (Nguyen et al. 2012, equations 2 and 3)."""
    sigma: Floats = np.float32(0.0012) + np.float32(0.0019) * (depth_m - np.float32(0.4)) ** 2
    steep = cosine < np.float32(0.5)
    angle = np.arccos(cosine[steep])
    z = np.maximum(depth_m[steep], np.float32(0.3))
    sigma[steep] += (
        np.float32(1e-4) / np.sqrt(z) * (angle / np.maximum(np.pi / 2 - angle, 0.05)) ** 2
    )
    return sigma


def _smooth_normal(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return normal noise (H, W) of deviation 1 that neighbours share, as matching windows do."""
    half = (shape[0] // 2 + 1, shape[1] // 2 + 1)
    coarse = rng.standard_normal(half, np.float32)
    fine = cv2.resize(coarse, (2 * half[1], 2 * half[0]), interpolation=cv2.INTER_LINEAR)
    # Linear interpolation at a quarter of a sample keeps (0.75² + 0.25²)² of the variance.
    return np.asarray(fine[: shape[0], : shape[1]] / np.float32(0.625), np.float32)


def _discontinuities(depth_m: Floats) -> NDArray[np.bool_]:
    """Return pixels within 1 px of a jump in depth of more than 2 % and 1 cm."""
    window = np.ones((3, 3), np.uint8)
    high, low = cv2.dilate(depth_m, window), cv2.erode(depth_m, window)
    return np.asarray(high - low > np.maximum(0.02 * high, np.float32(0.01)))


def _laterally_shifted(
    depth_m: Floats, edge: NDArray[np.bool_], strength: float, rng: np.random.Generator
) -> Floats:
    """Take depth near edges from a neighbour of deviation 0.8 px (Nguyen et al. 2012)."""
    near = np.flatnonzero(cv2.dilate(edge.astype(np.uint8), np.ones((3, 3), np.uint8)))
    height, width = depth_m.shape
    shift = np.rint(rng.standard_normal((2, near.size), np.float32) * 0.8 * strength).astype(int)
    y = np.clip(near // width + shift[0], 0, height - 1)
    x = np.clip(near % width + shift[1], 0, width - 1)
    shifted: Floats = depth_m.copy()
    shifted.ravel()[near] = depth_m[y, x]
    return shifted
