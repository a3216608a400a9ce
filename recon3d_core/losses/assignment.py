"""Batched assignment of N persons to N objects at least cost: exact, and by auction."""

from __future__ import annotations

import dataclasses

from recon3d_core.errors import InputError
import torch
from torch import Tensor

# Costs of bidders that are looked at in one go: 128 MB of float32.
MAX_COSTS = 1 << 25
# How much finer each round of the auction is, and the finest one relative to the largest cost.
REFINEMENT = 5.0
FINEST = 1e-6


@dataclasses.dataclass(frozen=True)
class Assignment:
    """Who got what.

    Attributes:
        index: (B, N) the object of each person, a permutation.
        cost: (B,) what it costs in total.
        lower_bound: (B,) what no assignment can be below, by duality.
    """

    index: Tensor
    cost: Tensor
    lower_bound: Tensor


def exact_assignment(cost: Tensor) -> Tensor:
    """Return the cheapest assignment (B, N), solved on the CPU (modified Jonker-Volgenant).

    Args:
        cost: (B, N, N) finite.
    """
    from scipy import optimize  # an image with torch alone can train

    solved = [optimize.linear_sum_assignment(one)[1] for one in cost.double().cpu().numpy()]
    return torch.stack([torch.from_numpy(index) for index in solved]).to(cost.device)


def auction_assignment(cost: Tensor, tolerance: float = 0.01) -> Assignment:
    """Return an assignment that costs at most (1 + tolerance) times the least.

    All persons without an object bid at once (Bertsekas 1988, with scaling of the least raise);
    rounds get finer until the gap to the dual bound is small enough, or 1e-6 of the largest cost
    times N. Memory is that of the costs and of one block of bidders.

    Args:
        cost: (B, N, N) finite, >= 0.
        tolerance: Relative error to end at, > 0.

    Raises:
        InputError: The tolerance is not positive.
    """
    if not tolerance > 0:
        raise InputError('tolerance', tolerance, 'a number above 0')
    largest = cost.amax((1, 2)).clamp_min(torch.finfo(cost.dtype).tiny / FINEST)
    raise_by = largest / REFINEMENT
    price = torch.zeros_like(cost[:, 0])
    index = torch.zeros(price.shape, dtype=torch.int64, device=cost.device)
    active = torch.ones_like(largest, dtype=torch.bool)
    while True:
        index[active] = -1
        _auction(cost, price, index, raise_by)
        total = cost.gather(2, index[..., None])[..., 0].sum(1)
        bound = (cost + price[:, None]).amin(2).sum(1) - price.sum(1)
        active = (total - bound > tolerance * total) & (raise_by > FINEST * largest)
        if not bool(active.any()):
            return Assignment(index, total, bound)
        raise_by = torch.where(active, raise_by / REFINEMENT, raise_by)


def _auction(cost: Tensor, price: Tensor, index: Tensor, raise_by: Tensor) -> None:
    """Let those without an object (index -1) bid until all have one; changes price and index."""
    batch, size = index.shape
    owner = torch.full((batch * size,), -1, dtype=torch.int64, device=cost.device)
    flat_price, flat_index = price.view(-1), index.view(-1)
    while True:
        person = torch.nonzero(flat_index < 0)[:, 0]
        if not len(person):
            return
        wanted, bid = _bids(cost, price, person, raise_by)
        best = torch.full_like(flat_price, -torch.inf).scatter_reduce(0, wanted, bid, 'amax')
        # Among equal bids the first person's wins, whatever the order of the scatter.
        highest = torch.where(bid == best[wanted], person, batch * size)
        winner = torch.full_like(owner, batch * size).scatter_reduce(0, wanted, highest, 'amin')
        sold = torch.nonzero(winner < batch * size)[:, 0]
        before = owner[sold]
        flat_index[before[before >= 0]] = -1
        owner[sold] = winner[sold]
        flat_index[winner[sold]] = sold % size
        flat_price[sold] = best[sold]


def _bids(cost: Tensor, price: Tensor, person: Tensor, raise_by: Tensor) -> tuple[Tensor, Tensor]:
    """Return which object (flat index) each person bids for, and the price offered."""
    size = price.shape[1]
    wanted, bids = [], []
    for part in torch.split(person, max(1, MAX_COSTS // size)):
        item = part // size
        expense = cost.view(-1, size)[part] + price[item]
        least = expense.topk(min(2, size), dim=1, largest=False)
        margin = least.values[:, -1] - least.values[:, 0]
        target = item * size + least.indices[:, 0]
        wanted.append(target)
        bids.append(price.view(-1)[target] + margin + raise_by[item])
    return torch.cat(wanted), torch.cat(bids)
