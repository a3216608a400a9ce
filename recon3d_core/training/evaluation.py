"""Networks and baselines judged on the same objects, views and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import time
from typing import Any

import numpy as np
from recon3d_core import metrics
from recon3d_core.data.samples import Batch, collate, Sample
from recon3d_core.data.sets.base import DataSet
from recon3d_core.errors import InputError
from recon3d_core.models.base import VolumeNetwork
from recon3d_core.models.baselines.base import Baseline
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.training.validation import checked, first_views
import torch
from torch import Tensor

TOGETHER = 8
_TIMED = 3
_SHUFFLED = 4
_SHUFFLES = 3


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A model that is judged.

    Attributes:
        name: How it is called in the table.
        model: The model, in `eval` mode.
        threshold: Probability from which a voxel is inside; fixed before the test data are seen.
    """

    name: str
    model: VolumeNetwork
    threshold: float


@dataclasses.dataclass(frozen=True)
class Score:
    """How one model does on one object with some views.

    Attributes:
        model: Name of the model.
        views: How many views it saw.
        category: What the object is.
        iou: Intersection over union at the model's threshold.
        fscore: F-score of the surface at 1 % of the cube's edge; None where not computed.
        chamfer: Squared Chamfer distance in edges of the cube; None where not computed.
        map: Average precision of the voxels.
    """

    model: str
    views: int
    category: str
    iou: float
    fscore: float | None
    chamfer: float | None
    map: float


def evaluate(
    contestants: Sequence[Contestant],
    data: DataSet,
    names: Sequence[str],
    views: Sequence[int],
    surfaces: Callable[[int], bool],
    advance: Callable[[int], None],
) -> list[Score]:
    """Return the scores of all models on all objects and numbers of views.

    Every model sees each view once: its state after V views gives what V views are worth.

    Args:
        contestants: The models.
        data: The data set.
        names: Names of the objects.
        views: Numbers of views, rising.
        surfaces: Says of the number of an object whether its surface is scored too.
        advance: Is told how many objects are done.

    Raises:
        InputError: A sample cannot be read or has cameras that are not finite.
    """
    scores: list[Score] = []
    for first in range(0, len(names), TOGETHER):
        samples = [
            checked(data.sample(name, views[-1])) for name in names[first : first + TOGETHER]
        ]
        wanted = [surfaces(first + k) for k in range(len(samples))]
        for contestant in contestants:
            for count, volumes in stream(contestant.model, collate(samples), views):
                scores += _score(contestant, count, samples, volumes, wanted)
        advance(first + len(samples))
    return scores


@torch.no_grad()
def stream(
    model: VolumeNetwork, batch: Batch, views: Sequence[int]
) -> Iterator[tuple[int, Tensor]]:
    """Yield the numbers of views with the probabilities (B, N, N, N), on the CPU, after each.

    Args:
        model: The model.
        batch: Objects with at least the most views.
        views: Numbers of views, rising.
    """
    if isinstance(model, Baseline):
        model.reveal(batch.occupancy)
    batch = batch.to(model.device)
    prepared = model.preprocess(batch.images, batch.masks)
    state = model.start(len(batch.names))
    for index in range(views[-1]):
        state = model.observe(state, prepared[:, index], batch.cameras.view(index))
        if index + 1 in views:
            yield index + 1, _finite(model, model.probabilities(state)).float().cpu()


def _finite(model: VolumeNetwork, volumes: Tensor) -> Tensor:
    if not bool(torch.isfinite(volumes).all()):
        fix = 'Its weights may be broken: train them again.'
        raise InputError(f'{model.name} predicts values that are not finite', fix=fix)
    return volumes


def _score(
    contestant: Contestant,
    views: int,
    samples: Sequence[Sample],
    volumes: Tensor,
    surfaces: Sequence[bool],
) -> Iterator[Score]:
    for sample, volume, wanted in zip(samples, volumes, surfaces):
        fscore = chamfer = None
        if wanted and sample.surface is not None and len(sample.surface):
            found = metrics.surface_scores(
                volume, sample.surface, contestant.threshold, samples=len(sample.surface)
            )
            fscore, chamfer = found.fscore, found.chamfer
            if not np.isfinite(chamfer):
                chamfer = chamfer_of_nothing(sample.surface)
        yield Score(
            contestant.name,
            views,
            sample.category,
            float(metrics.iou(volume, sample.occupancy, contestant.threshold)),
            fscore,
            chamfer,
            float(metrics.mean_average_precision(volume, sample.occupancy)),
        )


