"""Losses of embeddings that gather around their object's centre, after Neven et al. (CVPR 2019).

Every pixel says where it belongs (`places`) and how far around its object's mean place others
count as the same object (`log_sharpness`). With them the mask of an object is a Gaussian of the
distance to that mean, whose IoU is optimised itself by the Lovasz hinge (Berman et al. 2018). A
seed map learns that Gaussian's value, so that the best places to begin an object score highest.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SPREAD_WEIGHT = 1.0
SEED_WEIGHT = 2.0
_LEAST_PX = 6  # objects with fewer pixels are neither taught nor held against a seed


def embedding_loss(
    places: Tensor, log_sharpness: Tensor, seed_logits: Tensor, instances: Tensor
) -> Tensor:
    """Return the loss of a batch, a scalar.

    Args:
        places: (B, 2, h, w) places that the pixels point to.
        log_sharpness: (B, 1, h, w) logarithm of the Gaussian's sharpness.
        seed_logits: (B, 1, h, w).
        instances: (B, h, w) object of each pixel, 0 = background.
    """
    # Places in bf16 would be pixels off.
    with torch.autocast(places.device.type, enabled=False):
        losses = [
            _of_image(places[k], log_sharpness[k, 0], seed_logits[k, 0], instances[k])
            for k in range(len(instances))
        ]
    return torch.stack(losses).mean()


def _of_image(places: Tensor, log_sharpness: Tensor, seeds: Tensor, instances: Tensor) -> Tensor:
    flat, sharp = places.flatten(1), log_sharpness.flatten()
    found = seeds.flatten().sigmoid()
    ids, counts = torch.unique(instances, return_counts=True)
    masks = (instances.flatten() == ids[(ids > 0) & (counts >= _LEAST_PX), None]).float()
    background = (instances.flatten() == 0).float()
    loss = SEED_WEIGHT * (found.square() * background).sum() / background.sum().clamp(min=1)
    if not len(masks):
        return loss
    sizes = masks.sum(1)
    centers = masks @ flat.T / sizes[:, None]
    means = masks @ sharp / sizes
    spread = ((sharp - means[:, None].detach()).square() * masks).sum(1) / sizes
    squared = (flat[None] - centers[:, :, None]).square().sum(1)
    likeness = torch.exp(-squared * means.exp()[:, None])
    overlap = lovasz_hinge(2 * likeness - 1, masks)
    taught = ((found - likeness.detach()).square() * masks).sum(1) / sizes
    per_object = overlap + SPREAD_WEIGHT * spread + SEED_WEIGHT * taught
    return loss + per_object.mean()


def lovasz_hinge(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the Lovasz hinge (K,) of K masks, a convex bound of 1 - IoU (Berman et al. 2018).

    Args:
        logits: (K, N), positive = inside.
        truth: (K, N) of 0 and 1.
    """
    errors = 1 - logits * (2 * truth - 1)
    ordered, order = errors.sort(1, descending=True)
    true = truth.gather(1, order)
    total = true.sum(1, keepdim=True)
    common = total - true.cumsum(1)
    union = total + (1 - true).cumsum(1)
    jaccard = 1 - common / union.clamp(min=1)
    slope = torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], 1)
    return (functional.relu(ordered) * slope.detach()).sum(1)
