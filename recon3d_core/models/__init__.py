"""Networks from views to shapes: one folder per family of the survey, one line to make one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recon3d_core import config, registry
from recon3d_core.models.base import VolumeNetwork
from recon3d_core.models.weights import load_weights, read_card


def create_model(
    name: str, weights: str | Path | None = None, device: str = 'cpu', **options: Any
) -> VolumeNetwork:
    """Return a network, ready for inference (`eval` mode).

    Args:
        name: A name of the registry's kind `model`, such as `pix2vox_s`.
        weights: None for random ones, `default` for the shipped ones, or a file: safetensors of
            this library, or a checkpoint as the family's authors published it.
        device: `cpu` or `cuda:N`.
        **options: Options of the model's `Config`; where weights are loaded, theirs come first.

    Raises:
        UnknownPluginError: There is no such model.
        ConfigError: An option is unknown, of the wrong type or out of range.
        InputError: The weights are missing, broken, or of another network.
    """
    kind = registry.load('model', name)
    stored = read_card(name, weights).config if weights is not None else {}
    model: VolumeNetwork = kind(config.validate(kind.Config, {**stored, **options}, prefix=name))
    if weights is not None:
        load_weights(model, name, weights)
    return model.to(device).eval()


def model_names() -> list[str]:
    """Return the names of all networks."""
    return registry.names('model')
