"""From candidates to the placed model that agrees best with the views."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math

import numpy as np
from recon3d_core.geometry.transforms import apply, Array, invert
from recon3d_core.matching.evidence import RayEvidence
from recon3d_core.matching.fit import (
    agreement,
    fit,
    Hypotheses,
    Priors,
    Rays,
    rays_of,
)
from recon3d_core.matching.index import ModelIndex
from recon3d_core.matching.models import CadModel
from recon3d_core.matching.retrieval import Candidate
from recon3d_core.matching.scale import (
    combine,
    depth_from_baselines,
    depth_from_support,
    DepthEstimate,
    Errors,
)
from recon3d_core.types import Plane
import torch
from torch import Tensor

_COARSE_RAYS, _COARSE_ROUNDS, _COARSE_SAMPLES = 200, 6, 14
_FINE_RAYS, _FINE_ROUNDS, _FINE_SAMPLES = 500, 10, 20
_FINALISTS = 4
_METRIC_SIGMA, _MADE_UP_SIGMA = 0.15, 0.8
_UNKNOWN_SIGMA = 0.7  # of the logarithm of a depth that nothing tells
_MIDDLE_PART = 0.06  # of its size: how far the middle of a mask is off that of a thing
_RESIDUAL_M = 0.012
_LOOKS = 0.25  # what similarity counts beside the logarithm of the agreement
_TIPPED_BELOW = 0.8  # agreement of upright models, below which lying ones are tried
_TIPPED_YAWS = 4
_TIPPED_POSES = 2


@dataclasses.dataclass(frozen=True)
class Placed:
    """A model in its place.

    Attributes:
        model: The model.
        entry: Its entry in the index.
        theta: (7,) yaw, centre, logarithms of its cube's edges (`fit`), in the local frame.
        agreement: In [0, 1]: IoU of silhouettes, less what the depth is off.
        overlap: IoU of silhouettes alone.
        depth_m: Mean error of the rendered depth; NaN without depth.
        similarity: Of its looks, up to 1.
    """

    model: CadModel
    entry: int
    theta: Array
    agreement: float
    overlap: float
    depth_m: float
    similarity: float

    @property
    def edge_m(self) -> Array:
        """Edges (3,) of its cube, along its own axes as it rests."""
        return np.exp(self.theta[4:7])

    def to_model(self, points_local: Array) -> Array:
        """Return points (..., 3) of the local frame in the upright model's cube."""
        c, s = np.cos(self.theta[0]), np.sin(self.theta[0])
        turned = (points_local - self.theta[1:4]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        resting: Array = (turned / self.edge_m) @ self.model.turn
        return resting

    def bounds_local_m(self) -> Array:
        """Lowest and highest corner (2, 3) of its box in the local frame."""
        corners = np.array(list(np.ndindex(2, 2, 2)))
        low, high = self.model.bounds
        c, s = np.cos(self.theta[0]), np.sin(self.theta[0])
        points = (low + corners * (high - low)) * self.edge_m
        points = points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + self.theta[1:4]
        return np.stack([points.min(0), points.max(0)])


class Matcher:
    """Places candidates in the local frame of one object."""

    def __init__(
        self,
        index: ModelIndex,
        views: Sequence[RayEvidence],
        T_world_local: Array,
        support: Plane | None,
        device: str = 'cpu',
    ) -> None:
        """Take what is known.

        Args:
            index: The models.
            views: At least one view.
            T_world_local: (4, 4) local frame, z up.
            support: What the object stands on, normal to z; or None.
            device: Where to compute.
        """
        self._index, self._views, self._T, self._device = index, views, T_world_local, device
        self._rays: Rays = rays_of(views, T_world_local, device)
        self._support_z_m: float | None = None
        if support is not None:
            self._support_z_m = -float(support.height_m(T_world_local[:3, 3]))
        self._center_m, self._center_weight, self._depths = self._middle(support)

    def _middle(self, support: Plane | None) -> tuple[Array, Array, Array]:
        """Return where the object's middle is, the root of its information, and its depths (V,)."""
        T = invert(self._T)
        estimates = depth_estimates(self._views, support)
        depths = np.array([estimate.depth_m for estimate in estimates])
        information, vector = np.zeros((3, 3)), np.zeros(3)
        for view, estimate in zip(self._views, estimates):
            ray = T[:3, :3] @ view.middle_ray_world
            place = apply(T, view.eye_world_m + estimate.depth_m * view.middle_ray_world)
            length = float(np.linalg.norm(ray))
            along = np.outer(ray, ray) / length**2
            extent_m = np.ptp(view.box_px.reshape(2, 2), axis=0).max() / view.focal_px
            extent_m *= estimate.depth_m
            # The middle of what is seen is before the middle of the thing by part of its size.
            ahead = math.hypot(estimate.sigma * estimate.depth_m * length, 0.3 * extent_m)
            across = 0.15 * extent_m
            found = along / ahead**2 + (np.eye(3) - along) / across**2
            information += found
            vector += found @ place
        root = np.linalg.cholesky(information / len(self._views)).T
        middle: Array = np.linalg.solve(information, vector).astype(np.float64)
        return middle, np.asarray(root, np.float64), depths

    def start(self, models: Sequence[CadModel], yaws: Array) -> Tensor:
        """Return parameters (H, 7) at which the boxes of models are as large as the masks'."""
        theta = np.zeros((len(models), 7))
        for row, (model, yaw) in enumerate(zip(models, yaws)):
            theta[row, 0] = yaw
            theta[row, 1:4] = self._center_m
            theta[row, 4:7] = self._log_edge(model, float(yaw))
            if self._support_z_m is not None:
                theta[row, 3] = self._support_z_m - model.bounds[0, 2] * math.exp(theta[row, 6])
        return torch.from_numpy(theta).float().to(self._device)

    def _log_edge(self, model: CadModel, yaw: float) -> float:
        c, s = np.cos(yaw), np.sin(yaw)
        turned = model.points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
        ratios = []
        for view, depth in zip(self._views, self._depths):
            R = view.T_world_camera[:3, :3].T @ self._T[:3, :3]
            seen = np.ptp(turned @ R[:2].T, axis=0)
            box = np.ptp(view.box_px.reshape(2, 2), axis=0) * (depth / view.focal_px)
            ratios.append(np.log(box / np.maximum(seen, 1e-3)).mean())
        return float(np.mean(ratios))

    def _priors(self, models: Sequence[CadModel]) -> Priors:
        edges = torch.tensor([math.log(model.edge_m) for model in models], device=self._device)
        sigma = [_METRIC_SIGMA if model.metric else _MADE_UP_SIGMA for model in models]
        return Priors(
            self._support_z_m, edges.float(), torch.tensor(sigma, device=self._device),
            torch.from_numpy(self._center_m).float().to(self._device),
            torch.from_numpy(self._center_weight).float().to(self._device),
        )  # fmt: skip

    def best(self, candidates: Sequence[Candidate], match: bool = True) -> Placed | None:
        """Return the placed candidate that agrees best, or None without candidates.

        Where upright models do not agree, those that look most alike are tried lying, too.

        Args:
            candidates: What to try.
            match: Whether to match; otherwise the first candidate is only put into its box.
        """
        if not candidates:
            return None
        if not match:
            return self._unmatched(candidates[0])
        tried = [(c, self._index.model(c.entry)) for c in candidates]
        found = self._placed(tried)
        if found.agreement < _TIPPED_BELOW:
            lying = self._lying(candidates)
            if lying:
                other = self._placed(lying)
                found = other if _value(other) > _value(found) else found
        return found

    def _lying(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, CadModel]]:
        tried = []
        for candidate in {c.entry: c for c in reversed(candidates[:8])}.values():
            upright = self._index.model(candidate.entry)
            for turn in upright.resting[1 : 1 + _TIPPED_POSES]:
                model = self._index.model(candidate.entry, turn)
                for yaw in np.arange(_TIPPED_YAWS) * (2 * np.pi / _TIPPED_YAWS):
                    tried.append((dataclasses.replace(candidate, yaw=float(yaw)), model))
        return tried

    def _unmatched(self, candidate: Candidate) -> Placed:
        model = self._index.model(candidate.entry)
        theta = self.start([model], np.array([candidate.yaw]))
        return self._told([(candidate, model)], Hypotheses([model], self._device), theta)[0]

    def _placed(self, tried: Sequence[tuple[Candidate, CadModel]]) -> Placed:
        models = [model for _, model in tried]
        hypotheses, priors = Hypotheses(models, self._device), self._priors(models)
        theta = self.start(models, np.array([c.yaw for c, _ in tried]))
        theta, _ = fit(hypotheses, theta, self._rays.some(_COARSE_RAYS), priors,
                       rounds=_COARSE_ROUNDS, samples=_COARSE_SAMPLES)  # fmt: skip
        coarse = self._told(tried, hypotheses, theta, self._rays.some(2 * _COARSE_RAYS))
        order = sorted(range(len(coarse)), key=lambda k: -_value(coarse[k]))[:_FINALISTS]
        index = torch.tensor(order, device=self._device)
        finalists = [tried[k] for k in order]
        hypotheses, priors = hypotheses.part(index), self._priors([m for _, m in finalists])
        theta, _ = fit(hypotheses, theta[index], self._rays.some(_FINE_RAYS), priors,
                       rounds=_FINE_ROUNDS, samples=_FINE_SAMPLES)  # fmt: skip
        return max(self._told(finalists, hypotheses, theta), key=_value)

    def _told(
        self,
        tried: Sequence[tuple[Candidate, CadModel]],
        hypotheses: Hypotheses,
        theta: Tensor,
        rays: Rays | None = None,
    ) -> list[Placed]:
        """Return the hypotheses with how well they agree with the views."""
        found = agreement(hypotheses, theta, self._rays if rays is None else rays)
        rows = zip(tried, theta.double().cpu().numpy(), found.overlap.tolist(),
                   found.depth_m.tolist())  # fmt: skip
        return [
            Placed(model, candidate.entry, row, _agreement(overlap, depth), overlap, depth,
                   candidate.score)
            for (candidate, model), row, overlap, depth in rows
        ]  # fmt: skip


