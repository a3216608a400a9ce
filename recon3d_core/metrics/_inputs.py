"""One object or a batch, numpy or torch, in; a number or an array out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
from recon3d_core.losses._inputs import check_no_nan, check_unit_range
import torch
from torch import Tensor

Array: TypeAlias = 'NDArray[Any] | Tensor'
Thresholds: TypeAlias = 'float | Sequence[float]'
Score: TypeAlias = 'float | NDArray[np.float64]'


def as_tensor(name: str, values: Array) -> Tensor:
    """Return numbers as a tensor without gradients, at least float32, where they are.

    Raises:
        InputError: They are no numbers.
    """
    if isinstance(values, Tensor):
        found = values.detach()
    else:
        array = np.asarray(values)
        if array.dtype.kind not in 'biuf':
            raise InputError(f'{name} is no array of numbers', array.dtype.name)
        found = torch.from_numpy(np.ascontiguousarray(array).astype(array.dtype.newbyteorder('=')))
    return found if found.dtype in (torch.float32, torch.float64) else found.float()


def volumes(probabilities: Array, occupancy: Array) -> tuple[Tensor, Tensor, bool]:
    """Return both as (B, N, N, N) in one precision on one device, and whether they were a batch.

    Raises:
        InputError: A shape is wrong, they are empty, or values are not in [0, 1].
    """
    estimate = as_tensor('probabilities', probabilities)
    truth = as_tensor('occupancy', occupancy)
    batched = estimate.ndim == 4
    check_shape('probabilities', estimate, ('B', 'N', 'N', 'N') if batched else ('N', 'N', 'N'))
    check_shape('occupancy', truth, tuple(estimate.shape))
    if not estimate.numel():
        raise InputError('probabilities is empty', tuple(estimate.shape), 'at least one voxel')
    check_unit_range('probabilities', estimate)
    check_unit_range('occupancy', truth)
    if not batched:
        estimate, truth = estimate[None], truth[None]
    return estimate, truth.to(estimate), batched


def clouds(**named: Array) -> tuple[list[Tensor], bool]:
    """Return point sets as (B, N, 3) in one precision on one device, and whether batched.

    Raises:
        InputError: A shape is wrong, there is no object, or a coordinate is not finite.
    """
    tensors = {name: as_tensor(name, values) for name, values in named.items()}
    first = next(iter(tensors.values()))
    batched = first.ndim == 3
    if batched and not len(first):
        raise InputError('a batch of point sets is empty', tuple(first.shape), 'some objects')
    for name, tensor in tensors.items():
        check_shape(name, tensor, (first.shape[0], 'N', 3) if batched else ('N', 3))
        check_no_nan(name, tensor)
    same = [tensor.to(first) for tensor in tensors.values()]
    return (same if batched else [tensor[None] for tensor in same]), batched


def score(values: Tensor, batched: bool, several: bool = False) -> Score:
    """Return values (B,), or (B, T) where `several`, without the axes that were not asked for."""
    array: NDArray[np.float64] = values.double().cpu().numpy()
    if not several and array.ndim == 2:
        array = array[:, 0]
    array = array if batched else array[0]
    return float(array) if array.ndim == 0 else array


def threshold_list(name: str, thresholds: Thresholds) -> tuple[list[float], bool]:
    """Return thresholds as a list of numbers above 0, and whether they were several.

    Raises:
        InputError: There is none, or one is not a number above 0.
    """
    several = not isinstance(thresholds, (int, float))
    values = [float(value) for value in np.atleast_1d(np.asarray(thresholds, np.float64))]
    if not values or not all(value > 0 for value in values):
        raise InputError(name, thresholds, 'numbers above 0')
    return values, several
