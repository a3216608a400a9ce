"""Weights as safetensors with a card: which network, options, threshold, data and metrics.

Loading never runs code: safetensors hold none, and foreign pickles are read by torch with
`weights_only=True`.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from importlib import resources
import json
import os
from pathlib import Path
from typing import Any, TYPE_CHECKING

from recon3d_core.errors import InputError
import safetensors
from safetensors.torch import load_file, save_file
import torch
from torch import Tensor

if TYPE_CHECKING:
    from recon3d_core.models.base import Network

_KEY = 'recon3d'


@dataclasses.dataclass(frozen=True)
class WeightsCard:
    """What is stored beside the weights.

    Attributes:
        model: Name of the network.
        config: Its options.
        threshold: Probability from which a voxel is inside, chosen on validation data.
        data: Data set and its fingerprint.
        metrics: Figures on the validation split.
        training: Recipe, command, steps, seed and machine.
        licence: Licence and attributions.
    """

    model: str
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    threshold: float = 0.5
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    licence: str = 'Apache-2.0'


def shipped_weights() -> dict[str, Path]:
    """Return `{model: file}` of the weights in this package."""
    folder = Path(str(resources.files('recon3d_core'))) / 'weights'
    return {path.stem: path for path in sorted(folder.glob('*.safetensors'))}


def weights_path(name: str, weights: str | Path) -> Path:
    """Return the file meant by `default` or a path.

    Raises:
        InputError: It does not exist.
    """
    if str(weights) == 'default':
        shipped = shipped_weights()
        if name not in shipped:
            raise InputError(
                f'weights of {name}', 'none in this package', f'one of {", ".join(shipped)}',
                'Train them (`recon3d train`) or give a file.',
            )  # fmt: skip
        return shipped[name]
    path = Path(weights).expanduser()
    if not path.is_file():
        raise InputError(f'weights of {name}', f'no file {path}', 'default or a weights file')
    return path


def read_card(name: str, weights: str | Path) -> WeightsCard:
    """Return the card of a weights file; a bare one where the file is of another project.

    Raises:
        InputError: The file is missing or broken, or says that it is of another network.
    """
    path = weights_path(name, weights)
    if path.suffix != '.safetensors':
        return WeightsCard(name)
    try:
        with safetensors.safe_open(path, 'pt') as file:
            text = (file.metadata() or {}).get(_KEY)
        card = WeightsCard(**json.loads(text)) if text else WeightsCard(name)
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise InputError(f'{path} cannot be read', str(error), 'a safetensors file') from error
    if not isinstance(card.config, dict) or not _is_share(card.threshold):
        got = f'config {card.config!r}, threshold {card.threshold!r}'[:160]
        raise InputError(f'{path} has a broken card', got, 'options, and a threshold in (0, 1)')
    if card.model != name:
        raise InputError(f'{path} holds other weights', f'of {card.model}', f'of {name}')
    return card


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < 1


def save_weights(
    path: Path, state: Mapping[str, Tensor], card: WeightsCard, *, half: bool = False
) -> None:
    """Write weights and card; the file appears whole or not at all.

    Args:
        path: File to write.
        state: Tensors by name (`state_dict`).
        card: What to store beside them.
        half: Whether floating-point tensors are stored as fp16.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for key, value in state.items():
        value = value.detach().cpu().contiguous()
        tensors[key] = value.half() if half and value.is_floating_point() else value
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        save_file(tensors, partial, {_KEY: json.dumps(dataclasses.asdict(card))})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _Ignored:
    """Stands for numpy's scalars among the notes of a checkpoint (`best_iou`): not one is used.

    So the pickle's names of numpy's code lead here, and nothing of numpy is called.
    """

    def __init__(self, *_: object) -> None:
        """Take whatever the pickle says."""

    def __setstate__(self, _: object) -> None:
        """Take whatever the pickle says."""


_NUMPY_NAMES = [
    (_Ignored, name)
    for name in ('numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar', 'numpy.dtype')
]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a checkpoint that holds tensors only.

    Raises:
        InputError: The file is broken, or holds code.
    """
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        with torch.serialization.safe_globals(_NUMPY_NAMES):  # type: ignore[arg-type]
            loaded = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch and zip raise whatever the bytes lead to
        reason = ' '.join(str(error).split())[:200]
        raise InputError(
            f'{path} cannot be read', reason, 'a safetensors file or a checkpoint of tensors only'
        ) from error
    if not isinstance(loaded, dict):
        raise InputError(f'{path} holds no weights', type(loaded).__name__, 'tensors by name')
    return loaded


def load_weights(model: Network, name: str, weights: str | Path) -> None:
    """Load weights into a network, all of them or none.

    Args:
        model: The network; one that reads its authors' checkpoints has a method
            `convert_published(tensors) -> state_dict`.
        name: Name of the network.
        weights: `default` or a file.

    Raises:
        InputError: The file is missing or broken, or the first key or shape that differs.
    """
    card, path = read_card(name, weights), weights_path(name, weights)
    state = read_tensors(path)
    convert = getattr(model, 'convert_published', None)
    if path.suffix != '.safetensors' and convert is not None:
        state = convert(state)
    own = model.state_dict()
    _check_keys(path, own, state)
    model.load_state_dict({key: state[key].to(own[key].dtype) for key in own})
    model.threshold = card.threshold


def _check_keys(path: Path, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    for key, wanted in own.items():
        found = state.get(key)
        if not isinstance(found, Tensor):
            raise InputError(f'{path} lacks weights', f'no {key}', f'{key} {tuple(wanted.shape)}')
        if found.shape != wanted.shape:
            raise InputError(
                f'{path}: {key} has the wrong shape', tuple(found.shape), tuple(wanted.shape)
            )
    extra = next((key for key in state if key not in own), None)
    if extra is not None:
        raise InputError(f'{path} has weights of another network', extra, 'no such key')
