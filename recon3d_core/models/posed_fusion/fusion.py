"""From the volumes of views to the object's grid: resampling, streaming fusion, refiner."""

from __future__ import annotations

import dataclasses

from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.layers import Conv3d
from recon3d_core.models.posed_fusion.encoder import group_norm, HALF_DEPTH
import torch
from torch import nn, Tensor

_OUTSIDE = 0.3  # evidence for a voxel that projects beside the image: probably not the object


@dataclasses.dataclass
class FusionState:
    """What is known of B objects; its size does not depend on the number of views.

    Attributes:
        fused: (B, C, N, N, N) weighted sum of the views' features, or the LSTM's hidden state.
        cell: The LSTM's cell state, or the softmax's sum of weights (B, 1, N, N, N).
        peak: (B, 1, N, N, N) largest score so far, by which the weights are scaled.
        hull: (B, 1, N, N, N) smallest coverage that a view's mask gave the voxel.
        coverage: (B, 1, N, N, N) sum of these coverages.
        views: How many views were seen.
    """

    fused: Tensor
    cell: Tensor
    peak: Tensor
    hull: Tensor
    coverage: Tensor
    views: int = 0


def cube_points(resolution: int, device: torch.device) -> Tensor:
    """Return the voxel centres (N^3, 3) in the cube, x slowest."""
    axis = (torch.arange(resolution, device=device) + 0.5) / resolution - 0.5
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing='ij'), -1).reshape(-1, 3)


def resample(
    volumes: Tensor, masks: Tensor, cameras: ViewCameras, resolution: int
) -> tuple[Tensor, Tensor]:
    """Bring the volumes of views into the object's grid.

    Args:
        volumes: (B, V, C, D, h, w) along the lines of sight.
        masks: (B, V, 1, H, W) coverage in [0, 1].
        cameras: (B, V) cameras.
        resolution: Edge N of the object's grid.

    Returns:
        Features (B, V, C, N, N, N), and coverage (B, V, 1, N, N, N) by the mask.
    """
    B, V, C = volumes.shape[:3]
    N = resolution
    image, depth = cameras.project(cube_points(N, volumes.device))
    relative = (depth - cameras.T_camera_cube[..., 2, 3, None]) / HALF_DEPTH
    place = torch.cat([2 * image - 1, relative[..., None]], -1).reshape(B * V, N, N, N, 3)
    sample = nn.functional.grid_sample
    # In half precision the places would be off by parts of a cell.
    wide = volumes.flatten(0, 1).to(torch.promote_types(volumes.dtype, place.dtype))
    features = sample(wide, place.to(wide.dtype), align_corners=False).to(volumes.dtype)
    flat = place[..., :2].reshape(B * V, N, N * N, 2).to(masks.dtype)
    seen = sample(masks.flatten(0, 1), flat, align_corners=False).reshape(B * V, 1, N, N, N)
    inside = (place[..., :2].abs() <= 1).all(-1)[:, None]
    coverage = torch.where(inside, seen, torch.full_like(seen, _OUTSIDE))
    return features.reshape(B, V, C, N, N, N), coverage.reshape(B, V, 1, N, N, N)


class ContextSoftmax(nn.Module):
    """Context-aware fusion of Pix2Vox in the object's grid: a score per voxel and view.

    The weights are a softmax over the views, kept as running sums, so that the result does not
    depend on the order and a view costs the same whenever it comes. [Xie et al. 2019, Sec. 3.3.]
    """

    def __init__(self, channels: int) -> None:
        """Make the scoring network for features of `channels` plus the coverage."""
        super().__init__()
        # Pointwise: the features already saw their surroundings in the encoder.
        self.score = nn.Sequential(
            Conv3d(channels + 1, 16, 1), nn.ReLU(inplace=True), Conv3d(16, 1, 1)
        )

    def scores(self, features: Tensor, coverage: Tensor) -> Tensor:
        """Return (B, 1, N, N, N) of features (B, C, ...) and coverage (B, 1, ...)."""
        scores: Tensor = self.score(torch.cat([features, coverage], 1))
        return scores

    def add(self, state: FusionState, features: Tensor, coverage: Tensor) -> None:
        """Take one view into the running sums."""
        score = self.scores(features, coverage)
        peak = torch.maximum(state.peak, score)
        old, new = torch.exp(state.peak - peak), torch.exp(score - peak)
        state.fused = state.fused * old + features * new
        state.cell = state.cell * old + new
        state.peak = peak

    def result(self, state: FusionState) -> Tensor:
        """Return the fused features (B, C, N, N, N)."""
        return state.fused / state.cell.clamp_min(1e-12)


