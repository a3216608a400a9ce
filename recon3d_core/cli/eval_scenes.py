"""`recon3d eval-scenes`: variants of the pipeline on cluttered scenes in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from recon3d_core.cli.options import ConfigName
from recon3d_core.config import parse_assignments
from recon3d_core.errors import InputError, RunError
import typer

_FOUND = ('f1', 'precision', 'recall', 'box_ap50', 'mask_ap50', 'penetration')
_SHAPED = ('iou', 'iou_all', 'chamfer_mm', 'chamfer_unseen_mm', 'fscore', 'processor_ms')


def command(
    scenes: Annotated[int, typer.Option('--scenes', min=1, help='How many scenes.')] = 200,
    frames: Annotated[int, typer.Option('--frames', min=1, help='Frames of each sweep.')] = 30,
    config: ConfigName = 'tabletop_rgbd',
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            '--set', metavar='OPTION=VALUE', help='Change an option of the configuration.'
        ),
    ] = None,
    variants: Annotated[
        str, typer.Option('--variants', help='Names joined by commas; `all` takes every one.')
    ] = 'all',
    split: Annotated[str, typer.Option('--split', help='train, val or test.')] = 'test',
    first: Annotated[
        int, typer.Option('--first', min=0, help='Number of the first scene that may be taken.')
    ] = 0,
    size: Annotated[
        str, typer.Option('--size', metavar='WIDTHxHEIGHT', help='Size of the images.')
    ] = '640x480',
    retrieval_objects: Annotated[
        int, typer.Option('--retrieval-objects', min=1, help='What oracle_retrieval knows.')
    ] = 200,
    pictures: Annotated[int, typer.Option('--pictures', min=0, help='Scenes to draw.')] = 4,
    kitchen: Annotated[
        bool, typer.Option('--kitchen', help='Run on the recorded kitchen too.')
    ] = False,
    out: Annotated[
        Path | None, typer.Option('--out', '-o', help='Folder for JSON, Markdown and pictures.')
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option('--json', metavar='FILE', help='Write all figures as JSON.')
    ] = None,
) -> None:
    """Judge the pipeline on composed scenes beside closing, hulls, true masks and retrieval."""
    from recon3d_core.training.scene_contest import scene_contest, SceneContest
    from recon3d_core.training.scene_tables import write
    from recon3d_core.training.scene_variants import NAMES

    chosen = list(NAMES) if variants == 'all' else [word.strip() for word in variants.split(',')]
    contest = SceneContest(
        chosen,
        frames=frames,
        config=config,
        overrides=parse_assignments(assignments or []),
        size=_size(size),
        retrieval_objects=retrieval_objects,
    )
    more = {'config': config, 'set': list(assignments or [])}
    document = scene_contest(
        contest, scenes, split=split, first=first, out=out, json_path=json_path,
        pictures=pictures, more=more,
    )  # fmt: skip
    _show(document)
    if kitchen:
        from recon3d_core.cli._kitchen import kitchen_rows

        document['kitchen'] = kitchen_rows(config, assignments or [])
        write(document, out, json_path)
        _show_kitchen(document['kitchen'])
    if not document['scenes']:
        reasons = [one['reason'] for one in document['failed']]
        raise RunError('no scene could be judged', (reasons or ['none has 5 to 10 objects'])[-1])


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError('--size', repr(text), 'WIDTHxHEIGHT, such as 640x480')
    return int(width), int(height)


def _show(document: Mapping[str, Any]) -> None:
    from recon3d_core.training.scene_tables import cell
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for columns in (_FOUND, _SHAPED):
        table = Table('variant', *(name.replace('_', ' ') for name in columns))
        for row in document['rows']:
            if row['kind'] == 'all':
                table.add_row(row['variant'], *(cell(name, row[name]) for name in columns))
        console.print(table)
    for one in document['failed']:
        console.print(f'left out: {one["scene"]}: {one["reason"]}', highlight=False)


def _show_kitchen(rows: Mapping[str, Any]) -> None:
    from rich.console import Console

    for name, row in rows.items():
        text = row.get('skipped') or (
            f"{len(row['found'])} of the table's things found ({', '.join(row['found'])}), "
            f'{row["phantoms"]} objects that are none'
        )
        Console().print(f'kitchen, {name}: {text}', highlight=False, soft_wrap=True)
