"""Networks: one folder per family of the survey, one line to make one."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from pathlib import Path
from typing import Any

from recon3d_core import config, registry
from recon3d_core.errors import InputError, WeightsError
from recon3d_core.models.base import Network, VolumeNetwork
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
    model: VolumeNetwork = _create('model', name, weights, device, options)
    return model


def create_network(
    name: str, weights: str | Path | None = None, device: str = 'cpu', **options: Any
) -> Network:
    """Return a network of any kind: a `model`, `segmenter`, `completer` or `parser`.

    Arguments and errors are those of `create_model`.
    """
    kinds = ('segmenter', 'completer', 'parser')
    kind = next((kind for kind in kinds if name in registry.names(kind)), 'model')
    network: Network = _create(kind, name, weights, device, options)
    return network


def _create(
    kind: str, name: str, weights: str | Path | None, device: str, options: dict[str, Any]
) -> Any:
    made = registry.load(kind, name)
    with _own_errors(weights):
        stored = read_card(name, weights).config if weights is not None else {}
    network = made(config.validate(made.Config, {**stored, **options}, prefix=name))
    with _own_errors(weights):
        if weights is not None:
            load_weights(network, name, weights)
    return network.to(device).eval()


@contextlib.contextmanager
def _own_errors(weights: str | Path | None) -> Iterator[None]:
    """Tell what is wrong with this package's own weights from a user's mistake."""
    try:
        yield
    except InputError as error:
        if weights != 'default':
            raise
        raise WeightsError(error.what, error.got, error.expected, error.fix) from error


def model_names() -> list[str]:
    """Return the names of all networks."""
    return registry.names('model')
