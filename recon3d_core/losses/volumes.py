"""Losses between volumes: L2 and negative IoU (Eq. 3), cross-entropy (Eq. 4)."""

from __future__ import annotations

from recon3d_core.losses._inputs import (
    check_no_nan,
    check_pair,
    check_unit_range,
    cut,
    reduced,
    working,
)
import torch
from torch import Tensor
from torch.nn import functional


def _prepared(probabilities: Tensor, occupancy: Tensor) -> tuple[Tensor, Tensor]:
    check_pair('probabilities', probabilities, 'occupancy', occupancy)
    check_unit_range('probabilities', probabilities)
    check_unit_range('occupancy', occupancy)
    values = cut(working(probabilities))
    return values.flatten(1), cut(occupancy.to(values.dtype)).flatten(1)


def volumetric_l2(probabilities: Tensor, occupancy: Tensor, reduction: str = 'mean') -> Tensor:
    """Return the mean squared difference per voxel (Eq. 3 with d = L2).

    Args:
        probabilities: (B, ...) occupancy in [0, 1].
        occupancy: (B, ...) the truth in [0, 1], bool or floating.
        reduction: `mean` over the objects, or `none`.

    Returns:
        () or (B,).

    Raises:
        InputError: Shapes differ, or values are not in [0, 1].
    """
    values, truth = _prepared(probabilities, occupancy)
    return reduced((values - truth).square().mean(1), reduction)


def negative_iou(probabilities: Tensor, occupancy: Tensor, reduction: str = 'mean') -> Tensor:
    """Return one minus the soft intersection over union (Eq. 3 with d = negative IoU).

    It is 1 - sum(p t) / sum(p + t - p t), in [0, 1], and 0 where both are empty.

    Arguments, result and errors are those of `volumetric_l2`.
    """
    values, truth = _prepared(probabilities, occupancy)
    both = values * truth
    union = (values + truth - both).sum(1)
    iou = both.sum(1) / torch.where(union > 0, union, 1)
    return reduced(torch.where(union > 0, 1 - iou, 0), reduction)


def cross_entropy(probabilities: Tensor, occupancy: Tensor, reduction: str = 'mean') -> Tensor:
    """Return the mean voxel-wise binary cross-entropy of probabilities (Eq. 4).

    It is -1/N sum t log p + (1 - t) log(1 - p), with logarithms cut at -100: a voxel that is wrong
    with certainty costs 100.

    Arguments, result and errors are those of `volumetric_l2`.
    """
    values, truth = _prepared(probabilities, occupancy)
    with torch.autocast(values.device.type, enabled=False):
        voxels = functional.binary_cross_entropy(values, truth, reduction='none')
    return reduced(voxels.mean(1), reduction)


def cross_entropy_from_logits(
    logits: Tensor, occupancy: Tensor, reduction: str = 'mean'
) -> Tensor:
    """Return the mean voxel-wise binary cross-entropy of sigmoid(logits) (Eq. 4).

    Args:
        logits: (B, ...) finite, before the sigmoid.
        occupancy: (B, ...) the truth in [0, 1], bool or floating.
        reduction: `mean` over the objects, or `none`.

    Returns:
        () or (B,).

    Raises:
        InputError: Shapes differ, logits are not finite, or the truth is not in [0, 1].
    """
    check_pair('logits', logits, 'occupancy', occupancy)
    check_no_nan('logits', logits)
    check_unit_range('occupancy', occupancy)
    values = working(logits).flatten(1)
    truth = cut(occupancy.to(values.dtype)).flatten(1)
    voxels = functional.binary_cross_entropy_with_logits(values, truth, reduction='none')
    return reduced(voxels.mean(1), reduction)
