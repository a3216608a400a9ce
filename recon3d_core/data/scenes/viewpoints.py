"""Where a robot's camera looks from: a wrist above a table, a mast over a floor, before a shelf."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.scenes.surroundings import Kind, Surroundings
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at

Array = NDArray[np.float64]

# Elevation above the horizon in degrees, distance in metres.
_RANGES: dict[Kind, tuple[tuple[float, float], tuple[float, float]]] = {
    'table': ((18.0, 80.0), (0.45, 1.4)),
    'floor': ((12.0, 60.0), (0.8, 2.6)),
    'shelf': ((-8.0, 32.0), (0.5, 1.3)),
}
_ROLL_RAD = np.deg2rad(4.0)
_WALL_M = 0.15  # cameras keep this distance from walls


def draw_camera(width: int, height: int, rng: np.random.Generator) -> Camera:
    """Return the intrinsics of a usual RGB-D camera: 50 to 75 degrees wide, almost centred."""
    focal = width / (2 * np.tan(np.deg2rad(rng.uniform(50, 75)) / 2))
    cx, cy = np.array([width - 1, height - 1]) / 2 + rng.uniform(-0.015, 0.015, 2) * width
    return Camera(width, height, float(focal), float(focal), float(cx), float(cy))


def draw_pose(
    surroundings: Surroundings, targets_world_m: Array, rng: np.random.Generator
) -> Array:
    """Return `T_world_camera` (4, 4) of a camera that looks about where objects are.

    Args:
        surroundings: The support and its room.
        targets_world_m: (N, 3) centres of the objects.
        rng: Draws.
    """
    elevations, distances = _RANGES[surroundings.kind]
    middle = targets_world_m.mean(0)
    chosen = targets_world_m[int(rng.integers(len(targets_world_m)))]
    target = middle + rng.uniform(0, 0.7) * (chosen - middle) + rng.normal(0, 0.04, 3)
    low, high = np.sin(np.deg2rad(elevations))
    elevation = np.arcsin(rng.uniform(low, high))
    azimuth = rng.uniform(0, 2 * np.pi)
    if surroundings.kind == 'shelf':  # it is open towards -y
        azimuth = -np.pi / 2 + rng.uniform(-0.7, 0.7)
    distance = np.exp(rng.uniform(*np.log(distances)))
    level = np.cos(elevation)
    away = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
    eye = target + distance * away
    low_m, high_m = surroundings.room_m[0] + _WALL_M, surroundings.room_m[1] - _WALL_M
    eye[:2] = np.clip(eye[:2], np.minimum(low_m, 0), np.maximum(high_m, 0))
    eye[2] = max(eye[2], 0.15)
    pose = look_at(eye, target)
    roll = rng.normal(0, _ROLL_RAD)
    c, s = np.cos(roll), np.sin(roll)
    pose[:3, :3] = pose[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return pose
