"""How an upright object is turned, told as a camera sees it.

A tabletop object has no front that all would agree on, and its upright box looks the same after
each quarter turn if only its edges are renamed. So it is told of in the turn that faces the
camera best: z is the world's up, and x is within 45 degrees of *away from the camera*. One angle is
left, and shape and edges follow from the choice. Near 45 degrees two turns are as good; the loss
takes the one that fits the network's answer better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 24
MOST_RAD = math.radians(50.0)  # turns of 40 to 50 degrees can be told in two ways
BIN_RAD = 2 * MOST_RAD / BINS


def away_from_camera(up: Tensor, rays: Tensor) -> Tensor:
    """Return the horizontal unit vectors (N, 3) away from the camera at objects.

    It is the horizontal part of the ray plus the image's up there, which has a length for all
    views from level to straight down.

    Args:
        up: (N, 3) unit vectors that point up, in the camera's frame.
        rays: (N, 3) directions from the camera to the objects, of any length.
    """
    forward = _unit(rays)
    above = rays.new_tensor([0.0, -1.0, 0.0]).expand_as(rays)
    above = _unit(above - _dot(above, forward) * forward)
    both = forward + above
    return _unit(both - _dot(both, up) * up)


def rotation_of(up: Tensor, rays: Tensor, yaw: Tensor) -> Tensor:
    """Return the rotations `R_camera_object` (N, 3, 3) of objects with an angle (N,) about up."""
    away = away_from_camera(up, rays)
    c, s = yaw.cos()[:, None], yaw.sin()[:, None]
    x = c * away + s * torch.linalg.cross(up, away)
    return torch.stack([x, torch.linalg.cross(up, x), up], -1)


def yaw_of(R_camera_object: Tensor, rays: Tensor) -> Tensor:
    """Return the angles (N,) about up of rotations (N, 3, 3), in [-pi, pi]."""
    x, up = R_camera_object[..., 0], R_camera_object[..., 2]
    away = away_from_camera(up, rays)
    return torch.atan2(_dot(x, torch.linalg.cross(up, away))[:, 0], _dot(x, away)[:, 0])


def facing_turns(yaw: Tensor) -> Tensor:
    """Return for angles (N,) how many quarter turns (N, 2) face the camera best and second best.

    Angle k becomes `yaw + k * pi / 2`.
    """
    wrapped = [_wrapped(yaw + k * math.pi / 2) for k in range(4)]
    return torch.stack(wrapped, 1).abs().argsort(1)[:, :2]


def turned_yaw(yaw: Tensor, turns: Tensor) -> Tensor:
    """Return the angle (N,) after quarter turns (N,), in [-pi, pi)."""
    return _wrapped(yaw + turns * (math.pi / 2))


def turned_sizes(size: Tensor, turns: Tensor) -> Tensor:
    """Return edges (N, 3) as they are called after quarter turns (N,)."""
    swapped = size[:, [1, 0, 2]]
    return torch.where((turns % 2 == 1)[:, None], swapped, size)


def turned_shapes(occupancy: Tensor, turns: Tensor) -> Tensor:
    """Return shapes (N, n, n, n) as they are indexed after quarter turns (N,) about z."""
    result = torch.empty_like(occupancy)
    for k in range(4):
        chosen = turns % 4 == k
        result[chosen] = torch.rot90(occupancy[chosen], -k, (1, 2))
    return result


def bin_targets(yaw: Tensor) -> Tensor:
    """Return angles (N,) as weights (N, 24) of the two nearest bins."""
    place = ((yaw + MOST_RAD) / BIN_RAD - 0.5).clamp(0, BINS - 1)
    low = place.floor().long().clamp(max=BINS - 2)
    share = (place - low)[:, None]
    weights = yaw.new_zeros(len(yaw), BINS)
    weights.scatter_(1, low[:, None], 1 - share)
    return weights.scatter_(1, low[:, None] + 1, share)


def yaw_from_bins(logits: Tensor) -> Tensor:
    """Return the angles (N,) of the best bins of (N, 24), as means with their neighbours."""
    chances = logits.softmax(1)
    near = torch.nn.functional.avg_pool1d(chances[:, None], 5, 1, 2)[:, 0]
    best = near.argmax(1)
    offsets = torch.arange(-2, 3, device=logits.device)
    index = (best[:, None] + offsets).clamp(0, BINS - 1)
    weights = chances.gather(1, index) + 1e-9
    centers = (index + 0.5) * BIN_RAD - MOST_RAD
    return (weights * centers).sum(1) / weights.sum(1)


def _wrapped(angle: Tensor) -> Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-9)
