"""Which device torch computes on."""

from __future__ import annotations

from recon3d_core.errors import InputError
import torch


def torch_device(name: str) -> str:
    """Return `cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        InputError: It is none of these, or the GPU is not there.
    """
    kind, _, index = name.partition(':')
    if kind not in ('auto', 'cpu', 'cuda') or (name.count(':') and not index.isdecimal()):
        raise InputError('--device', repr(name), 'auto, cpu, cuda or cuda:N')
    present = torch.cuda.device_count()
    if kind == 'cpu' or (kind == 'auto' and not present):
        return 'cpu'
    number = int(index or 0)
    if number >= present:
        raise InputError('--device', repr(name), f'one of the {present} CUDA devices here')
    return f'cuda:{number}'