def chamfer_of_nothing(surface: Any) -> float:
    """Return the Chamfer distance of an empty volume: as of a point in the cube's centre."""
    squared = np.square(np.asarray(surface, np.float64)).sum(1)
    return float(squared.mean() + squared.min())


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a model costs and whether the order of the views matters.

    Attributes:
        ms: `{views: median time in which a new view is taken in and the shape is known}`.
        memory_mb: `{views: size of the weights and of the state of one object}`.
        parameters: How many parameters it has.
        order_sensitivity: `{views: largest difference of a probability for other orders}`.
    """

    ms: dict[int, float]
    memory_mb: dict[int, float]
    parameters: int
    order_sensitivity: dict[int, float]


@torch.no_grad()
def measure(contestant: Contestant, samples: Sequence[Sample], views: Sequence[int]) -> Cost:
    """Return what a model costs, measured on a few objects, one at a time.

    Args:
        contestant: The model.
        samples: The objects, with at least the most views.
        views: Numbers of views, rising.
    """
    model = contestant.model
    weights = [*model.parameters(), *model.buffers()]
    size = sum(value.numel() * value.element_size() for value in weights)
    times: dict[int, list[float]] = {count: [] for count in views}
    states: dict[int, int] = {}
    for sample in [samples[0], *samples[:_TIMED]]:  # the first time warms up
        for count, seconds, state in _timed(model, collate([sample]), views[-1]):
            if count in times:
                times[count].append(seconds)
                states[count] = tensor_bytes(state)
    shuffled = collate(samples[:_SHUFFLED])
    return Cost(
        {count: 1000 * float(np.median(found[1:])) for count, found in times.items()},
        {count: (size + states[count]) / 2**20 for count in views},
        sum(parameter.numel() for parameter in model.parameters()),
        {count: order_sensitivity(model, first_views(shuffled, count)) for count in views},
    )


def _timed(model: VolumeNetwork, batch: Batch, views: int) -> Iterator[tuple[int, float, Any]]:
    """Yield number, time in seconds and state of each view of a stream."""
    if isinstance(model, Baseline):
        model.reveal(batch.occupancy)
    batch = batch.to(model.device)
    state = model.start(1)
    for index in range(views):
        begin = _now(model)
        part = slice(index, index + 1)
        view = model.preprocess(batch.images[:, part], batch.masks[:, part])[:, 0]
        state = model.observe(state, view, batch.cameras.view(index))
        model.probabilities(state)
        yield index + 1, _now(model) - begin, state


def _now(model: VolumeNetwork) -> float:
    if model.device.type == 'cuda':
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def tensor_bytes(state: Any) -> int:
    """Return the bytes of all tensors in a state of tuples, lists, dicts and plain objects."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(tensor_bytes, state.values()))
    if isinstance(state, (tuple, list)):
        return sum(map(tensor_bytes, state))
    return sum(map(tensor_bytes, vars(state).values())) if hasattr(state, '__dict__') else 0


@torch.no_grad()
def order_sensitivity(model: VolumeNetwork, batch: Batch) -> float:
    """Return the largest difference of any probability between orders of the same views."""
    count = batch.images.shape[1]
    if count == 1:
        return 0.0
    [(_, straight)] = stream(model, batch, [count])
    rng, worst = np.random.default_rng(count), 0.0
    for _ in range(_SHUFFLES if count > 2 else 1):
        order = [1, 0] if count == 2 else rng.permutation(count).tolist()
        cameras = ViewCameras(batch.cameras.K[:, order], batch.cameras.T_camera_cube[:, order])
        turned = dataclasses.replace(
            batch, images=batch.images[:, order], masks=batch.masks[:, order], cameras=cameras
        )
        [(_, volumes)] = stream(model, turned, [count])
        worst = max(worst, float((volumes - straight).abs().max()))
    return worst
