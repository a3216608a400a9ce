"""`posed_fusion`: views with known poses are joined in the object's own grid.

Robots know their cameras, and household objects have no canonical pose. Each view therefore
predicts a volume along its own lines of sight; the volumes are resampled into the object's grid
by the known poses and joined there, voxel by voxel, by the context-aware softmax of Pix2Vox or by
the 3-D LSTM of 3D-R2N2; a refiner completes what the views together say.
"""

from __future__ import annotations

import math
from typing import ClassVar

from recon3d_core.errors import InputError
from recon3d_core.models.base import ModelConfig, VolumeNetwork
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.posed_fusion.config import PosedFusionConfig
from recon3d_core.models.posed_fusion.encoder import (
    GEOMETRY_CHANNELS,
    sight_geometry,
    SightEncoder,
)
from recon3d_core.models.posed_fusion.fusion import (
    ContextSoftmax,
    FusionState,
    resample,
    VolumeLstm,
    VolumeRefiner,
)
from recon3d_core.models.preprocessing import check_images
import torch
from torch import nn, Tensor

_EVIDENCE_CHANNELS = 3  # hull, mean coverage, number of views
_MERGED_WEIGHT = 0.3  # of the loss before the refiner
_NO_SCORE = 1e4  # so low that the first view takes all of the weight


