"""What all networks of the 3D-R2N2 family do alike: a hidden state that views change in turn."""

from __future__ import annotations

import abc
import dataclasses

from recon3d_core.checks import check_shape
from recon3d_core.models.base import ModelConfig, VolumeNetwork
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.preprocessing import check_views, prepare_views
from recon3d_core.models.upsampling import BoundaryUpsampler, coarse_occupancy
import torch
from torch import nn, Tensor
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class RecurrentState:
    """Hidden state of B objects: constant in memory, whatever the number of views.

    Attributes:
        views: How many views are in it.
        hidden: (B, C, n, n, n) what the decoder sees.
        cell: The same of an LSTM's cell; None in a GRU.
    """

    views: int
    hidden: Tensor
    cell: Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory that the state holds."""
        tensors = [self.hidden] if self.cell is None else [self.hidden, self.cell]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class R2N2Network(VolumeNetwork):
    """Encoder per view, 3-D recurrent unit over views, decoder of the hidden state.

    Subclasses make `encoder`, `recurrence` (with `start`, and called with features and a state)
    and `decoder`.
    """

    encoder: nn.Module
    recurrence: nn.Module
    decoder: nn.Module
    upsampler: BoundaryUpsampler | None

    def __init__(self, config: ModelConfig | None = None) -> None:
        """Keep the options; subclasses make the layers."""
        super().__init__(config)
        self.upsampler = BoundaryUpsampler() if self.resolution == 128 else None

    @property
    def decoded_resolution(self) -> int:
        """Voxels along an edge of what the decoder makes."""
        return self.resolution // (1 if self.upsampler is None else 2)

    @abc.abstractmethod
    def decode(self, hidden: Tensor) -> Tensor:
        """Return the logits (B, n, n, n) of `inside` against `outside` of hidden states."""

    def preprocess(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return (B, V, 3, size, size) RGB in [0, 1] before grey."""
        return prepare_views(images, masks, self.config.image_size)

    def logits(self, views: Tensor) -> Tensor:
        """Return the decoder's logits (B, n, n, n) after all views (B, V, 3, size, size)."""
        check_views(views, self.config.image_size)
        features = self.encoder(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        state = self.start(len(views))
        for index in range(views.shape[1]):
            state = self.recurrence(features[:, index], state)
        return self.decode(state.hidden)

    def forward(self, views: Tensor, cameras: ViewCameras | None = None) -> Tensor:  # noqa: ARG002
        """Return probabilities (B, N, N, N) of preprocessed views (B, V, 3, size, size)."""
        return self._fine(self.logits(views)).sigmoid()

    def start(self, batch: int = 1) -> RecurrentState:
        """Return the state of `batch` objects of which nothing was seen yet."""
        return self.recurrence.start(batch, self.device)  # type: ignore[operator]

    @torch.no_grad()
    def observe(
        self,
        state: RecurrentState,
        view: Tensor,
        camera: ViewCameras | None = None,  # noqa: ARG002
    ) -> RecurrentState:
        """Return the state after one view (B, 3, size, size) more."""
        check_views(view[:, None], self.config.image_size)
        check_shape('view', view, (len(state.hidden), 3, *view.shape[2:]))
        return self.recurrence(self.encoder(view), state)

    @torch.no_grad()
    def probabilities(self, state: RecurrentState) -> Tensor:
        """Return the decoded state; 0.5 everywhere before the first view."""
        if state.views == 0:
            return state.hidden.new_full((len(state.hidden), *(self.resolution,) * 3), 0.5)
        return self._fine(self.decode(state.hidden)).sigmoid()

    def loss(self, views: Tensor, occupancy: Tensor, cameras: ViewCameras | None = None) -> Tensor:  # noqa: ARG002
        """Return the mean cross-entropy of the two classes of each voxel, Eq. 10 of the paper.

        A softmax over two logits is the sigmoid of their difference. At 128 voxels the decoder is
        compared at 64, and a second loss of the same kind trains the upsampler only.
        """
        logits = self.logits(views)
        if self.upsampler is None:
            return functional.binary_cross_entropy_with_logits(logits, occupancy)
        target = coarse_occupancy(occupancy)
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        return loss + self.upsampler.loss(logits.detach(), occupancy)

    def parts(self) -> dict[str, nn.Module]:
        """Return `encoder`, `recurrence`, `decoder` and, at 128 voxels, `upsampler`."""
        parts = {
            'encoder': self.encoder,
            'recurrence': self.recurrence,
            'decoder': self.decoder,
        }
        return parts if self.upsampler is None else {**parts, 'upsampler': self.upsampler}

    def _fine(self, logits: Tensor) -> Tensor:
        return logits if self.upsampler is None else self.upsampler(logits)