class VolumeLstm(nn.Module):
    """The 3-D LSTM of 3D-R2N2 on the object's grid: no output gate [Choy et al. 2016, Eq. 4-7.]."""

    def __init__(self, channels: int) -> None:
        """Make the gates for features of `channels` plus the coverage."""
        super().__init__()
        self.channels = channels
        self.inputs = Conv3d(channels + 1, 3 * channels, 3, padding=1)
        self.hidden = Conv3d(channels, 3 * channels, 3, padding=1, bias=False)

    def add(self, state: FusionState, features: Tensor, coverage: Tensor) -> None:
        """Take one view into hidden and cell state."""
        gates = self.inputs(torch.cat([features, coverage], 1)) + self.hidden(state.fused)
        forget, take, candidate = gates.split(self.channels, 1)
        # A bias of one, as usual, so that an untrained cell remembers.
        state.cell = torch.sigmoid(forget + 1) * state.cell + torch.sigmoid(take) * torch.tanh(
            candidate
        )
        state.fused = torch.tanh(state.cell)

    def result(self, state: FusionState) -> Tensor:
        """Return the hidden state (B, C, N, N, N)."""
        return state.fused


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Conv3d(inputs, outputs, 3, padding=1, bias=False), group_norm(outputs),
        nn.ReLU(inplace=True),
        Conv3d(outputs, outputs, 3, padding=1, bias=False), group_norm(outputs),
        nn.ReLU(inplace=True),
    )  # fmt: skip


class VolumeRefiner(nn.Module):
    """A small 3-D U-Net from fused features and mask evidence to logits."""

    def __init__(self, inputs: int, width: int) -> None:
        """Make it; the edge of the volume must be divisible by 8."""
        super().__init__()
        w = width
        self.first = nn.Sequential(
            Conv3d(inputs, w, 1), nn.ReLU(inplace=True),
            Conv3d(w, w, 3, padding=1, bias=False), group_norm(w), nn.ReLU(inplace=True),
        )  # fmt: skip
        widths = (2 * w, 4 * w, 6 * w)
        self.down = nn.ModuleList(_double(a, b) for a, b in zip((w, *widths[:-1]), widths))
        outer = (*widths[-2::-1], w)
        # Skips are added, not appended: half the work at full resolution.
        self.narrow = nn.ModuleList(Conv3d(a, b, 1) for a, b in zip(widths[::-1], outer))
        self.up = nn.ModuleList(
            nn.Sequential(
                Conv3d(b, b, 3, padding=1, bias=False), group_norm(b), nn.ReLU(inplace=True)
            )
            for b in outer
        )
        self.last = Conv3d(w, 1, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """Return logits (B, 1, N, N, N) of (B, inputs, N, N, N)."""
        stages = [self.first(volume)]
        for block in self.down:
            stages.append(block(nn.functional.max_pool3d(stages[-1], 2)))
        volume = stages.pop()
        for narrow, block in zip(self.narrow, self.up):
            skip = stages.pop()
            volume = skip + nn.functional.interpolate(narrow(volume), size=skip.shape[-3:])
            volume = block(volume)
        logits: Tensor = self.last(volume)
        return logits
