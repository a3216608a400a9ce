"""Render-and-match: pose and scale at which models agree with outlines, depth and support.

IM2CAD (Izadinia, Shan, Seitz, CVPR 2017) optimises pose and scale of retrieved models by rendering
and comparing. Here the rendering is differentiable by the models' signed distances: the least one
along a ray is the ray's distance from the silhouette, with the nearest point's gradient (envelope
theorem), and a measured point should lie at distance 0. Levenberg-Marquardt with Geman-McClure
weights, all hypotheses at once.

Parameters of a hypothesis (7): yaw, centre (3) in metres about the origin of a local frame whose z
is up, logarithms of the cube's edges (3) in metres along the resting model's axes.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math

import numpy as np
from recon3d_core.geometry.transforms import apply, Array, invert
from recon3d_core.matching.evidence import RayEvidence
from recon3d_core.matching.models import CadModel
import torch
from torch import Tensor
from torch.nn import functional

LARGEST_STRETCH = math.log(1.25)
_VOXEL = 1 / 64
_PIXEL_PX = 1.0
_VOXEL_SIGMA = 0.005  # of the cube's edge: what voxels round off
_DEPTH_M = 0.003
_CUT = 3.0
_EFFECTIVE = 60.0  # independent residuals of each kind; neighbouring rays err alike
_SUPPORT_M = 0.004
_STRETCH_SIGMA = 0.07
_FAR_BAND = 0.3  # of the size: rays farther outside only must not be hit


@dataclasses.dataclass(frozen=True)
class Priors:
    """What is known without looking.

    Attributes:
        support_z_m: Height of the support in the local frame, or None.
        log_edge: (H,) logarithm of the models' edges, metres.
        edge_sigma: (H,) deviation of that; large where the size is made up.
        center_m: (3,) where the object is in the local frame.
        center_weight: (3, 3) a square root of the inverse of its covariance.
    """

    support_z_m: float | None
    log_edge: Tensor
    edge_sigma: Tensor
    center_m: Tensor
    center_weight: Tensor


@dataclasses.dataclass(frozen=True)
class Rays:
    """Rays of all views in the local frame, flat.

    Attributes:
        eyes: (n, 3).
        rays: (n, 3), of depth 1.
        outline: (n,) distance from the outline by depth, negative inside.
        pixel: (n,) size of a pixel by depth.
        depth_m: (n,) measured depth, 0 where there is none.
        view: (n,) index of the view.
    """

    eyes: Tensor
    rays: Tensor
    outline: Tensor
    pixel: Tensor
    depth_m: Tensor
    view: Tensor

    def some(self, count: int) -> Rays:
        """Return about `count` of them, half of them inside, those near the outline first."""
        chosen = []
        for index in range(int(self.view.max()) + 1):
            for inside in (True, False):
                which = torch.nonzero((self.view == index) & ((self.outline < 0) == inside))[:, 0]
                share = max(1, count // (2 * (int(self.view.max()) + 1)))
                chosen.append(which[:: -(-len(which) // share) or 1])
        return self.part(torch.cat(chosen))

    def part(self, index: Tensor) -> Rays:
        """Return those of an index."""
        return Rays(*(getattr(self, f.name)[index] for f in dataclasses.fields(self)))


def rays_of(views: Sequence[RayEvidence], T_world_local: Array, device: str) -> Rays:
    """Return the rays of views in a local frame."""
    T = invert(T_world_local)
    parts: dict[str, list[Array]] = {f.name: [] for f in dataclasses.fields(Rays)}
    for number, view in enumerate(views):
        n = len(view.rays_world)
        parts['eyes'].append(np.broadcast_to(apply(T, view.eye_world_m[None]), (n, 3)))
        parts['rays'].append(view.rays_world @ T[:3, :3].T)
        parts['outline'].append(view.outline_px / view.focal_px)
        parts['pixel'].append(np.full(n, 1 / view.focal_px))
        parts['depth_m'].append(view.depth_m)
        parts['view'].append(np.full(n, number))
    flat = {key: torch.from_numpy(np.concatenate(v)).to(device) for key, v in parts.items()}
    return Rays(**{k: v.long() if k == 'view' else v.float() for k, v in flat.items()})


class Hypotheses:
    """Models in poses; some may be of the same model."""

    def __init__(self, models: Sequence[CadModel], device: str) -> None:
        """Stack their distances."""
        self.sdf = torch.from_numpy(np.stack([m.sdf for m in models]))[:, None].to(device)
        self.turn = torch.from_numpy(np.stack([m.turn for m in models])).float().to(device)
        bounds = np.stack([m.bounds for m in models])
        self.low = torch.from_numpy(bounds[:, 0]).float().to(device)
        self.high = torch.from_numpy(bounds[:, 1]).float().to(device)

    def part(self, index: Tensor) -> Hypotheses:
        """Return some of them."""
        found = object.__new__(Hypotheses)
        for name, value in vars(self).items():
            setattr(found, name, value[index])
        return found

    def distance(self, resting: Tensor) -> Tensor:
        """Return signed distances (H, n) in edges of the cube at points (H, n, 3) as it rests."""
        own = resting @ self.turn
        held = own.clamp(-0.5 + _VOXEL / 2, 0.5 - _VOXEL / 2)
        found = functional.grid_sample(
            self.sdf, 2 * held.flip(-1)[:, None, None], align_corners=False
        )
        return found[:, 0, 0, 0] + (own - held).norm(dim=-1)

    def slope(self, resting: Tensor) -> Tensor:
        """Return the gradient (H, n, 3) of `distance`."""
        step = torch.eye(3, device=resting.device) * _VOXEL
        around = torch.stack([resting[..., None, :] + step, resting[..., None, :] - step], 2)
        values = self.distance(around.flatten(1, 3)).reshape(*resting.shape[:2], 2, 3)
        return (values[:, :, 0] - values[:, :, 1]) / (2 * _VOXEL)


def to_resting(theta: Tensor, points: Tensor) -> Tensor:
    """Return points (H, n, 3) of the local frame in the models' cubes, as they rest."""
    c, s = theta[:, 0].cos()[:, None], theta[:, 0].sin()[:, None]
    x, y, z = (points - theta[:, None, 1:4]).unbind(-1)
    turned = torch.stack([c * x + s * y, c * y - s * x, z], -1)
    return turned * (-theta[:, None, 4:7]).exp()


