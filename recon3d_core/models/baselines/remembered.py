"""Baselines that remember the training objects: their mean, and the nearest of them."""

from __future__ import annotations

from typing import Any

from recon3d_core.models.baselines.base import (
    Baseline,
    BaselineConfig,
    TrainingData,
    TrainingShapes,
)
from recon3d_core.models.baselines.features import describe
from recon3d_core.models.cameras import ViewCameras
import torch
from torch import Tensor

_TOGETHER = 16
_ROWS = 256  # training objects compared at once


@torch.no_grad()
def gather(data: TrainingData, objects: int, views: int, resolution: int) -> TrainingShapes:
    """Return what the baselines remember of the training split.

    Args:
        data: The data set; its training views are taken, as networks see them.
        objects: How many objects at most, evenly spread over the split.
        views: Views of each.
        resolution: Voxels along an edge of the data's volumes.
    """
    names = list(data.names('train'))
    if len(names) > objects:
        names = [names[int(k)] for k in torch.linspace(0, len(names) - 1, objects).round()]
    looks = MeanShape(BaselineConfig(resolution=8))
    occupancy, features = [], []
    for first in range(0, len(names), _TOGETHER):
        batch = data.batch(names[first : first + _TOGETHER], views, first)
        seen = looks.preprocess(batch.images, batch.masks)
        features.append(describe(seen.flatten(0, 1)).reshape(*seen.shape[:2], -1))
        occupancy.append(batch.occupancy > 0.5)
    if not names:
        return TrainingShapes(torch.zeros(0, *[resolution] * 3).bool(), torch.zeros(0, views, 1))
    return TrainingShapes(torch.cat(occupancy), torch.cat(features))


class Unseeing(Baseline):
    """A baseline that does not look at the views: its state only counts them."""

    def start(self, batch: int = 1) -> tuple[int, int]:
        """Return how many objects there are, and that no view was seen."""
        return batch, 0

    def observe(
        self,
        state: tuple[int, int],
        view: Tensor,  # noqa: ARG002
        camera: ViewCameras | None = None,  # noqa: ARG002
    ) -> tuple[int, int]:
        """Return the state after a view, which changes nothing but their number."""
        return state[0], state[1] + 1


class MeanShape(Unseeing):
    """The mean of all training shapes, whatever the images show."""

    name = 'mean_shape'
    fitted_threshold = True

    def __init__(self, config: BaselineConfig | None = None) -> None:
        """Know nothing yet."""
        super().__init__(config)
        self.register_buffer('mean', self.unknown(1)[0])

    def fit(self, shapes: TrainingShapes) -> None:
        """Take the mean."""
        self.mean = shapes.occupancy.float().mean(0).to(self.device)

    def probabilities(self, state: tuple[int, int]) -> Tensor:
        """Return the mean shape (B, N, N, N)."""
        batch, views = state
        return self.mean.expand(batch, -1, -1, -1).clone() if views else self.unknown(batch)


class Retrieval(Baseline):
    """The training object whose views look most like the ones that are seen."""

    name = 'retrieval'

    def __init__(self, config: BaselineConfig | None = None) -> None:
        """Know nothing yet."""
        super().__init__(config)
        self.shapes: TrainingShapes | None = None

    def fit(self, shapes: TrainingShapes) -> None:
        """Remember the training objects."""
        self.shapes = TrainingShapes(
            shapes.occupancy.to(self.device), shapes.features.to(self.device)
        )

    def start(self, batch: int = 1) -> Any:
        """Return the distances (B, T) of nothing to every training object, and 0 views."""
        count = 0 if self.shapes is None else len(self.shapes.occupancy)
        return torch.zeros(batch, count, device=self.device), 0

    def observe(self, state: Any, view: Tensor, camera: ViewCameras | None = None) -> Any:  # noqa: ARG002
        """Add how far each training object is from a view: the nearest of its views counts."""
        total, views = state
        if self.shapes is None:
            return total, views + 1
        known = self.shapes.features
        distances = torch.cdist(describe(view), known.flatten(0, 1))
        nearest = distances.reshape(len(view), *known.shape[:2]).amin(2)
        return total + nearest, views + 1

    def probabilities(self, state: Any) -> Tensor:
        """Return the shape (B, N, N, N) of the nearest training object."""
        total, views = state
        if self.shapes is None or not views:
            return self.unknown(len(total))
        return self.shapes.occupancy[total.argmin(1)].float()


class OracleRetrieval(Unseeing):
    """The training object with the best IoU: as good as any retrieval can be.

    It has to be told the truth by `reveal`.
    """

    name = 'oracle_retrieval'

    def __init__(self, config: BaselineConfig | None = None) -> None:
        """Know nothing yet."""
        super().__init__(config)
        self.shapes: TrainingShapes | None = None
        self.best: Tensor | None = None

    def fit(self, shapes: TrainingShapes) -> None:
        """Remember the training objects."""
        self.shapes = shapes

    def reveal(self, occupancy: Tensor) -> None:
        """Find the best training object of each of the true shapes (B, N, N, N) that follow."""
        if self.shapes is None:
            return
        truth = occupancy.to(self.device).flatten(1).float()
        scores = []
        for known in torch.split(self.shapes.occupancy.flatten(1), _ROWS):
            flat = known.to(self.device).float()
            both = truth @ flat.T
            scores.append(both / (truth.sum(1)[:, None] + flat.sum(1) - both).clamp_min(1))
        best = torch.cat(scores, 1).argmax(1).cpu()
        self.best = self.shapes.occupancy[best].float().to(self.device)

    def probabilities(self, state: tuple[int, int]) -> Tensor:
        """Return the best training shapes (B, N, N, N) of the objects that were revealed."""
        batch, views = state
        if self.best is None or not views or len(self.best) != batch:
            return self.unknown(batch)
        return self.best
