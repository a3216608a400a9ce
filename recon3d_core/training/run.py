"""A training from its recipe to its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
import json
import logging
import os
from pathlib import Path
import signal
import time
from typing import Any
import warnings

from recon3d_core.errors import InputError
from recon3d_core.models import create_network
from recon3d_core.models.base import Network
from recon3d_core.training import checkpoints
from recon3d_core.training.devices import torch_device
from recon3d_core.training.progress import progress
from recon3d_core.training.recipe import differences, load_recipe, make_recipe, Recipe
from recon3d_core.training.task import make_task
from recon3d_core.training.trainer import Trainer
import torch
import yaml

SUMMARY = 'summary.json'


def train(
    recipe: str,
    out: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    device: str = 'auto',
    devices: int = 1,
    nodes: int = 1,
    max_minutes: float = float('inf'),
    command: str = '',
) -> dict[str, Any]:
    """Train a network by a recipe and return the summary.

    Args:
        recipe: Name of a recipe, or a YAML file.
        out: Folder of the results.
        overrides: Nested options that differ from the recipe's.
        resume: Go on from the folder's checkpoint.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        devices: How many devices of each machine.
        nodes: How many machines.
        max_minutes: Stop, with a checkpoint, after this time.
        command: The command line, for the weights card.

    Raises:
        InputError: An option, the data or the checkpoint is wrong.
        RunError: The loss is not finite, or a file cannot be written.
        KeyboardInterrupt: The user stopped it; a checkpoint was written.
    """
    deadline = time.perf_counter() + 60 * max_minutes
    options = load_recipe(recipe, overrides)
    stored = _stored(out, options, resume)
    fabric = make_fabric(options.precision, device, devices, nodes)
    fabric.launch()
    torch.manual_seed(options.seed)
    network = _network(options)
    with fabric.rank_zero_first():  # it may have to make the data's cache
        task = make_task(options, network)
        prepare_data(task.data, 'train')
    about = {'command': command, 'name': Path(recipe).stem, 'devices': fabric.world_size}
    with _stop_on_signal() as stopped:
        trainer = Trainer(fabric, options, network, task, out, about)
        if stored is not None:
            _restore(trainer, stored)
        if fabric.is_global_zero:
            _write_text(out / 'recipe.yaml', yaml.safe_dump(options.model_dump(), sort_keys=False))
        done, title = trainer.state.progress.step, f'train {Path(recipe).stem}'
        with progress(options.steps, done, title, quiet=not fabric.is_global_zero) as advance:
            try:
                verdict = trainer.fit(advance, deadline, stopped)
            except OSError as error:
                raise checkpoints.cannot_write(out, error) from error
    summary = _summary(trainer, verdict)
    if fabric.is_global_zero:
        _write_text(out / SUMMARY, json.dumps(summary, indent=2) + '\n')
    if verdict == 'interrupted':
        raise KeyboardInterrupt
    return summary


def make_fabric(precision: str, device: str, devices: int, nodes: int) -> Any:
    """Return a Fabric that is not yet launched.

    Raises:
        InputError: Fabric is not installed, or the devices are not there.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError:
        try:
            from lightning.fabric import Fabric  # type: ignore[no-redef]
        except ImportError as error:
            fix = "Install it: pip install 'recon3d_ros[train]'."
            raise InputError('lightning-fabric is not installed', fix=fix) from error
    kind, chosen = _devices(device, devices)
    for name in ('lightning.fabric', 'lightning_fabric'):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings('ignore', module=r'lightning.*')
    if kind == 'cuda':
        torch.set_float32_matmul_precision('high')
        torch.backends.cudnn.benchmark = True
    together = devices * nodes > 1
    return Fabric(
        accelerator=kind,
        devices=chosen,
        num_nodes=nodes,
        precision=precision,  # type: ignore[arg-type]
        strategy='ddp_find_unused_parameters_true' if together else 'auto',
    )