def least_distances(
    models: Hypotheses, theta: Tensor, rays: Rays, samples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return along each ray the least signed distance, its depth, and that of the first hit.

    Returns:
        Distances (H, n) in metres, depths (H, n), and depths of the first hit (H, n), 0 without.
    """
    edge = theta[:, 4:7].exp()
    reach = 0.5 * ((models.high - models.low) * edge).norm(dim=1)[:, None]
    middle = theta[:, 1:4] + _turned_back(theta, (models.high + models.low) / 2 * edge)
    length = rays.rays.norm(dim=1)
    along = ((middle[:, None] - rays.eyes) * rays.rays).sum(-1) / length**2
    steps = torch.linspace(-1, 1, samples, device=theta.device)
    t = (along[..., None] + (reach / length)[..., None] * steps).clamp_min(0.01)
    values = _along(models, theta, rays, t)
    index = values.argmin(-1)
    first = _first_hit(values, t)
    depth = t.gather(-1, index[..., None])[..., 0]
    gap = (reach / length) * (2 / (samples - 1))
    around = torch.linspace(-1, 1, 5, device=theta.device)
    for finer in (0.8, 0.2):  # between the neighbours of the least
        near = depth[..., None] + finer * gap[..., None] * around
        least, index = _along(models, theta, rays, near).min(-1)
        depth = near.gather(-1, index[..., None])[..., 0]
    scale = theta[:, 4:7].mean(1).exp()[:, None]
    return least * scale, depth, first


def _along(models: Hypotheses, theta: Tensor, rays: Rays, t: Tensor) -> Tensor:
    """Return distances (H, n, k) in edges at depths (H, n, k) along rays."""
    H, n, k = t.shape
    # The map to a model is affine: rays are taken there, not points.
    eyes = to_resting(theta, rays.eyes.expand(H, n, 3))
    ahead = to_resting(theta, (rays.eyes + rays.rays).expand(H, n, 3)) - eyes
    points = eyes[:, :, None] + t[..., None] * ahead[:, :, None]
    return models.distance(points.reshape(H, n * k, 3)).reshape(H, n, k)


def _first_hit(values: Tensor, t: Tensor) -> Tensor:
    """Return the depth (H, n) at which distances (H, n, k) first become negative; 0 if never."""
    inside = values <= 0
    index = inside.float().argmax(-1, keepdim=True)
    before = (index - 1).clamp_min(0)
    v0, v1 = values.gather(-1, before), values.gather(-1, index)
    t0, t1 = t.gather(-1, before), t.gather(-1, index)
    share = (v0 / (v0 - v1).clamp_min(1e-6)).clamp(0, 1)
    return torch.where(inside.any(-1), (t0 + share * (t1 - t0))[..., 0], 0.0)


def _turned_back(theta: Tensor, vectors: Tensor) -> Tensor:
    """Return vectors (H, 3) of the resting models' axes along the local ones."""
    c, s = theta[:, 0].cos(), theta[:, 0].sin()
    x, y, z = vectors.unbind(-1)
    return torch.stack([c * x - s * y, s * x + c * y, z], -1)


@dataclasses.dataclass
class _Normal:
    """Cost (H,) and normal equations (H, 7, 7), (H, 7)."""

    cost: Tensor
    matrix: Tensor
    vector: Tensor

    def add(self, values: Tensor, jacobian: Tensor, cut: float, total: float | None) -> None:
        """Add residuals (H, n), divided by their deviation, with their derivatives (H, n, 7)."""
        if not values.shape[1]:
            return
        share = 1.0 if total is None else total / values.shape[1]
        square = values**2
        self.cost += share * (square / (1 + square / cut**2)).sum(1)
        weight = share / (1 + square / cut**2) ** 2
        weighted = jacobian * weight[..., None]
        self.matrix += weighted.transpose(1, 2) @ jacobian
        self.vector += (weighted * values[..., None]).sum(1)


def _evaluate(
    models: Hypotheses, theta: Tensor, rays: Rays, priors: Priors, samples: int
) -> _Normal:
    """Return cost and normal equations of the hypotheses."""
    H = len(theta)
    normal = _Normal(theta.new_zeros(H), theta.new_zeros(H, 7, 7), theta.new_zeros(H, 7))
    least, depth, _ = least_distances(models, theta, rays, samples)
    points = rays.eyes + depth[..., None] * rays.rays
    scale = theta[:, 4:7].mean(1).exp()[:, None]
    off = least - rays.outline * depth
    inside = rays.outline < 0
    far = rays.outline * depth > _FAR_BAND * scale
    off = torch.where(inside, least.clamp_min(0), torch.where(far, off.clamp_max(0), off))
    sigma = ((_PIXEL_PX * rays.pixel * depth) ** 2 + (_VOXEL_SIGMA * scale) ** 2).sqrt()
    jacobian = _jacobian(models, theta, points) / sigma[..., None] * (off != 0)[..., None]
    values = off / sigma
    for which in (inside, ~inside):
        normal.add(values[:, which], jacobian[:, which], _CUT, _EFFECTIVE)
    measured = rays.depth_m > 0
    if measured.any():
        seen = (rays.eyes + rays.depth_m[:, None] * rays.rays)[measured].expand(H, -1, 3)
        sigma = (_DEPTH_M**2 + (_VOXEL_SIGMA * scale) ** 2).sqrt()
        values = models.distance(to_resting(theta, seen)) * scale / sigma
        jacobian = _jacobian(models, theta, seen) / sigma[..., None]
        normal.add(values, jacobian, _CUT, _EFFECTIVE)
    _add_priors(normal, models, theta, priors)
    return normal


def _jacobian(models: Hypotheses, theta: Tensor, points: Tensor) -> Tensor:
    """Return how distances in metres at points (H, n, 3) change by the parameters, (H, n, 7)."""
    resting = to_resting(theta, points)
    edge = theta[:, None, 4:7].exp()
    scale = theta[:, 4:7].mean(1).exp()[:, None, None]
    slope = models.slope(resting) * scale
    turned = resting * edge
    across = torch.stack([turned[..., 1], -turned[..., 0], torch.zeros_like(turned[..., 0])], -1)
    by_yaw = (slope * across / edge).sum(-1, keepdim=True)
    c, s = theta[:, 0].cos()[:, None], theta[:, 0].sin()[:, None]
    x, y, z = (slope / edge).unbind(-1)
    by_center = -torch.stack([c * x - s * y, s * x + c * y, z], -1)
    return torch.cat([by_yaw, by_center, -slope * resting], -1)


def _add_priors(normal: _Normal, models: Hypotheses, theta: Tensor, priors: Priors) -> None:
    H = len(theta)
    edge = theta[:, 4:7].exp()
    eye = torch.eye(7, device=theta.device)
    if priors.support_z_m is not None:
        below = models.low[:, 2] * edge[:, 2]
        off = (theta[:, 3] + below - priors.support_z_m)[:, None] / _SUPPORT_M
        jacobian = theta.new_zeros(H, 1, 7)
        jacobian[:, 0, 3] = 1 / _SUPPORT_M
        jacobian[:, 0, 6] = below / _SUPPORT_M
        normal.add(off, jacobian, 4 * _CUT, _EFFECTIVE / 4)
    mean = theta[:, 4:7].mean(1)
    along = (eye[4] + eye[5] + eye[6]) / 3
    off = ((mean - priors.log_edge) / priors.edge_sigma)[:, None]
    normal.add(off, (along / priors.edge_sigma[:, None])[:, None], _CUT, None)
    stretch = (theta[:, 4:7] - mean[:, None]) / _STRETCH_SIGMA
    normal.add(stretch, ((eye[4:7] - along) / _STRETCH_SIGMA).expand(H, 3, 7), 1e3, None)
    off = (theta[:, 1:4] - priors.center_m) @ priors.center_weight.T
    jacobian = theta.new_zeros(H, 3, 7)
    jacobian[:, :, 1:4] = priors.center_weight
    normal.add(off, jacobian, 1e3, None)


@torch.no_grad()
def fit(
    models: Hypotheses,
    theta: Tensor,
    rays: Rays,
    priors: Priors,
    *,
    rounds: int,
    samples: int,
) -> tuple[Tensor, Tensor]:
    """Return the best parameters (H, 7) that were found, and their costs (H,).

    Args:
        models: What is placed.
        theta: (H, 7) where it begins.
        rays: Evidence.
        priors: What is known besides.
        rounds: Evaluations.
        samples: Points along each ray.
    """
    best = _evaluate(models, theta, rays, priors, samples)
    damping = torch.full_like(best.cost, 1e-2)
    for _ in range(rounds):
        diagonal = best.matrix.diagonal(dim1=1, dim2=2)
        floor = 1e-3 * diagonal.amax(1, keepdim=True).clamp_min(1e-6) * damping[:, None]
        matrix = best.matrix + torch.diag_embed(diagonal * damping[:, None] + floor)
        step = -torch.linalg.solve(matrix, best.vector)
        proposed = _bounded(theta, step)
        there = _evaluate(models, proposed, rays, priors, samples)
        better = there.cost < best.cost
        theta = torch.where(better[:, None], proposed, theta)
        for name in ('cost', 'matrix', 'vector'):
            new, old = getattr(there, name), getattr(best, name)
            chosen = better.reshape(-1, *[1] * (new.ndim - 1))
            setattr(best, name, torch.where(chosen, new, old))
        damping = torch.where(better, damping * 0.3, damping * 6).clamp(1e-5, 1e4)
    return theta, best.cost


def _bounded(theta: Tensor, step: Tensor) -> Tensor:
    """Return parameters after a step of bounded length; the stretch stays within its limits."""
    edge = theta[:, 4:7].mean(1).exp()[:, None]
    limit = torch.cat([torch.full_like(edge, 0.4), (0.3 * edge).expand(-1, 3),
                       torch.full_like(edge, 0.25).expand(-1, 3)], 1)  # fmt: skip
    shrink = (limit / step.abs().clamp_min(1e-9)).amin(1, keepdim=True).clamp_max(1)
    moved = theta + shrink * step
    mean = moved[:, 4:7].mean(1, keepdim=True)
    stretch = (moved[:, 4:7] - mean).clamp(-LARGEST_STRETCH, LARGEST_STRETCH)
    return torch.cat([moved[:, :4], mean + stretch], 1)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well placed models agree with their views.

    Attributes:
        overlap: (H,) mean IoU of rendered and seen silhouettes.
        depth_m: (H,) mean error of the rendered depth, each at most 3 cm; NaN without depth.
    """

    overlap: Tensor
    depth_m: Tensor


_MOST_M = 0.03


@torch.no_grad()
def agreement(models: Hypotheses, theta: Tensor, rays: Rays, samples: int = 32) -> Agreement:
    """Render placed models along rays and compare."""
    least, _, first = least_distances(models, theta, rays, samples)
    hit, inside = least <= 0, (rays.outline < 0)[None]
    views = int(rays.view.max()) + 1
    ious = []
    for index in range(views):
        own = rays.view == index
        common = (hit & inside)[:, own].sum(1).float()
        union = (hit | inside)[:, own].sum(1).float()
        ious.append(common / union.clamp_min(1))
    both = hit & (first > 0) & (rays.depth_m > 0)
    error = (first - rays.depth_m).abs().clamp_max(_MOST_M) * both
    return Agreement(torch.stack(ious).mean(0), error.sum(1) / both.sum(1))
