"""Checks and reductions that all losses share."""

from __future__ import annotations

from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
import torch
from torch import Tensor

# Sums of probabilities in half precision may pass 1 by this much; it is cut off.
ROUNDING = 1e-2
REDUCTIONS = ('mean', 'none')


def working(values: Tensor) -> Tensor:
    """Return values in the precision that losses are computed in: float64 stays, others widen."""
    return values if values.dtype == torch.float64 else values.float()


def cut(values: Tensor) -> Tensor:
    """Return values in [0, 1] that were so up to rounding; gradients pass unchanged."""
    fixed = values.detach()
    return values - (fixed - fixed.clamp(0, 1))


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that an option has one of its values.

    Raises:
        InputError: It has none of them.
    """
    if value not in choices:
        raise InputError(name, repr(value), 'one of ' + ', '.join(choices))


def check_no_nan(name: str, values: Tensor) -> None:
    """Check that all values are finite.

    Raises:
        InputError: Some are NaN or infinite.
    """
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        raise InputError(f'{name} has values that are not finite', f'{bad} of {values.numel()}')


def check_unit_range(name: str, values: Tensor) -> None:
    """Check that all values lie in [0, 1], up to rounding.

    Raises:
        InputError: Some do not, or are NaN.
    """
    if not bool(((values >= -ROUNDING) & (values <= 1 + ROUNDING)).all()):
        check_no_nan(name, values)
        got = f'{values.min().item():.4g} to {values.max().item():.4g}'
        raise InputError(f'{name} are no probabilities', got, 'values in [0, 1]')


def check_pair(name: str, values: Tensor, target_name: str, target: Tensor) -> None:
    """Check that two batches (B, ...) have the same shape and something in it.

    Raises:
        InputError: They differ, are not batched, or are empty.
    """
    if values.ndim < 2 or not values.numel():
        raise InputError(f'{name} has the wrong shape', tuple(values.shape), '(B, ...), not empty')
    check_shape(target_name, target, tuple(values.shape))


def check_volumes(name: str, volumes: Tensor) -> None:
    """Check that a batch (B, N, N, N) of cubes holds probabilities.

    Raises:
        InputError: The shape is another, it is empty, or values are outside [0, 1].
    """
    check_shape(name, volumes, ('B', 'N', 'N', 'N'))
    if not volumes.numel():
        raise InputError(f'{name} is empty', tuple(volumes.shape), 'at least one voxel')
    check_unit_range(name, volumes)


def check_clouds(name: str, points: Tensor, target_name: str, target: Tensor) -> None:
    """Check two batches of point sets (B, N, D) and (B, M, D).

    Raises:
        InputError: A shape is wrong, a set is empty, or a coordinate is not finite.
    """
    check_shape(name, points, ('B', 'N', 'D'))
    check_shape(target_name, target, (points.shape[0], 'M', points.shape[2]))
    for label, cloud in ((name, points), (target_name, target)):
        if not cloud.numel():
            raise InputError(f'{label} is an empty set', tuple(cloud.shape), 'at least one point')
        check_no_nan(label, cloud)


def reduced(values: Tensor, reduction: str) -> Tensor:
    """Return the mean () over the objects, or the values (B,) as they are.

    Raises:
        InputError: The reduction is neither `mean` nor `none`.
    """
    check_choice('reduction', reduction, REDUCTIONS)
    return values.mean() if reduction == 'mean' else values