def _agreement(overlap: float, depth_m: float) -> float:
    if math.isnan(depth_m):
        return overlap
    return overlap * math.exp(-((depth_m / _RESIDUAL_M) ** 2) / 2)


def _value(placed: Placed) -> float:
    """Return what decides between models: agreement, and a little their looks."""
    return math.log(max(placed.agreement, 1e-6)) + _LOOKS * placed.similarity


def depth_estimates(views: Sequence[RayEvidence], support: Plane | None) -> list[DepthEstimate]:
    """Return how far away an object's middle is in each view, from whatever tells it.

    Measured depth where there is any; otherwise the support below its lowest pixel, and the
    baselines between the views.
    """
    pixels = np.array([
        ((v.box_px[0] + v.box_px[2] - 1) / 2, (v.box_px[1] + v.box_px[3] - 1) / 2) for v in views
    ])  # fmt: skip
    poses = np.stack([view.T_world_camera for view in views])
    cameras = [view.camera for view in views]
    found = []
    for number, view in enumerate(views):
        extent_px = float(np.ptp(view.box_px.reshape(2, 2), axis=0).max())
        if view.has_depth:
            depth = float(np.median(view.depth_m[view.depth_m > 0]))
            # What is seen is the near side; the middle lies about a third of the size behind.
            depth += 0.3 * extent_px / view.focal_px * depth
            found.append(DepthEstimate(depth, 0.02, 'depth'))
            continue
        estimates: list[DepthEstimate | None] = []
        if support is not None and view.contact_px is not None:
            contact = depth_from_support(
                view.contact_px, view.camera, view.T_world_camera, support
            )
            if contact is not None:  # the middle lies behind where it touches the ground first
                half = 0.3 * extent_px / view.focal_px
                sigma = math.hypot(contact.sigma, 0.5 * half)
                estimates.append(DepthEstimate(contact.depth_m * (1 + half), sigma, 'support'))
        errors = Errors(pixel_px=math.hypot(1.5, _MIDDLE_PART * extent_px))
        estimates.append(depth_from_baselines(pixels, cameras, poses, number, errors))
        combined = combine(estimates)
        found.append(combined or DepthEstimate(1.0, _UNKNOWN_SIGMA, 'nothing'))
    return found
