"""`point_completion`: visible points to the whole surface, coarse to fine, and to the solid.

Points are grouped into patches (PointNet++, Qi et al., NeurIPS 2017); self-attention between the
patches, as in PoinTr (Yu et al., ICCV 2021), tells each where more of the object is; each tells a
few coarse points relative to its own place, which are unfolded to many (PCN, Yuan et al., 3DV 2018,
and FoldingNet, Yang et al., CVPR 2018). The solid is asked for at any place, of the nearest points
and their features, as in POCO (Boulch and Marlet, CVPR 2022).
"""

from __future__ import annotations

import itertools
from typing import ClassVar, NamedTuple

from recon3d_core.config import PluginConfig
from recon3d_core.errors import InputError
from recon3d_core.losses.nearest import gathered, nearest
from recon3d_core.models.base import Network
from recon3d_core.models.point_completion.clouds import chosen, FEATURES, open_space, seen_cloud
from recon3d_core.models.point_completion.config import PointCompletionConfig
from recon3d_core.models.tsdf_completion.evidence import combined
import torch
from torch import nn, Tensor
from torch.nn import functional

_PATCH = 16  # visible points of a patch
_NEAR = 4  # completed points that are asked whether a place is inside
_REACH = 0.25  # edges of the cube that a coarse point is away from its patch at first, at most
_FOLD = 0.05  # the same of a fine point from its coarse one
_SURFACE_WEIGHT, _SOLID_WEIGHT = 5.0, 1.0  # in the loss, of distances in edges, and of entropy
_ASKED = 32_768  # places at once
_OUTSIDE = -8.0  # log odds where nothing can be


