"""What reconstructors with a network have in common: one network for all objects, crops, colours."""

from __future__ import annotations

import abc
import contextlib
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import PluginError
from recon3d_core.fusion._crops import as_tensors, cameras_of, Crop
from recon3d_core.fusion._paint import seen_and_colors
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.interfaces import Reconstructor
from recon3d_core.models import create_model
from recon3d_core.models.base import VolumeNetwork
from recon3d_core.types import Shape
import torch
from torch import Tensor


class NetworkConfig(PluginConfig):
    """Options of every reconstructor with a network."""

    weights: str = option(
        'default', 'Weights of the network: `default` for those of this package, or a file.'
    )
    keep_views: int = option(
        8,
        'Most views kept of an object, from directions that differ: for its place, its colours '
        'and what was seen of it.',
        ge=1,
        le=32,
    )


class NetworkReconstructor(Reconstructor):
    """A reconstructor whose shapes a network makes; all objects share the network."""

    Config: ClassVar[type[PluginConfig]] = NetworkConfig

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network and warm it up, so that the first view is not slower than others.

        Raises:
            InputError: The weights are missing, broken, or of another network.
        """
        super().__init__(config, device)
        self._network: VolumeNetwork | None = create_model(
            self.model_name, self.config.weights, device
        ).optimize_for_inference()
        self._warm_up()

    @property
    @abc.abstractmethod
    def model_name(self) -> str:
        """Name of the network (`recon3d_core.models.create_model`)."""

    @property
    def network(self) -> VolumeNetwork:
        """The network.

        Raises:
            PluginError: It was given back by `close`.
        """
        if self._network is None:
            raise PluginError(f'reconstructor {self.name} is closed', fix='Make a new one.')
        return self._network

    @property
    def crop_size(self) -> int:
        """Edge of the crops, pixels."""
        return int(self.network.config.image_size)

    def close(self) -> None:
        """Give the network's memory back; the reconstructor is of no use after that."""
        self._network = None
        if self.device != 'cpu':
            torch.cuda.empty_cache()

    def _warm_up(self) -> None:
        size = self.crop_size
        pixels = np.full((size, size), 255, np.uint8)
        pose = np.eye(4)
        pose[2, 3] = -1.5
        K = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], np.float32)
        crop = Crop(np.repeat(pixels[..., None], 3, -1), pixels, K, pose, whole=True)
        grid = VoxelGrid(np.eye(4), 1.0, (1, 1, 1))
        self._probabilities(self._see(self.network.start(), crop, grid))

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        """Return fp32 on a CPU, mixed precision on a GPU."""
        if self.device == 'cpu':
            return contextlib.nullcontext()
        return torch.autocast('cuda', torch.bfloat16)

    def _see(self, state: Any, crop: Crop, grid: VoxelGrid) -> Any:
        """Return the network's state after one view more of the object in a grid."""
        with torch.inference_mode(), self._precision():
            image, mask = as_tensors(crop, self.device)
            view = self.network.preprocess(image, mask)[:, 0]
            posed = 'pose' in self.network.needs
            cameras = cameras_of(crop, grid, self.device) if posed else None
            return self.network.observe(state, view, cameras)

    def _probabilities(self, state: Any) -> Tensor:
        """Return the probabilities (N, N, N) of the network's cube."""
        with torch.inference_mode(), self._precision():
            return self.network.probabilities(state)[0].float()


def shape_of(
    occupancy: NDArray[np.float32], grid: VoxelGrid, crops: tuple[Crop, ...], views: int
) -> Shape:
    """Return a shape with what the kept views saw of it, and its colours."""
    observed, colors = seen_and_colors(occupancy > 0.5, grid, crops)
    return Shape(
        grid=grid, occupancy=occupancy, observed=observed, colors=colors, views_used=views
    )
