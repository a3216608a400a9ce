"""How far an object can be believed: the probability that its shape's IoU is above one half.

A logistic function of what the self-check and the reconstruction say of themselves, fitted on
synthetic scenes (`benchmarks/self_check.py --fit` writes `confidence_table.py`); see
docs/self_check.md for how well it holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.scene.confidence_table import FEATURES, MEAN, PRECISION, WEIGHTS
from recon3d_core.types import Mesh, SelfCheck, Shape
from scipy.spatial import ConvexHull, QhullError

Array = NDArray[np.float64]

_RESIDUAL_M = 0.01  # depth residual that counts 1; from 3 on they are alike
_THICK_M = 0.02  # thickness that counts 0; twice that counts 1
_HULL_VERTICES = 1500
_FAR = 4.0  # distance from the training data from which all are alike
_NEAR_VOXELS = 0.75


def confidence_of(check: SelfCheck, mesh: Mesh, shape: Shape, seen_fraction: float) -> float:
    """Return the probability, in [0, 1], that the IoU of an object with the truth is above 0.5.

    Args:
        check: What the views say of its closed mesh.
        mesh: That mesh.
        shape: Its shape.
        seen_fraction: Part of the mesh's area that a camera saw.
    """
    values = features_of(check, mesh, shape, seen_fraction)
    return float(1 / (1 + np.exp(-(values @ np.array(WEIGHTS)))))


def features_of(check: SelfCheck, mesh: Mesh, shape: Shape, seen_fraction: float) -> Array:
    """Return what the confidence depends on, in the order of the table's `FEATURES`.

    Without depth, residual and free space count as of a typical object. Only a shape that a network
    completed has a distance from the training data.
    """
    residual = check.depth_residual_m / _RESIDUAL_M
    free = check.free_share
    solidity, thickness_m = _bulk(mesh)
    values = {
        'one': 1.0,
        'silhouette_iou': check.silhouette_iou,
        'depth_residual': min(residual, 3.0) if np.isfinite(residual) else 0.3,
        'free_tenths': 10 * free if np.isfinite(free) else 0.05,
        'seen_fraction': seen_fraction,
        'solidity': solidity,
        'thickness': float(np.clip(np.log2(max(thickness_m, 1e-6) / _THICK_M), -4, 4)),
        'distance': training_distance(shape) if shape.completed else 0.0,
    }
    return np.array([values[name] for name in FEATURES])


def _bulk(mesh: Mesh) -> tuple[float, float]:
    """Return a mesh's volume as part of its convex hull's, and twice its volume by its area.

    Thin walls are easily missed, and two objects taken for one fill little of their hull.
    """
    vertices = mesh.vertices_m - mesh.vertices_m.mean(0, dtype=np.float64)
    a, b, c = (vertices[mesh.faces[:, k]] for k in range(3))
    volume = abs(float((a * np.cross(b, c)).sum())) / 6
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2
    some = mesh.vertices_m[:: -(-len(mesh.vertices_m) // _HULL_VERTICES) or 1]
    try:
        hull = float(ConvexHull(some.astype(np.float64)).volume)
    except (QhullError, ValueError):  # flat, or hardly a point
        return 0.0, 0.0
    return min(volume / max(hull, 1e-12), 1.0), 2 * volume / max(area, 1e-12)


def training_distance(shape: Shape) -> float:
    """Return how far a shape's evidence is from what completion was trained on, 1 being typical.

    It is the Mahalanobis distance (Lee et al., NeurIPS 2018) of `describe_evidence`, divided by the
    root of the number of figures.
    """
    offset = describe_evidence(shape) - np.array(MEAN)
    distance = float(np.sqrt(max(offset @ np.array(PRECISION) @ offset, 0.0) / len(offset)))
    return min(distance, _FAR)


def describe_evidence(shape: Shape) -> Array:
    """Return figures (6,) of what was seen in an object's cube, whatever its size.

    They are the edges of the seen surface's box along x or y (the longer first) and z, its middle's
    height, and the shares of the cube that are observed and free, in edges and parts of the cube.
    """
    if shape.sdf_m is None or shape.observed is None or shape.free is None:
        return np.array(MEAN)
    near = np.abs(shape.sdf_m) < _NEAR_VOXELS * shape.grid.voxel_size_m
    places = np.argwhere(shape.observed & near)
    if not len(places):
        return np.zeros(6)
    low, high = np.quantile(places, (0.01, 0.99), axis=0) / np.array(shape.grid.shape)
    edges = high - low
    flat = np.sort(edges[:2])[::-1]
    shares = shape.observed.mean(), shape.free.mean()
    return np.array([*flat, edges[2], (low[2] + high[2]) / 2, *shares])
