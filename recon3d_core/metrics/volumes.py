"""Metrics of an occupancy grid's surface against samples of the true surface."""

from __future__ import annotations

import dataclasses

import numpy as np
from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
from recon3d_core.losses._inputs import check_no_nan
from recon3d_core.losses.nearest import gathered, nearest
from recon3d_core.meshing.isosurface import isosurface
from recon3d_core.meshing.sampling import sample_surface
from recon3d_core.metrics._inputs import Array, as_tensor
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class SurfaceScores:
    """How well a surface fits the true one; distances are in edges of the cube.

    Attributes:
        fscore: Harmonic mean of precision and recall.
        precision: Part of the surface nearer than the tolerance to the true one.
        recall: Part of the true surface nearer than the tolerance to this one.
        chamfer: Squared Chamfer distance, both ways (Eq. 6); infinite for an empty volume.
        normal_consistency: Mean |cosine| of the normals at nearest points, or None where the true
            normals are not known.
    """

    fscore: float
    precision: float
    recall: float
    chamfer: float
    normal_consistency: float | None


def surface_scores(
    probabilities: Array,
    surface: Array,
    threshold: float,
    normals: Array | None = None,
    tolerance: float = 0.01,
    samples: int | None = None,
    rng: np.random.Generator | None = None,
) -> SurfaceScores:
    """Return how the isosurface of a volume fits the true surface.

    The isosurface is sampled evenly over its area. The tolerance must be above the spacing of the
    samples, or the F-score says how dense these are: 1 % of the cube takes some 30,000 points on
    an object that fills it.

    Args:
        probabilities: (N, N, N) occupancy of the cube, indexed [x, y, z].
        surface: (P, 3) points spread evenly over the true surface, in the cube.
        threshold: Probability at the surface, in (0, 1).
        normals: (P, 3) unit normals at the points, where known.
        tolerance: Distance up to which points agree, in edges of the cube.
        samples: Points on the isosurface; as many as `surface` has where None.
        rng: Source of randomness, the same one each time where None.

    Raises:
        InputError: A shape is wrong, the true surface is empty, a value is not finite, or the
            threshold or the tolerance is out of range.
    """
    truth, true_normals = _truth(surface, normals)
    if not tolerance > 0:
        raise InputError('tolerance', tolerance, 'a number above 0')
    volume = as_tensor('probabilities', probabilities).cpu().numpy()
    vertices, faces = isosurface(volume, threshold)
    if not len(faces):
        no_normals = None if true_normals is None else 0.0
        return SurfaceScores(0.0, 0.0, 0.0, float('inf'), no_normals)
    points, its_normals = (
        as_tensor('samples', part)[None].to(truth)
        for part in sample_surface(vertices, faces, samples or truth.shape[1], rng)
    )
    there, back = nearest(points, truth), nearest(truth, points)
    to_truth = (points - gathered(truth, there)).norm(dim=2)
    from_truth = (truth - gathered(points, back)).norm(dim=2)
    precision = float((to_truth < tolerance).double().mean())
    recall = float((from_truth < tolerance).double().mean())
    consistency = None
    if true_normals is not None:
        ours = (its_normals * gathered(true_normals, there)).sum(2).abs().mean()
        theirs = (true_normals * gathered(its_normals, back)).sum(2).abs().mean()
        consistency = float(ours + theirs) / 2
    return SurfaceScores(
        2 * precision * recall / max(precision + recall, 1e-12),
        precision,
        recall,
        float(to_truth.square().mean() + from_truth.square().mean()),
        consistency,
    )


def _truth(surface: Array, normals: Array | None) -> tuple[Tensor, Tensor | None]:
    """Return the true points (1, P, 3) and their normals, checked."""
    points = as_tensor('surface', surface)
    check_shape('surface', points, ('P', 3))
    check_no_nan('surface', points)
    if not len(points):
        raise InputError('the true surface is empty', '0 points', 'at least one')
    if normals is None:
        return points[None], None
    directions = as_tensor('normals', normals)
    check_shape('normals', directions, tuple(points.shape))
    check_no_nan('normals', directions)
    return points[None], directions[None].to(points)
