"""Training of point completion: judged by the IoU of the solids that its clouds make."""

from __future__ import annotations

from typing import Any

from recon3d_core.models.base import Network
from recon3d_core.models.point_completion.model import PointCompletion
from recon3d_core.training.completion import CompletionTask
from torch import nn, Tensor


class _Loss(nn.Module):
    """A network's loss as a module, so that it can be wrapped for several devices."""

    def __init__(self, network: PointCompletion) -> None:
        super().__init__()
        self.network = network

    def forward(self, **tensors: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        return self.network.loss(**tensors)


class PointCompletionTask(CompletionTask):
    """Visible points of an object to all of it."""

    def objective(self, network: Network) -> nn.Module:
        """Return the network's own loss."""
        assert isinstance(network, PointCompletion)
        return _Loss(network)

    def tensors(self, batch: Any) -> dict[str, Tensor]:
        """Return the clouds."""
        return {
            'seen': batch.seen,
            'surface': batch.surface,
            'places': batch.places,
            'inside': batch.inside,
        }
