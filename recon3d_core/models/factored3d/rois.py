"""Parts of a map of features, each cut out at its box: RoIAlign (He et al., ICCV 2017)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SAMPLES = 2  # along each axis of a cell


def roi_align(features: Tensor, boxes: Tensor, image_of: Tensor, cells: int) -> Tensor:
    """Return the features (N, C, cells, cells) within boxes, each cell the mean of four samples.

    What lies beyond the border of a map is 0.

    Args:
        features: (B, C, h, w).
        boxes: (N, 4) outer edges x0, y0, x1, y1, where 0 and 1 are the borders of the map.
        image_of: (N,) map of each box.
        cells: Cells along each edge of a result.
    """
    count = cells * _SAMPLES
    steps = (torch.arange(count, device=boxes.device) + 0.5) / count
    low, high = boxes[:, :2], boxes[:, 2:]
    places = low[:, None] + (high - low)[:, None] * steps[:, None]  # (N, count, 2)
    x = places[:, None, :, 0].expand(-1, count, -1)
    y = places[:, :, None, 1].expand(-1, -1, count)
    grid = 2 * torch.stack([x, y], -1) - 1
    cut = features.new_zeros(len(boxes), features.shape[1], count, count)
    for image in range(len(features)):
        chosen = (image_of == image).nonzero()[:, 0]
        if len(chosen):
            # All boxes of an image as one tall grid: its map is read once.
            tall = grid[chosen].reshape(1, -1, count, 2)
            found = functional.grid_sample(
                features[image : image + 1], tall, padding_mode='zeros', align_corners=False
            )
            parts = found[0].reshape(-1, len(chosen), count, count)
            cut[chosen] = parts.transpose(0, 1)
    return functional.avg_pool2d(cut, _SAMPLES)
