"""How an object lies when nothing holds it: faces of its convex hull below its centre of mass."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError
from scipy.spatial import ConvexHull, QhullError

Array = NDArray[np.float64]

_SAME_FACE = 1e-3  # difference of unit normals and of offsets, of the longest edge
_UPRIGHT = np.cos(np.deg2rad(3.0))
_FACES = 12  # the largest ones: round things have hundreds of equal small ones
_SAFETY = 0.04  # of the longest edge: what stands on less falls over when it is touched


@dataclasses.dataclass(frozen=True)
class RestingPose:
    """One way to lie.

    Attributes:
        rotation: (3, 3) turns the object so that the face it lies on looks down.
        share: How likely it falls that way, in [0, 1]; all ways together have 1.
        upright: Whether the object's z stays up.
    """

    rotation: Array
    share: float
    upright: bool


def resting_poses(vertices: NDArray[np.floating]) -> list[RestingPose]:
    """Return the ways in which a solid can lie on a plane, the likeliest first.

    A face of the hull carries the solid where the centre of mass, taken as that of the hull, is
    above it and not close to its border. Its share is the solid angle under which the centre
    sees it, as for a body that falls without speed from a random attitude (Goldberg et al. 1999).

    Args:
        vertices: (V, 3) in any unit.

    Raises:
        InputError: The vertices lie in a plane.
    """
    points = np.asarray(vertices, np.float64)
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError) as error:
        raise InputError('an object that can lie', 'flat or empty', 'a solid') from error
    corners = points[hull.simplices]
    normals, offsets = hull.equations[:, :3], hull.equations[:, 3]
    center = _center_of_mass(corners, points[hull.vertices].mean(0))
    angles = _solid_angles(corners - center)
    longest = float(np.ptp(points, axis=0).max())
    found: list[RestingPose] = []
    left = np.ones(len(normals), bool)
    for _ in range(_FACES):
        if not left.any():
            break
        first = int(np.flatnonzero(left)[np.argmax(angles[left])])
        same = left & (normals @ normals[first] > 1 - _SAME_FACE)
        same &= np.abs(offsets - offsets[first]) < _SAME_FACE * longest
        left &= ~same
        if _carries(corners[same].reshape(-1, 3), normals[first], center, _SAFETY * longest):
            upright = bool(-normals[first, 2] > _UPRIGHT)
            turn = np.eye(3) if upright else _turned_down(normals[first])
            found.append(RestingPose(turn, float(angles[same].sum()), upright))
    total = sum(pose.share for pose in found)
    found = [dataclasses.replace(pose, share=pose.share / total) for pose in found]
    return sorted(found, key=lambda pose: -pose.share)


def _center_of_mass(corners: Array, inside: Array) -> Array:
    """Return the centroid of a convex solid of triangles (F, 3, 3) around a point of it."""
    local = corners - inside
    volumes = np.abs(np.linalg.det(local))
    centroids = inside + local.sum(1) / 4
    return np.asarray((centroids * volumes[:, None]).sum(0) / volumes.sum())


def _solid_angles(corners: Array) -> Array:
    """Return the angles (F,) of triangles (F, 3, 3) seen from 0 (van Oosterom, Strackee 1983)."""
    a, b, c = corners.transpose(1, 0, 2)
    la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
    volume = np.abs((a * np.cross(b, c)).sum(1))
    rest = la * lb * lc + (a * b).sum(1) * lc + (a * c).sum(1) * lb + (b * c).sum(1) * la
    return np.asarray(2 * np.arctan2(volume, rest))


def _carries(face: Array, normal: Array, center: Array, margin: float) -> bool:
    """Return whether the centre is above a face's points (n, 3), `margin` from its border."""
    axes = _turned_down(normal)[:2]
    return is_within(face @ axes.T, axes @ center, margin)


def is_within(points: Array, place: Array, margin: float = 0.0) -> bool:
    """Return whether a place (2,) is in the convex hull of points (n, 2), off its border."""
    if len(points) < 3:
        return False
    try:
        outline = ConvexHull(points)
    except (QhullError, ValueError):  # on a line
        return False
    distances = outline.equations[:, :2] @ place + outline.equations[:, 2]
    # What is narrower than twice the margin may still stand on its middle.
    inner = -(outline.equations[:, :2] @ points[outline.vertices].mean(0))
    inner -= outline.equations[:, 2]
    return bool((distances <= -np.minimum(margin, 0.5 * inner)).all())


def _turned_down(normal: Array) -> Array:
    """Return the smallest turn (3, 3) that takes a unit vector to -z (Rodrigues)."""
    down = np.array([0.0, 0.0, -1.0])
    axis, cosine = np.cross(normal, down), float(normal @ down)
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    x, y, z = axis
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1 + cosine))


def draw_resting(
    poses: list[RestingPose], upright_chance: float, rng: np.random.Generator
) -> Array:
    """Return the rotation (3, 3) of one way to lie, turned at random about the vertical.

    Args:
        poses: As `resting_poses` returns them, at least one.
        upright_chance: How often an object that can stand upright does.
        rng: Draws.
    """
    standing = [pose for pose in poses if pose.upright]
    if standing and rng.random() < upright_chance:
        chosen = standing[0]
    else:
        chosen = poses[int(rng.choice(len(poses), p=[pose.share for pose in poses]))]
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ chosen.rotation
