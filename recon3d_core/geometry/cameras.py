"""Pinhole cameras with the lens distortions of ROS's CameraInfo.

The camera frame is optical: x right, y down, z forward, metres. Pixel centres are at integers:
the centre of the image's first pixel is (0, 0). Depth is z along the optical axis.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError

DistortionModel = Literal['none', 'plumb_bob', 'rational_polynomial']
_COEFFICIENTS = {'none': (0,), 'plumb_bob': (4, 5), 'rational_polynomial': (8,)}


@dataclasses.dataclass(frozen=True)
class Camera:
    """Intrinsics of a camera.

    Attributes:
        width: Image width, pixels.
        height: Image height, pixels.
        fx: Focal length along x, pixels.
        fy: Focal length along y, pixels.
        cx: Principal point's x, pixels.
        cy: Principal point's y, pixels.
        distortion_model: Meaning of `distortion`; both are those of sensor_msgs/CameraInfo.
        distortion: k1 k2 p1 p2 [k3] (plumb_bob) or k1 k2 p1 p2 k3 k4 k5 k6 (rational).
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: DistortionModel = 'none'
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: A size or focal length is not positive, or the distortion does not fit.
        """
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if min(self.width, self.height) < 1 or not np.isfinite(numbers).all():
            raise InputError('camera of impossible intrinsics', self, 'finite values, size >= 1')
        if min(self.fx, self.fy) <= 0:
            raise InputError(
                'camera is not calibrated',
                f'fx = {self.fx:g}, fy = {self.fy:g}',
                'focal lengths above 0',
                'Calibrate it, or publish a camera_info whose K is filled.',
            )
        counts = _COEFFICIENTS.get(self.distortion_model)
        if counts is None:
            raise InputError(
                'unknown distortion model', repr(self.distortion_model), ', '.join(_COEFFICIENTS)
            )
        if len(self.distortion) not in counts:
            raise InputError(
                f'{self.distortion_model} distortion', f'{len(self.distortion)} values', counts
            )

    @property
    def K(self) -> NDArray[np.float64]:
        """The (3, 3) matrix of intrinsics."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @property
    def distorted(self) -> bool:
        """Whether the lens bends lines."""
        return any(self.distortion)

    def rectified(self) -> Camera:
        """Return the pinhole camera of the same K without distortion."""
        return dataclasses.replace(self, distortion_model='none', distortion=())

    def scaled(self, factor: float) -> Camera:
        """Return the camera of an image resized by a factor, pixel centres kept at integers."""
        return Camera(
            max(1, round(self.width * factor)),
            max(1, round(self.height * factor)),
            self.fx * factor,
            self.fy * factor,
            (self.cx + 0.5) * factor - 0.5,
            (self.cy + 0.5) * factor - 0.5,
            self.distortion_model,
            self.distortion,
        )

    def subsampled(self, step: int) -> Camera:
        """Return the camera of `image[::step, ::step]`."""
        return Camera(
            -(-self.width // step),
            -(-self.height // step),
            self.fx / step,
            self.fy / step,
            self.cx / step,
            self.cy / step,
            self.distortion_model,
            self.distortion,
        )

    def cropped(self, x0: int, y0: int, width: int, height: int) -> Camera:
        """Return the camera of the image's part that begins at (x0, y0)."""
        return dataclasses.replace(
            self, width=width, height=height, cx=self.cx - x0, cy=self.cy - y0
        )

    def project(self, points_camera_m: NDArray[np.floating]) -> NDArray[np.float64]:
        """Project points to pixels.

        Args:
            points_camera_m: (..., 3) in the camera's frame; z <= 0 gives NaN.

        Returns:
            (..., 2) pixels x, y; they may lie outside the image.
        """
        points = np.asarray(points_camera_m, np.float64)
        z = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        normalised = points[..., :2] / z
        if self.distorted:
            normalised = self._distort(normalised)
        return normalised * (self.fx, self.fy) + (self.cx, self.cy)

    def unproject(
        self, pixels: NDArray[Any], depth_m: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return the points (..., 3) in the camera's frame of pixels (..., 2) at depths (...).

        Pixels that the lens model cannot show, far outside the image, give NaN.
        """
        depth = np.asarray(depth_m, np.float64)[..., None]
        normalised = (np.asarray(pixels, np.float64) - (self.cx, self.cy)) / (self.fx, self.fy)
        if self.distorted:
            normalised = self._undistort(normalised)
        return np.concatenate([normalised * depth, depth], -1)

    def points(self, depth_m: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the points (H, W, 3) in the camera's frame of a depth image (H, W).

        Pixels without depth (0) give the origin.
        """
        if depth_m.shape != (self.height, self.width):
            raise InputError('depth image', depth_m.shape, (self.height, self.width))
        if self.distorted:
            points: NDArray[np.float32] = pixel_rays(self) * depth_m[..., None].astype(np.float32)
            return points
        # Without the cache of rays: crops of all sizes would push the whole images out of it.
        depth = depth_m.astype(np.float32, copy=False)
        points = np.empty((*depth.shape, 3), np.float32)
        points[..., 0] = depth * ((np.arange(self.width) - self.cx) / self.fx).astype(np.float32)
        points[..., 1] = depth * ((np.arange(self.height)[:, None] - self.cy) / self.fy).astype(
            np.float32
        )
        points[..., 2] = depth
        return points

    def _distort(self, normalised: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bend normalised coordinates (..., 2) as the lens does (OpenCV's model, Brown 1966)."""
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, 0, 0, 0, 0)[:8]
        x, y = normalised[..., 0], normalised[..., 1]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        bent_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return np.stack([bent_x, bent_y], -1)

    def _slopes(self, normalised: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the derivatives dx'/dx, dx'/dy = dy'/dx and dy'/dy of `_distort`."""
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, 0, 0, 0, 0)[:8]
        x, y = normalised[..., 0], normalised[..., 1]
        r2 = x * x + y * y
        over = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        under = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        bend = (k1 + r2 * (2 * k2 + r2 * 3 * k3)) * under
        bend = (bend - over * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / under**2
        d_xx = over / under + 2 * x * x * bend + 2 * p1 * y + 6 * p2 * x
        d_yy = over / under + 2 * y * y * bend + 6 * p1 * y + 2 * p2 * x
        d_xy = 2 * (x * y * bend + p1 * x + p2 * y)
        return d_xx, d_xy, d_yy

    def _undistort(self, bent: NDArray[np.float64]) -> NDArray[np.float64]:
        """Invert `_distort` by Newton's method; NaN where that does not converge.

        OpenCV's fixed-point rounds leave 0.1 px, and their criteria differ between its versions.
        """
        straight = bent.copy()
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            for _ in range(20):
                error = self._distort(straight) - bent
                if np.abs(error).max(initial=0.0) < 1e-13:
                    break
                d_xx, d_xy, d_yy = self._slopes(straight)
                determinant = d_xx * d_yy - d_xy * d_xy
                step_x = (d_yy * error[..., 0] - d_xy * error[..., 1]) / determinant
                step_y = (d_xx * error[..., 1] - d_xy * error[..., 0]) / determinant
                straight = straight - np.stack([step_x, step_y], -1)
            d_xx, d_xy, d_yy = self._slopes(straight)
            # Beyond the fold, where the image would turn over, the model means nothing.
            good = (d_xx > 0) & (d_xx * d_yy > d_xy * d_xy)
            good &= np.abs(self._distort(straight) - bent).max(-1) < 1e-9
        return np.where(good[..., None], straight, np.nan)


@functools.lru_cache(maxsize=16)
def pixel_rays(camera: Camera) -> NDArray[np.float32]:
    """Return the ray (H, W, 3) through each pixel, scaled to z = 1; do not write into it."""
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    pixels = np.stack([x, y], -1).astype(np.float64)
    rays = camera.unproject(pixels, np.ones(pixels.shape[:2])).astype(np.float32)
    rays.flags.writeable = False
    return rays


@functools.lru_cache(maxsize=16)
def _rectification_maps(camera: Camera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import cv2  # networks train where there is no OpenCV

    maps = cv2.initUndistortRectifyMap(
        camera.K,
        np.array(camera.distortion),
        np.eye(3),
        camera.K,
        (camera.width, camera.height),
        cv2.CV_32FC1,
    )
    return maps[0].astype(np.float32), maps[1].astype(np.float32)


def rectify(camera: Camera, image: NDArray[Any], *, is_depth: bool) -> NDArray[Any]:
    """Undo a lens's distortion; the result is what `camera.rectified()` would have seen.

    Args:
        camera: The distorted camera.
        image: (H, W) or (H, W, C).
        is_depth: True for depth and masks, whose values must not be mixed.
    """
    if not camera.distorted:
        return image
    import cv2

    mode = cv2.INTER_NEAREST if is_depth else cv2.INTER_LINEAR
    return cv2.remap(image, *_rectification_maps(camera), mode)
