"""`r2n2_gru` and `r2n2_lstm` as published (Choy et al. 2016), residual or shallow."""

from __future__ import annotations

from typing import ClassVar

from recon3d_core.models.axes import from_published
from recon3d_core.models.base import ModelConfig
from recon3d_core.models.r2n2.base import R2N2Network
from recon3d_core.models.r2n2.config import PublishedR2N2Config
from recon3d_core.models.r2n2.published import (
    Gru,
    initialize,
    Lstm,
    ResidualDecoder,
    ResidualEncoder,
    ShallowDecoder,
    ShallowEncoder,
)
from torch import Tensor


class PublishedR2N2(R2N2Network):
    """A network whose parts are as published, in the authors' order of axes."""

    Config: ClassVar[type[ModelConfig]] = PublishedR2N2Config

    def __init__(self, config: PublishedR2N2Config | None = None) -> None:
        """Make encoder and decoder, with random weights."""
        super().__init__(config)
        shallow = self.config.shallow
        self.encoder = ShallowEncoder() if shallow else ResidualEncoder()
        self.decoder = ShallowDecoder() if shallow else ResidualDecoder()

    def decode(self, hidden: Tensor) -> Tensor:
        """Return the logits (B, 32, 32, 32) of inside against outside."""
        classes = self.decoder(hidden)
        return from_published(classes[:, 1] - classes[:, 0])


class R2N2Gru(PublishedR2N2):
    """3D-R2N2 with 3D-GRUs: 35,968,706 parameters (residual)."""

    name: ClassVar[str] = 'r2n2_gru'

    def __init__(self, config: PublishedR2N2Config | None = None) -> None:
        """Make the layers, with random weights."""
        super().__init__(config)
        self.recurrence = Gru()
        initialize(self)


class R2N2Lstm(PublishedR2N2):
    """3D-R2N2 with 3D-LSTMs without output gate: 35,968,706 parameters (residual)."""

    name: ClassVar[str] = 'r2n2_lstm'

    def __init__(self, config: PublishedR2N2Config | None = None) -> None:
        """Make the layers, with random weights."""
        super().__init__(config)
        self.recurrence = Lstm()
        initialize(self)