class PosedFusion(VolumeNetwork):
    """Network that needs the views' poses and knows no canonical pose."""

    name = 'posed_fusion'
    Config: ClassVar[type[ModelConfig]] = PosedFusionConfig
    needs = frozenset({'rgb', 'intrinsics', 'pose'})

    def __init__(self, config: PosedFusionConfig | None = None) -> None:
        """Make the network with random weights.

        Raises:
            InputError: Image size or resolution do not fit its poolings.
        """
        super().__init__(config)
        options = self.config
        if options.image_size % 32 or options.resolution % 8:
            raise InputError(
                'posed_fusion', (options.image_size, options.resolution),
                'an image_size divisible by 32 and a resolution divisible by 8',
            )  # fmt: skip
        channels = options.context + 1
        self.encoder = SightEncoder(
            4 + GEOMETRY_CHANNELS, options.width, options.context, options.depth_bins
        )
        kinds: dict[str, type[ContextSoftmax] | type[VolumeLstm]] = {
            'softmax': ContextSoftmax, 'lstm': VolumeLstm,
        }  # fmt: skip
        self.merger = kinds[options.fusion](channels)
        self.refiner = VolumeRefiner(channels + _EVIDENCE_CHANNELS, options.refiner_width)

    def parts(self) -> dict[str, nn.Module]:
        """Return encoder, merger and refiner."""
        return {'encoder': self.encoder, 'merger': self.merger, 'refiner': self.refiner}

    def preprocess(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return (B, V, 4, s, s): colours in [-1, 1], grey outside of the mask, and the mask.

        Args:
            images: (B, V, 3, H, W) RGB in [0, 1].
            masks: (B, V, 1, H, W) coverage; all of the image where None.

        Raises:
            InputError: The images are not square floats, or the masks do not fit them.
        """
        check_images(images, masks)
        if masks is None:
            masks = torch.ones_like(images[:, :, :1])
        size = (self.config.image_size, self.config.image_size)
        views = torch.cat([(2 * images - 1) * masks, masks], 2)
        if views.shape[-2:] != size:
            flat = nn.functional.interpolate(
                views.flatten(0, 1), size=size, mode='bilinear', antialias=True
            )
            views = flat.reshape(*views.shape[:3], *size)
        return views

    def _features(self, views: Tensor, cameras: ViewCameras | None) -> tuple[Tensor, Tensor]:
        """Return features (B, V, C, N, N, N) and coverage (B, V, 1, N, N, N)."""
        if cameras is None:
            raise InputError('cameras of posed_fusion', None, 'the pose of every view')
        size = self.config.image_size
        wanted = (*cameras.K.shape[:2], 4, size, size)
        if views.shape != wanted or not views.numel():
            raise InputError('views', tuple(views.shape), f'{wanted} as the cameras say')
        geometry = sight_geometry(cameras, views.shape[-1]).to(views.dtype)
        volumes = self.encoder(torch.cat([views, geometry], 2).flatten(0, 1))
        volumes = volumes.reshape(*views.shape[:2], *volumes.shape[1:])
        return resample(volumes, views[:, :, 3:], cameras, self.resolution)

    def start(self, batch: int = 1) -> FusionState:
        """Return the state before the first view."""
        N, channels = self.resolution, self.config.context + 1
        zeros = torch.zeros((batch, 1, N, N, N), device=self.device)
        many = torch.zeros((batch, channels, N, N, N), device=self.device)
        soft = self.config.fusion == 'softmax'
        return FusionState(
            fused=many,
            cell=zeros if soft else torch.zeros_like(many),
            peak=zeros - _NO_SCORE,
            hull=zeros + 1,
            coverage=zeros,
        )

    def _add(self, state: FusionState, features: Tensor, coverage: Tensor) -> FusionState:
        self.merger.add(state, features, coverage)
        state.hull = torch.minimum(state.hull, coverage)
        state.coverage = state.coverage + coverage
        state.views += 1
        return state

    @torch.no_grad()
    def observe(
        self, state: FusionState, view: Tensor, camera: ViewCameras | None = None
    ) -> FusionState:
        """Return the state after one view more (B, 4, s, s) with cameras (B, 1)."""
        if len(view) != len(state.hull):
            raise InputError('views', f'of {len(view)} objects', f'of {len(state.hull)}')
        features, coverage = self._features(view[:, None], camera)
        return self._add(state, features[:, 0], coverage[:, 0])

    def _logits(self, state: FusionState) -> tuple[Tensor, Tensor]:
        """Return the refined logits and those of the merged volume, (B, N, N, N) each."""
        fused = self.merger.result(state)
        mean = state.coverage / state.views
        count = torch.full_like(mean, math.log2(state.views) / 4)
        evidence = torch.cat([state.hull, mean, count], 1).to(fused.dtype)
        merged = fused[:, -1]
        refined = self.refiner(torch.cat([fused, evidence], 1))[:, 0]
        return merged + refined, merged

    @torch.no_grad()
    def probabilities(self, state: FusionState) -> Tensor:
        """Return (B, N, N, N)."""
        if state.views == 0:
            return torch.full_like(state.hull[:, 0], 0.5)
        return torch.sigmoid(self._logits(state)[0].float())

    def _fuse(self, views: Tensor, cameras: ViewCameras | None) -> tuple[Tensor, Tensor]:
        features, coverage = self._features(views, cameras)
        state = self.start(len(views))
        for index in range(views.shape[1]):
            state = self._add(state, features[:, index], coverage[:, index])
        return self._logits(state)

    def forward(self, views: Tensor, cameras: ViewCameras | None = None) -> Tensor:
        """Return probabilities (B, N, N, N) of views (B, V, 4, s, s)."""
        return torch.sigmoid(self._fuse(views, cameras)[0].float())

    def loss(self, views: Tensor, occupancy: Tensor, cameras: ViewCameras | None = None) -> Tensor:
        """Return cross-entropy and soft IoU of the result, and cross-entropy before the refiner."""
        refined, merged = (logits.float() for logits in self._fuse(views, cameras))
        entropy = nn.functional.binary_cross_entropy_with_logits
        inside = torch.sigmoid(refined)
        dims = (1, 2, 3)
        common = (inside * occupancy).sum(dims)
        union = (inside + occupancy - inside * occupancy).sum(dims)
        overlap = (common + 1) / (union + 1)
        return (
            10 * entropy(refined, occupancy)
            + 10 * _MERGED_WEIGHT * entropy(merged, occupancy)
            + (1 - overlap).mean()
        )
