"""What is kept of an object after some views: evidence and truth of a cube, in few bytes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.models.tsdf_completion.evidence import (
    BELOW,
    CHANNELS,
    FREE,
    HEIGHT,
    OBSERVED,
    RULE,
    SDF,
    TRUST,
)
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class PartialSample:
    """An object of which a part was seen.

    Attributes:
        name: Its name.
        category: What it is.
        views: How many views saw it.
        sdf: (N, N, N) int8, 127 is `REACH` voxels.
        trust: (N, N, N) uint8, 255 is 1; 0 where the distance was not observed.
        rule: (N, N, N) int8, what rules make of it, as `sdf`.
        free: (N, N, N) bool.
        occupancy: (N, N, N) bool, the truth.
        outside: How many voxels of the object are outside of the cube.
        bottom: Height of the cube's lower face above the support, in edges of the cube; NaN
            where no support is known.
    """

    name: str
    category: str
    views: int
    sdf: NDArray[np.int8]
    trust: NDArray[np.uint8]
    rule: NDArray[np.int8]
    free: NDArray[np.bool_]
    occupancy: NDArray[np.bool_]
    outside: int
    bottom: float

    def evidence(self) -> Tensor:
        """Return the channels (C, N, N, N) that a network sees."""
        N = self.sdf.shape[0]
        evidence = torch.zeros(CHANNELS, N, N, N)
        evidence[SDF] = torch.from_numpy(self.sdf) / 127
        evidence[TRUST] = torch.from_numpy(self.trust) / 255
        evidence[OBSERVED] = torch.from_numpy(self.trust > 0)
        evidence[FREE] = torch.from_numpy(self.free)
        evidence[RULE] = torch.from_numpy(self.rule) / 127
        if np.isfinite(self.bottom):
            height = (torch.arange(N) + 0.5) / N + self.bottom
            evidence[HEIGHT] = height.clamp(-1, 1)
            evidence[BELOW] = height < 0
        return evidence


def record_type(resolution: int, views: int) -> np.dtype[Any]:
    """Return the type of a record of an object after 1 to `views` views."""
    cube, packed = (views, *(resolution,) * 3), (views, -(-(resolution**3) // 8))
    return np.dtype(
        [
            ('sdf', np.int8, cube),
            ('trust', np.uint8, cube),
            ('rule', np.int8, cube),
            ('free', np.uint8, packed),
            ('occupancy', np.uint8, packed),
            ('outside', np.int32, (views,)),
            ('bottom', np.float32, (views,)),
        ]
    )


def store(
    record: Any, row: int, evidence: Tensor, truth: NDArray[np.bool_], outside: int, bottom: float
) -> None:
    """Write a cube into a record.

    Args:
        record: Of `record_type`.
        row: Number of views, less one.
        evidence: (C, N, N, N).
        truth: (N, N, N).
        outside: How many voxels of the object are outside.
        bottom: See `PartialSample`.
    """
    observed = evidence[OBSERVED] > 0.5
    record['sdf'][row] = (evidence[SDF] * 127).round().to(torch.int8).numpy()
    trust = (evidence[TRUST] * 255).round().clamp_min(1) * observed
    record['trust'][row] = trust.to(torch.uint8).numpy()
    record['rule'][row] = (evidence[RULE] * 127).round().to(torch.int8).numpy()
    record['free'][row] = np.packbits(evidence[FREE].numpy() > 0.5)
    record['occupancy'][row] = np.packbits(truth)
    record['outside'][row], record['bottom'][row] = outside, bottom


def sample_of(record: Any, row: int, name: str, category: str) -> PartialSample:
    """Return what a record has of an object after `row` + 1 views."""
    sdf = np.array(record['sdf'][row])

    def bits(key: str) -> NDArray[np.bool_]:
        found = np.unpackbits(record[key][row], count=sdf.size)
        return found.reshape(sdf.shape).astype(bool)

    return PartialSample(
        name, category, row + 1, sdf, np.array(record['trust'][row]),
        np.array(record['rule'][row]), bits('free'), bits('occupancy'), int(record['outside'][row]), float(record['bottom'][row]),
    )  # fmt: skip
