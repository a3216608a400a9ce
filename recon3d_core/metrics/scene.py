"""How well the objects of a scene were found, placed, measured and shaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import dataclasses
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.errors import InputError
from recon3d_core.metrics.boxes import box_iou_3d
from recon3d_core.types import Mesh
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]


class Boxed(Protocol):
    """Anything with an id and an upright box: ObjectEstimate and ObjectTruth."""

    @property
    def id(self) -> int:
        """Number of the object."""

    @property
    def T_world_object(self) -> Array:
        """Pose (4, 4) of the box's centre."""

    @property
    def size_m(self) -> Array:
        """Edges (3,) of the box."""


class Meshed(Boxed, Protocol):
    """The same with a mesh in the world's frame."""

    @property
    def mesh(self) -> Mesh:
        """Its surface."""


EstimateT = TypeVar('EstimateT', bound=Boxed)
TruthT = TypeVar('TruthT', bound=Boxed)


@dataclasses.dataclass(frozen=True)
class Match:
    """One object that was found.

    Attributes:
        estimate_id: Id of the estimate.
        truth_id: Id of the true object.
        iou: Overlap of their boxes.
    """

    estimate_id: int
    truth_id: int
    iou: float


@dataclasses.dataclass(frozen=True)
class MatchResult:
    """How estimates and true objects correspond.

    Attributes:
        matches: The pairs, one to one, in order of the truth's id.
        precision: Part of the estimates that are matched; 1 without estimates.
        recall: Part of the true objects that are matched; 1 without objects.
    """

    matches: tuple[Match, ...]
    precision: float
    recall: float


def upright_overlap(a: Boxed, b: Boxed) -> float:
    """Return the IoU of two upright boxes; 0 where they stand on different planes."""
    try:
        return box_iou_3d(a.T_world_object, a.size_m, b.T_world_object, b.size_m)
    except InputError:  # tilted: a box that lies on its side is not this object's
        return 0.0


def same_axes_overlap(estimate: Meshed, truth: Meshed) -> float:
    """Return the IoU of the boxes of two meshes along the axes of the true one's box.

    The heading of a round thing's least footprint is chance: the upright boxes of a can and of
    itself, turned by 45 degrees, have an IoU of .71. Here only place and extent count.
    """
    axes = truth.T_world_object[:3, :3]
    a, b = (np.asarray(one.mesh.vertices_m, np.float64) @ axes for one in (estimate, truth))
    if not len(a) or not len(b):
        return 0.0
    common = np.minimum(a.max(0), b.max(0)) - np.maximum(a.min(0), b.min(0))
    shared = float(np.maximum(common, 0).prod())
    union = float(np.ptp(a, axis=0).prod() + np.ptp(b, axis=0).prod()) - shared
    return shared / union if union > 0 else 0.0


def match_objects(
    estimates: Iterable[EstimateT],
    truth: Iterable[TruthT],
    min_iou: float = 0.5,
    overlap: Callable[[EstimateT, TruthT], float] = upright_overlap,
) -> MatchResult:
    """Match estimates to true objects one to one, with the largest sum of overlaps.

    Args:
        estimates: The objects found; a mapping's `.values()` will do.
        truth: The true objects that could be found.
        min_iou: Pairs of a smaller overlap are none.
        overlap: Overlap in [0, 1] of an estimate and a true object.
    """
    found, real = list(estimates), list(truth)
    overlaps = np.zeros((len(found), len(real)))
    for i, estimate in enumerate(found):
        for j, true in enumerate(real):
            overlaps[i, j] = overlap(estimate, true)
    # Pairs that are none must not cost a pair that is one.
    gains = np.where(overlaps >= min_iou, overlaps, 0.0)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    matches = [
        Match(found[i].id, real[j].id, float(overlaps[i, j]))
        for i, j in zip(rows, columns)
        if overlaps[i, j] >= min_iou
    ]
    return MatchResult(
        tuple(sorted(matches, key=lambda match: match.truth_id)),
        len(matches) / len(found) if found else 1.0,
        len(matches) / len(real) if real else 1.0,
    )


def surface_distances_m(
    mesh: Mesh,
    truth: Mesh,
    observed_only: bool = True,
    samples: int = 10000,
    rng: np.random.Generator | None = None,
) -> NDArray[np.float32]:
    """Return the distances (samples,) of points on a mesh from the true surface.

    Args:
        mesh: The estimate; points are drawn evenly over its area.
        truth: The true mesh.
        observed_only: Draw from faces that a camera saw, where the mesh says which.
        samples: How many points.
        rng: Source of randomness, the same one each time where None.

    Raises:
        InputError: There is no face to draw from, or the true mesh is empty.
    """
    faces = mesh.faces
    if observed_only and mesh.face_observed is not None:
        faces = faces[mesh.face_observed]
    corners = mesh.vertices_m[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    if not areas.sum() > 0 or not len(truth.faces):
        raise InputError('a mesh has no surface to compare', f'{len(faces)} faces', 'some')
    rng = np.random.default_rng(0) if rng is None else rng
    chosen = corners[rng.choice(len(faces), samples, p=areas / areas.sum())]
    u, v = rng.random((2, samples, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    points = chosen[:, 0] + u * (chosen[:, 1] - chosen[:, 0]) + v * (chosen[:, 2] - chosen[:, 0])
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(truth.vertices_m, np.float32)),
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(truth.faces, np.uint32)),
    )
    query = o3d.core.Tensor.from_numpy(points.astype(np.float32))
    return np.asarray(scene.compute_distance(query).numpy())


def surface_error_m(mesh: Mesh, truth: Mesh, observed_only: bool = True) -> float:
    """Return the median distance of a mesh's (observed) surface from the true one."""
    return float(np.median(surface_distances_m(mesh, truth, observed_only)))


def center_error_m(estimate: Boxed, truth: Boxed) -> float:
    """Return the distance of the boxes' centres."""
    return float(np.linalg.norm(estimate.T_world_object[:3, 3] - truth.T_world_object[:3, 3]))


def edge_errors(estimate: Boxed, truth: Boxed) -> Array:
    """Return the relative errors (3,) of the box's edges: the two of the footprint, the height.

    The footprint's edges are compared by length, as a box turned by 90 degrees is the same box.
    """
    sizes = [np.append(np.sort(box.size_m[:2]), box.size_m[2]) for box in (estimate, truth)]
    return np.abs(sizes[0] - sizes[1]) / sizes[1]


class IdSwitchCounter:
    """Counts how often a true object is taken over by another estimate (IDSW of CLEAR MOT).

    Attributes:
        switches: How many so far.
    """

    def __init__(self, min_iou: float = 0.5) -> None:
        """Start at zero.

        Args:
            min_iou: Least overlap of the boxes of an object and its estimate.
        """
        self.switches = 0
        self._min_iou = min_iou
        self._owner: dict[int, int] = {}

    def update(self, estimates: Mapping[int, Boxed], truth: Mapping[int, Boxed]) -> None:
        """Match the objects of one moment and count; an owner that still fits is kept."""
        kept = {
            true_id: owner
            for true_id, owner in self._owner.items()
            if owner in estimates
            and true_id in truth
            and upright_overlap(estimates[owner], truth[true_id]) >= self._min_iou
        }
        taken = set(kept.values())
        rest = match_objects(
            [box for key, box in estimates.items() if key not in taken],
            [box for key, box in truth.items() if key not in kept],
            self._min_iou,
        )
        for match in rest.matches:
            before = self._owner.get(match.truth_id)
            self.switches += before is not None and before != match.estimate_id
            self._owner[match.truth_id] = match.estimate_id
