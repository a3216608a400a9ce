"""Scores of scenes as rows, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import math
from pathlib import Path
from typing import Any

import numpy as np
from recon3d_core.metrics.instances import instance_ap
from recon3d_core.metrics.parsing import factored_ap
from recon3d_core.training.checkpoints import whole_file
from recon3d_core.training.scene_scores import SceneScore
from recon3d_core.training.tables import ALL, write_json

FOUND = (
    'f1', 'precision', 'recall', 'f1_same_axes', 'box_ap50', 'box_ap75', 'mask_ap50', 'mask_ap75',
)  # fmt: skip
SHAPE = (
    'iou', 'iou_all', 'chamfer_mm', 'chamfer_seen_mm', 'chamfer_unseen_mm', 'fscore',
    'fscore_seen', 'fscore_unseen', 'penetration', 'floating_gap_mm', 'processor_ms',
)  # fmt: skip
_FEW_DIGITS = ('chamfer_mm', 'chamfer_seen_mm', 'chamfer_unseen_mm', 'floating_gap_mm')
_PER_OBJECT = (
    'iou', 'chamfer_mm', 'chamfer_seen_mm', 'chamfer_unseen_mm', 'fscore', 'fscore_seen',
    'fscore_unseen',
)  # fmt: skip
_DIGITS = 5


def make_rows(judged: Sequence[Mapping[str, SceneScore]]) -> list[dict[str, Any]]:
    """Return a row for each variant over all scenes, and over those of each kind.

    Args:
        judged: For each scene the scores by variant.
    """
    rows = []
    kinds = sorted({score.kind for scores in judged for score in scores.values()})
    for kind in (ALL, *kinds):
        for variant in judged[0]:
            scores = [one[variant] for one in judged if kind in (ALL, one[variant].kind)]
            rows.append({'variant': variant, 'kind': kind, **_row(scores)})
    return rows


def _row(scores: Sequence[SceneScore]) -> dict[str, Any]:
    """Return the figures of a variant: over all objects, scenes or images together."""
    objects = [row for score in scores for row in score.objects]
    pairs = sum(len(score.matched.matches) for score in scores)
    same_axes = sum(score.same_axes for score in scores)
    estimates = sum(len(score.boxes.scores) for score in scores)
    boxes = [score.boxes for score in scores]
    masks = [match for score in scores for match in score.masks]
    stages: dict[str, list[float]] = {}
    for score in scores:
        for stage, spent in score.stages_ms.items():
            stages.setdefault(stage, []).extend(spent)
    values: dict[str, float] = {
        'f1': 2 * pairs / max(1, estimates + len(objects)),
        'f1_same_axes': 2 * same_axes / max(1, estimates + len(objects)),
        'precision': pairs / estimates if estimates else 1.0,
        'recall': pairs / max(1, len(objects)),
        'box_ap50': instance_ap(boxes, 0.5),
        'box_ap75': instance_ap(boxes, 0.75),
        'mask_ap50': instance_ap(masks, 0.5) if masks else math.nan,
        'mask_ap75': instance_ap(masks, 0.75) if masks else math.nan,
        **{name: _mean(row[name] for row in objects if name in row) for name in _PER_OBJECT},
        'iou_all': _mean(row.get('iou', 0.0) for row in objects),
        'penetration': _mean(score.penetration for score in scores),
        'floating_gap_mm': 1e3 * _mean(score.floating_gap_m for score in scores),
        'processor_ms': _mean(score.processor_ms for score in scores),
    }
    return {
        'scenes': len(scores),
        'objects': len(objects),
        **{name: _number(value) for name, value in values.items()},
        'factored': {
            name: _number(value)
            for name, value in factored_ap([score.parsed for score in scores]).items()
        },
        'timings_ms': {
            stage: {f'p{q}': round(float(np.percentile(spent, q)), 3) for q in (50, 95)}
            for stage, spent in sorted(stages.items())
        },
    }


def _mean(values: Iterable[float | str]) -> float:
    known = [float(value) for value in values]
    return float(np.mean(known)) if known else math.nan


def _number(value: float) -> float | None:
    """Return a number as JSON has it: it knows neither NaN nor infinity."""
    return round(value, _DIGITS) if math.isfinite(value) else None


def scene_record(scores: Mapping[str, SceneScore]) -> dict[str, Any]:
    """Return what the document tells of one scene."""
    first = next(iter(scores.values()))
    return {
        'scene': first.scene,
        'kind': first.kind,
        'variants': {
            name: {
                'precision': _number(score.matched.precision),
                'recall': _number(score.matched.recall),
                'found': len(score.boxes.scores),
                'penetration': _number(score.penetration),
                'floating_gap_mm': _number(1e3 * score.floating_gap_m),
                'processor_ms': _number(score.processor_ms),
                'objects': [
                    {key: value if isinstance(value, (str, int)) else _number(value)
                     for key, value in row.items()}
                    for row in score.objects
                ],
            }
            for name, score in scores.items()
        },
    }  # fmt: skip


def write(document: Mapping[str, Any], out: Path | None, json_path: Path | None) -> None:
    """Write the document as JSON, and into a folder as Markdown too.

    Raises:
        RunError: A file cannot be written.
    """
    if json_path is not None:
        write_json(json_path, document)
    if out is not None:
        write_json(out / 'eval.json', document)
        with whole_file(out / 'eval.md') as partial:
            partial.write_text(markdown(document), encoding='utf-8')


def markdown(document: Mapping[str, Any]) -> str:
    """Return the document as tables."""
    rows = document['rows']
    first = [row for row in rows if row['kind'] == ALL]
    counted = f'{first[0]["scenes"]} scenes, {first[0]["objects"]} objects' if first else 'none'
    title = f'# Scenes, split {document["split"]}, {document["frames"]} frames each'
    lines = [title, '', f'{counted}; {len(document["failed"])} scenes failed.', '']
    lines += ['## Found', '', *_table(('variant', 'kind', *FOUND), rows)]
    lines += ['', '## Shaped, in contact', '', *_table(('variant', 'kind', *SHAPE), rows)]
    parsed = [{**row, **row['factored']} for row in first]
    criteria = tuple(first[0]['factored']) if first else ()
    lines += ['', '## AP as Factored3D counts', '', *_table(('variant', *criteria), parsed)]
    stages = sorted({stage for row in first for stage in row['timings_ms']})
    times = [
        {
            'variant': row['variant'],
            **{name: f'{t["p50"]:.0f} / {t["p95"]:.0f}' for name, t in row['timings_ms'].items()},
        }
        for row in first
    ]
    lines += ['', '## ms per stage, p50 / p95', '', *_table(('variant', *stages), times)]
    if document['failed']:
        lines += ['', '## Left out', '']
        lines += [f'- {one["scene"]}: {one["reason"]}' for one in document['failed']]
    return '\n'.join([*lines, ''])


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f'| {" | ".join(columns)} |', '|---' * len(columns) + '|']
    for row in rows:
        cells = (cell(name, row.get(name)) for name in columns)
        lines.append(f'| {" | ".join(cells)} |')
    return lines


def cell(name: str, value: Any) -> str:
    """Return one value of a row as text."""
    if value is None:
        return ''
    if not isinstance(value, float):
        return str(value)
    if name == 'processor_ms':
        return f'{value:.0f}'
    if name == 'penetration':
        return f'{value:.4f}'
    return f'{value:.1f}' if name in _FEW_DIGITS else f'{value:.3f}'
