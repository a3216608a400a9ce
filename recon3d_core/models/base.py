"""What every network that turns views of an object into a volume does.

A family is a folder of this package with `config.py`, `model.py` and `README.md`; it is known by
its line in the registry (kind `model`), or by an entry point `recon3d.model` of another package.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, TYPE_CHECKING

from recon3d_core.config import option, PluginConfig
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.models.inference import fold_batch_norms
import torch
from torch import nn, Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


class ModelConfig(PluginConfig):
    """Options that every image-to-volume network has."""

    image_size: int = option(128, 'Edge of the square input image.', unit='px', ge=32, le=1024)
    resolution: int = option(32, 'Voxels along an edge of the predicted cube.', ge=8, le=256)


class Network(nn.Module):
    """What every network has that is trained by a recipe and kept with a card.

    Attributes:
        name: Name by which the registry finds it.
        Config: Its options.
        threshold: Probability or score from which its answer counts as yes; chosen on validation
            data and stored with the weights.
    """

    name: ClassVar[str]
    Config: ClassVar[type[PluginConfig]] = PluginConfig

    def __init__(self, config: PluginConfig | None = None) -> None:
        """Keep the options, the default ones where None."""
        super().__init__()
        self.config: Any = self.Config() if config is None else config
        self.threshold = 0.5

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts that a recipe can train or freeze by name; all of it by default."""
        return {'all': self}

    def optimize_for_inference(self) -> Self:
        """Make it quicker at the same output, in place, and return it; it cannot train again.

        Batch normalisations are folded into the convolutions before them.
        """
        fold_batch_norms(self.eval())
        return self.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device


class VolumeNetwork(Network, abc.ABC):
    """Views of one object in, occupancy probabilities of its cube out.

    Whole batches go through `forward`; a stream goes through `start`, `observe` and
    `probabilities`, which cost the same for every view and agree with `forward`.

    Attributes:
        needs: What it cannot do without, of `rgb mask intrinsics pose`.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    needs: ClassVar[frozenset[str]] = frozenset({'rgb'})

    @property
    def resolution(self) -> int:
        """Voxels along an edge of the predicted cube."""
        return int(self.config.resolution)

    @abc.abstractmethod
    def preprocess(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return the views as the network wants them: size, background, normalisation.

        Args:
            images: (B, V, 3, H, W) RGB in [0, 1], square crops around the object.
            masks: (B, V, 1, H, W) coverage by the object in [0, 1]; None where unknown.

        Returns:
            (B, V, C, h, w).
        """

    @abc.abstractmethod
    def forward(self, views: Tensor, cameras: ViewCameras | None = None) -> Tensor:
        """Return probabilities (B, N, N, N), indexed [x, y, z], of preprocessed views.

        Args:
            views: (B, V, C, h, w) as `preprocess` returns them.
            cameras: Their cameras, for networks that need `pose`.
        """

    @abc.abstractmethod
    def start(self, batch: int = 1) -> Any:
        """Return the state of `batch` objects of which nothing was seen yet."""

    @abc.abstractmethod
    def observe(self, state: Any, view: Tensor, camera: ViewCameras | None = None) -> Any:
        """Return the state after one view more (B, C, h, w); the old state may be reused.

        Args:
            state: What `start` or `observe` returned.
            view: Preprocessed view of each object.
            camera: Its cameras (B, 1), for networks that need `pose`.
        """

    @abc.abstractmethod
    def probabilities(self, state: Any) -> Tensor:
        """Return what is known so far: (B, N, N, N); 0.5 everywhere before the first view."""

    @abc.abstractmethod
    def loss(self, views: Tensor, occupancy: Tensor, cameras: ViewCameras | None = None) -> Tensor:
        """Return the training loss, a scalar, as the family's paper defines it.

        Args:
            views: (B, V, C, h, w) preprocessed.
            occupancy: (B, N, N, N) of 0 and 1.
            cameras: Their cameras, for networks that need `pose`.
        """