def _devices(device: str, count: int) -> tuple[str, int | list[int]]:
    """Return Fabric's accelerator and devices."""
    chosen = torch_device(device)
    if chosen == 'cpu':
        return 'cpu', count
    present = torch.cuda.device_count()
    if count > present:
        raise InputError('--devices', count, f'at most the {present} CUDA devices of this machine')
    return 'cuda', [int(chosen.partition(':')[2])] if count == 1 else count


def _network(recipe: Recipe) -> Network:
    part = recipe.model
    network = create_network(part.name, part.weights or None, **part.options)
    if not any(True for _ in network.parameters()):
        raise InputError(f'model {part.name}', 'nothing to train', 'a network with parameters')
    return network


def prepare_data(data: Any, split: str) -> None:
    """Make what a data set makes once, so that no step waits for it, and show that it does."""
    prepare = getattr(data, 'prepare', None)
    if prepare is None:
        return
    talk = logging.getLogger('recon3d_core.data')
    level = talk.level
    talk.setLevel(logging.INFO)
    try:
        prepare(split, workers=max(1, min(16, os.cpu_count() or 1)))
    finally:
        talk.setLevel(level)


def _stored(out: Path, recipe: Recipe, resume: bool) -> dict[str, Any] | None:
    """Return the checkpoint to go on from, after checking the folder.

    Raises:
        InputError: The folder holds another training, or none although it should.
    """
    path = out / checkpoints.NAME
    if not resume:
        if path.exists():
            fix = 'Use --resume to go on with it, or another --out.'
            raise InputError('--out holds a training', out, 'an empty folder', fix)
        check_writable(out)
        return None
    stored = checkpoints.load_checkpoint(path)
    changed = differences(_recipe_of(stored, path), recipe)
    if changed:
        raise InputError(
            f'{path} is of another recipe',
            f'other {", ".join(changed[:5])}',
            'the same options',
            'Give the same --set as before.',
        )
    return stored


def _recipe_of(stored: Mapping[str, Any], path: Path) -> Recipe:
    wanted = {'recipe', 'network', 'optimizer', 'mean', 'progress', 'world'}
    if not wanted <= set(stored):
        raise InputError(f'{path} is incomplete', f'no {sorted(wanted - set(stored))[0]}')
    return make_recipe(stored['recipe'])


def _restore(trainer: Trainer, stored: Mapping[str, Any]) -> None:
    if stored['world'] != trainer.plan.world:
        raise InputError(
            'number of devices', trainer.plan.world, f'{stored["world"]} as before',
            'The batches of the steps depend on it.',
        )  # fmt: skip
    try:
        trainer.state.restore(dict(stored))
    except (RuntimeError, KeyError, TypeError) as error:
        reason = ' '.join(str(error).split())[:160]
        raise InputError('the checkpoint does not fit the network', reason) from error


def _summary(trainer: Trainer, verdict: str) -> dict[str, Any]:
    state = trainer.state.progress
    seconds = max(state.seconds, 1e-9)
    return {
        'schema': 1,
        'stopped': verdict,
        'step': state.step,
        'steps': trainer.recipe.steps,
        'images': state.images,
        'seconds': round(state.seconds, 2),
        'images_per_s': round(state.images / seconds, 2),
        'wait_share': round(state.wait_seconds / seconds, 4),
        'best': round(state.best, 4) if state.best >= 0 else None,
        'threshold': state.threshold,
        'last': state.metrics,
    }


def check_writable(out: Path) -> None:
    """Find out before the work whether its result can be kept.

    Raises:
        InputError: The folder cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / '.recon3d_probe'
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            '--out cannot be written', f'{out}: {error.strerror}', 'a folder that can be written'
        ) from error


def _write_text(path: Path, text: str) -> None:
    with checkpoints.whole_file(path) as partial:
        partial.write_text(text, encoding='utf-8')


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or termination end the training after its step, with a checkpoint."""
    hit: list[int] = []

    def note(number: int, _: Any) -> None:
        if hit and number == signal.SIGINT:
            raise KeyboardInterrupt
        hit.append(number)

    previous = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    try:
        yield lambda: bool(hit)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
