"""A running mean of weights, which is often better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib

import torch
from torch import nn, Tensor


class RunningMean:
    """Exponential mean of a network's parameters; its buffers are those of the last step."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin with the present weights."""
        self.decay = decay
        self.mean = {name: value.detach().clone() for name, value in network.named_parameters()}
        self.count = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step; the first steps weigh more, as nothing is known."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        mean = [self.mean[name] for name, _ in network.named_parameters()]
        torch._foreach_lerp_(mean, [p.detach() for p in network.parameters()], 1 - decay)

    @contextlib.contextmanager
    def used_by(self, network: nn.Module) -> Iterator[None]:
        """Give the network the mean weights for a while."""
        own = {name: value.detach().clone() for name, value in network.named_parameters()}
        _copy(self.mean, network)
        try:
            yield
        finally:
            _copy(own, network)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what `load_state_dict` takes."""
        return {**self.mean, '_count': torch.tensor(self.count)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a stored mean."""
        self.count = int(state['_count'])
        for name, value in self.mean.items():
            value.copy_(state[name])


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        parameter.copy_(values[name])
