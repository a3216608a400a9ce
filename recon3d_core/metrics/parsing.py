"""Objects of a scene with pose, scale and shape against the truth: the protocol of Factored3D.

Tulsiani et al., *Factoring Shape, Pose, and Layout from the 2D Image of a 3D Scene*, CVPR 2018,
section 4.2: a prediction is true where its box, rotation, translation, shape and scale are all
near enough to those of an object that no better prediction took; the result is the average
precision. Dropping one criterion after the other tells which of them fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_shape, check_transform
from recon3d_core.errors import InputError
from recon3d_core.metrics.instances import instance_ap, InstanceMatch
from recon3d_core.metrics.scene import Boxed, upright_overlap

Array = NDArray[np.float64]

CRITERIA = ('box', 'rotation', 'translation', 'shape', 'scale')
ALL = 'all'


@dataclasses.dataclass(frozen=True)
class Limits:
    """From where on a prediction is near enough.

    Attributes:
        box_iou: Its box in the image overlaps more than this.
        rotation_rad: Its rotation is off by less.
        translation_m: Its place is off by less.
        shape_iou: Its shape, both in their own axes, overlaps more.
        scale_log2: The mean |log2| of the ratios of its edges is less.
    """

    box_iou: float = 0.5
    rotation_rad: float = float(np.deg2rad(30))
    translation_m: float = 1.0
    shape_iou: float = 0.25
    scale_log2: float = 0.5


@dataclasses.dataclass(frozen=True)
class PosedObject:
    """An object as it is seen in an image, found or true.

    Attributes:
        box_xyxy: Box in the image, pixels, both ends inside.
        T_camera_object: (4, 4) pose of its middle.
        size_m: (3,) edges of its box along its own axes.
        occupancy: (N, N, N) bool, what of that box is inside.
        score: Confidence; of the truth it says nothing.
        same: (K, 3, 3) rotations in its own frame after which it looks the same; those of the
            truth count.
    """

    box_xyxy: tuple[float, float, float, float]
    T_camera_object: Array
    size_m: Array
    occupancy: NDArray[np.bool_]
    score: float = 1.0
    same: Array = dataclasses.field(default_factory=lambda: np.eye(3)[None])

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            InputError: The pose is not rigid, an edge is not above 0, or a shape is wrong.
        """
        check_transform('T_camera_object', self.T_camera_object)
        check_shape('size_m', np.asarray(self.size_m), (3,))
        check_shape('occupancy', self.occupancy, ('N', 'N', 'N'))
        check_shape('same', self.same, ('K', 3, 3))
        if not (np.asarray(self.size_m) > 0).all():
            raise InputError('size_m', np.asarray(self.size_m).tolist(), 'edges above 0')


def box_iou_2d(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the IoU of boxes x0, y0, x1, y1 in pixels, both ends inside."""
    overlap = [max(0.0, min(a[k + 2], b[k + 2]) - max(a[k], b[k]) + 1) for k in (0, 1)]
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    common = overlap[0] * overlap[1]
    return common / (areas[0] + areas[1] - common)


def rotation_error_rad(found: PosedObject, true: PosedObject) -> float:
    """Return the least angle between the rotations, over those that look the same."""
    relative = true.T_camera_object[:3, :3].T @ found.T_camera_object[:3, :3]
    traces = np.einsum('kij,ij->k', true.same, relative)
    return float(np.arccos(np.clip((traces.max() - 1) / 2, -1, 1)))


def shape_iou(found: PosedObject, true: PosedObject) -> float:
    """Return the IoU of the shapes, each filling its own box.

    Raises:
        InputError: Their resolutions differ.
    """
    check_shape('occupancy', found.occupancy, true.occupancy.shape)
    union = np.count_nonzero(found.occupancy | true.occupancy)
    return float(np.count_nonzero(found.occupancy & true.occupancy) / union) if union else 1.0


def scale_error_log2(found: PosedObject, true: PosedObject) -> float:
    """Return the mean |log2| of the ratios of the edges."""
    return float(np.abs(np.log2(np.asarray(found.size_m) / np.asarray(true.size_m))).mean())


def _verdicts(found: PosedObject, true: PosedObject, limits: Limits) -> dict[str, bool]:
    shift = found.T_camera_object[:3, 3] - true.T_camera_object[:3, 3]
    return {
        'box': box_iou_2d(found.box_xyxy, true.box_xyxy) > limits.box_iou,
        'rotation': rotation_error_rad(found, true) < limits.rotation_rad,
        'translation': float(np.linalg.norm(shift)) < limits.translation_m,
        'shape': shape_iou(found, true) > limits.shape_iou,
        'scale': scale_error_log2(found, true) < limits.scale_log2,
    }


def factored_ap(
    images: Sequence[tuple[Sequence[PosedObject], Sequence[PosedObject]]],
    limits: Limits | None = None,
) -> Mapping[str, float]:
    """Return the average precision with all criteria, and with each of them dropped.

    Where a prediction fits several objects it takes the one whose box overlaps most.

    Args:
        images: What was found in each image, and what is there.
        limits: From where on a prediction is near enough; those of the paper where None.

    Returns:
        `{'all': AP, 'all - box': AP, ...}`; NaN where there are no objects.

    Raises:
        InputError: Shapes differ in resolution.
    """
    limits = limits or Limits()
    dropped = {ALL: '', **{f'{ALL} - {name}': name for name in CRITERIA}}
    matches: dict[str, list[InstanceMatch]] = {key: [] for key in dropped}
    for found, true in images:
        scores = np.array([one.score for one in found], np.float64)
        verdicts = [[_verdicts(a, b, limits) for b in true] for a in found]
        # Some overlap of the boxes decides between objects that fit equally well.
        overlap = np.array(
            [[1 + box_iou_2d(a.box_xyxy, b.box_xyxy) for b in true] for a in found], np.float64
        ).reshape(len(found), len(true))
        for key, without in dropped.items():
            wanted = [name for name in CRITERIA if name != without]
            good = np.array(
                [[all(one[name] for name in wanted) for one in row] for row in verdicts], bool
            ).reshape(overlap.shape)
            match = InstanceMatch(scores, np.where(good, overlap / 2, 0.0), np.zeros(len(found)))
            matches[key].append(match)
    return {key: instance_ap(some, 0.5) for key, some in matches.items()}


def match_boxes_3d(
    found: Sequence[Boxed], scores: Sequence[float], true: Sequence[Boxed]
) -> InstanceMatch:
    """Compare the upright boxes of a scene's objects, for `instance_ap` over scenes.

    Args:
        found: The estimates.
        scores: Their scores.
        true: The true objects.

    Raises:
        InputError: The counts differ.
    """
    if len(scores) != len(found):
        raise InputError('scores', len(scores), f'{len(found)}, one for each object')
    ious = np.zeros((len(found), len(true)))
    for i, a in enumerate(found):
        for j, b in enumerate(true):
            ious[i, j] = upright_overlap(a, b)
    return InstanceMatch(np.asarray(scores, np.float64), ious, np.zeros(len(found)))
