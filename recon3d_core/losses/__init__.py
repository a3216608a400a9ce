"""Losses of the survey, one function per equation; docs/equations.md lists them.

All are batched, differentiable in their first argument, and run where their tensors are. They
return the mean over the objects, or one value (B,) each with `reduction='none'`. NaN and wrong
shapes are an `InputError`, never a NaN that spreads.
"""

from __future__ import annotations

from recon3d_core.losses.points import chamfer_distance, earth_movers_distance
from recon3d_core.losses.rays import ray_consistency
from recon3d_core.losses.silhouettes import project_silhouettes, silhouette_loss
from recon3d_core.losses.sketches import depth_loss, normal_loss
from recon3d_core.losses.volumes import (
    cross_entropy,
    cross_entropy_from_logits,
    negative_iou,
    volumetric_l2,
)

__all__ = [
    'chamfer_distance',
    'cross_entropy',
    'cross_entropy_from_logits',
    'depth_loss',
    'earth_movers_distance',
    'negative_iou',
    'normal_loss',
    'project_silhouettes',
    'ray_consistency',
    'silhouette_loss',
    'volumetric_l2',
]
