"""Nearest neighbours between batches of point sets, in bounded memory."""

from __future__ import annotations

from recon3d_core.losses._inputs import check_choice
import torch
from torch import Tensor

METHODS = ('auto', 'brute', 'tree')
# Pairs of points whose distances are in memory at once: 128 MB of float32.
MAX_PAIRS = 1 << 25
# From here on a tree beats all pairs on a CPU.
TREE_PAIRS = 1 << 16


@torch.no_grad()
def nearest(query: Tensor, points: Tensor, method: str = 'auto') -> Tensor:
    """Return the index (B, N) of the point nearest to each query.

    Args:
        query: (B, N, D).
        points: (B, M, D), M > 0, on the same device.
        method: `brute` compares all pairs, a block at a time; `tree` is a k-d tree on the CPU;
            `auto` takes the tree for large sets on a CPU. Both are exact up to rounding.

    Raises:
        InputError: No such method.
    """
    check_choice('method', method, METHODS)
    pairs = query.shape[1] * points.shape[1]
    large = query.device.type == 'cpu' and pairs >= TREE_PAIRS
    if method == 'tree' or (method == 'auto' and large):
        return _by_tree(query, points)
    return _by_blocks(query, points)


def _by_blocks(query: Tensor, points: Tensor) -> Tensor:
    rows = max(1, MAX_PAIRS // max(1, points.shape[0] * points.shape[1]))
    found = [
        # The expansion to a matrix product would cancel: near points would be confused.
        torch.cdist(part.contiguous(), points, compute_mode='donot_use_mm_for_euclid_dist').argmin(
            2
        )
        for part in torch.split(query, rows, 1)
    ]
    return torch.cat(found, 1)


def _by_tree(query: Tensor, points: Tensor) -> Tensor:
    from scipy import spatial  # an image with torch alone can train

    found = []
    for one, cloud in zip(query, points):
        tree = spatial.cKDTree(cloud.cpu().numpy())
        index = tree.query(one.cpu().numpy(), workers=torch.get_num_threads())[1]
        found.append(torch.from_numpy(index))
    return torch.stack(found).to(query.device)


def gathered(points: Tensor, index: Tensor) -> Tensor:
    """Return the points (B, N, D) at an index (B, N) of points (B, M, D)."""
    return points.gather(1, index[..., None].expand(-1, -1, points.shape[2]))
