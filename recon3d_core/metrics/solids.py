"""Closed bodies in the world's frame: what is inside, and how much that is."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.checks import check_shape
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply
from recon3d_core.meshing.checks import is_watertight, volume_m3
from recon3d_core.types import Mesh
from scipy import sparse

Array = NDArray[np.float64]

CELLS = 48
"""Along each axis of a box in which a volume is counted."""

# Askew, so that rays do not run along faces or edges; the third decides where one grazes.
_DIRECTIONS = np.array(
    [[0.0131, 0.0079, 1.0], [1.0, 0.0171, 0.0113], [-0.0149, -1.0, 0.0097]], np.float32
)


class Solid(Protocol):
    """A closed body in the world's frame."""

    @property
    def bounds_world_m(self) -> Array:
        """Lowest and highest corner (2, 3) of the box around it, along the world's axes."""

    @property
    def volume_m3(self) -> float:
        """Its volume."""

    def contains(self, points_world_m: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which points (..., 3) are inside."""


@dataclasses.dataclass(frozen=True)
class MeshSolid:
    """The inside of a closed mesh: where its winding number is not 0, so that parts may overlap.

    Attributes:
        mesh: In the world's frame; faces turn outwards; where it is open the inside is a guess.
    """

    mesh: Mesh

    @functools.cached_property
    def bounds_world_m(self) -> Array:
        """Lowest and highest corner (2, 3); an empty mesh has a box without volume."""
        vertices = self.mesh.vertices_m[np.unique(self.mesh.faces)].astype(np.float64)
        return np.stack([vertices.min(0), vertices.max(0)]) if len(vertices) else np.zeros((2, 3))

    @functools.cached_property
    def volume_m3(self) -> float:
        """The volume, counted in cells where the mesh is open or its parts may overlap."""
        if is_watertight(self.mesh) and self._parts() == 1:
            return abs(volume_m3(self.mesh))
        points, cell_m3 = cells_of(self.bounds_world_m)
        return float(np.count_nonzero(self.contains(points))) * cell_m3

    def _parts(self) -> int:
        """Return how many parts hang together."""
        used, index = np.unique(self.mesh.faces[:, (0, 1, 1, 2)], return_inverse=True)
        start, end = index.reshape(-1, 2).T
        graph = sparse.coo_array((np.ones(len(start), bool), (start, end)), (len(used),) * 2)
        return int(sparse.csgraph.connected_components(graph, directed=False)[0])

    @functools.cached_property
    def rays(self) -> o3d.t.geometry.RaycastingScene:
        """The mesh, ready for rays."""
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(self.mesh.vertices_m, np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(self.mesh.faces, np.uint32)),
        )
        return scene

    def contains(self, points_world_m: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which points (..., 3) are inside."""
        points = np.asarray(points_world_m, np.float32)
        low, high = self.bounds_world_m.astype(np.float32)
        found: NDArray[np.bool_] = ((points >= low) & (points <= high)).all(-1)
        near = np.ascontiguousarray(points[found])
        if not len(self.mesh.faces) or not len(near):
            return np.zeros(found.shape, bool)
        verdict = self._wound(near, _DIRECTIONS[0])
        unsure = np.flatnonzero(verdict != self._wound(near, _DIRECTIONS[1]))
        if len(unsure):
            verdict[unsure] = self._wound(near[unsure], _DIRECTIONS[2])
        found[found] = verdict
        return found

    def _wound(
        self, points: NDArray[np.float32], direction: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Return at which points (n,) the winding number is not 0.

        It is how often a ray leaves the mesh more than it enters.
        """
        rays = np.concatenate([points, np.broadcast_to(direction, points.shape)], 1)
        hits = self.rays.list_intersections(o3d.core.Tensor.from_numpy(rays))
        leaves = self._normals[hits['primitive_ids'].numpy()] @ direction > 0
        ids = hits['ray_ids'].numpy()
        out, into = (np.bincount(ids[part], minlength=len(rays)) for part in (leaves, ~leaves))
        return np.asarray(out != into)

    @functools.cached_property
    def _normals(self) -> NDArray[np.float32]:
        """Normals (F, 3) of the faces, of any length."""
        a, b, c = self.mesh.vertices_m[self.mesh.faces].swapaxes(0, 1)
        return np.asarray(np.cross(b - a, c - a))


@dataclasses.dataclass(frozen=True)
class VoxelSolid:
    """The voxels of a grid that are inside.

    Attributes:
        grid: Place and size of the voxels.
        inside: (nx, ny, nz) bool.
    """

    grid: VoxelGrid
    inside: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check that they fit.

        Raises:
            InputError: The voxels are not those of the grid.
        """
        check_shape('inside', self.inside, self.grid.shape)

    @functools.cached_property
    def bounds_world_m(self) -> Array:
        """Lowest and highest corner (2, 3) of the box around the voxels that are inside."""
        index = np.argwhere(self.inside)
        if not len(index):
            return np.zeros((2, 3))
        ends = np.stack([index.min(0), index.max(0) + 1]) * self.grid.voxel_size_m
        corners = np.array(list(itertools.product(*ends.T)))
        world = apply(self.grid.T_world_grid, corners)
        return np.stack([world.min(0), world.max(0)])

    @property
    def volume_m3(self) -> float:
        """The volume."""
        return float(np.count_nonzero(self.inside)) * self.grid.voxel_size_m**3

    def contains(self, points_world_m: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which points (..., 3) are inside."""
        index = self.grid.indices(np.asarray(points_world_m, np.float64))
        held = ((index >= 0) & (index < self.grid.shape)).all(-1)
        found = np.zeros(held.shape, bool)
        found[held] = self.inside[tuple(index[held].T)]
        return found


def solid_of(body: Mesh | Solid) -> Solid:
    """Return a mesh as a solid, and a solid as it is."""
    return MeshSolid(body) if isinstance(body, Mesh) else body


def cells_of(bounds_m: Array, count: int = CELLS) -> tuple[NDArray[np.float32], float]:
    """Return the centres (n, 3) of the cells of a box, and the volume of a cell.

    Args:
        bounds_m: (2, 3) lowest and highest corner.
        count: Cells along each axis.
    """
    low, size = bounds_m[0], bounds_m[1] - bounds_m[0]
    at = (np.arange(count) + 0.5) / count
    grid = np.stack(np.meshgrid(*(low + size * at[:, None]).T, indexing='ij'), -1)
    return grid.reshape(-1, 3).astype(np.float32), float(size.prod()) / count**3
