"""Metrics between point sets: MSE (Eq. 15), Chamfer, EMD, F-score, normal consistency.

All take one object (N, 3) and (M, 3) or a batch (B, N, 3) and (B, M, 3), as numpy arrays or
tensors on any device, in any one unit. Of two empty sets the distances are 0 and the scores 1;
of one empty set the distances are infinite and the scores 0.
"""

from __future__ import annotations

from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
from recon3d_core.losses.nearest import gathered, nearest
from recon3d_core.losses.points import earth_movers_distance
from recon3d_core.metrics._inputs import Array, clouds, Score, score, threshold_list, Thresholds
import torch
from torch import Tensor


def mse(points: Array, target: Array, norm: int = 2) -> Score:
    """Return the mean distance to the nearest point, both ways added (Eq. 15).

    It is 1/N sum_p d(p, Y) + 1/M sum_q d(q, X) with d the distance to the nearest point.

    Args:
        points: ([B,] N, 3) samples X of one surface.
        target: ([B,] M, 3) samples Y of the other.
        norm: 1 or 2, the norm that d is measured in.

    Returns:
        A float, or (B,), in the unit of the points.

    Raises:
        InputError: A shape is wrong, a coordinate is not finite, or there is no such norm.
    """
    if norm not in (1, 2):
        raise InputError('norm', norm, '1 or 2')
    (a, b), batched = clouds(points=points, target=target)
    if not a.shape[1] or not b.shape[1]:
        return score(_of_empty(a, b, 0.0, torch.inf), batched)
    both = [_offsets(a, b), _offsets(b, a)]
    return score(sum((o.norm(norm, dim=2).mean(1) for o in both), a.new_zeros(())), batched)


def chamfer(points: Array, target: Array) -> Score:
    """Return the symmetric squared Chamfer distance, normalised by the sizes (Eq. 6).

    Args:
        points: ([B,] N, 3).
        target: ([B,] M, 3).

    Returns:
        A float, or (B,), in the unit squared.

    Raises:
        InputError: A shape is wrong, or a coordinate is not finite.
    """
    (a, b), batched = clouds(points=points, target=target)
    if not a.shape[1] or not b.shape[1]:
        return score(_of_empty(a, b, 0.0, torch.inf), batched)
    there, back = (_offsets(*pair).square().sum(2).mean(1) for pair in ((a, b), (b, a)))
    return score(there + back, batched)


def emd(
    points: Array,
    target: Array,
    method: str = 'auto',
    tolerance: float = 0.01,
    normalize: bool = False,
) -> Score:
    """Return the earth mover's distance, the least sum of distances of a bijection (Eq. 5).

    Args:
        points: ([B,] N, 3).
        target: ([B,] N, 3), as many.
        method: `auto`, `exact` or `auction`, as `earth_movers_distance` says.
        tolerance: Largest relative error of `auction`.
        normalize: Divide by N, so that sets of different sizes compare.

    Returns:
        A float, or (B,), in the unit of the points.

    Raises:
        InputError: A shape is wrong, the sets differ in size, or a coordinate is not finite.
    """
    (a, b), batched = clouds(points=points, target=target)
    if not a.shape[1] and not b.shape[1]:
        return score(_of_empty(a, b, 0.0, torch.inf), batched)
    return score(earth_movers_distance(a, b, method, tolerance, normalize, 'none'), batched)


def fscore(points: Array, target: Array, threshold: Thresholds = 0.01) -> Score:
    """Return the F-score: the harmonic mean of precision and recall (Knapitsch et al. 2017).

    Precision is the part of the points nearer than the threshold to the target, recall that of
    the target nearer than it to the points.

    Args:
        points: ([B,] N, 3).
        target: ([B,] M, 3).
        threshold: In the unit of the points, such as 1 % of the edge of the object's cube (0.01 in
            cube coordinates); or several: then the last axis of the result is theirs.

    Returns:
        A float for one object and threshold, else ([B,] [T]).

    Raises:
        InputError: A shape is wrong, a coordinate is not finite, or a threshold is not above 0.
    """
    (a, b), batched = clouds(points=points, target=target)
    thresholds, several = threshold_list('threshold', threshold)
    if not a.shape[1] or not b.shape[1]:
        empty = _of_empty(a, b, 1.0, 0.0)[:, None].expand(-1, len(thresholds))
        return score(empty, batched, several)
    precision, recall = (
        torch.stack([(d < value).double().mean(1) for value in thresholds], 1)
        for d in (_offsets(a, b).norm(dim=2), _offsets(b, a).norm(dim=2))
    )
    total = precision + recall
    return score(2 * precision * recall / torch.where(total > 0, total, 1), batched, several)


def normal_consistency(
    points: Array, normals: Array, target: Array, target_normals: Array, oriented: bool = False
) -> Score:
    """Return how well the normals of nearest points agree (Mescheder et al. 2019).

    It is the mean of |n_p . n_q| over the points p with their nearest target q, and over the
    targets with their nearest points; both count half.

    Args:
        points: ([B,] N, 3).
        normals: ([B,] N, 3) at the points, of any length above 0.
        target: ([B,] M, 3).
        target_normals: ([B,] M, 3) at the target.
        oriented: Whether the side that normals point to counts: then it may be negative.

    Returns:
        A float, or (B,), in [0, 1], or [-1, 1] where oriented.

    Raises:
        InputError: A shape is wrong, a value is not finite, or a normal has no length.
    """
    (a, n_a, b, n_b), batched = clouds(
        points=points, normals=normals, target=target, target_normals=target_normals
    )
    units = []
    for name, n, cloud in (('normals', n_a, a), ('target_normals', n_b, b)):
        check_shape(name, n, tuple(cloud.shape))
        length = n.norm(dim=2, keepdim=True)
        if not bool((length > 0).all()):
            raise InputError(f'{name} has vectors without length', int((length == 0).sum()), 0)
        units.append(n / length)
    if not a.shape[1] or not b.shape[1]:
        return score(_of_empty(a, b, 1.0, 0.0), batched)
    there = (units[0] * gathered(units[1], nearest(a, b))).sum(2)
    back = (units[1] * gathered(units[0], nearest(b, a))).sum(2)
    both = [cosine if oriented else cosine.abs() for cosine in (there, back)]
    return score((both[0].mean(1) + both[1].mean(1)) / 2, batched)


def _offsets(query: Tensor, points: Tensor) -> Tensor:
    """Return (B, N, 3) from the nearest of the points to each query."""
    return query - gathered(points, nearest(query, points))


def _of_empty(a: Tensor, b: Tensor, both: float, one: float) -> Tensor:
    """Return (B,) the value of two empty sets or of one."""
    value = both if a.shape[1] == b.shape[1] else one
    return torch.full((a.shape[0],), value, dtype=torch.float64)
