"""Weights with a card that says where they come from."""

from __future__ import annotations

from pathlib import Path
import platform
from typing import Any

from recon3d_core.data.sets.base import DataSet
from recon3d_core.models.base import Network
from recon3d_core.models.weights import save_weights, WeightsCard
from recon3d_core.training.checkpoints import cannot_write
from recon3d_core.training.recipe import Recipe
from recon3d_core.training.state import Progress
import safetensors
import torch


def machine(device: torch.device) -> str:
    """Return in words what computed."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{platform.machine()} CPU, {torch.get_num_threads()} threads'


def describe_data(recipe: Recipe, data: DataSet) -> dict[str, Any]:
    """Return what the card says of the data."""
    return {
        'set': recipe.data.set,
        'options': recipe.data.options,
        'fingerprint': data.fingerprint(),
        'objects': len(data.names('train')),
    }


def save(
    path: Path,
    network: Network,
    recipe: Recipe,
    data: dict[str, Any],
    progress: Progress,
    about: dict[str, Any],
) -> None:
    """Write the weights of a network in training.

    Args:
        path: File to write.
        network: The network.
        recipe: What it is trained by.
        data: What `describe_data` says of what it is trained on.
        progress: How far it is; its threshold and metrics go into the card.
        about: What else the card says about the training.

    Raises:
        RunError: The file cannot be written.
    """
    training = {
        **about,
        'recipe': recipe.model_dump(),
        'step': progress.step,
        'images': progress.images,
        'minutes': round(progress.seconds / 60, 1),
        'machine': machine(network.device),
        'torch': torch.__version__,
    }
    card = WeightsCard(
        model=recipe.model.name,
        config=network.config.model_dump(),
        threshold=progress.threshold,
        data=data,
        metrics={'val': progress.metrics},
        training=training,
    )
    try:
        save_weights(path, network.state_dict(), card, half=recipe.half)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise cannot_write(path, error) from error
