"""Where to compute."""

from __future__ import annotations

import open3d as o3d
from recon3d_core.errors import ConfigError


def resolve_device(name: str) -> str:
    """Return `cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: The GPU that is asked for is not there.
    """
    count = o3d.core.cuda.device_count()
    if name == 'cpu' or (name == 'auto' and count == 0):
        return 'cpu'
    index = int(name.partition(':')[2] or 0)
    if index >= count:
        raise ConfigError(
            'device',
            repr(name),
            f'a CUDA device of the {count} here',
            'Choose `cpu` or `auto`, or mend the driver; `recon3d doctor` tells more.',
        )
    return f'cuda:{index}'
