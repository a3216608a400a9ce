"""Scores as rows, JSON, Markdown and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

import numpy as np
from recon3d_core.training.checkpoints import whole_file
from recon3d_core.training.evaluation import Cost, Score

ALL = 'all'
_METRICS = ('iou', 'fscore', 'chamfer', 'map')
_DIGITS = 6


def make_rows(scores: Sequence[Score], costs: Mapping[str, Cost]) -> list[dict[str, Any]]:
    """Return a row for each model, number of views and category, and for `all` of them.

    Rows of `all` are means over the objects.

    Args:
        scores: The scores of single objects.
        costs: What each model costs.
    """
    grouped: dict[tuple[str, int, str], list[Score]] = {}
    for score in scores:
        for category in (score.category, ALL):
            grouped.setdefault((score.model, score.views, category), []).append(score)
    models = list(dict.fromkeys(score.model for score in scores))
    order = sorted(grouped, key=lambda key: (models.index(key[0]), key[1], key[2] != ALL, key[2]))
    return [_row(*key, grouped[key], costs[key[0]]) for key in order]


def _row(
    model: str, views: int, category: str, scores: Sequence[Score], cost: Cost
) -> dict[str, Any]:
    row: dict[str, Any] = {'model': model, 'views': views, 'category': category}
    for metric in _METRICS:
        known = [value for score in scores if (value := getattr(score, metric)) is not None]
        row[metric] = round(float(np.mean(known)), _DIGITS) if known else None
    return row | {
        'ms': round(cost.ms[views], 3),
        'memory_mb': round(cost.memory_mb[views], 3),
        'parameters': cost.parameters,
        'order_sensitivity': float(f'{cost.order_sensitivity[views]:.3g}'),
    }


def make_document(
    data: str, split: str, thresholds: Mapping[str, float], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what `--json` writes.

    Args:
        data: The data set.
        split: Its split.
        thresholds: Each model's threshold; `threshold` is that of the first.
        rows: The rows.
    """
    return {
        'schema': 1,
        'data': data,
        'split': split,
        'threshold': next(iter(thresholds.values())),
        'thresholds': dict(thresholds),
        'rows': list(rows),
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document; the file appears whole or not at all."""
    text = json.dumps(document, indent=1, allow_nan=False) + '\n'
    with whole_file(path) as partial:
        partial.write_text(text, encoding='utf-8')


def markdown(document: Mapping[str, Any]) -> str:
    """Return the means of all metrics, and the IoU by category, as Markdown."""
    rows = document['rows']
    means = [row for row in rows if row['category'] == ALL]
    columns = ('model', 'views', *_METRICS, 'ms', 'memory_mb', 'parameters', 'order_sensitivity')
    lines = [f'# {document["data"]}, split {document["split"]}', '']
    lines += _table(columns, [[cell(name, row[name]) for name in columns] for row in means])
    categories = sorted({row['category'] for row in rows} - {ALL})
    iou = {(row['model'], row['views'], row['category']): row['iou'] for row in rows}
    body = [
        [row['model'], str(row['views'])]
        + [cell('iou', iou.get((row['model'], row['views'], name))) for name in categories]
        for row in means
    ]
    lines += ['', '## IoU by category', '', *_table(['model', 'views', *categories], body)]
    thresholds = ', '.join(f'{name} {value:g}' for name, value in document['thresholds'].items())
    return '\n'.join([*lines, '', f'Thresholds, fixed before: {thresholds}.', ''])


def _table(columns: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = [f'| {" | ".join(columns)} |', f'|{"---|" * len(columns)}']
    return lines + [f'| {" | ".join(cells)} |' for cells in body]


def cell(name: str, value: Any) -> str:
    """Return one value of a row as text."""
    if value is None:
        return '-'
    if name in ('iou', 'fscore', 'map'):
        return f'{value:.3f}'
    if name in ('ms', 'memory_mb'):
        return f'{value:.1f}'
    if isinstance(value, int):
        return f'{value:,}'
    return value if isinstance(value, str) else f'{value:.2g}'


def draw_iou(path: Path, document: Mapping[str, Any]) -> None:
    """Draw the mean IoU over the number of views.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.subplots()
    means = [row for row in document['rows'] if row['category'] == ALL]
    for model in dict.fromkeys(row['model'] for row in means):
        points = [(row['views'], row['iou']) for row in means if row['model'] == model]
        axes.plot(*zip(*points), marker='o', markersize=4, label=model)
    axes.set_xticks(sorted({row['views'] for row in means}))
    axes.set_xlabel('views')
    axes.set_ylabel('mean IoU')
    axes.set_title(f'{document["data"]}, split {document["split"]}')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with whole_file(path) as partial:
        figure.savefig(partial, format='png', dpi=110)
