"""A sweep through a pipeline: what it found, and what that took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.scene_sweeps import with_true_masks
from recon3d_core.detection.frame_masks import FrameMasksDetector
from recon3d_core.errors import FrameError
from recon3d_core.metrics.instances import InstanceMatch, match_instances
from recon3d_core.scene.options import PipelineConfig
from recon3d_core.scene.pipeline import Pipeline
from recon3d_core.types import Detections, Frame, Mesh, ObjectEstimate, Plane

Array = NDArray[np.float64]

UP = np.array((0.0, 0.0, 1.0))
_LEAST_SHARE = 160 / (640 * 480)  # of the image: smaller objects do not count
_RESTS_M = 0.01  # nearer to the support: the object stands on it


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """An object that was found.

    Attributes:
        id: Its number.
        score: Confidence in [0, 1].
        mesh: Closed mesh in the world's frame.
        T_world_object: (4, 4) pose of its upright box.
        size_m: (3,) edges of that box.
    """

    id: int
    score: float
    mesh: Mesh
    T_world_object: Array
    size_m: Array


@dataclasses.dataclass(frozen=True)
class Run:
    """What a pipeline made of a sweep.

    Attributes:
        objects: The objects.
        seen: The objects with the seen part of their meshes only.
        masks: What was found in each image, where the detector found it.
        stages_ms: Times of each stage, wall clock.
        processor_s: Processor time of all of it.
        frames: Frames that were used.
    """

    objects: tuple[SceneObject, ...]
    seen: tuple[SceneObject, ...]
    masks: tuple[InstanceMatch, ...]
    stages_ms: Mapping[str, Sequence[float]]
    processor_s: float
    frames: int


class TrueMasks(FrameMasksDetector):
    """Gives the true masks, and the true support to objects that stand on it."""

    def detect(self, frame: Frame) -> Detections:
        """Return the objects in view."""
        truth = frame.truth
        support = Plane(UP, -truth.support_height_m)
        items = []
        for item in super().detect(frame).items:
            bottom_m = float(truth.objects[item.instance].mesh.vertices_m[:, 2].min())
            stands = bottom_m - truth.support_height_m < _RESTS_M
            items.append(dataclasses.replace(item, support=support if stands else None))
        return Detections(tuple(items), (support,))


class _WithTrueMasks(Pipeline):
    """A pipeline whose detector knows the truth."""

    def _make_chain(self, kind: str) -> list[Any]:
        chain = super()._make_chain(kind)
        if kind == 'detector':
            chain[0] = TrueMasks(self.config.detector.config, self.device)
        return chain


def run_pipeline(frames: Sequence[Frame], config: PipelineConfig, *, true_masks: bool) -> Run:
    """Return what a pipeline makes of frames with ground truth.

    Args:
        frames: The frames, their truth a SceneTruth.
        config: The pipeline's options.
        true_masks: Whether the detector is given the true masks.

    Raises:
        Recon3DError: The pipeline cannot be made.
    """
    pipeline = _WithTrueMasks(config) if true_masks else Pipeline(config)
    masks: list[InstanceMatch] = []
    stages: dict[str, list[float]] = {}
    begin = time.process_time()
    judged_s = 0.0
    try:
        for frame in frames:
            shown = with_true_masks(frame) if true_masks else frame
            with contextlib.suppress(FrameError):  # counted by the pipeline
                update = pipeline.update(shown)
                for stage, spent in update.timings_ms.items():
                    stages.setdefault(stage, []).append(spent)
                if update.detections is not None:
                    start = time.process_time()
                    masks.append(_match_masks(update.detections, frame))
                    judged_s += time.process_time() - start
        pipeline.flush()
        spent_s = time.process_time() - begin - judged_s
        estimates = pipeline.scene().objects.values()
        return Run(
            tuple(_object(one, one.mesh) for one in estimates),
            tuple(_object(one, _seen_part(one.mesh)) for one in estimates),
            tuple(masks),
            stages,
            spent_s,
            pipeline.frames_read - sum(pipeline.dropped.values()),
        )
    finally:
        pipeline.close()


def _match_masks(detections: Detections, frame: Frame) -> InstanceMatch:
    instances = frame.truth.instance_mask
    found = np.zeros((len(detections.items), *instances.shape), bool)
    for index, item in enumerate(detections.items):
        found[index] = item.mask
    scores = [item.score for item in detections.items]
    return match_instances(found, scores, instances, least_px(frame))


def least_px(frame: Frame) -> int:
    """Return how many pixels of an object make it count in an image."""
    return max(1, round(_LEAST_SHARE * frame.camera.width * frame.camera.height))


def _object(estimate: ObjectEstimate, mesh: Mesh) -> SceneObject:
    return SceneObject(estimate.id, estimate.score, mesh, estimate.T_world_object, estimate.size_m)


def _seen_part(mesh: Mesh) -> Mesh:
    if mesh.face_observed is None or not mesh.face_observed.any():
        return mesh
    return Mesh(mesh.vertices_m, mesh.faces[mesh.face_observed])
