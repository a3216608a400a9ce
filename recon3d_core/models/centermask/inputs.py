"""What the network is shown: normalised colour, and what of depth does not depend on the camera."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CHANNELS = 8
_MEAN, _DEVIATION = 0.45, 0.25
_NEAR_M, _FAR_M = 0.1, 6.0
# In widths of the whole image, so that networks see the same at any resolution:
_RELIEF = 12 / 320  # a third of the window of the mean surface from which objects rise
_SLOPE = 5 / 320  # window over which the sensor's noise is averaged
_FOCAL = 290 / 320  # focal length of a usual camera


def network_inputs(
    images: Tensor, depth_m: Tensor | None, whole_width: int | None = None
) -> Tensor:
    """Return (B, 8, H, W): colour, and whether there is depth, its logarithm, relief and slopes.

    All of depth is 0 where it is invalid, and everywhere without it.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        depth_m: (B, 1, H, W), 0 = invalid; or None.
        whole_width: Width in pixels of the images that these are parts of; W where None.
    """
    colors = (images - _MEAN) / _DEVIATION
    if depth_m is None or not bool((depth_m > 0).any()):
        empty = images.new_zeros(len(images), CHANNELS - 3, *images.shape[2:])
        return torch.cat([colors, empty], 1)
    valid = ((depth_m > _NEAR_M) & (depth_m < _FAR_M)).float()
    depth = depth_m * valid
    middle = _middle(depth, valid)
    logarithm = ((depth.clamp(min=_NEAR_M) / middle).log() / 0.5).clamp(-2, 2)
    width = whole_width or images.shape[3]
    relief = ((depth - _surface(depth, valid, round(_RELIEF * width))) / 0.1).clamp(-2, 2)
    smooth = _local_mean(depth, valid, 2 * round((_SLOPE * width - 1) / 2) + 1)
    scale = _FOCAL * width / (2 * smooth.clamp(min=_NEAR_M))
    padded = functional.pad(smooth, (1, 1, 1, 1), mode='replicate')
    right = torch.atan((padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) * scale)
    down = torch.atan((padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) * scale)
    measured = torch.cat([logarithm, relief, right, down], 1) * valid
    return torch.cat([colors, valid, measured], 1)


def _middle(depth: Tensor, valid: Tensor) -> Tensor:
    """Return the geometric mean (B, 1, 1, 1) of the valid depths; 1 m without any."""
    total = (depth.clamp(min=_NEAR_M).log() * valid).sum((1, 2, 3), keepdim=True)
    return (total / valid.sum((1, 2, 3), keepdim=True).clamp(min=1)).exp()


def _local_mean(values: Tensor, valid: Tensor, window: int) -> Tensor:
    """Return the mean of the valid values in a window around each pixel, 0 without any."""
    half = window // 2
    pooled = functional.avg_pool2d(torch.cat([values, valid], 1), window, 1, half)
    return pooled[:, :1] / pooled[:, 1:].clamp(min=1e-6)


def _surface(values: Tensor, valid: Tensor, window: int) -> Tensor:
    """Return the mean of the valid values in a surrounding of three windows, cheaply."""
    both = torch.cat([values, valid], 1)
    coarse = functional.avg_pool2d(both, window, ceil_mode=True)
    coarse = functional.avg_pool2d(coarse, 3, 1, 1)
    mean = coarse[:, :1] / coarse[:, 1:].clamp(min=1e-6)
    return functional.interpolate(mean, values.shape[2:], mode='bilinear', align_corners=False)
