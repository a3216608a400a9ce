"""Paths of cameras through synthetic scenes, as `T_world_camera` per frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.geometry.transforms import look_at, make_transform

Poses = NDArray[np.float64]


def orbit(
    center_world_m: ArrayLike,
    distance_m: float,
    height_m: float,
    frames: int,
    arc_rad: float = 2 * np.pi,
    start_rad: float = -np.pi / 2,
) -> Poses:
    """Circle around a point while looking at it; a hand's slow sway in height and reach is added.

    Args:
        center_world_m: (3,) point to look at.
        distance_m: Mean distance from it.
        height_m: Mean height above it; below `distance_m`.
        frames: How many poses.
        arc_rad: Angle of the whole path; a full circle does not repeat its first pose.
        start_rad: Direction of the path's first quarter-turn's begin, from x towards y.

    Returns:
        (frames, 4, 4).
    """
    center = np.asarray(center_world_m, np.float64)
    full = arc_rad >= 2 * np.pi - 1e-9
    fraction = np.arange(frames) / max(frames if full else frames - 1, 1)
    angle = start_rad + arc_rad * fraction - (0 if full else arc_rad / 2)
    sway = 0.06 * np.sin(4 * np.pi * fraction)
    height = height_m * (1 + sway)
    reach = np.sqrt(distance_m**2 - height_m**2) * (1 - 0.5 * sway)
    eyes = center + np.stack([reach * np.cos(angle), reach * np.sin(angle), height], 1)
    return np.stack([look_at(eye, center) for eye in eyes])


def drive(waypoints_world_m: Sequence[ArrayLike], target_world_m: ArrayLike, frames: int) -> Poses:
    """Drive along way points at constant speed, the camera turned to a target.

    Args:
        waypoints_world_m: At least 3 points (3,), passed smoothly.
        target_world_m: (3,) point to look at.
        frames: How many poses.

    Returns:
        (frames, 4, 4).
    """
    points = np.asarray(waypoints_world_m, np.float64)
    fine = np.linspace(0, 1, 400)
    curve = _bezier(points, fine)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.interp(np.linspace(0, length[-1], frames), length, fine)
    return np.stack([look_at(eye, target_world_m) for eye in _bezier(points, at)])


def _bezier(points: Poses, fractions: Poses) -> Poses:
    """Return the Bezier curve of control points (N, 3) at fractions (M,) (de Casteljau)."""
    curve = np.repeat(points[None], len(fractions), 0)
    while curve.shape[1] > 1:
        curve = curve[:, :-1] + (curve[:, 1:] - curve[:, :-1]) * fractions[:, None, None]
    return np.asarray(curve[:, 0])


def disturbed(
    T_world_camera: Poses, position_m: float, rotation_rad: float, rng: np.random.Generator
) -> Poses:
    """Return a pose (4, 4) with errors of standard deviations `position_m` and `rotation_rad`."""
    axis = rng.normal(size=3) * rotation_rad
    shift = rng.normal(size=3) * position_m
    angle = float(np.linalg.norm(axis))
    x, y, z = axis / angle if angle > 0 else np.zeros(3)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return T_world_camera @ make_transform(turn, shift)