class Completed(NamedTuple):
    """A completed cloud, in the cube.

    Attributes:
        coarse: (B, tokens * anchors, 3).
        points: (B, tokens * anchors * folds, 3).
        features: (B, tokens * anchors, F) of each coarse point.
    """

    coarse: Tensor
    points: Tensor
    features: Tensor


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class PointCompletion(Network):
    """Visible points in; all points of the surface, and log odds of being inside, out."""

    name = 'point_completion'
    Config: ClassVar[type[PluginConfig]] = PointCompletionConfig

    def __init__(self, config: PointCompletionConfig | None = None) -> None:
        """Make the layers with random weights.

        Raises:
            InputError: The sizes do not fit each other.
        """
        super().__init__(config)
        c = self.config
        if c.tokens > c.seen_points or c.width % 4 or c.resolution % 16:
            sizes = (c.resolution, c.width, c.tokens, c.seen_points)
            wanted = 'tokens <= seen_points, width in steps of 4, resolution in steps of 16'
            raise InputError('resolution, width, tokens, seen_points', sizes, wanted)
        w = c.width
        self.patches = _mlp(FEATURES + 3, w // 2, w)
        self.place = nn.Linear(FEATURES, w)
        layer = nn.TransformerEncoderLayer(
            w, 4, 2 * w, dropout=0.0, batch_first=True, norm_first=True
        )
        self.attention = nn.TransformerEncoder(
            layer, c.layers, nn.LayerNorm(w), enable_nested_tensor=False
        )
        self.anchors = _mlp(2 * w, w, c.anchors * (3 + w // 2))
        self.codes = nn.Parameter(torch.randn(c.folds, w // 4) * 0.5)
        self.fold = _mlp(w // 2 + w // 4, w // 2, 3)
        self.near = _mlp(w // 2 + 7, w // 2, w // 2)
        self.whole = nn.Linear(w, w // 2)
        self.solid = _mlp(w // 2, w // 2, 1)

    @property
    def resolution(self) -> int:
        """Voxels along an edge of the cube."""
        return int(self.config.resolution)

    def forward(self, seen: Tensor) -> Completed:
        """Return the completed cloud of visible points (B, n, FEATURES) (`clouds`).

        Raises:
            InputError: The clouds have another size.
        """
        c = self.config
        if seen.dim() != 3 or seen.shape[1:] != (c.seen_points, FEATURES):
            raise InputError('seen', tuple(seen.shape), f'(B, {c.seen_points}, {FEATURES})')
        centers = seen[:, : c.tokens]  # the order is random
        distance = torch.cdist(centers[..., :3], seen[..., :3])
        index = distance.topk(min(_PATCH, c.seen_points), largest=False).indices
        members = gathered(seen, index.flatten(1)).reshape(*index.shape, -1)
        relative = (members[..., :3] - centers[:, :, None, :3]) * 10
        patches = self.patches(torch.cat([relative, members], -1)).amax(2)
        tokens = self.attention(patches + self.place(centers))
        whole = tokens.amax(1, keepdim=True).expand_as(tokens)
        told = self.anchors(torch.cat([tokens, whole], -1)).reshape(
            *tokens.shape[:2], c.anchors, -1
        )
        coarse = (centers[..., None, :3] + _REACH * told[..., :3]).flatten(1, 2)
        features = functional.relu(told[..., 3:].flatten(1, 2))
        shape = (-1, -1, c.folds, -1)
        unfolded = torch.cat(
            [features[:, :, None].expand(shape),
             self.codes.expand(len(seen), features.shape[1], -1, -1)], -1,
        )  # fmt: skip
        points = coarse[:, :, None] + _FOLD * self.fold(unfolded)
        return Completed(coarse, points.flatten(1, 2), features + self._summary(tokens))

    def _summary(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.whole(tokens.amax(1, keepdim=True))
        return found

    def logits(self, completed: Completed, places: Tensor) -> Tensor:
        """Return log odds (B, m) of being inside at places (B, m, 3) of the cube."""
        index = _nearest_few(places, completed.points, _NEAR)
        points = gathered(completed.points, index.flatten(1)).reshape(*index.shape, -1)
        coarse = index.flatten(1) // self.config.folds
        features = gathered(completed.features, coarse).reshape(*index.shape, -1)
        offset = (places[:, :, None] - points) * 10
        length = torch.linalg.vector_norm(offset, dim=-1, keepdim=True)
        at = places[:, :, None].expand_as(offset)
        near = self.near(torch.cat([offset, length, 2 * at, features], -1))
        weight = torch.softmax(-4 * length, 2)
        found: Tensor = self.solid(functional.relu((weight * near).sum(2)))[..., 0]
        return found

    def loss(self, seen: Tensor, surface: Tensor, places: Tensor, inside: Tensor) -> Tensor:
        """Return the distances of coarse and fine points to the surface, and cross-entropy.

        Args:
            seen: (B, n, FEATURES).
            surface: (B, m, 3) true surface.
            places: (B, k, 3) places that the evidence leaves open.
            inside: (B, k) of 0 and 1.
        """
        completed = self(seen)
        few = surface[:, :: max(1, surface.shape[1] // completed.coarse.shape[1])]
        logits = self.logits(completed, places).float()
        entropy = functional.binary_cross_entropy_with_logits(logits, inside)
        fine = _distance(completed.points, surface)
        coarse = _distance(completed.coarse, few)
        return _SURFACE_WEIGHT * (coarse + fine) + _SOLID_WEIGHT * entropy

    @torch.no_grad()
    def complete(self, evidence: Tensor) -> Completed:
        """Return the completed clouds of what is known of cubes (B, C, N, N, N)."""
        clouds = [chosen(seen_cloud(one), self.config.seen_points) for one in evidence.cpu()]
        found: Completed = self(torch.stack(clouds).to(self.device))
        return found

    @torch.no_grad()
    def probabilities(self, evidence: Tensor) -> Tensor:
        """Return probabilities (B, N, N, N) that keep what was observed (`evidence.combined`).

        Every second voxel is asked along each axis; between them the log odds are interpolated.
        """
        half = self.resolution // 2
        completed = self.complete(evidence)
        axis = (torch.arange(half, device=self.device) + 0.5) / half - 0.5
        places = torch.stack(torch.meshgrid(axis, axis, axis, indexing='ij'), -1).reshape(-1, 3)
        rows = []
        for row, one in enumerate(evidence):
            asked = functional.max_pool3d(open_space(one)[None].float(), 2)[0].flatten() > 0
            part = Completed(*(value[row : row + 1] for value in completed))
            logits = torch.full((half**3,), _OUTSIDE, device=self.device)
            some = places[asked]
            if len(some):
                parts = [self.logits(part, few[None])[0] for few in torch.split(some, _ASKED)]
                logits[asked] = torch.cat(parts)
            rows.append(logits.reshape(1, half, half, half))
        fine = functional.interpolate(
            torch.stack(rows), scale_factor=2, mode='trilinear', align_corners=False
        )
        return combined(fine[:, 0].float(), evidence)


def _distance(points: Tensor, surface: Tensor) -> Tensor:
    """Return the Chamfer distance, not squared, as PCN's CD-P: mean of both ways, a scalar."""
    there = gathered(surface, nearest(points, surface))
    back = gathered(points, nearest(surface, points))
    ways = torch.stack([_mean_length(points - there), _mean_length(surface - back)])
    return ways.mean()


def _mean_length(vectors: Tensor) -> Tensor:
    return (vectors.square().sum(-1) + 1e-12).sqrt().mean()


@torch.no_grad()
def _nearest_few(places: Tensor, points: Tensor, count: int) -> Tensor:
    """Return the indices (B, m, count) of the points nearest to each place."""
    if places.device.type == 'cpu':
        from scipy.spatial import cKDTree

        found = [
            cKDTree(cloud.numpy()).query(some.numpy(), k=count)[1]
            for some, cloud in zip(places, points.detach())
        ]
        return torch.stack([torch.from_numpy(index) for index in found])
    return torch.cdist(places, points).topk(count, largest=False).indices
