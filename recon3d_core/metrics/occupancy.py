"""Metrics between volumes: IoU (Eq. 16), cross-entropy (Eq. 17), average precision.

All take one object (N, N, N) or a batch (B, N, N, N), as numpy arrays or tensors on any device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError
from recon3d_core.losses import volumes as losses
from recon3d_core.metrics._inputs import Array, Score, score, threshold_list, Thresholds, volumes
import torch
from torch import Tensor


def iou(probabilities: Array, occupancy: Array, threshold: Thresholds = 0.5) -> Score:
    """Return the intersection over union at a threshold (Eq. 16).

    A voxel counts as inside from the threshold on (p >= threshold); the truth from 0.5 on. Two
    empty volumes have an IoU of 1.

    Args:
        probabilities: ([B,] N, N, N) in [0, 1].
        occupancy: ([B,] N, N, N) the truth.
        threshold: One, or several: then the last axis of the result is theirs.

    Returns:
        A float for one object and threshold, else ([B,] [T]).

    Raises:
        InputError: Shapes differ, values are not in [0, 1], or a threshold is not above 0.
    """
    estimate, truth, batched = volumes(probabilities, occupancy)
    thresholds, several = threshold_list('threshold', threshold)
    true = truth.flatten(1) >= 0.5
    found = []
    for value in thresholds:
        inside = estimate.flatten(1) >= value
        union = (inside | true).sum(1)
        both = (inside & true).sum(1)
        found.append(torch.where(union > 0, both.double() / union.clamp_min(1), 1.0))
    return score(torch.stack(found, 1), batched, several)


def cross_entropy(probabilities: Array, occupancy: Array) -> Score:
    """Return the mean voxel-wise binary cross-entropy (Eq. 17), logarithms cut at -100.

    Args:
        probabilities: ([B,] N, N, N) in [0, 1].
        occupancy: ([B,] N, N, N) the truth in [0, 1].

    Raises:
        InputError: Shapes differ, or values are not in [0, 1].
    """
    estimate, truth, batched = volumes(probabilities, occupancy)
    return score(losses.cross_entropy(estimate, truth, 'none'), batched)


def average_precision(
    probabilities: Array, occupancy: Array, thresholds: Sequence[float] | None = None
) -> Score:
    """Return the average precision of the voxels of each object.

    Voxels are detections, ranked by probability, of the truly occupied ones: AP is the sum of
    (R_n - R_(n-1)) P_n over falling thresholds, with precision P and recall R of the voxels from
    the threshold on (the step form of the area under the precision-recall curve, not interpolated;
    Girdhar et al. 2016, Wu et al. 2016). Where the truth is empty, it is 1 if all probabilities
    are 0, else 0.

    Args:
        probabilities: ([B,] N, N, N) in [0, 1].
        occupancy: ([B,] N, N, N) the truth, occupied from 0.5 on.
        thresholds: Where the curve is sampled; at every probability that occurs where None.

    Raises:
        InputError: Shapes differ, values are not in [0, 1], or a threshold is not above 0.
    """
    estimate, truth, batched = volumes(probabilities, occupancy)
    levels = None if thresholds is None else threshold_list('thresholds', list(thresholds))[0]
    each = [
        _average_precision(one, true, levels)
        for one, true in zip(estimate.flatten(1), truth.flatten(1) >= 0.5)
    ]
    return score(torch.stack(each), batched)


def _average_precision(values: Tensor, true: Tensor, levels: list[float] | None) -> Tensor:
    """Return () the average precision of values (n,) against labels (n,)."""
    if not bool(true.any()):
        return (values.max() == 0).double()
    ordered, order = values.sort(descending=True)
    right = true[order].double().cumsum(0)
    if levels is None:
        # Equal probabilities pass a threshold together: only the last of them is a point.
        last = torch.nonzero(torch.diff(ordered, append=ordered.new_full((1,), -1.0)))[:, 0]
    else:
        falling = torch.tensor(sorted(levels, reverse=True), dtype=values.dtype)
        counts = torch.searchsorted(-ordered, -falling.to(values.device), right=True)
        last = counts[counts > 0] - 1
    recall = right[last] / right[-1]
    steps = torch.diff(recall, prepend=recall.new_zeros(1))
    return (steps * right[last] / (last + 1)).sum()


def mean_average_precision(
    probabilities: Array,
    occupancy: Array,
    thresholds: Sequence[float] | None = None,
    categories: Sequence[str] | None = None,
) -> float:
    """Return the mean over the objects of their voxels' average precision (mAP).

    Args:
        probabilities: ([B,] N, N, N) in [0, 1].
        occupancy: ([B,] N, N, N) the truth.
        thresholds: Where the precision-recall curve is sampled; everywhere where None.
        categories: (B,) what each object is: then it is the mean over the categories of the mean
            over their objects.

    Raises:
        InputError: Shapes differ, values are not in [0, 1], a threshold is not above 0, or there
            are not as many categories as objects.
    """
    each = np.atleast_1d(average_precision(probabilities, occupancy, thresholds))
    if categories is None:
        return float(each.mean())
    if len(categories) != len(each):
        raise InputError('categories', f'{len(categories)} names', f'{len(each)}, one an object')
    names = np.asarray(categories)
    means: list[NDArray[np.float64]] = [each[names == name].mean() for name in np.unique(names)]
    return float(np.mean(means))
