"""What `factored3d` is trained to say: the losses of Factored3D, for objects without a front.

    L = |d - d*| + sum over objects of (L_V + L_q + L_c + L_t + L_f)

with the layout's inverse depth d, cross-entropy of the cells L_V, the negative logarithm of the
chance of the true bin of the rotation L_q, the squared error of the logarithms of the scale L_c,
that of the translation L_t, and cross-entropy of being an object at all L_f. Beyond the paper: an
object may be told in either of two turns where both face the camera (`frames`), the soft IoU
joins L_V, since thin objects fill few cells, and L_f also asks whether the rest is right.
"""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import NamedTuple

from recon3d_core.models.factored3d import frames
from recon3d_core.models.factored3d.model import box_rays, Factored3d, Factors, log_extent
import torch
from torch import Tensor
from torch.nn import functional

LAYOUT, UP, SHAPE, YAW, EDGES, PLACE, TRUE = 1.0, 4.0, 2.0, 0.3, 1.0, 1.0, 0.3
_WITHIN_RAD = math.radians(30)
_SHAPE_IOU, _SCALE_LOG2 = 0.25, 0.5


class Truth(NamedTuple):
    """What is true of N objects, told in one turn.

    Attributes:
        occupancy: (N, 32, 32, 32).
        yaw: (N,) angle about up.
        log_edges: (N, 3) as in `Factors`.
        valid: (N,) bool, whether the object may be told so.
    """

    occupancy: Tensor
    yaw: Tensor
    log_edges: Tensor
    valid: Tensor


def truths_of(batch: Mapping[str, Tensor]) -> tuple[Truth, Truth]:
    """Return the objects of a batch told in the turns that face the camera best and second best.

    Args:
        batch: Tensors of a `ParseBatch` by name.
    """
    rays, extent = box_rays(batch['K'][batch['image_of']], batch['boxes'])
    T = batch['T_camera_object']
    yaw = frames.yaw_of(T[:, :3, :3], rays)
    turns = frames.facing_turns(yaw)
    known = (log_extent(extent) + T[:, 2, 3].clamp(min=0.02).log())[:, None]
    told = []
    for k in range(2):
        angle = frames.turned_yaw(yaw, turns[:, k])
        size = frames.turned_sizes(batch['size_m'], turns[:, k])
        shape = frames.turned_shapes(batch['occupancy'], turns[:, k])
        valid = (angle.abs() <= frames.MOST_RAD) | (k == 0)
        told.append(Truth(shape, angle, size.log() - known, valid))
    return told[0], told[1]


def parse_loss(network: Factored3d, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of a batch, a scalar.

    Args:
        network: The network.
        batch: Tensors of a `ParseBatch` by name.
    """
    scenery, factors = network(batch['images'], batch['K'], batch['boxes'], batch['image_of'])
    loss = LAYOUT * functional.l1_loss(scenery.layout, batch['layout'])
    true = batch['is_true']
    if not len(true):
        return loss
    loss = loss + UP * _up_loss(scenery.up, batch)
    per_object, right = _best_told(factors, truths_of(batch), batch['is_round'])
    weight = true.float() / true.sum().clamp(min=1)
    loss = loss + ((per_object + PLACE * _place_loss(factors, batch)) * weight).sum()
    good = (right & true).float()
    return loss + TRUE * functional.binary_cross_entropy_with_logits(factors.true_logits, good)


def _up_loss(up: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Return 1 - cosine of up, which the objects of an image all share."""
    cosine = (up[batch['image_of']] * batch['T_camera_object'][:, :3, 2]).sum(1)
    return 1 - cosine.mean()


def _best_told(
    factors: Factors, truths: tuple[Truth, Truth], is_round: Tensor
) -> tuple[Tensor, Tensor]:
    """Return losses (N,) against objects told in the better way, and whether they are right."""
    loss, right = _told(factors, truths[0], is_round)
    again = truths[1].valid.nonzero()[:, 0]
    other, other_right = _told(
        Factors(*(part[again] for part in factors)),
        Truth(*(part[again] for part in truths[1])),
        is_round[again],
    )
    better = other < loss[again]
    loss = loss.index_put((again[better],), other[better])
    return loss, right.index_put((again[better],), other_right[better])


def _told(factors: Factors, truth: Truth, is_round: Tensor) -> tuple[Tensor, Tensor]:
    """Return losses (N,) against objects told in one way, and whether they are about right."""
    logits, true = factors.shape_logits, truth.occupancy
    crossed = functional.binary_cross_entropy_with_logits(logits, true, reduction='none')
    inside = logits.sigmoid()
    common = (inside * true).sum((1, 2, 3))
    union = (inside + true).sum((1, 2, 3)) - common
    shape = crossed.mean((1, 2, 3)) + 0.5 * (1 - common / union.clamp(min=1))
    wanted = frames.bin_targets(truth.yaw)
    yaw = -(wanted * factors.yaw_logits.log_softmax(1)).sum(1)
    yaw = torch.where(is_round, torch.zeros_like(yaw), yaw)
    edges = factors.log_edges - truth.log_edges
    scale = functional.smooth_l1_loss(
        factors.log_edges, truth.log_edges, reduction='none', beta=0.3
    ).mean(1)
    loss = SHAPE * shape + YAW * yaw + EDGES * scale
    with torch.no_grad():
        found, solid = logits > 0, true > 0.5
        iou = (found & solid).sum((1, 2, 3)) / (found | solid).sum((1, 2, 3)).clamp(min=1)
        off = (frames.yaw_from_bins(factors.yaw_logits) - truth.yaw).abs()
        right = (iou > _SHAPE_IOU) & (is_round | (off < _WITHIN_RAD))
        right &= edges.abs().mean(1) / math.log(2) < _SCALE_LOG2
    return loss, right


def _place_loss(factors: Factors, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the losses (N,) of the middle's place in the image and its depth."""
    K, boxes = batch['K'][batch['image_of']], batch['boxes']
    rays, extent = box_rays(K, boxes)
    middle = batch['T_camera_object'][:, :3, 3]
    depth = middle[:, 2].clamp(min=0.02)
    offset = ((middle[:, :2] / depth[:, None] - rays[:, :2]) / extent).clamp(-2, 2)
    shift = functional.smooth_l1_loss(factors.offset, offset, reduction='none', beta=0.1).mean(1)
    far = functional.smooth_l1_loss(factors.log_depth, depth.log(), reduction='none', beta=0.1)
    return shift + 2 * far
