"""Optimisers with a group of parameters for each factor of the learning rate."""

from __future__ import annotations

from typing import Any

from recon3d_core.errors import InputError
from recon3d_core.models.base import Network
from recon3d_core.training.recipe import Recipe, Stage
import torch
from torch import nn

_KINDS = {'adam': torch.optim.Adam, 'adamw': torch.optim.AdamW}


def make_optimizer(
    network: Network, recipe: Recipe, stage: Stage, part_of: dict[str, str]
) -> torch.optim.Optimizer:
    """Return the optimiser of a stage.

    Biases and scales (one axis or none) do not decay.

    Args:
        network: The network, on its device.
        recipe: Says which optimiser.
        stage: Says the factors of the learning rate.
        part_of: `{parameter: part}` of the parameters to train.

    Raises:
        InputError: A factor is given for a part that the stage does not train.
    """
    for part in stage.lr_factors:
        if part not in part_of.values():
            expected = f'of {", ".join(sorted(set(part_of.values())))}'
            raise InputError('lr_factors of the recipe', f'part {part!r}', expected)
    grouped: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if name in part_of:
            factor = stage.lr_factors.get(part_of[name], 1.0)
            grouped.setdefault((factor, parameter.ndim >= 2), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {
            'params': parameters,
            'factor': factor,
            'weight_decay': recipe.weight_decay if decays else 0.0,
        }
        for (factor, decays), parameters in grouped.items()
    ]
    on_gpu = network.device.type == 'cuda'
    return _KINDS[recipe.optimizer](groups, lr=stage.lr, fused=on_gpu or None)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all groups, each by its factor."""
    for group in optimizer.param_groups:
        group['lr'] = lr * group['factor']
