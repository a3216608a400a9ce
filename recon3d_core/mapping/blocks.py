"""Sparse blocks of voxels with a bound: beyond it, the blocks farthest from the camera go."""

from __future__ import annotations

from collections.abc import Mapping
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.geometry.regions import Box

logger = logging.getLogger(__name__)

ATTRIBUTES: Mapping[str, int] = {'tsdf': 1, 'weight': 1, 'color': 3}
"""Values of a voxel, float32, and their channels."""

_FIRST_BLOCKS = 2048
_ROOM = 1.1  # places to the number that is needed, where doubling would pass the bound
# Blocks are dropped this much at a time, so that not every frame at the bound pays for it.
_DROPPED_SHARE = 0.05
_CLEARED_AT_ONCE = 2000  # blocks whose voxels are looked at together, for a bounded memory


class BoundedBlocks:
    """An Open3D VoxelBlockGrid that never holds more than a number of blocks.

    Attributes:
        grid: The VoxelBlockGrid.
        dropped: How many blocks were dropped since the start, resets included.
    """

    def __init__(self, voxel_size_m: float, resolution: int, max_blocks: int, device: Any) -> None:
        """Make an empty grid.

        Args:
            voxel_size_m: Edge of a voxel.
            resolution: Voxels along the edge of a block.
            max_blocks: The bound.
            device: An Open3D device.
        """
        self.voxel_size_m = voxel_size_m
        self.resolution = resolution
        self.max_blocks = max_blocks
        self.device = device
        self.dropped = 0
        self._erased = False
        self.clear()

    def clear(self) -> None:
        """Forget all blocks."""
        self.grid = self._empty_grid(min(_FIRST_BLOCKS, self.max_blocks))

    def _empty_grid(self, capacity: int) -> Any:
        return o3d.t.geometry.VoxelBlockGrid(
            list(ATTRIBUTES),
            [o3d.core.float32] * len(ATTRIBUTES),
            list(ATTRIBUTES.values()),
            self.voxel_size_m,
            self.resolution,
            capacity,
            self.device,
        )

    def __len__(self) -> int:
        """Return the number of blocks."""
        return int(self.grid.hashmap().size())

    @property
    def memory_mb(self) -> float:
        """Memory of the blocks, also of the places that are still free."""
        block_bytes = 4 * sum(ATTRIBUTES.values()) * self.resolution**3
        return float(self.grid.hashmap().capacity() * block_bytes / 1e6)

    def tensor(self, array: NDArray[Any]) -> Any:
        """Return an array as an Open3D tensor on the grid's device."""
        return o3d.core.Tensor.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def nearest(
        self, blocks: NDArray[np.int32], camera_world_m: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """Return as many of some blocks (B, 3) as may be held, those nearest to the camera."""
        if len(blocks) <= self.max_blocks:
            return blocks
        self._count_dropped(len(blocks) - self.max_blocks)
        order = np.argsort(self._distances_m(blocks, camera_world_m), kind='stable')
        return blocks[order[: self.max_blocks]]

    def activate(self, blocks: NDArray[np.int32], camera_world_m: NDArray[np.float64]) -> None:
        """Give every block a place, dropping far ones at the bound.

        Args:
            blocks: (B, 3) block coordinates, not more than the bound, none twice.
            camera_world_m: (3,) where the camera is.
        """
        keys = self.tensor(blocks)
        new = len(blocks)
        if len(self) + new > self.max_blocks:
            new = int((~self.grid.hashmap().find(keys)[1].cpu().numpy()).sum())
        excess = len(self) + new - self.max_blocks
        if excess > 0:
            count = max(excess, int(_DROPPED_SHARE * self.max_blocks))
            self._drop(count, blocks, camera_world_m)
        capacity = self.grid.hashmap().capacity()
        # To integrate, Open3D asks for as many free places as a frame has blocks, though all of
        # them have one by then.
        needed = len(self) + new + len(blocks)
        if needed > capacity:
            self._grow(max(min(2 * capacity, self.max_blocks), int(_ROOM * needed)))
        places, fresh = self.grid.hashmap().activate(keys)
        if self._erased:
            # The place of an erased block keeps its values.
            for name in ATTRIBUTES:
                self.grid.attribute(name)[places[fresh].to(o3d.core.int64)] = 0.0

    def bound_weights(self, max_weight: float) -> None:
        """Cut all weights at a bound."""
        weight = self.grid.attribute('weight').flatten(0)
        if weight.is_cpu:
            view = weight.numpy()
            np.minimum(view, max_weight, out=view)
        else:
            weight[weight.gt(max_weight)] = max_weight

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the coordinates `blocks` (B, 3) and the values (B, r, r, r, C) of all blocks."""
        hashmap = self.grid.hashmap()
        places = hashmap.active_buf_indices().cpu().numpy().astype(np.int64)
        found = {name: self.grid.attribute(name).cpu().numpy()[places] for name in ATTRIBUTES}
        return {'blocks': hashmap.key_tensor().cpu().numpy()[places], **found}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Hold what `arrays` returned, as far as the bound allows, and nothing else."""
        self.clear()
        blocks = arrays['blocks'].astype(np.int32)
        if len(blocks) > self.max_blocks:
            self._count_dropped(len(blocks) - self.max_blocks)
            blocks = blocks[: self.max_blocks]
        if not len(blocks):
            return
        self.activate(blocks, np.zeros(3))
        self._fill(
            {'blocks': blocks, **{name: arrays[name][: len(blocks)] for name in ATTRIBUTES}}
        )

    def _grow(self, capacity: int) -> None:
        """Move to a grid with more places.

        Open3D's own `reserve` copies value by value, which takes about a millisecond per block.
        """
        arrays = self.arrays()
        self.grid = self._empty_grid(capacity)
        self._erased = False
        if len(arrays['blocks']):
            self.grid.hashmap().activate(self.tensor(arrays['blocks']))
            self._fill(arrays)

    def _fill(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the values of blocks that have a place."""
        places = self.grid.hashmap().find(self.tensor(arrays['blocks']))[0].to(o3d.core.int64)
        for name in ATTRIBUTES:
            values = arrays[name].astype(np.float32, copy=False)
            attribute = self.grid.attribute(name)
            if attribute.is_cpu:
                attribute.numpy()[places.numpy()] = values
            else:
                attribute[places] = self.tensor(values)

    def clear_box(self, box: Box) -> None:
        """Forget what is inside a box, to the voxel."""
        hashmap = self.grid.hashmap()
        places = hashmap.active_buf_indices().cpu().numpy()
        blocks = hashmap.key_tensor().cpu().numpy()[places]
        centers = (blocks + 0.5) * (self.voxel_size_m * self.resolution)
        reach_m = 0.5 * 3**0.5 * self.voxel_size_m * self.resolution
        whole = box.contains(centers, -reach_m)
        partly = box.contains(centers, reach_m) & ~whole
        cut = places[partly]
        for begin in range(0, len(cut), _CLEARED_AT_ONCE):
            self._clear_voxels(cut[begin : begin + _CLEARED_AT_ONCE], box)
        if whole.any():
            self._erase(blocks[whole])

    def _clear_voxels(self, places: NDArray[np.int32], box: Box) -> None:
        """Take the weight from the voxels of some blocks that are inside a box."""
        voxels, flat = self.grid.voxel_coordinates_and_flattened_indices(self.tensor(places))
        inside = box.contains(voxels.cpu().numpy().reshape(-1, 3))
        if inside.any():
            weight = self.grid.attribute('weight').reshape((-1, 1))
            weight[flat[self.tensor(inside)]] = 0.0

    def _erase(self, blocks: NDArray[np.int32]) -> None:
        self.grid.hashmap().erase(self.tensor(blocks))
        self._erased = True

    def _drop(
        self, count: int, kept: NDArray[np.int32], camera_world_m: NDArray[np.float64]
    ) -> None:
        """Erase the blocks farthest from the camera, but none of `kept`."""
        hashmap = self.grid.hashmap()
        keys = hashmap.key_tensor().cpu().numpy()[hashmap.active_buf_indices().cpu().numpy()]
        low = np.minimum(keys.min(0), kept.min(0)).astype(np.int64)
        size = np.maximum(keys.max(0), kept.max(0)) - low + 1
        flat, in_view = (((k - low) @ (1, size[0], size[0] * size[1])) for k in (keys, kept))
        keys = keys[~np.isin(flat, in_view)]
        order = np.argsort(-self._distances_m(keys, camera_world_m), kind='stable')
        gone = keys[order[:count]]
        self._erase(gone)
        self._count_dropped(len(gone))

    def _count_dropped(self, count: int) -> None:
        if not self.dropped:
            logger.warning(
                'the map is full: the blocks farthest from the camera are dropped; raise '
                'mapper.max_blocks = %d or mapper.voxel_size_m',
                self.max_blocks,
            )
        self.dropped += count

    def _distances_m(
        self, blocks: NDArray[np.int32], point_world_m: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        centers = (blocks + 0.5) * (self.voxel_size_m * self.resolution)
        distances: NDArray[np.float64] = np.linalg.norm(centers - point_world_m, axis=1)
        return distances
