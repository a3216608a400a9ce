"""Checkpoints as the authors of Pix2Vox publish them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recon3d_core.errors import InputError
from torch import Tensor

_PREFIX = 'module.'  # of DataParallel
_SUFFIX = '_state_dict'


def convert(tensors: Mapping[str, Any], parts: tuple[str, ...]) -> dict[str, Tensor]:
    """Return a flat `state_dict` of the nested one of a published checkpoint.

    Args:
        tensors: `{encoder,decoder,merger,refiner}_state_dict` and notes on the training.
        parts: Parts that the network has; others of the file are not looked at.

    Raises:
        InputError: It is no such checkpoint.
    """
    state: dict[str, Tensor] = {}
    for part in parts:
        inner = tensors.get(part + _SUFFIX)
        if not isinstance(inner, Mapping):
            raise InputError(
                'no checkpoint of Pix2Vox', f'keys {", ".join(map(str, list(tensors)[:5]))}',
                part + _SUFFIX,
            )  # fmt: skip
        for key, value in inner.items():
            if isinstance(value, Tensor):
                state[f'{part}.{str(key).removeprefix(_PREFIX)}'] = value
    return state
