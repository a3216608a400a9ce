"""What a packed data set keeps at hand: on a GPU all objects, on a CPU those used last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.pack import OCCUPANCY_RESOLUTIONS, PackedObjects
from recon3d_core.data.rendering.sdf_grids import SdfGrids
import torch
from torch import Tensor

AT_HAND = 128  # unpacked objects on a CPU, about 1.3 MB each
DIRECTIONS = 256


class _Known(NamedTuple):
    bits: tuple[NDArray[np.uint8], ...]
    support: NDArray[np.float64]


class Shelf:
    """Unpacked objects of a file."""

    def __init__(self, packed: PackedObjects, names: Sequence[str], device: str) -> None:
        """Choose what to keep.

        Args:
            packed: The file.
            names: Objects that will be asked for.
            device: Where their grids are wanted.
        """
        self.packed = packed
        self.names = tuple(sorted(names))
        self.device = device
        self._known: dict[str, _Known] = {}
        self._recent: dict[str, tuple[NDArray[np.int8], NDArray[np.uint8]]] = {}
        self._all: tuple[dict[str, int], SdfGrids] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was unpacked: another process does that itself."""
        return {**self.__dict__, '_known': {}, '_recent': {}, '_all': None}

    def grids(self, names: Sequence[str]) -> tuple[Tensor, SdfGrids]:
        """Return indices (B,) of objects into grids that hold them, on the device."""
        if self.device == 'cpu':
            found, grids = self._joined(sorted(set(names)))
        else:
            self._all = self._all or self._joined(self.names)
            found, grids = self._all
        return torch.tensor([found[name] for name in names], device=self.device), grids

    def occupancy(self, name: str, resolution: int) -> NDArray[np.bool_]:
        """Return the true occupancy (N, N, N) at one of `OCCUPANCY_RESOLUTIONS`."""
        bits = self._small(name).bits[OCCUPANCY_RESOLUTIONS.index(resolution)]
        return np.unpackbits(bits).reshape((resolution,) * 3).astype(bool)

    def support(self, name: str) -> NDArray[np.float64]:
        """Return the farthest points (P, 3) of an object in many directions, in its cube."""
        return self._small(name).support

    def _small(self, name: str) -> _Known:
        if name not in self._known:
            self._unpacked(name)
        return self._known[name]

    def _unpacked(self, name: str) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
        if name in self._recent:
            self._recent[name] = self._recent.pop(name)
            return self._recent[name]
        sdf, colors, volumes = self.packed.load(name)
        bits = tuple(np.packbits(volume) for volume in volumes)
        self._known[name] = _Known(bits, support_points(sdf))
        self._recent[name] = sdf, colors
        if len(self._recent) > AT_HAND:
            self._recent.pop(next(iter(self._recent)))
        return sdf, colors

    def _joined(self, names: Sequence[str]) -> tuple[dict[str, int], SdfGrids]:
        n, m = self.packed.resolution, self.packed.color_resolution
        sdf = np.empty((len(names), n, n, n), np.int8)
        colors = np.empty((len(names), m, m, m, 4), np.uint8)
        for row, name in enumerate(names):
            sdf[row], colors[row] = self._unpacked(name)
        grids = SdfGrids.from_arrays(sdf, colors, self.device)
        return {name: row for row, name in enumerate(names)}, grids


def support_points(sdf: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the outer corners (P, 3) of an object's voxels, in its cube.

    Args:
        sdf: (N, N, N), not positive inside.
    """
    n = sdf.shape[0]
    inside = sdf <= 0
    rows = inside.any(2)
    x, y = rows.nonzero()
    low, high = inside.argmax(2)[x, y], n - inside[:, :, ::-1].argmax(2)[x, y]
    ends = np.concatenate([np.stack([x + 0.5, y + 0.5, z], 1) for z in (low, high)]) / n - 0.5
    index = np.arange(DIRECTIONS) + 0.5
    # A Fibonacci lattice on the sphere.
    height = 1 - 2 * index / DIRECTIONS
    turn = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - height**2)
    directions = np.stack([flat * np.cos(turn), flat * np.sin(turn), height])
    return np.asarray(ends[np.unique((ends @ directions).argmax(0))], np.float64)
