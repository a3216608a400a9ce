"""Solids on a table, rendered by ray casting with a plain noise model: input of these tests."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.geometry.cameras import Camera, pixel_rays
from recon3d_core.geometry.grids import grid_around, VoxelGrid
from recon3d_core.geometry.transforms import look_at
from recon3d_core.types import Frame, Plane, View
import trimesh

CAMERA = Camera(320, 240, 290.0, 290.0, 160.0, 120.0)
TABLE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)


def lathe(profile: list[tuple[float, float]]) -> trimesh.Trimesh:
    """Return the solid of revolution of a closed profile of (radius, height), metres."""
    return trimesh.creation.revolve(np.array(profile), sections=64)


def make_solid(name: str) -> trimesh.Trimesh:
    """Return one of the named solids, standing on z = 0 around the origin."""
    if name == 'box':
        solid = trimesh.creation.box((0.16, 0.10, 0.08))
        solid.apply_translation((0, 0, 0.04))
        solid.apply_transform(trimesh.transformations.rotation_matrix(0.4, (0, 0, 1)))
    elif name == 'cylinder':
        solid = lathe([(0, 0), (0.04, 0), (0.04, 0.12), (0, 0.12)])
    elif name == 'bowl':
        solid = lathe([(0, 0), (0.04, 0), (0.08, 0.06), (0.074, 0.06), (0.035, 0.008), (0, 0.008)])
    elif name == 'bottle':
        solid = lathe(
            [
                (0, 0),
                (0.035, 0),
                (0.035, 0.12),
                (0.015, 0.16),
                (0.012, 0.2),
                (0, 0.2),
            ]
        )
    elif name == 'mug':
        cup = lathe(
            [
                (0, 0),
                (0.042, 0),
                (0.042, 0.1),
                (0.036, 0.1),
                (0.036, 0.008),
                (0, 0.008),
            ]
        )
        handle = trimesh.creation.torus(0.026, 0.006)
        handle.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
        handle.apply_translation((0.048, 0, 0.05))
        solid = trimesh.util.concatenate([cup, handle])
    elif name == 'ball':
        solid = trimesh.creation.icosphere(3, 0.05)
        solid.apply_translation((0, 0, 0.05))
    else:
        raise ValueError(name)
    return solid


@dataclasses.dataclass(frozen=True)
class Scene:
    """A solid on a table of 1.2 m.

    Attributes:
        solid: The true surface.
        rays: What is hit: 0 is the solid, 1 the table.
    """

    solid: trimesh.Trimesh
    rays: o3d.t.geometry.RaycastingScene

    def view(
        self,
        eye: NDArray[np.float64],
        rng: np.random.Generator | None = None,
        camera: Camera = CAMERA,
    ) -> View:
        """Return what a camera at `eye` sees; noisy where a generator is given."""
        T = look_at(eye, self.solid.bounds.mean(0))
        directions = pixel_rays(camera) @ T[:3, :3].T.astype(np.float32)
        origins = np.broadcast_to(T[:3, 3].astype(np.float32), directions.shape)
        hit = self.rays.cast_rays(o3d.core.Tensor(np.concatenate([origins, directions], -1)))
        depth = hit['t_hit'].numpy()
        ids = hit['geometry_ids'].numpy()
        normal = hit['primitive_normals'].numpy()
        facing = np.abs((normal * directions).sum(-1)) / np.linalg.norm(directions, axis=-1)
        mask = ids == 0
        rgb = np.zeros((*mask.shape, 3), np.uint8)
        rgb[ids == 1] = (120, 90, 60)
        rgb[mask] = (200, 40, 40)
        depth = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
        if rng is not None:
            depth, mask = _noisy(depth, mask, facing, rng)
        frame = Frame(0, camera, rgb, depth, T)
        return View(frame, mask, box_of(mask))

    def orbit(
        self,
        n: int,
        radius_m: float = 0.6,
        height_m: float = 0.45,
        seed: int | None = 0,
        camera: Camera = CAMERA,
        start: float = 0.3,
    ) -> list[View]:
        """Return views from a circle; noisy unless `seed` is None."""
        rng = None if seed is None else np.random.default_rng(seed)
        angles = start + np.arange(n) * 2 * np.pi / n
        eyes = [(radius_m * np.cos(a), radius_m * np.sin(a), height_m) for a in angles]
        return [self.view(np.array(eye), rng, camera) for eye in eyes]


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the pixel box of a mask, both ends inclusive."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def _noisy(
    depth: NDArray[np.float32],
    mask: NDArray[np.bool_],
    facing: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Add noise that grows with depth, millimetre steps, holes and ragged mask borders."""
    sigma = 0.0012 + 0.0019 * np.maximum(depth - 0.4, 0) ** 2
    noisy = depth + sigma * rng.standard_normal(depth.shape).astype(np.float32)
    noisy = np.round(noisy, 3)
    lost = (depth == 0) | (facing < 0.15) | (rng.random(depth.shape) < 0.03)
    rows, columns = np.indices(depth.shape)
    rows = np.clip(rows + rng.integers(-1, 2, depth.shape), 0, depth.shape[0] - 1)
    columns = np.clip(columns + rng.integers(-1, 2, depth.shape), 0, depth.shape[1] - 1)
    return np.where(lost, 0, noisy).astype(np.float32), mask[rows, columns]


@functools.cache
def tabletop(name: str) -> Scene:
    """Return the scene of a named solid."""
    solid = make_solid(name)
    rays = o3d.t.geometry.RaycastingScene()
    rays.add_triangles(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.uint32))
    table = trimesh.creation.box((1.2, 1.2, 0.02))
    table.apply_translation((0, 0, -0.01))
    rays.add_triangles(np.asarray(table.vertices, np.float32), np.asarray(table.faces, np.uint32))
    return Scene(solid, rays)


def mask_points(view: View) -> NDArray[np.float32]:
    """Return the points (n, 3) of the mask in the world."""
    points = view.frame.camera.points(view.frame.depth_m)[view.mask & (view.frame.depth_m > 0)]
    T = view.frame.T_world_camera
    return (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def birth_grid(view: View, resolution: int = 48) -> VoxelGrid:
    """Return the grid of an object as the pipeline places it at birth."""
    inner = cv2.erode(view.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    points = mask_points(dataclasses.replace(view, mask=inner))
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    points = points[((points >= low) & (points <= high)).all(1)]
    voxel = float(np.clip(np.ptp(points, 0).max() * 1.3 / resolution, 0.003, 0.03))
    return grid_around(points, voxel, 6 * voxel)
