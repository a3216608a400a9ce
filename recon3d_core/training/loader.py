"""Batches made ahead of time by other processes, one for each step."""

from __future__ import annotations

from collections.abc import Iterator
import os
from typing import Any

from recon3d_core.data.samples import Batch
from recon3d_core.data.sets.base import DataSet
from recon3d_core.errors import InputError, Recon3DError, RunError
from recon3d_core.training.plan import Plan
from torch.utils.data import DataLoader, Dataset

_AHEAD = 4


class StepBatches(Dataset[Any]):
    """The batch of every step; an error is an item, since its type must survive the way here."""

    def __init__(self, data: DataSet, plan: Plan) -> None:
        """Keep what says the batches."""
        self.data = data
        self.plan = plan

    def __getitem__(self, step: int) -> Batch | str:
        """Return the batch of a step, or in one line why there is none."""
        views = self.plan.views(step) + self.plan.recipe.loss.extra_views
        try:
            return self.data.batch(self.plan.names(step), views, self.plan.batch_seed(step))
        except (Recon3DError, OSError) as error:
            return f'{type(error).__name__}: {error}'


def worker_count(data: DataSet, wanted: int) -> int:
    """Return how many processes make batches.

    A set that draws on a GPU does so in this process: a CUDA context cannot be shared.
    """
    if str(getattr(data.config, 'device', 'cpu')).startswith('cuda'):
        return 0
    return wanted if wanted >= 0 else max(1, min(8, (os.cpu_count() or 2) - 1))


def load_batches(data: DataSet, plan: Plan, first: int, workers: int) -> Iterator[Batch]:
    """Yield the batches of the steps from `first` to the last.

    Args:
        data: The data set.
        plan: Says what each batch holds.
        first: Number of the first step.
        workers: As the recipe says, see `worker_count`.

    Raises:
        InputError: The data set cannot make a batch.
        RunError: A process that makes batches was killed.
    """
    count = worker_count(data, workers)
    loader = DataLoader(
        StepBatches(data, plan),
        batch_size=None,
        sampler=range(first, plan.recipe.steps),
        num_workers=count,
        prefetch_factor=_AHEAD if count else None,
    )
    try:
        for item in loader:
            if isinstance(item, str):
                raise InputError(f'data set {data.name} cannot make a batch', item)
            yield item
    except RuntimeError as error:
        if 'DataLoader worker' in str(error):
            fix = 'Memory may be short: fewer data.workers or a smaller batch need less.'
            raise RunError('a process that makes batches ended', fix=fix) from error
        raise
