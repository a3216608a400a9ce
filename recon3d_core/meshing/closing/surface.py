"""From a signed distance field to a mesh with colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply
from recon3d_core.meshing.checks import is_watertight, volume_m3
from recon3d_core.meshing.closing.filters import blurred, box_of, dilated, slices
from recon3d_core.types import Mesh, Shape
from scipy import spatial
from skimage import measure

SURFACE_VOXELS = 1.5
MAX_COLORED = 1500
EMPTY = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))


def closed_surface(grid: VoxelGrid, sdf_m: NDArray[np.float32]) -> Mesh:
    """Return the closed surface of a field, negative inside, without colours.

    The field is taken as positive beyond the grid, so that the surface has no border.
    """
    box = box_of(sdf_m < 0)
    if box is None:
        return EMPTY
    low, high = np.maximum(box[0] - 1, 0), box[1] + 1
    part = sdf_m[slices((low, high))]
    values = (part / grid.voxel_size_m).astype(np.float32)
    # A corner of exactly zero would make faces without area, or edges of four faces.
    values = np.where(np.abs(values) < 0.02, np.where(values < 0, -0.02, 0.02), values)
    values = np.pad(values, 1, constant_values=1.0)
    vertices, faces, _, _ = measure.marching_cubes(values, 0.0)  # type: ignore[no-untyped-call]
    places = (vertices.astype(np.float64) + low - 0.5) * grid.voxel_size_m
    world = apply(grid.T_world_grid, places).astype(np.float32)
    return Mesh(world, np.ascontiguousarray(faces, np.int32))


def watertight_surface(grid: VoxelGrid, sdf_m: NDArray[np.float32]) -> Mesh | None:
    """Return the closed surface of a field, or None where it is empty or touches itself."""
    mesh = closed_surface(grid, sdf_m)
    return mesh if is_watertight(mesh) and volume_m3(mesh) > 0 else None


def face_observed(
    mesh: Mesh, shape: Shape, reach_voxels: float = SURFACE_VOXELS
) -> NDArray[np.bool_]:
    """Return which faces (F,) lie on a seen surface of `shape`, as near as `reach_voxels`.

    Without distances, those within a voxel of an observed one.
    """
    if shape.observed is None or not len(mesh.faces):
        return np.zeros(len(mesh.faces), bool)
    if shape.sdf_m is None:
        seen = dilated(shape.observed)
    else:
        seen = shape.observed & (np.abs(shape.sdf_m) < reach_voxels * shape.grid.voxel_size_m)
    a, b, c = (mesh.vertices_m.take(mesh.faces[:, k], axis=0) for k in range(3))
    return _lookup(seen, shape.grid, (a + b + c) / 3)


def _lookup(
    values: NDArray[Any], grid: VoxelGrid, points_world_m: NDArray[np.floating]
) -> NDArray[Any]:
    index = np.clip(grid.indices(points_world_m), 0, np.array(grid.shape) - 1)
    found: NDArray[Any] = values[tuple(index.T)]
    return found


def vertex_colors(mesh: Mesh, shape: Shape) -> NDArray[np.uint8] | None:
    """Return the colour (V, 3) of each vertex: the voxel's, or the nearest seen vertex's."""
    if shape.colors is None or not len(mesh.vertices_m):
        return None
    colors: NDArray[np.uint8] = _lookup(shape.colors, shape.grid, mesh.vertices_m)
    seen = colors.any(1)
    if not seen.any():
        return None
    if not seen.all():
        known = np.flatnonzero(seen)
        known = known[:: -(-len(known) // MAX_COLORED)]
        # What nobody saw is a guess: one look-up for all vertices of a small block is enough.
        places = mesh.vertices_m[~seen]
        block = np.floor((places - places.min(0)) / (2 * shape.grid.voxel_size_m)).astype(int)
        size = block.max(0) + 1
        key = np.ravel_multi_index(tuple(block.T), tuple(size))
        _, first, same = np.unique(key, return_index=True, return_inverse=True)
        tree = spatial.cKDTree(mesh.vertices_m[known], balanced_tree=False)
        colors[~seen] = colors[known[tree.query(places[first])[1]]][same]
    return colors


def smooth_field(solid: NDArray[np.bool_], voxel_size_m: float) -> NDArray[np.float32]:
    """Return a field, negative inside, whose zero runs smoothly along a solid's border.

    Its slope at a plane border is one, so that it can be mixed with measured distances.
    """
    sigma = 0.8
    scale = np.float32(sigma * np.sqrt(np.pi / 2) * voxel_size_m)
    return blurred(np.where(solid, -scale, scale), sigma, truncate=3)
