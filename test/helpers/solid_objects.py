"""Small meshes with a known inside, and cameras around them, for tests of the data engine."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.objects.base import ObjectMesh, to_cube
from recon3d_core.data.rendering.base import Cameras, Lighting
import trimesh

LIGHTING = Lighting(
    np.array([[0.0, 0.6, 0.8]], np.float32),
    np.full((1, 3), 0.7, np.float32),
    np.full(3, 0.3, np.float32),
)


def object_mesh(mesh: trimesh.Trimesh, color=(200, 120, 60)) -> ObjectMesh:
    """Return a mesh of trimesh as one of ours, where it is."""
    colors = np.full((len(mesh.vertices), 3), color, np.uint8)
    return ObjectMesh(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), colors)


def in_cube(mesh: trimesh.Trimesh) -> ObjectMesh:
    """Return it moved into its cube."""
    return to_cube(object_mesh(mesh))[0]


def box(extents, center=(0, 0, 0)) -> trimesh.Trimesh:
    """Return an axis-aligned box."""
    made = trimesh.creation.box(extents)
    made.apply_translation(center)
    return made


def table() -> trimesh.Trimesh:
    """Return a table: five overlapping boxes."""
    legs = [box((0.08, 0.08, 0.62), (x, y, -0.05)) for x in (-0.4, 0.4) for y in (-0.25, 0.25)]
    return trimesh.util.concatenate([box((0.94, 0.6, 0.08), (0, 0, 0.27)), *legs])


def cameras_around(count: int, seed: int = 0, size=(64, 64), distance: float = 2.0) -> Cameras:
    """Return cameras that look at the cube's centre; size is (width, height)."""
    rng = np.random.default_rng(seed)
    width, height = size
    focal = 1.5 * min(size)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    poses = []
    for _ in range(count):
        eye = rng.normal(size=3)
        eye *= distance / np.linalg.norm(eye)
        z = -eye / distance
        x = np.cross(z, (0, 0, 1))
        x /= np.linalg.norm(x)
        pose = np.eye(4)
        pose[:3, :3] = [x, np.cross(z, x), z]
        pose[:3, 3] = -pose[:3, :3] @ eye
        poses.append(pose)
    return Cameras(np.stack([K] * count), np.stack(poses), height, width)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two boolean arrays."""
    return float((a & b).sum() / max(1, (a | b).sum()))
