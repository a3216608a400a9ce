"""Groups of near points without a dense grid: a room holds few occupied voxels, and many empty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from recon3d_core.detection.clusters import Pixels
from scipy import sparse
from scipy.sparse import csgraph


def sparse_groups(
    points: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    axes: NDArray[np.float64],
    gap_m: float,
    least: int = 12,
) -> list[Pixels]:
    """Group chosen points that are connected in a voxel grid; largest groups first.

    It is `clusters.connected_groups` at a cost that grows with the points, not with the room.

    Args:
        points: (h, w, 3) organised cloud.
        chosen: (h, w) bool, which of its points to group.
        axes: (3, 3) columns are the axes of the voxels.
        gap_m: Edge of a voxel; points in voxels that touch belong together.
        least: Groups of fewer points are dropped.
    """
    flat = np.flatnonzero(chosen)
    if len(flat) == 0:
        return []
    # Coordinates one after the other: reductions over rows of three are many times slower.
    local = axes.T.astype(np.float32) @ points.reshape(-1, 3).take(flat, axis=0).T
    local -= local.min(1, keepdims=True)
    local /= np.float32(gap_m)
    x, y, z = local.astype(np.int32)
    # A free row beyond each end, so that a neighbour's key is never that of another row.
    ny, nz = int(y.max()) + 3, int(z.max()) + 3
    keys = (x.astype(np.int64) * ny + y) * nz + z
    cells, cell_of_point = np.unique(keys, return_inverse=True)
    of_point = _connected(cells, ny, nz)[cell_of_point]
    sizes = np.bincount(of_point)
    # Stable, so that of groups of one size the first in the grid comes first.
    kept = np.argsort(-sizes, kind='stable')[: np.count_nonzero(sizes >= least)]
    order = np.argsort(of_point, kind='stable')
    ends = np.cumsum(sizes)
    _, width = chosen.shape
    groups = (flat[order[end - size : end]] for end, size in zip(ends[kept], sizes[kept]))
    return [np.divmod(group, width) for group in groups]


def _connected(cells: NDArray[np.int64], ny: int, nz: int) -> NDArray[np.int32]:
    """Return the part (n,) of each occupied voxel; parts are numbered in the voxels' order.

    Args:
        cells: (n,) keys of the voxels, ascending.
        ny: Keys per x are `ny * nz`, with free ones at both ends of y and z.
        nz: Keys per y.
    """
    along = np.flatnonzero(np.diff(cells) == 1)
    starts, stops = [along], [along + 1]
    # Half of the 26 neighbours will do; three that follow each other in z are one look-up.
    for step in (nz, (ny - 1) * nz, ny * nz, (ny + 1) * nz):
        first = np.searchsorted(cells, cells + (step - 1))
        for k in range(3):
            near = np.minimum(first + k, len(cells) - 1)
            start = np.flatnonzero(np.abs(cells[near] - cells - step) <= 1)
            starts.append(start)
            stops.append(near[start])
    # In the types that the search works with, which saves it a conversion.
    pairs = [np.concatenate(ends).astype(np.int32) for ends in (starts, stops)]
    links = sparse.csr_array((np.ones(len(pairs[0])), pairs), (len(cells), len(cells)))
    labels: NDArray[np.int32] = csgraph.connected_components(links, directed=False)[1]
    return labels
