"""Losses between point sets: earth mover's distance (Eq. 5) and Chamfer distance (Eq. 6)."""

from __future__ import annotations

from recon3d_core.errors import InputError
from recon3d_core.losses._inputs import check_choice, check_clouds, reduced, working
from recon3d_core.losses.assignment import auction_assignment, exact_assignment
from recon3d_core.losses.nearest import gathered, nearest
import torch
from torch import Tensor

METHODS = ('auto', 'exact', 'auction')


def chamfer_distance(
    points: Tensor, target: Tensor, reduction: str = 'mean', method: str = 'auto'
) -> Tensor:
    """Return the symmetric squared Chamfer distance (Eq. 6).

    It is 1/N sum_p min_q |p - q|^2 + 1/M sum_q min_p |q - p|^2. Gradients go through the nearest
    pairs; memory is that of the points and of one block of distances (`nearest`).

    Args:
        points: (B, N, D), any unit.
        target: (B, M, D), same unit.
        reduction: `mean` over the objects, or `none`.
        method: How neighbours are found: `auto`, `brute` or `tree`.

    Returns:
        () or (B,), in the unit squared.

    Raises:
        InputError: A shape is wrong, a set is empty, or a coordinate is not finite.
    """
    check_clouds('points', points, 'target', target)
    a, b = working(points), working(target)
    there = (a - gathered(b, nearest(a, b, method))).square().sum(2).mean(1)
    back = (b - gathered(a, nearest(b, a, method))).square().sum(2).mean(1)
    return reduced(there + back, reduction)


def earth_movers_distance(
    points: Tensor,
    target: Tensor,
    method: str = 'auto',
    tolerance: float = 0.01,
    normalize: bool = False,
    reduction: str = 'mean',
) -> Tensor:
    """Return the earth mover's distance: min over bijections phi of sum |p - phi(p)| (Eq. 5).

    Gradients go through the matched pairs.

    Args:
        points: (B, N, D), any unit.
        target: (B, N, D), same unit.
        method: `exact` solves the assignment on the CPU in O(N^3); `auction` is batched and runs on
            any device, and what it returns is that of a true bijection, at most `tolerance` above
            the optimum; `auto` is exact on a CPU and for at most 512 points.
        tolerance: Largest relative error of `auction`, which the dual problem certifies.
        normalize: Divide by N, so that sets of different sizes compare.
        reduction: `mean` over the objects, or `none`.

    Returns:
        () or (B,), in the unit of the points.

    Raises:
        InputError: A shape is wrong, the sets differ in size or are empty, or a coordinate is not
            finite.
    """
    check_clouds('points', points, 'target', target)
    if points.shape != target.shape:
        sizes = f'{points.shape[1]} and {target.shape[1]} points'
        raise InputError('a bijection needs sets of one size', sizes)
    a, b = working(points), working(target)
    distances = torch.linalg.vector_norm(a - gathered(b, _matched(a, b, method, tolerance)), dim=2)
    return reduced(distances.mean(1) if normalize else distances.sum(1), reduction)


@torch.no_grad()
def _matched(points: Tensor, target: Tensor, method: str, tolerance: float) -> Tensor:
    """Return the index (B, N) of the target that each point is matched with."""
    check_choice('method', method, METHODS)
    cost = torch.cdist(points, target, compute_mode='donot_use_mm_for_euclid_dist')
    small = points.device.type == 'cpu' or points.shape[1] <= 512
    if method == 'exact' or (method == 'auto' and small):
        return exact_assignment(cost)
    return auction_assignment(cost, tolerance).index
