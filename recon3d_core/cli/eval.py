"""`recon3d eval`: networks and baselines in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from recon3d_core.cli.options import NetworkDevice
from recon3d_core.config import parse_assignments
from recon3d_core.errors import InputError
import typer

_COLUMNS = ('model', 'views', 'iou', 'fscore', 'chamfer', 'map', 'ms', 'order_sensitivity')


def command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar='MODEL[=WEIGHTS]...',
            help='Names of models, each with a weights file; without, the shipped weights.',
        ),
    ],
    data: Annotated[
        str, typer.Option('--data', help='procedural, household, r2n2:ROOT or another data set.')
    ],
    split: Annotated[str, typer.Option('--split', help='train, val or test.')] = 'test',
    views: Annotated[
        str, typer.Option('--views', help='Numbers of views, separated by commas.')
    ] = '1,2,3,5,8,12,20',
    limit: Annotated[
        int, typer.Option('--limit', min=0, help='Objects at most, evenly spread; 0 = all.')
    ] = 0,
    surface_limit: Annotated[
        int,
        typer.Option('--surface-limit', min=0, help='The same for F-score and Chamfer.'),
    ] = 200,
    json_path: Annotated[
        Path | None, typer.Option('--json', metavar='FILE', help='Write all rows as JSON.')
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option('--out', '-o', help='Folder for JSON, Markdown, the plot and pictures.'),
    ] = None,
    baselines: Annotated[
        bool, typer.Option('--baselines/--no-baselines', help='Judge the baselines too.')
    ] = True,
    baseline_objects: Annotated[
        int, typer.Option('--baseline-objects', min=1, help='Training objects they know at most.')
    ] = 6000,
    assignments: Annotated[
        list[str] | None,
        typer.Option('--set', metavar='OPTION=VALUE', help='Change an option of the data set.'),
    ] = None,
    device: NetworkDevice = 'auto',
) -> None:
    """Judge MODELs on a data set: IoU, F-score, Chamfer, mAP, time, memory, order of views."""
    from recon3d_core.training.devices import torch_device

    shared: dict[str, Any] = {
        'views': _numbers(views),
        'split': split,
        'limit': limit,
        'json_path': json_path,
        'out': out,
        'baselines': baselines,
        'device': torch_device(device),
        'options': parse_assignments(assignments or []),
    }
    columns: Sequence[str]
    if data.partition(':')[0] == 'partial':
        from recon3d_core.training.completion_contest import COLUMNS, completion_contest

        document = completion_contest(models, data, **shared)
        columns = ('model', 'views', 'objects', *COLUMNS)
    else:
        from recon3d_core.training.contest import contest

        more: dict[str, Any] = {
            'surface_limit': surface_limit,
            'baseline_objects': baseline_objects,
        }
        document = contest(models, data, **more, **shared)
        columns = _COLUMNS
    _show(document, columns)


def _numbers(text: str) -> list[int]:
    parts = text.split(',')
    if not all(part.strip().isdecimal() for part in parts):
        raise InputError('--views', repr(text), 'numbers separated by commas, such as 1,2,5')
    return [int(part) for part in parts]


def _show(document: dict[str, Any], columns: Sequence[str]) -> None:
    from recon3d_core.training.tables import ALL, cell
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns)
    for row in document['rows']:
        if row['category'] == ALL:
            table.add_row(*(cell(name, row[name]) for name in columns))
    Console().print(table)
