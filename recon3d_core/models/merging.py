"""Context-aware fusion of volumes: a softmax over the views in every voxel, whole or streamed.

Pix2Vox (Xie et al. 2019), section 3.3: every view brings a volume of occupancy and a volume of
scores, and the fused occupancy is the mean of the volumes under a softmax of the scores.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional


def merge(probabilities: Tensor, scores: Tensor) -> Tensor:
    """Return the fused probabilities of all views (the batch formula).

    Args:
        probabilities: (B, V, N, N, N) occupancy of each view.
        scores: (B, V, N, N, N) how much each view is to be believed, any real number.

    Returns:
        (B, N, N, N) in [0, 1].
    """
    return (probabilities * scores.float().softmax(1)).sum(1).clamp(0, 1)


def merge_logits(logits: Tensor, scores: Tensor) -> Tensor:
    """Return the logits of `merge(logits.sigmoid(), scores)`, without its loss of precision.

    A mixture of probabilities has no short form in logits; both it and its complement are sums
    in the log domain, so that a loss on the result has gradients however sure the views are.

    Args:
        logits: (B, V, N, N, N).
        scores: (B, V, N, N, N).

    Returns:
        (B, N, N, N).
    """
    logits, scores = logits.float(), scores.float()  # sums of logarithms need the precision
    if logits.shape[1] == 1:
        return logits[:, 0] + 0 * scores[:, 0]  # one view: its weight is 1 whatever its score
    weights = scores.log_softmax(1)
    inside = torch.logsumexp(weights + functional.logsigmoid(logits), 1)
    outside = torch.logsumexp(weights + functional.logsigmoid(-logits), 1)
    return inside - outside


@dataclasses.dataclass
class MergeState:
    """Running softmax of B objects: constant in memory, whatever the number of views.

    Attributes:
        views: How many views are in it.
        peak: (B, N, N, N) largest score so far.
        weight: (B, N, N, N) sum of exp(score - peak).
        mass: (B, N, N, N) sum of exp(score - peak) * probability.
    """

    views: int
    peak: Tensor
    weight: Tensor
    mass: Tensor

    @classmethod
    def empty(cls, batch: int, resolution: int, device: torch.device | str = 'cpu') -> MergeState:
        """Return the state before the first view, float32."""
        zeros = torch.zeros(batch, *(resolution,) * 3, device=device)
        return cls(0, torch.full_like(zeros, -torch.inf), zeros, zeros.clone())

    @property
    def bytes(self) -> int:
        """Memory that the state holds."""
        return sum(t.numel() * t.element_size() for t in (self.peak, self.weight, self.mass))

    def add(self, probabilities: Tensor, scores: Tensor) -> MergeState:
        """Take in one view, in place, and return self.

        Args:
            probabilities: (B, N, N, N).
            scores: (B, N, N, N), finite.
        """
        scores = scores.to(self.peak.dtype)
        peak = torch.maximum(self.peak, scores)
        decay = self.peak.sub_(peak).exp_()  # 0 before the first view
        gain = scores.sub(peak).exp_()
        self.weight.mul_(decay).add_(gain)
        self.mass.mul_(decay).addcmul_(gain, probabilities.to(gain.dtype))
        self.peak = peak
        self.views += 1
        return self

    def merged(self) -> Tensor:
        """Return the fused probabilities (B, N, N, N); 0.5 before the first view."""
        if self.views == 0:
            return torch.full_like(self.mass, 0.5)
        return (self.mass / self.weight).clamp_(0, 1)
