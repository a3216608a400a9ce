"""What a training is at one moment: a network, its optimiser and how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
from typing import Any

from recon3d_core.models.base import Network
from recon3d_core.training.ema import RunningMean
from recon3d_core.training.objective import choose_parts
from recon3d_core.training.optimizers import make_optimizer
from recon3d_core.training.recipe import Recipe
from recon3d_core.training.task import Task
import torch
from torch import Tensor


@dataclasses.dataclass
class Progress:
    """How far a training is.

    Attributes:
        step: Steps done.
        stage: Number of the stage whose optimiser is in use; -1 before the first.
        images: Images that the network has seen.
        seconds: Time spent, over all runs.
        wait_seconds: Of it, time spent waiting for batches.
        best: Best mean IoU of a validation; -1 before the first.
        threshold: Threshold of the last validation.
        metrics: What the last validation found.
    """

    step: int = 0
    stage: int = -1
    images: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    best: float = -1.0
    threshold: float = 0.5
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)


class State:
    """The parts of a training that change, and how they are stored.

    Attributes:
        network: The network, on its device.
        objective: The network with its loss, wrapped by Fabric.
        optimizer: The stage's optimiser, wrapped by Fabric.
        progress: How far the training is.
    """

    def __init__(self, fabric: Any, network: Network, recipe: Recipe, task: Task) -> None:
        """Begin with a network; `enter` a stage before the first step.

        Raises:
            InputError: A stage names a part that is not there, or leaves nothing to train.
        """
        self.fabric = fabric
        self.network = network.to(fabric.device)
        self.recipe = recipe
        self.task = task
        for stage in recipe.stages:  # what is wrong with the last must not wait for the first
            part_of = choose_parts(network, stage.train, stage.freeze)
            make_optimizer(network, recipe, stage, part_of)
        self.progress = Progress()
        self.mean = RunningMean(network, recipe.ema) if recipe.ema else None
        self.objective: Any = None
        self.optimizer: Any = None
        self._stored_optimizer: dict[str, Any] = {}

    def enter(self, index: int) -> None:
        """Make the optimiser of a stage; where the stage goes on, with its stored state."""
        stage = self.recipe.stages[index]
        part_of = choose_parts(self.network, stage.train, stage.freeze)
        optimizer = make_optimizer(self.network, self.recipe, stage, part_of)
        if index == self.progress.stage and self._stored_optimizer:
            optimizer.load_state_dict(self._stored_optimizer)
        self._stored_optimizer = {}
        self.progress.stage = index
        objective = self.task.objective(self.network)
        self.objective, self.optimizer = self.fabric.setup(objective, optimizer)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Use the mean weights for a while, where the recipe wants them."""
        return self.mean.used_by(self.network) if self.mean else contextlib.nullcontext()

    def stored(self) -> dict[str, Any]:
        """Return all that `restore` needs.

        Random numbers are no part of it: those of a step follow from its number.
        """
        return {
            'network': self.network.state_dict(),
            'optimizer': self.optimizer.state_dict() if self.optimizer else {},
            'mean': self.mean.state_dict() if self.mean else {},
            'progress': dataclasses.asdict(self.progress),
        }

    def restore(self, stored: dict[str, Any]) -> None:
        """Go on from what `stored` returned."""
        self.network.load_state_dict(stored['network'])
        if self.mean:
            self.mean.load_state_dict(stored['mean'])
        self.progress = Progress(**stored['progress'])
        self._stored_optimizer = stored['optimizer']


def save_batch(path: Any, tensors: Mapping[str, Tensor], names: Sequence[str]) -> None:
    """Write a batch as safetensors, its objects' names as metadata."""
    from safetensors.torch import save_file

    cpu = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(cpu, path, {'names': '\n'.join(names)})


def seed_network(seed: int) -> None:
    """Seed what the network draws in a step, on all devices."""
    torch.manual_seed(seed)
