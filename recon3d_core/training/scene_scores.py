"""The objects of a sweep against the truth: found, shaped, seen and unseen, in contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.synth.truth import ObjectTruth
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.meshing.sampling import sample_surface
from recon3d_core.metrics.contact import floating_gap_m, penetration_share
from recon3d_core.metrics.instances import InstanceMatch
from recon3d_core.metrics.parsing import match_boxes_3d, PosedObject
from recon3d_core.metrics.scene import match_objects, MatchResult, same_axes_overlap
from recon3d_core.metrics.solids import cells_of, MeshSolid
from recon3d_core.training.scene_runs import least_px, Run, SceneObject, UP
from recon3d_core.types import Frame, Mesh, Plane
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SAMPLES = 4096  # points on a surface
_OFF_M = 0.0003  # outside of a surface, but not of the wall behind a gap
_SEEN_M = 0.004  # a point so much behind what the camera sees is hidden
_LOOKS = 2  # images that must show an object that counts
_VOXELS = 64
_ROOM = 1.1  # edge of the cube of voxels, in longest edges of the object
_CLOSE_M = 0.01  # tolerance of the F-score
_PARSED = 32  # voxels along the edges of an object's own box
_HALF_TURN = np.stack([np.eye(3), np.diag((-1.0, -1.0, 1.0))])


@dataclasses.dataclass(frozen=True)
class KnownObject:
    """A true object with what comparisons need of it, made once for all variants.

    Attributes:
        truth: The object.
        points_world_m: (n, 3) points spread over its surface.
        seen: (n,) which of them some image showed.
    """

    truth: ObjectTruth
    points_world_m: NDArray[np.float32]
    seen: Flags

    @functools.cached_property
    def solid(self) -> MeshSolid:
        """Its inside."""
        return MeshSolid(self.truth.mesh)

    @functools.cached_property
    def centers_world_m(self) -> NDArray[np.float32]:
        """Centres (64, 64, 64, 3) of the voxels of a cube around it."""
        low, high = self.solid.bounds_world_m
        edge = _ROOM * float((high - low).max())
        at = ((np.arange(_VOXELS) + 0.5) / _VOXELS - 0.5) * edge
        offsets = np.stack(np.meshgrid(at, at, at, indexing='ij'), -1)
        return ((low + high) / 2 + offsets).astype(np.float32)

    @functools.cached_property
    def inside(self) -> Flags:
        """Which of these voxels are inside."""
        return self.solid.contains(self.centers_world_m)

    @functools.cached_property
    def tree(self) -> cKDTree:
        """The points, ready to be searched."""
        return cKDTree(self.points_world_m)


def known_objects(frames: Sequence[Frame]) -> list[KnownObject]:
    """Return the true objects that enough of the frames show to count.

    Args:
        frames: Frames of a sweep, their truth a SceneTruth.
    """
    truths = frames[0].truth.objects
    looks = dict.fromkeys(truths, 0)
    for frame in frames:
        counts = np.bincount(frame.truth.instance_mask.ravel(), minlength=max(truths) + 1)
        for key in truths:
            looks[key] += int(counts[key] >= least_px(frame))
    counted = [truths[key] for key, count in looks.items() if count >= min(_LOOKS, len(frames))]
    found = []
    for truth in counted:
        points = outer_points(MeshSolid(truth.mesh))
        seen = np.zeros(len(points), bool)
        for frame in frames:
            seen |= _shown(frame, truth.id, points)
        found.append(KnownObject(truth, points, seen))
    return found


def outer_points(solid: MeshSolid) -> NDArray[np.float32]:
    """Return points (n, 3) spread over a mesh, without what lies within overlapping parts."""
    mesh = solid.mesh
    points, normals = sample_surface(mesh.vertices_m, mesh.faces, _SAMPLES)
    outer = ~solid.contains(points + np.float32(_OFF_M) * normals)
    return points[outer] if outer.any() else points


def _shown(frame: Frame, instance: int, points_world_m: NDArray[np.float32]) -> Flags:
    """Return which points (n,) of an object an image shows."""
    truth, camera = frame.truth, frame.camera
    local = apply(invert(truth.T_world_camera), points_world_m.astype(np.float64))
    column, row = np.rint(camera.project(local)).astype(np.int64).T
    held = (local[:, 2] > 0) & (column >= 0) & (column < camera.width)
    held &= (row >= 0) & (row < camera.height)
    at = row[held], column[held]
    hidden = local[held, 2] > truth.depth_exact_m[at] + _SEEN_M
    held[held] = (truth.instance_mask[at] == instance) & ~hidden
    return held


@dataclasses.dataclass(frozen=True)
class SceneScore:
    """How a variant does on a scene.

    Attributes:
        scene: Name of the scene.
        kind: What its objects stand on.
        matched: Which object is which, by overlap of upright boxes.
        same_axes: How many are, by overlap of boxes along the true ones' axes.
        boxes: Overlaps of the upright boxes, for average precision.
        parsed: What was found and what is there in an image of the sweep.
        objects: Scores of each true object; without `iou` where it was not found.
        penetration: Volume that pairs of found objects share, as part of all volume.
        floating_gap_m: Mean way that found objects would fall; of those that something holds.
        masks: What was found in the images.
        stages_ms: Times of the stages.
        processor_ms: Processor time of a frame; NaN where no pipeline ran.
    """

    scene: str
    kind: str
    matched: MatchResult
    same_axes: int
    boxes: InstanceMatch
    parsed: tuple[Sequence[PosedObject], Sequence[PosedObject]]
    objects: Sequence[Mapping[str, float | str]]
    penetration: float
    floating_gap_m: float
    masks: Sequence[InstanceMatch] = ()
    stages_ms: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    processor_ms: float = float('nan')

    def with_run(self, run: Run) -> SceneScore:
        """Return the score with the masks and times of the run it is of."""
        return dataclasses.replace(
            self,
            masks=run.masks,
            stages_ms=run.stages_ms,
            processor_ms=1e3 * run.processor_s / max(run.frames, 1),
        )


def score_scene(
    scene: str, kind: str, found: Sequence[SceneObject], known: Sequence[KnownObject], frame: Frame
) -> SceneScore:
    """Compare what was found with what is there.

    Args:
        scene: Name of the scene.
        kind: What its objects stand on.
        found: The objects found.
        known: The true objects that count; what lies on others does not count either.
        frame: The image in which poses are compared.
    """
    truths = {one.truth.id: one for one in known}
    aside = [one for key, one in frame.truth.objects.items() if key not in truths]
    ignored = {match.estimate_id for match in match_objects(found, aside).matches}
    judged = [one for one in found if one.id not in ignored]
    real = [one.truth for one in known]
    matched = match_objects(judged, real)
    by_id = {one.id: one for one in judged}
    partner = {match.truth_id: by_id[match.estimate_id] for match in matched.matches}
    rows: list[Mapping[str, float | str]] = []
    for key, one in truths.items():
        row: dict[str, float | str] = {'id': key, 'category': one.truth.category}
        row['seen_share'] = float(one.seen.mean())
        if key in partner:
            row |= object_scores(partner[key].mesh, one)
        rows.append(row)
    return SceneScore(
        scene,
        kind,
        matched,
        len(match_objects(judged, real, overlap=same_axes_overlap).matches),
        match_boxes_3d(judged, [one.score for one in judged], real),
        (_posed(judged, frame), _posed([_as_found(one) for one in real], frame)),
        rows,
        penetration_share([one.mesh for one in found]),
        _gap_m(found, frame.truth.support_height_m),
    )


def object_scores(mesh: Mesh, known: KnownObject) -> dict[str, float]:
    """Return IoU, Chamfer distances in mm and F-scores at 1 cm of a mesh.

    Points of the mesh belong to the seen or the unseen part as the nearest true point does.

    Args:
        mesh: What was found.
        known: What is there.
    """
    solid = MeshSolid(mesh)
    inside = solid.contains(known.centers_world_m)
    common = np.count_nonzero(inside & known.inside)
    union = np.count_nonzero(inside | known.inside) + _beyond(solid, known)
    scores = {'iou': common / max(1.0, union)}
    points = outer_points(solid)
    to_true = known.solid.rays.compute_distance(o3d.core.Tensor.from_numpy(points)).numpy()
    query = o3d.core.Tensor.from_numpy(known.points_world_m)
    to_found = solid.rays.compute_distance(query).numpy()
    near_seen = known.seen[known.tree.query(points)[1]]
    everything = np.ones(1, bool)
    for suffix, true, near in (
        ('', everything, everything),
        ('_seen', known.seen, near_seen),
        ('_unseen', ~known.seen, ~near_seen),
    ):
        there = to_true[np.broadcast_to(near, to_true.shape)]
        back = to_found[np.broadcast_to(true, to_found.shape)]
        if len(back):
            scores |= _surface_scores(there, back, suffix)
    return scores


def _beyond(solid: MeshSolid, known: KnownObject) -> float:
    """Return how many voxels of a solid are outside of the cube."""
    step = known.centers_world_m[1, 1, 1] - known.centers_world_m[0, 0, 0]
    low, high = known.centers_world_m[0, 0, 0], known.centers_world_m[-1, -1, -1]
    points, cell_m3 = cells_of(solid.bounds_world_m)
    outside = points[((points < low - step / 2) | (points > high + step / 2)).any(1)]
    return np.count_nonzero(solid.contains(outside)) * cell_m3 / float(step.prod())


def _surface_scores(there: Array, back: Array, suffix: str) -> dict[str, float]:
    """Return scores of distances from what was found and from what is there."""
    means = [float(some.mean()) for some in (there, back) if len(some)]
    precision, recall = (float((some < _CLOSE_M).mean()) if len(some) else 0.0
                         for some in (there, back))  # fmt: skip
    return {
        f'chamfer{suffix}_mm': 1e3 * float(np.mean(means)),
        f'fscore{suffix}': 2 * precision * recall / max(precision + recall, 1e-12),
    }


def _gap_m(found: Sequence[SceneObject], support_m: float) -> float:
    support = Plane(UP, -support_m)
    gaps = [
        floating_gap_m(one.mesh, support, [other.mesh for other in found if other is not one])
        for one in found
    ]
    return float(np.mean(gaps)) if gaps else 0.0


def _as_found(truth: ObjectTruth) -> SceneObject:
    return SceneObject(truth.id, 1.0, truth.mesh, truth.T_world_object, truth.size_m)


def _posed(objects: Sequence[SceneObject], frame: Frame) -> list[PosedObject]:
    """Return objects in the camera's frame; their own axes are those of their upright boxes."""
    T_camera_world = invert(frame.truth.T_world_camera)
    at = (np.arange(_PARSED) + 0.5) / _PARSED - 0.5
    unit = np.stack(np.meshgrid(at, at, at, indexing='ij'), -1)
    posed = []
    for one in objects:
        size = np.maximum(one.size_m, 1e-6)
        box = _box_xyxy(one.mesh, frame.camera, T_camera_world)
        if box is None:
            continue
        inside = MeshSolid(one.mesh).contains(apply(one.T_world_object, unit * size))
        pose = T_camera_world @ one.T_world_object
        posed.append(PosedObject(box, pose, size, inside, one.score, _HALF_TURN))
    return posed


def _box_xyxy(
    mesh: Mesh, camera: Camera, T_camera_world: Array
) -> tuple[float, float, float, float] | None:
    """Return the box of a mesh in an image, what others hide included; None out of view."""
    local = apply(T_camera_world, mesh.vertices_m.astype(np.float64))
    local = local[local[:, 2] > 1e-3]
    if not len(local):
        return None
    pixels = camera.project(local)
    last = (camera.width - 1, camera.height - 1)
    x0, y0 = np.clip(pixels.min(0), 0, last)
    x1, y1 = np.clip(pixels.max(0), 0, last)
    return (float(x0), float(y0), float(x1), float(y1)) if x1 > x0 and y1 > y0 else None
