"""The seen surface alone, as a closed mesh: a thin shell that has a back but tells nothing new."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.meshing.checks import face_areas_m2
from recon3d_core.meshing.cleanup import compact
from recon3d_core.meshing.closing.filters import blurred
from recon3d_core.meshing.closing.known import largest_part
from recon3d_core.meshing.closing.surface import (
    EMPTY,
    face_observed,
    smooth_field,
    vertex_colors,
    watertight_surface,
)
from recon3d_core.types import Mesh, Shape
from scipy import sparse
from scipy.sparse import csgraph

THICKNESS_VOXELS = 2.0
MIN_PART = 0.05


def observed_shell(shape: Shape) -> Mesh:
    """Return the closed shell behind the seen surface, with colours and `face_observed`.

    Args:
        shape: What was fused; it has `sdf_m` and `observed`.
    """
    assert shape.sdf_m is not None
    assert shape.observed is not None
    voxel = shape.grid.voxel_size_m
    # Zero at the seen surface and at the shell's back, negative in between.
    slab = np.maximum(shape.sdf_m, -shape.sdf_m - np.float32(THICKNESS_VOXELS * voxel))
    solid = largest_part(shape.observed & (slab <= 0))
    smooth = smooth_field(solid, voxel)
    field = np.where(shape.observed & (solid == (slab <= 0)), slab, smooth)
    for candidate in (field, blurred(field, 0.5, 3), smooth, blurred(smooth, 0.7, 3)):
        mesh = watertight_surface(shape.grid, candidate)
        if mesh is not None:
            break
    else:
        return EMPTY
    mesh = without_specks(mesh)
    return dataclasses.replace(
        mesh,
        colors=vertex_colors(mesh, shape),
        # Half of the thickness lies on either side of where the back begins.
        face_observed=face_observed(mesh, shape, THICKNESS_VOXELS / 2),
    )


def without_specks(mesh: Mesh) -> Mesh:
    """Drop the connected parts with less than a twentieth of the largest one's area."""
    part = _parts(len(mesh.vertices_m), mesh.faces)[mesh.faces[:, 0]]
    areas = np.bincount(part, face_areas_m2(mesh))
    kept = areas >= MIN_PART * areas.max()
    return compact(dataclasses.replace(mesh, faces=mesh.faces[kept[part]]))


def _parts(count: int, faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the connected part (count,) of each vertex."""
    start, end = faces.ravel(), faces[:, (1, 2, 0)].ravel()
    links = sparse.coo_matrix((np.ones(len(start), bool), (start, end)), (count, count))
    labels: NDArray[np.int32] = csgraph.connected_components(links, directed=False)[1]
    return labels
