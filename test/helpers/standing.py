"""Objects of known solids that stand in a scene, as the pipeline describes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.synth.truth import object_truth
from recon3d_core.geometry.grids import grid_around, VoxelGrid
from recon3d_core.types import Mesh, ObjectEstimate, Plane, SelfCheck, Shape
import trimesh

TABLE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)


def moved(solid: trimesh.Trimesh, *shift_m: float) -> trimesh.Trimesh:
    """Return a solid at another place."""
    copy = solid.copy()
    copy.apply_translation(shift_m)
    return copy


def box_at(size_m: tuple[float, float, float], foot_m: tuple[float, float, float]):
    """Return a box of some edges whose underside has its middle at `foot_m`."""
    return moved(trimesh.creation.box(size_m), foot_m[0], foot_m[1], foot_m[2] + size_m[2] / 2)


def finely(solid: trimesh.Trimesh, edge_m: float = 0.006) -> trimesh.Trimesh:
    """Return a solid whose faces are as small as those of a reconstruction."""
    return trimesh.Trimesh(*trimesh.remesh.subdivide_to_size(solid.vertices, solid.faces, edge_m))


def completed_shape(grid: VoxelGrid, inside: NDArray[np.bool_]) -> Shape:
    """Return what a network completed, of which no voxel was seen."""
    unseen = np.zeros(grid.shape, bool)
    return Shape(
        grid,
        inside.astype(np.float32),
        observed=unseen,
        free=unseen.copy(),
        views_used=4,
        completed=True,
    )


def estimate_of(
    key: int,
    solid: trimesh.Trimesh,
    support: Plane | None = TABLE,
    voxel_size_m: float = 0.004,
    label: str = 'object',
) -> ObjectEstimate:
    """Return the estimate of an object that is known exactly and was seen from all sides."""
    fine = finely(solid)
    mesh = Mesh(
        fine.vertices.astype(np.float32),
        fine.faces.astype(np.int32),
        face_observed=np.ones(len(fine.faces), bool),
    )
    truth = object_truth(key, label, mesh)
    grid = grid_around(mesh.vertices_m, voxel_size_m, 3 * voxel_size_m)
    inside = truth.occupancy(grid)
    shape = completed_shape(grid, inside)
    return ObjectEstimate(
        id=key,
        label=label,
        score=0.9,
        mesh=mesh,
        shape=shape,
        T_world_object=truth.T_world_object,
        size_m=truth.size_m,
        views_used=4,
        watertight=True,
        volume_m3=float(solid.volume),
        seen_fraction=1.0,
        self_check=SelfCheck(0.9, 0.002, True),
        first_stamp_ns=0,
        last_stamp_ns=1,
        support=support,
        revision=1,
    )
