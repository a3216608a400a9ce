"""`closed`: closed meshes of objects, the side included that no camera saw.

Voxels are seen inside, seen free or unknown. Unknown ones are filled where a hypothesis about
the object says so: a solid of revolution, a mirror plane, and always the prism between the seen
surface and the support and the convex hull of each slice. What was seen to be free stays free,
and where the surface was measured, the mesh follows the measurement.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import InputError
from recon3d_core.interfaces import Mesher
from recon3d_core.meshing.closing.envelope import fill_unseen, slice_hulls
from recon3d_core.meshing.closing.filters import blurred
from recon3d_core.meshing.closing.known import (
    gather_known,
    heights_m,
    Known,
    largest_part,
    without_cavities,
    without_crumbs,
)
from recon3d_core.meshing.closing.mirror import complete_by_mirror
from recon3d_core.meshing.closing.prior import Prior, surface_points
from recon3d_core.meshing.closing.revolution import complete_by_revolution
from recon3d_core.meshing.closing.shell import observed_shell
from recon3d_core.meshing.closing.surface import (
    closed_surface,
    EMPTY,
    face_observed,
    smooth_field,
    vertex_colors,
    watertight_surface,
)
from recon3d_core.types import Mesh, Plane, Shape
from scipy import ndimage


class ClosedMesherConfig(PluginConfig):
    """Options of `closed`."""

    revolution: bool = option(
        True, 'Whether solids of revolution are recognised and completed.', live=True
    )
    mirror: bool = option(
        True, 'Whether mirror symmetry about an upright plane is used.', live=True
    )
    fill_probability: float = option(
        0.65,
        'Probability of being inside of voxels below or between seen parts.',
        ge=0.5,
        le=1.0,
        live=True,
    )
    unknown_probability: float = option(
        0.2,
        'Probability of being inside of unseen voxels that nothing calls solid.',
        ge=0.0,
        le=0.5,
        live=True,
    )


class ClosedMesher(Mesher):
    """Closes objects by what fits the evidence: revolution, mirror, prism and hull."""

    name = 'closed'
    Config = ClosedMesherConfig

    def mesh(self, shape: Shape, support: Plane | None) -> tuple[Mesh, Shape]:
        """Return the closed mesh, and the shape with the unseen part filled in.

        The returned shape has a grid of its own: upright on the support and cropped. The mesh is
        empty only where nothing was seen to be inside.

        Raises:
            InputError: A field of the shape has not the grid's size.
        """
        _check(shape)
        if shape.completed or shape.sdf_m is None or shape.observed is None:
            return _from_occupancy(_above(shape, support), _floor(shape, support))
        known = gather_known(shape, support)
        if known is None:
            return EMPTY, shape
        filled = self._filled(known)
        assert filled.sdf_m is not None
        mesh = _safe_surface(known, filled.sdf_m)
        mesh = dataclasses.replace(
            mesh,
            colors=vertex_colors(mesh, known.shape),
            face_observed=face_observed(mesh, known.shape),
        )
        return mesh, filled

    def fill(self, shape: Shape, support: Plane | None) -> Shape | None:
        """Return the shape with the unseen part filled in, as `mesh` does, without the mesh.

        Returns:
            None where nothing was measured to be inside.

        Raises:
            InputError: A field of the shape has not the grid's size.
        """
        _check(shape)
        if shape.sdf_m is None or shape.observed is None:
            return None
        known = gather_known(shape, support)
        return None if known is None else self._filled(known)

    def observed_mesh(self, shape: Shape) -> Mesh:
        """Return a thin closed shell of the observed surface, and nothing that was not seen.

        Its seen side is `face_observed`; its back and rim are not. It is empty where nothing was
        seen to be inside, or too little for a closed mesh.

        Raises:
            InputError: A field of the shape has not the grid's size.
        """
        _check(shape)
        if shape.sdf_m is None or shape.observed is None:
            return _from_occupancy(shape)[0]
        return observed_shell(shape)

    def _prior(self, known: Known) -> Prior | None:
        """Return the answer of the first hypothesis that fits, the more telling one first."""
        surface = surface_points(known)
        prior = complete_by_revolution(known, surface) if self.config.revolution else None
        if prior is None and self.config.mirror:
            prior = complete_by_mirror(known, surface)
        return prior

    def _filled(self, known: Known) -> Shape:
        """Return the signed distances and the occupancy of seen and unseen parts."""
        prior = self._prior(known)
        solid, empty = known.inside, known.free
        sdf, sure = known.sdf_m, known.near
        if prior is not None:
            solid = np.where(prior.says, prior.sdf_m <= 0, solid)
            empty = np.where(prior.says, prior.sdf_m > 0, empty)
            sdf = np.where(prior.says, prior.sdf_m, sdf)
            sure = sure | prior.says
        filled = fill_unseen(solid, empty, known.lowest)
        filled = without_crumbs(without_cavities(largest_part(filled)))
        voxel = known.grid.voxel_size_m
        field = smooth_field(filled, voxel)
        mixed = sure & (np.abs(sdf) < 3 * voxel) & (filled == (sdf <= 0))
        field[mixed] = sdf[mixed]
        if known.height_m is not None:
            field = np.maximum(field, -known.height_m)
        occupancy = self._occupancy(known, prior, filled)
        return dataclasses.replace(known.shape, occupancy=occupancy, sdf_m=field)

    def _occupancy(
        self, known: Known, prior: Prior | None, filled: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        occupancy = np.full(filled.shape, self.config.unknown_probability, np.float32)
        occupancy[filled] = self.config.fill_probability
        if prior is not None:
            occupancy[prior.says & filled] = prior.trust
        occupancy[known.near & known.inside & filled] = 1
        occupancy[known.free & ~filled] = 0
        if known.height_m is not None:
            occupancy[known.height_m < 0] = 0
        return occupancy


def _check(shape: Shape) -> None:
    for name in ('occupancy', 'sdf_m', 'observed', 'free', 'colors'):
        values = getattr(shape, name)
        if values is not None and values.shape[:3] != shape.grid.shape:
            raise InputError(f'{name} of a shape', values.shape, f'{shape.grid.shape} as its grid')


def _above(shape: Shape, support: Plane | None) -> Shape:
    """Return a shape that does not reach below its support."""
    if support is None:
        return shape
    below = support.height_m(shape.grid.centers_world_m()) < 0
    occupancy = np.where(below, np.float32(0), shape.occupancy)
    return dataclasses.replace(shape, occupancy=occupancy)


def _floor(shape: Shape, support: Plane | None) -> int | None:
    """Return the level of the support in an upright grid; None where none is known."""
    if support is None:
        return None
    nx, ny, _ = shape.grid.shape
    heights = heights_m(shape.grid, support)[nx // 2, ny // 2]
    return int(np.count_nonzero(heights < 0))


def _from_occupancy(shape: Shape, floor: int | None = None) -> tuple[Mesh, Shape]:
    """Return the mesh of probabilities alone, as a visual hull or a network gives them."""
    solid = largest_part(shape.occupancy > 0.5, floor)
    if not solid.any():
        return EMPTY, shape
    voxel = np.float32(shape.grid.voxel_size_m)
    field = blurred((0.5 - shape.occupancy) * voxel, 0.6, truncate=4)
    field = np.where(ndimage.binary_dilation(solid, iterations=2), field, voxel)
    mesh = watertight_surface(shape.grid, field) or closed_surface(
        shape.grid, smooth_field(solid, shape.grid.voxel_size_m)
    )
    mesh = dataclasses.replace(
        mesh,
        colors=vertex_colors(mesh, shape),
        face_observed=face_observed(mesh, shape),
    )
    return mesh, shape


def _safe_surface(known: Known, field: NDArray[np.float32]) -> Mesh:
    """Return the surface of a field; smoother ones, then a hull, where it is not closed."""
    mesh = watertight_surface(known.grid, field)
    for sigma in (0.5, 1.0):
        if mesh is None:
            mesh = watertight_surface(known.grid, blurred(field, sigma, truncate=3))
    if mesh is None:
        mesh = watertight_surface(
            known.grid, smooth_field(slice_hulls(known.inside), known.grid.voxel_size_m)
        )
    return EMPTY if mesh is None else mesh
