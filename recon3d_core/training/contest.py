"""`recon3d eval`: from names of models to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import logging
from pathlib import Path
from typing import Any

from recon3d_core import registry
from recon3d_core.config import validate
from recon3d_core.data.augment import UNALTERED
from recon3d_core.data.sets import load_dataset
from recon3d_core.data.sets.base import DataSet
from recon3d_core.errors import InputError
from recon3d_core.models import create_model
from recon3d_core.models.base import VolumeNetwork
from recon3d_core.models.baselines.base import Baseline
from recon3d_core.models.baselines.remembered import gather
from recon3d_core.training import tables
from recon3d_core.training.checkpoints import whole_file
from recon3d_core.training.evaluation import Contestant, evaluate, measure, Score
from recon3d_core.training.pictures import sample_rows, write_png
from recon3d_core.training.progress import progress
from recon3d_core.training.run import check_writable, prepare_data
from recon3d_core.training.validation import (
    checked,
    choose_threshold,
    iou_sums,
    load_samples,
    predict,
    spread,
)

logger = logging.getLogger(__name__)

BASELINES = ('mean_shape', 'retrieval', 'oracle_retrieval', 'visual_hull', 'convex_hull')
_REMEMBER = ('mean_shape', 'retrieval', 'oracle_retrieval')
_TRAINING_VIEWS = 6
_VALIDATION_OBJECTS = 104
_SHOWN = 6


def contest(
    models: Sequence[str],
    uri: str,
    *,
    views: Sequence[int],
    split: str = 'test',
    limit: int = 0,
    surface_limit: int = 200,
    json_path: Path | None = None,
    out: Path | None = None,
    baselines: bool = True,
    baseline_objects: int = 6000,
    device: str = 'cpu',
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge models and return the document that `--json` writes.

    Args:
        models: Each `NAME`, `NAME=WEIGHTS`, or the name of a baseline.
        uri: The data set, as `load_dataset` takes it.
        views: Numbers of views.
        split: Split of the data set.
        limit: Objects at most, evenly spread; 0 = all.
        surface_limit: Objects whose surface is scored, at most, evenly spread; 0 = all.
        json_path: File for the document, or None.
        out: Folder for table, plot and pictures, or None.
        baselines: Whether the baselines are judged too.
        baseline_objects: Training objects that the baselines know, at most, evenly spread.
        device: `cpu` or `cuda:N`.
        options: Options of the data set.

    Raises:
        InputError: A model, its weights, the data set or an option is wrong.
        RunError: A file cannot be written.
    """
    counts = check_views(views)
    for folder in (out, json_path.absolute().parent if json_path else None):
        if folder is not None:
            check_writable(folder)
    wanted = [name for name in BASELINES if baselines or name in models]
    entrants = _entrants(models, wanted, dict(options or {}), device)
    resolution = entrants[0][1].resolution if entrants else 32
    chosen = {'resolution': resolution, **dict(options or {})}
    data = load_dataset(uri, **chosen)
    names = _chosen_names(data, uri, split, limit, counts)
    contestants = _fitted(entrants, data, _unaltered(uri, chosen), baseline_objects)
    if not limit:
        prepare_data(data, split)
    scores = _scores(contestants, data, names, counts, surface_limit, uri)
    few = [checked(data.sample(name, counts[-1])) for name in spread(names, 4)]
    costs = {one.name: measure(one, few, counts) for one in contestants}
    thresholds = {one.name: one.threshold for one in contestants}
    document = tables.make_document(uri, split, thresholds, tables.make_rows(scores, costs))
    _write(document, json_path, out)
    if out is not None:
        _draw(out, document, contestants, data, names, counts)
    return document


def _entrants(
    models: Sequence[str], baselines: Sequence[str], options: Mapping[str, Any], device: str
) -> list[tuple[str, VolumeNetwork]]:
    """Return networks and baselines, of one resolution, by their labels."""
    networks = [
        (label, load_named(text, device))
        for label, text in labels([text for text in models if text not in BASELINES]).items()
    ]
    resolution = _common_resolution(networks, options)
    return networks + [(name, _baseline(name, resolution, device)) for name in baselines]


def _chosen_names(
    data: DataSet, uri: str, split: str, limit: int, views: Sequence[int]
) -> list[str]:
    """Return the objects to judge; those of a data set that cannot show the views are refused."""
    if views[-1] > data.max_views:
        raise InputError('--views', views[-1], f'at most {data.max_views}, as {uri} has')
    names = list(data.names(split))
    if not names:
        raise InputError(f'data set {uri}', f'no object in its split {split}')
    return spread(names, limit or len(names))


def _scores(
    contestants: Sequence[Contestant],
    data: DataSet,
    names: Sequence[str],
    views: Sequence[int],
    surface_limit: int,
    uri: str,
) -> list[Score]:
    """Judge, and show how far it is."""
    surfaces = set(spread(range(len(names)), surface_limit or len(names)))
    shown = f'{len(contestants)} models'
    with progress(len(names), 0, f'eval {uri}', unit='objects') as advance:
        return evaluate(
            contestants, data, names, views, surfaces.__contains__, lambda n: advance(n, shown)
        )


