"""Placing objects on a surface so that none touches another."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core.errors import RunError
from recon3d_core.geometry.transforms import make_transform
from recon3d_core.types import Mesh

Array = NDArray[np.float64]


def footprint(mesh: Mesh) -> Array:
    """Return the convex outline (N, 2) of a mesh seen from above, in order."""
    points = np.ascontiguousarray(mesh.vertices_m[:, :2], np.float32)
    return cv2.convexHull(points)[:, 0].astype(np.float64)


def separation_m(a: Array, b: Array) -> float:
    """Return a lower bound of the gap between convex outlines (N, 2); negative where they overlap.

    It is the largest gap along the normals of their edges (separating axes).
    """
    gap = -np.inf
    for outline in (a, b):
        edges = np.roll(outline, -1, 0) - outline
        edges = edges[np.linalg.norm(edges, axis=1) > 1e-9]
        normals = np.stack([edges[:, 1], -edges[:, 0]], 1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        first, second = normals @ a.T, normals @ b.T
        gaps = np.maximum(second.min(1) - first.max(1), first.min(1) - second.max(1))
        gap = max(gap, float(gaps.max()))
    return gap


def place(
    meshes: Sequence[Mesh],
    center_world_m: ArrayLike,
    half_size_m: tuple[float, float],
    gap_m: float,
    rng: np.random.Generator,
    crowd: int = 1,
) -> list[Array]:
    """Return a pose `T_world_local` (4, 4) for each mesh, turned at random around z.

    Args:
        meshes: Meshes that stand on z = 0 around their z axis.
        center_world_m: (3,) middle of the surface.
        half_size_m: Half edges of the rectangle in which the meshes' axes may be.
        gap_m: Least distance between outlines.
        rng: Source of randomness.
        crowd: Of how many free places the one nearest to the middle is taken.

    Raises:
        RunError: They do not fit.
    """
    center = np.asarray(center_world_m, np.float64)
    outlines = [footprint(mesh) for mesh in meshes]
    poses: list[Array] = [np.eye(4)] * len(meshes)
    placed: list[Array] = []
    # Large ones first: small ones find room between them.
    for index in sorted(range(len(meshes)), key=lambda i: -float(np.ptp(outlines[i], 0).max())):
        found: list[tuple[float, Array, Array]] = []
        for _ in range(2000):
            turn, offset = _random_pose(half_size_m, rng)
            outline = outlines[index] @ turn[:2, :2].T + center[:2] + offset
            if all(separation_m(outline, other) >= gap_m for other in placed):
                pose = make_transform(turn, center + np.append(offset, 0.0))
                found.append((float(np.hypot(*offset)), outline, pose))
                if len(found) >= crowd:
                    break
        if not found:
            raise RunError(
                'the objects do not fit on their surface',
                f'{len(meshes)} objects',
                fix='Take another seed or a larger surface.',
            )
        _, outline, poses[index] = min(found, key=lambda item: item[0])
        placed.append(outline)
    return poses


def _random_pose(
    half_size_m: tuple[float, float], rng: np.random.Generator
) -> tuple[Array, Array]:
    angle = float(rng.uniform(-np.pi, np.pi))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return turn, rng.uniform(-1, 1, 2) * half_size_m
