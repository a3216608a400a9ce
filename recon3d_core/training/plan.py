"""What every step of a training does, as a function of its number alone.

Nothing here remembers anything: a run that was killed goes on with the very batches, views and
learning rates that it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray
from recon3d_core.training.recipe import Recipe, Stage

_ORDER, _VIEWS, _BATCH, _NETWORK = range(4)  # streams of random numbers


def _number(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(count)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in its stage a step is.

    Attributes:
        index: Number of the stage.
        stage: The stage.
        step: Number of the step within the stage.
    """

    index: int
    stage: Stage
    step: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps of a training, for one of `world` processes.

    Attributes:
        recipe: The recipe.
        objects: Names of the training objects.
        rank: Number of this process.
        world: How many processes there are.
    """

    recipe: Recipe
    objects: Sequence[str]
    rank: int = 0
    world: int = 1

    def place(self, step: int) -> Place:
        """Return the stage of a step; of the last one where the training is over."""
        first = 0
        for index, stage in enumerate(self.recipe.stages):
            if step < first + stage.steps:
                return Place(index, stage, step - first)
            first += stage.steps
        return Place(index, stage, stage.steps)

    def names(self, step: int) -> list[str]:
        """Return the objects of a step: all are seen once before one is seen again."""
        size, total = self.recipe.batch, len(self.objects)
        first = (step * self.world + self.rank) * size
        names = []
        for position in range(first, first + size):
            epoch, index = divmod(position, total)
            names.append(self.objects[_permutation(self.recipe.seed, epoch, total)[index]])
        return names

    def views(self, step: int) -> int:
        """Return how many views of each object the network sees, the same in all processes."""
        low, high = self.place(step).stage.views
        return low + _number(self.recipe.seed, _VIEWS, step) % (high - low + 1)

    def batch_seed(self, step: int) -> int:
        """Return the seed of all that is drawn for the batch."""
        return _number(self.recipe.seed, _BATCH, step, self.rank)

    def network_seed(self, step: int) -> int:
        """Return the seed of what the network draws, such as dropout."""
        return _number(self.recipe.seed, _NETWORK, step, self.rank)

    def lr(self, step: int) -> float:
        """Return the learning rate of a step."""
        place = self.place(step)
        return learning_rate(place.stage, place.step)


def learning_rate(stage: Stage, step: int) -> float:
    """Return the learning rate of a stage's step.

    `cosine` rises over the warm-up and falls along half a cosine; `one_cycle` does the same with
    at least 30 % of the steps for the rise (Smith and Topin 2019); `milestones` falls by `gamma`
    at each.
    """
    warmup = max(stage.warmup, 0.3) if stage.schedule == 'one_cycle' else stage.warmup
    rising = round(warmup * stage.steps)
    if step < rising:
        part = (step + 1) / rising
        if stage.schedule == 'one_cycle':
            part = 0.04 + 0.96 * (1 - math.cos(math.pi * part)) / 2
        return stage.lr * part
    if stage.schedule == 'milestones':
        return stage.lr * stage.gamma ** sum(step >= mark for mark in stage.milestones)
    if stage.schedule == 'constant':
        return stage.lr
    done = (step - rising) / max(1, stage.steps - rising)
    return stage.lr * (stage.final + (1 - stage.final) * (1 + math.cos(math.pi * done)) / 2)