def _unaltered(uri: str, options: Mapping[str, Any]) -> DataSet:
    """Return the data set with training views without noise, occluders and false colours.

    Networks learn to see through these; what only compares would be worse off for them.
    """
    data = load_dataset(uri, **options)
    if not hasattr(data.config, 'augment'):
        return data
    return load_dataset(uri, **{**options, 'augment': UNALTERED})


def check_views(views: Sequence[int]) -> list[int]:
    """Return numbers of views, rising.

    Raises:
        InputError: There is none, or one is below 1.
    """
    if not views or min(views) < 1:
        raise InputError('--views', list(views), 'numbers from 1, such as 1,2,5')
    return sorted(set(views))


def labels(models: Sequence[str]) -> dict[str, str]:
    """Return `{label: NAME[=WEIGHTS]}`: the name alone where it says enough."""
    short = [text.partition('=')[0] for text in models]
    return {name if short.count(name) == 1 else text: text for name, text in zip(short, models)}


def load_named(text: str, device: str) -> VolumeNetwork:
    """Return the network of `NAME` or `NAME=WEIGHTS`.

    Raises:
        InputError: There is no such model, or its weights are missing, broken or of another.
    """
    name, separator, weights = text.partition('=')
    if separator and not weights:
        raise InputError('model', repr(text), 'NAME or NAME=WEIGHTS')
    if name in BASELINES:
        raise InputError(f'{name} takes no weights', weights, 'the name alone')
    return create_model(name, weights or 'default', device)


def _common_resolution(
    named: Sequence[tuple[str, VolumeNetwork]], options: Mapping[str, Any]
) -> int:
    given = options.get('resolution')
    nets = {label: model.resolution for label, model in named}
    if len(set(nets.values())) > 1:
        got = ', '.join(f'{label} {value}' for label, value in nets.items())
        raise InputError('models of different resolution', got, 'one resolution in a table')
    if not isinstance(given, int):
        return next(iter(nets.values()), 32)  # what else is given, the data set refuses
    resolution = next(iter(nets.values()), given)
    if given != resolution:
        raise InputError('resolution of the data', given, f'{resolution}')
    return resolution


def _baseline(name: str, resolution: int, device: str) -> VolumeNetwork:
    kind = registry.load('model', name)
    model: VolumeNetwork = kind(validate(kind.Config, {'resolution': resolution}, name))
    return model.to(device).eval()


def _fitted(
    named: Sequence[tuple[str, VolumeNetwork]], data: DataSet, training: DataSet, objects: int
) -> list[Contestant]:
    """Return the models with their thresholds; baselines take what they need of the data."""
    shapes = None
    if any(label in _REMEMBER for label, _ in named):
        if len(training.names('train')) <= objects:
            prepare_data(training, 'train')
        shapes = gather(training, objects, _TRAINING_VIEWS, data.config.resolution)
    contestants = []
    for label, model in named:
        if not isinstance(model, Baseline):
            contestants.append(Contestant(label, model, model.threshold))
            continue
        if label in _REMEMBER:
            if shapes is None or not len(shapes.occupancy):
                logger.warning('%s is left out: the split train is empty', label)
                continue
            model.fit(shapes)
        threshold = _chosen(model, data) if model.fitted_threshold else 0.5
        contestants.append(Contestant(label, model, threshold))
    if not contestants:
        raise InputError('nothing to judge', 'no model', 'a model that the data set allows')
    return contestants


def _chosen(model: VolumeNetwork, data: DataSet) -> float:
    """Return the best threshold on the validation split; 0.5 where that is empty."""
    names = spread(data.names('val'), _VALIDATION_OBJECTS)
    if not names:
        return 0.5
    sums = iou_sums(model, load_samples(data, names, 1), [1])
    return choose_threshold(sums, [1], len(names)).threshold


def _write(document: dict[str, Any], json_path: Path | None, out: Path | None) -> None:
    if json_path is not None:
        tables.write_json(json_path, document)
    if out is not None:
        tables.write_json(out / 'eval.json', document)
        with whole_file(out / 'eval.md') as partial:
            partial.write_text(tables.markdown(document), encoding='utf-8')


def _draw(
    out: Path,
    document: dict[str, Any],
    contestants: Sequence[Contestant],
    data: DataSet,
    names: Sequence[str],
    views: Sequence[int],
) -> None:
    """Write the plot and, for each model, some predictions beside the truth."""
    try:
        tables.draw_iou(out / 'iou_over_views.png', document)
    except ImportError:
        logger.warning('matplotlib is not installed: no plot is drawn')
    shown = [data.sample(name, views[-1]) for name in spread(names, _SHOWN)]
    for number, one in enumerate(contestants):
        if one.name == 'oracle_retrieval':
            continue  # it was shown the truth of other objects last
        volumes = predict(one.model, shown, views[-1])
        picture = sample_rows(shown, volumes, views[-1], one.threshold)
        write_png(out / f'samples_{number}_{one.model.name}.png', picture)
