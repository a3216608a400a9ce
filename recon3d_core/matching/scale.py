"""How far away a thing is, and thus how large, where no depth tells: each way with its deviation.

An image alone leaves the scale open. It follows from the plane that the thing stands on, from the
camera's height above that plane, from known ways between poses, or from how large things of a
class usually are (IM2CAD: Izadinia, Shan, Seitz, CVPR 2017, has the camera's height; Hoiem, Efros,
Hebert, IJCV 2008, the height and sizes of classes). Errors are propagated to first order.

Distances are depths along the optical axis. Deviations are those of their logarithm, so that the
size of what is seen, depth times angle, has the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_shape
from recon3d_core.data.objects.household import kind_of
from recon3d_core.errors import InputError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import Array
from recon3d_core.types import Plane

UNKNOWN_CLASS = 'object'
_CLASS_SIGMA = 0.35  # of the logarithm of sizes within a class of household things
_UNKNOWN_SIGMA = 1.0


@dataclasses.dataclass(frozen=True)
class DepthEstimate:
    """A depth along a camera's optical axis.

    Attributes:
        depth_m: Its median.
        sigma: Standard deviation of its logarithm.
        source: What told it.
    """

    depth_m: float
    sigma: float
    source: str


@dataclasses.dataclass(frozen=True)
class Errors:
    """Standard deviations of what the estimates start from.

    Attributes:
        pixel_px: Of an image point.
        rotation_rad: Of the camera's attitude, about each axis.
        position_m: Of the camera's place, along each axis.
        plane_m: Of the support's height.
    """

    pixel_px: float = 1.5
    rotation_rad: float = 0.003
    position_m: float = 0.003
    plane_m: float = 0.003


TYPICAL = Errors()


def contact_pixel(
    mask: NDArray[np.bool_], camera: Camera, up_camera: Array
) -> NDArray[np.float64] | None:
    """Return the pixel (2,) of a mask whose ray meets the ground first; None where none does.

    There a thing that stands on the ground touches it, on its near side.

    Args:
        mask: (H, W) visible pixels of the thing.
        camera: Intrinsics of the image.
        up_camera: (3,) unit normal of the ground in the camera's frame.
    """
    check_shape('mask', mask, (camera.height, camera.width))
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    pixels = np.stack([columns, rows], -1).astype(np.float64)
    down = -(camera.unproject(pixels, np.ones(len(pixels))) @ up_camera)
    lowest = int(down.argmax())
    return pixels[lowest] if down[lowest] > 0 else None


def depth_from_height(
    pixel: Array, camera: Camera, up_camera: Array, height_m: float, errors: Errors = TYPICAL
) -> DepthEstimate | None:
    """Return the depth at which a pixel's ray meets the ground below the camera.

    Args:
        pixel: (2,) image point of a point of the ground.
        camera: Intrinsics.
        up_camera: (3,) unit normal of the ground in the camera's frame, such as from gravity.
        height_m: Of the camera above the ground.
        errors: Deviations; that of the height is `plane_m` and `position_m` together.

    Returns:
        The depth, or None where the ray does not go down.

    Raises:
        InputError: The height is not positive.
    """
    if not 0 < height_m < np.inf:
        raise InputError('height of the camera above the ground', height_m, 'metres, positive')
    ray = camera.unproject(np.asarray(pixel, np.float64), np.float64(1.0))
    down = -float(ray @ up_camera)
    if down < 1e-6:
        return None
    by_pixel = np.hypot(up_camera[0] / camera.fx, up_camera[1] / camera.fy) * errors.pixel_px
    by_turn = float(np.linalg.norm(np.cross(up_camera, ray))) * errors.rotation_rad
    by_height = math.hypot(errors.plane_m, errors.position_m) / height_m
    sigma = math.hypot(by_pixel / down, by_turn / down, by_height)
    return DepthEstimate(height_m / down, sigma, 'camera height')


def depth_from_support(
    pixel: Array, camera: Camera, T_world_camera: Array, support: Plane, errors: Errors = TYPICAL
) -> DepthEstimate | None:
    """Return the depth at which a pixel's ray meets a support plane.

    Args:
        pixel: (2,) image point where a thing touches the plane (`contact_pixel`).
        camera: Intrinsics.
        T_world_camera: (4, 4) pose of the camera.
        support: The plane.
        errors: Deviations.

    Returns:
        The depth, or None where the camera is below the plane, or the ray does not meet it.
    """
    height_m = float(support.height_m(T_world_camera[:3, 3]))
    if height_m <= 0:
        return None
    up_camera = T_world_camera[:3, :3].T @ support.normal_world
    found = depth_from_height(pixel, camera, up_camera, height_m, errors)
    return None if found is None else dataclasses.replace(found, source='support plane')


def depth_from_baselines(
    pixels: Array,
    cameras: Sequence[Camera],
    T_world_camera: Array,
    reference: int = -1,
    errors: Errors = TYPICAL,
) -> DepthEstimate | None:
    """Return the depth, in one of several views, of a point that all of them show.

    The point is where the rays pass each other nearest, weighted by their errors; its covariance
    is that of the least squares.

    Args:
        pixels: (V, 2) image points, such as middles of masks; what these are off belongs into
            `errors.pixel_px`.
        cameras: V intrinsics.
        T_world_camera: (V, 4, 4) poses.
        reference: Of which view the depth is asked for.
        errors: Deviations, independent from view to view.

    Returns:
        The depth, or None where there is one view only, or the rays are too nearly parallel to
        tell it within a factor.
    """
    if len(pixels) < 2:
        return None
    rays = np.stack([c.unproject(p, np.float64(1.0)) for c, p in zip(cameras, pixels)])
    lengths = np.linalg.norm(rays, axis=1)
    R, eyes = T_world_camera[:, :3, :3], T_world_camera[:, :3, 3]
    directions = np.einsum('vij,vj->vi', R, rays / lengths[:, None])
    across = np.eye(3) - directions[:, :, None] * directions[:, None]
    focal = np.array([(camera.fx + camera.fy) / 2 for camera in cameras])
    angle = np.hypot(errors.pixel_px / focal / lengths, errors.rotation_rad)
    far = np.full(len(pixels), max(float(np.ptp(eyes, axis=0).max()), 1e-9))
    point = np.zeros(3)
    for _ in range(4):
        weight = 1 / ((far * angle) ** 2 + errors.position_m**2)
        matrix = np.einsum('v,vij->ij', weight, across)
        if np.linalg.cond(matrix) > 1e9:
            return None
        point = np.linalg.solve(matrix, np.einsum('v,vij,vj->i', weight, across, eyes))
        far = np.maximum(((point - eyes) * directions).sum(1), 1e-9)
    axis = R[reference, :, 2]
    depth_m = float((point - eyes[reference]) @ axis)
    # The eye's own error is in the point as well; to count it again is the cautious way.
    variance = float(axis @ np.linalg.inv(matrix) @ axis) + errors.position_m**2
    if depth_m <= 0 or math.sqrt(variance) > depth_m:
        return None
    return DepthEstimate(depth_m, math.sqrt(variance) / depth_m, 'baselines')


def class_size(label: str) -> tuple[float, float]:
    """Return how large things of a class are: longest extent in metres, deviation of its log."""
    kind = kind_of(label, '')
    known = kind.category != UNKNOWN_CLASS
    return kind.size_m, _CLASS_SIGMA if known else _UNKNOWN_SIGMA


def depth_from_size(
    extent_px: float, camera: Camera, size_m: float, sigma: float, errors: Errors = TYPICAL
) -> DepthEstimate:
    """Return the depth at which a thing of a known size is seen as large as it is.

    Args:
        extent_px: Longest extent of its mask.
        camera: Intrinsics.
        size_m: Its longest extent, as of a class (`class_size`) or of a model.
        sigma: Deviation of the logarithm of that.
        errors: Deviations; both ends of the extent have that of a pixel.

    Raises:
        InputError: An extent is not positive.
    """
    if not (extent_px > 0 and size_m > 0):
        raise InputError('extent of a thing', (extent_px, size_m), 'pixels and metres, positive')
    focal = (camera.fx + camera.fy) / 2
    by_pixels = math.sqrt(2) * errors.pixel_px / extent_px
    return DepthEstimate(focal * size_m / extent_px, math.hypot(sigma, by_pixels), 'size')


def combine(estimates: Sequence[DepthEstimate | None]) -> DepthEstimate | None:
    """Return the mean of independent estimates, weighted by their inverse variance.

    Where they disagree by more than they claim, the deviation grows by the Birge ratio, the root
    of the chi-square per degree of freedom.

    Returns:
        The mean, or None where there is no estimate.
    """
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return None
    logs = np.log([estimate.depth_m for estimate in known])
    weights = 1 / np.array([max(estimate.sigma, 1e-6) for estimate in known]) ** 2
    mean = float((weights * logs).sum() / weights.sum())
    chi = float((weights * (logs - mean) ** 2).sum()) / max(len(known) - 1, 1)
    sigma = math.sqrt(max(chi, 1.0) / float(weights.sum()))
    sources = dict.fromkeys(estimate.source for estimate in known)
    return DepthEstimate(math.exp(mean), sigma, ' + '.join(sources))
