"""What all networks of the Pix2Vox family do alike: describe views, merge, refine, stream."""

from __future__ import annotations

import abc

from recon3d_core.checks import check_shape
from recon3d_core.models.base import ModelConfig, VolumeNetwork
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.merging import merge, merge_logits, MergeState
from recon3d_core.models.preprocessing import check_views, prepare_views
from recon3d_core.models.upsampling import BoundaryUpsampler, coarse_occupancy
import torch
from torch import nn, Tensor
from torch.nn import functional

LOSS_WEIGHT = 10.0  # as published


class Pix2VoxNetwork(VolumeNetwork):
    """Encoder and decoder per view, context-aware merger over views, refiner of the result.

    Subclasses make `encoder`, `decoder`, `merger` and, where they have one, `refiner`, and say in
    `describe` how the first three make volumes and scores.
    """

    encoder: nn.Module
    decoder: nn.Module
    merger: nn.Module
    refiner: nn.Module | None
    upsampler: BoundaryUpsampler | None

    def __init__(self, config: ModelConfig | None = None) -> None:
        """Keep the options; there is no refiner until a subclass makes one."""
        super().__init__(config)
        self.refiner = None
        self.upsampler = BoundaryUpsampler() if self.resolution == 128 else None

    @property
    def merged_resolution(self) -> int:
        """Voxels along an edge of the volumes of single views."""
        return self.resolution // (1 if self.upsampler is None else 2)

    @abc.abstractmethod
    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what single views say of the object.

        Args:
            images: (B, 3, h, w) preprocessed.

        Returns:
            Logits of the occupancy and scores of how far to believe them, both (B, N, N, N).
        """

    def refine(self, merged: Tensor) -> Tensor:
        """Return the refined logits (B, N, N, N) of merged ones; the same without a refiner."""
        return merged if self.refiner is None else self.refiner(merged)

    def preprocess(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return (B, V, 3, size, size) before grey, with mean 0.5 and deviation 0.5 taken out."""
        return prepare_views(images, masks, self.config.image_size) * 2 - 1

    def forward(self, views: Tensor, cameras: ViewCameras | None = None) -> Tensor:  # noqa: ARG002
        """Return probabilities (B, N, N, N) of preprocessed views (B, V, 3, size, size)."""
        logits, scores = self._describe_all(views)
        return self._refined(merge(logits.sigmoid(), scores))

    def start(self, batch: int = 1) -> MergeState:
        """Return the state of `batch` objects of which nothing was seen yet."""
        return MergeState.empty(batch, self.merged_resolution, self.device)

    @torch.no_grad()
    def observe(
        self,
        state: MergeState,
        view: Tensor,
        camera: ViewCameras | None = None,  # noqa: ARG002
    ) -> MergeState:
        """Return the state after one view (B, 3, size, size) more; it is changed in place."""
        check_views(view[:, None], self.config.image_size)
        check_shape('view', view, (len(state.mass), 3, *view.shape[2:]))
        logits, scores = self.describe(view)
        return state.add(logits.sigmoid(), scores)

    @torch.no_grad()
    def probabilities(self, state: MergeState) -> Tensor:
        """Return the fused and refined probabilities; 0.5 everywhere before the first view."""
        if state.views == 0:
            return state.mass.new_full((len(state.mass), *(self.resolution,) * 3), 0.5)
        return self._refined(state.merged())

    def loss(self, views: Tensor, occupancy: Tensor, cameras: ViewCameras | None = None) -> Tensor:  # noqa: ARG002
        """Return 10 BCE(merged) + 10 BCE(refined), section 3.5 of the paper.

        The first trains encoder, decoder and merger, the second the refiner only. At 128 voxels
        both compare 64, and a third one of the same kind trains the upsampler only.
        """
        logits, scores = self._describe_all(views)
        merged = merge_logits(logits, scores)
        target = occupancy if self.upsampler is None else coarse_occupancy(occupancy)
        loss = functional.binary_cross_entropy_with_logits(merged, target)
        if self.refiner is not None:
            merged = self.refine(merged.detach())
            loss = loss + functional.binary_cross_entropy_with_logits(merged, target)
        if self.upsampler is not None:
            loss = loss + self.upsampler.loss(merged.detach(), occupancy)
        return LOSS_WEIGHT * loss

    def parts(self) -> dict[str, nn.Module]:
        """Return `encoder`, `decoder`, `merger` and, where it has them, `refiner`, `upsampler`."""
        return {
            name: part
            for name in ('encoder', 'decoder', 'merger', 'refiner', 'upsampler')
            if (part := getattr(self, name)) is not None
        }

    def _describe_all(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Describe all views of all objects in one batch: (B, V, N, N, N) each."""
        check_views(views, self.config.image_size)
        logits, scores = self.describe(views.flatten(0, 1))
        shape = (*views.shape[:2], *logits.shape[1:])
        return logits.reshape(shape), scores.reshape(shape)

    def _refined(self, merged: Tensor) -> Tensor:
        if self.refiner is None and self.upsampler is None:
            return merged
        logits = self.refine(torch.logit(merged.float(), eps=1e-6))
        if self.upsampler is not None:
            logits = self.upsampler(logits)
        return logits.sigmoid()
