"""Where cameras look at an object from: drawn for training, fixed and well spread for evaluation.

The cameras stand around the object's cube ([-0.5, 0.5]^3, z up). Images are square crops around
the object; they are rendered as crops, so nothing is resampled and the intrinsics are exact.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.crops import MARGIN
from recon3d_core.data.rendering.base import Cameras
from recon3d_core.geometry.transforms import invert, look_at

Array = NDArray[np.float64]

GOLDEN_TURN = (3 - 5**0.5) / 2  # of a full turn: any prefix of the sequence is well spread


@dataclasses.dataclass(frozen=True)
class ViewRange:
    """From where an object is seen.

    Attributes:
        elevation: Lowest and highest angle above the object's horizon, radians.
        distance: Nearest and farthest camera, edges of the cube from its centre.
        roll: Standard deviation of the turn about the optical axis, radians.
        off_axis: Largest angle between the optical axis and the object's centre, radians: an
            object is rarely in the middle of a photo.
    """

    elevation: tuple[float, float] = (np.deg2rad(-5.0), np.deg2rad(60.0))
    distance: tuple[float, float] = (1.4, 4.0)
    roll: float = np.deg2rad(5.0)
    off_axis: float = np.deg2rad(15.0)


def camera_pose(
    azimuth: float, elevation: float, distance: float, roll: float, off_axis: Array
) -> Array:
    """Return `T_camera_cube` (4, 4) of a camera around the cube.

    Args:
        azimuth: From +x towards +y, radians.
        elevation: Above the horizon, radians.
        distance: From the cube's centre, edges of the cube.
        roll: About the optical axis, radians.
        off_axis: (2,) tangents of the angles right and down at which the centre is seen.
    """
    eye = distance * np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    towards = invert(look_at(eye, (0, 0, 0)))
    center = np.array([*off_axis, 1.0]) / np.sqrt(1 + off_axis @ off_axis)
    turned = np.eye(4)
    turned[:3, :3] = _roll(roll) @ _between(np.array([0.0, 0.0, 1.0]), center)
    return np.asarray(turned @ towards, np.float64)


def _roll(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _between(a: Array, b: Array) -> Array:
    """Return the shortest rotation (3, 3) that takes unit vector a to b (Rodrigues)."""
    v = np.cross(a, b)
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1 + a @ b), np.float64)


def draw_poses(count: int, rng: np.random.Generator, views: ViewRange) -> Array:
    """Return independent `T_camera_cube` (count, 4, 4), directions uniform on their zone."""
    azimuths = rng.uniform(0, 2 * np.pi, count)
    low, high = np.sin(views.elevation)
    elevations = np.arcsin(rng.uniform(low, high, count)).astype(np.float64)
    return _poses(azimuths, elevations, rng, views)


def spread_poses(count: int, rng: np.random.Generator, views: ViewRange) -> Array:
    """Return `T_camera_cube` (count, 4, 4) of which the first n are well spread for every n.

    Azimuths follow the golden angle, elevations van der Corput's sequence of base 2; both start
    where `rng` says.
    """
    index = np.arange(count)
    azimuths: Array = 2 * np.pi * (rng.uniform() + index.astype(np.float64) * GOLDEN_TURN)
    low, high = np.sin(views.elevation)
    shares = (np.array([_van_der_corput(i + 1) for i in index]) + rng.uniform()) % 1
    elevations: Array = np.arcsin(low + (high - low) * shares)
    return _poses(azimuths, elevations, rng, views)


def _van_der_corput(index: int) -> float:
    share, digit = 0.0, 0.5
    while index:
        share += digit * (index % 2)
        index //= 2
        digit /= 2
    return share


def _poses(
    azimuths: Array, elevations: Array, rng: np.random.Generator, views: ViewRange
) -> Array:
    count = len(azimuths)
    distances = np.exp(rng.uniform(np.log(views.distance[0]), np.log(views.distance[1]), count))
    rolls = rng.normal(0, views.roll, count)
    angles = views.off_axis * np.sqrt(rng.uniform(0, 1, count))
    turns = rng.uniform(0, 2 * np.pi, count)
    off_axis = np.tan(angles)[:, None] * np.stack([np.cos(turns), np.sin(turns)], -1)
    drawn = zip(azimuths, elevations, distances, rolls, off_axis, strict=True)
    return np.stack([camera_pose(*each) for each in drawn])


def crop_cameras(
    points_cube: NDArray[np.floating],
    T_camera_cube: Array,
    size: int,
    margins: Array | float = MARGIN,
) -> Cameras:
    """Return cameras whose square images are crops around points, such as a mesh's vertices.

    Args:
        points_cube: (P, 3) in front of all cameras.
        T_camera_cube: (V, 4, 4).
        size: Edge of the images, pixels.
        margins: Space on every side, of the longer side of what is seen; one or (V,).
    """
    corners = points_cube.astype(np.float64)
    camera = corners @ T_camera_cube[:, :3, :3].transpose(0, 2, 1) + T_camera_cube[:, None, :3, 3]
    slopes = camera[..., :2] / camera[..., 2:]
    low, high = slopes.min(1), slopes.max(1)
    side = (high - low).max(1) * (1 + 2 * np.asarray(margins))
    focal = size / side
    K = np.zeros((len(T_camera_cube), 3, 3))
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, :2, 2] = (size - 1) / 2 - focal[:, None] * (low + high) / 2
    K[:, 2, 2] = 1
    return Cameras(K, T_camera_cube, size, size)
