"""The one place that knows in which order the published networks index their volumes.

3D-R2N2 and Pix2Vox were trained on binvox files read as [x, y, z] with y up; ours are [x, y, z]
with z up. As for the files themselves (`data.binvox`), (x, y, z) = (x, -z, y) of theirs.
"""

from __future__ import annotations

from torch import Tensor


def from_published(volume: Tensor) -> Tensor:
    """Return a volume (..., N, N, N) indexed [x, y up, z] in our order, [x, y, z up]."""
    return volume.transpose(-1, -2).flip(-2)


def to_published(volume: Tensor) -> Tensor:
    """Return a volume (..., N, N, N) of ours in the order [x, y up, z]."""
    return volume.flip(-2).transpose(-1, -2)
