"""Ground truth of a synthetic scene; for evaluation only."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.geometry.boxes import upright_box
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.types import Mesh


def ray_scene(mesh: Mesh) -> o3d.t.geometry.RaycastingScene:
    """Return a scene for ray and distance queries that holds one mesh."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices_m, np.float32)),
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, np.uint32)),
    )
    return scene


@dataclasses.dataclass(frozen=True)
class ObjectTruth:
    """What is true of one object.

    Attributes:
        id: Its value in instance masks, from 1.
        category: What it is, such as `mug`.
        mesh: Closed mesh in the world's frame.
        T_world_object: (4, 4) pose of the upright box's centre, z up, as in ObjectEstimate.
        size_m: (3,) edges of that box.
    """

    id: int
    category: str
    mesh: Mesh
    T_world_object: NDArray[np.float64]
    size_m: NDArray[np.float64]

    @functools.cached_property
    def scene(self) -> o3d.t.geometry.RaycastingScene:
        """The mesh, ready for ray and distance queries."""
        return ray_scene(self.mesh)

    def contains(self, points_world_m: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which points (..., 3) are inside the solid."""
        points = np.ascontiguousarray(points_world_m, np.float32)
        # Three rays a point: one alone that grazes an edge may count a face twice.
        inside = self.scene.compute_occupancy(
            o3d.core.Tensor.from_numpy(points), nsamples=3
        ).numpy()
        return np.asarray(inside > 0.5)

    def occupancy(self, grid: VoxelGrid) -> NDArray[np.bool_]:
        """Return which voxels (nx, ny, nz) of a grid have their centre inside the solid."""
        return self.contains(grid.centers_world_m())


def object_truth(instance: int, category: str, mesh: Mesh) -> ObjectTruth:
    """Return the truth of an object whose mesh stands in a z-up world."""
    pose, size = upright_box(mesh.vertices_m, np.array((0.0, 0.0, 1.0)))
    return ObjectTruth(instance, category, mesh, pose, size)


@dataclasses.dataclass(frozen=True)
class SceneTruth:
    """What is true of a frame; the objects are shared by all frames of a source.

    Attributes:
        objects: The objects by id, whether in view or not.
        support_height_m: Height of the surface on which they stand.
        instance_mask: (H, W) int32 object of each pixel, 0 = background.
        depth_exact_m: (H, W) float32 depth without noise, 0 where nothing is hit.
        T_world_camera: (4, 4) exact pose.
    """

    objects: Mapping[int, ObjectTruth]
    support_height_m: float
    instance_mask: NDArray[np.int32]
    depth_exact_m: NDArray[np.float32]
    T_world_camera: NDArray[np.float64]
