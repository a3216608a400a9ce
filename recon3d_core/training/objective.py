"""What a step minimises."""

from __future__ import annotations

from recon3d_core.errors import InputError
from recon3d_core.models.base import Network, VolumeNetwork
from recon3d_core.models.cameras import ViewCameras
from recon3d_core.training.recipe import LossPart
import torch
from torch import nn, Tensor
from torch.nn import functional

_PIXELS_PER_VOXEL = 2


class Objective(nn.Module):
    """A network with its loss as one module, so that it can be wrapped for several devices.

    Attributes:
        network: The network.
    """

    def __init__(self, network: VolumeNetwork, terms: LossPart) -> None:
        """Keep what the loss is made of: the network and the weights of the terms."""
        super().__init__()
        self.network = network
        self.terms = terms

    def forward(
        self, images: Tensor, masks: Tensor, K: Tensor, T_camera_cube: Tensor, occupancy: Tensor
    ) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            images: (B, V, 3, H, W) RGB in [0, 1].
            masks: (B, V, 1, H, W) coverage in [0, 1].
            K: (B, V, 3, 3), see `ViewCameras`.
            T_camera_cube: (B, V, 4, 4), likewise.
            occupancy: (B, N, N, N) of 0 and 1.
        """
        terms, cameras = self.terms, ViewCameras(K, T_camera_cube)
        seen = images.shape[1] - terms.extra_views
        seen_cameras = ViewCameras(K[:, :seen], T_camera_cube[:, :seen])
        views = self.network.preprocess(images[:, :seen], masks[:, :seen])
        if not terms.silhouette and not terms.ray:
            return terms.volume * self.network.loss(views, occupancy, seen_cameras)
        loss = images.new_zeros(())
        if terms.volume:
            loss = loss + terms.volume * self.network.loss(views, occupancy, seen_cameras)
        probabilities = self.network(views, seen_cameras)
        with torch.autocast(images.device.type, enabled=False):
            return loss + self._from_images(probabilities.float(), masks, cameras)

    def _from_images(self, probabilities: Tensor, masks: Tensor, cameras: ViewCameras) -> Tensor:
        """Return the terms that need no true shape, over all views."""
        from recon3d_core import losses

        masks = _shrunk(masks, _PIXELS_PER_VOXEL * probabilities.shape[-1])
        loss = probabilities.new_zeros(())
        if self.terms.silhouette:
            silhouette = losses.silhouette_loss(probabilities, masks, cameras)
            loss = loss + self.terms.silhouette * silhouette
        if self.terms.ray:
            ray = losses.ray_consistency(probabilities, cameras, masks)
            loss = loss + self.terms.ray * ray
        return loss


def _shrunk(masks: Tensor, size: int) -> Tensor:
    """Return masks of `size` pixels at most: more tell a volume nothing, and cost much."""
    if masks.shape[-1] <= size:
        return masks
    pooled = functional.adaptive_avg_pool2d(masks.flatten(0, 1), size)
    return pooled.reshape(*masks.shape[:2], 1, size, size)


def choose_parts(network: Network, train: list[str], freeze: list[str]) -> dict[str, str]:
    """Freeze all of a network but what a stage trains.

    Frozen parts are in `eval` mode: their batch norms neither learn nor count.

    Args:
        network: The network, as a whole in `train` mode afterwards.
        train: Parts that are trained; all where empty.
        freeze: Parts that are not.

    Returns:
        `{parameter: part}` of every parameter that is trained, its most specific part.

    Raises:
        InputError: There is no such part, or nothing is left to train.
    """
    parts = network.parts()
    for name in [*train, *freeze]:
        if name not in parts:
            raise InputError('stage of the recipe', f'part {name!r}', f'of {", ".join(parts)}')
    network.train(not train)
    network.requires_grad_(not train)
    for name in train:
        parts[name].train().requires_grad_(True)
    for name in freeze:
        parts[name].eval().requires_grad_(False)
    by_size = sorted(parts, key=lambda name: -sum(p.numel() for p in parts[name].parameters()))
    chosen = _parts_of_parameters(network, {name: parts[name] for name in by_size})
    if not chosen:
        raise InputError('stage of the recipe', 'no parameter to train', 'parts with parameters')
    return chosen


def _parts_of_parameters(network: nn.Module, parts: dict[str, nn.Module]) -> dict[str, str]:
    """Return the part of each trained parameter; later ones of `parts` are more specific."""
    part_of = {id(p): name for name, part in parts.items() for p in part.parameters()}
    return {
        name: part_of.get(id(parameter), '')
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
