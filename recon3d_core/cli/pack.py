"""`recon3d pack`: objects in one small file that a GPU machine can draw without mesh libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option('--out', '-o', help='File to write.')],
    sets: Annotated[
        str,
        typer.Option(
            help='Any of procedural, household, random, and folders of meshes; by commas.'
        ),
    ] = 'procedural,household,random',
    count: Annotated[int, typer.Option(min=1, help='How many objects.')] = 1500,
    resolution: Annotated[
        int, typer.Option(help='Voxels along an edge of the distances, a multiple of 4.')
    ] = 96,
    color_resolution: Annotated[
        int, typer.Option(help='Voxels along an edge of the colours, a multiple of 2.')
    ] = 48,
    workers: Annotated[int, typer.Option(min=1, help='Processes.')] = 2,
) -> None:
    """Pack objects into one file: distances and colours to draw them, and their occupancy."""
    from recon3d_core.data.packing import pack, PackOptions
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    kinds = tuple(kind.strip() for kind in sets.split(',') if kind.strip())
    options = PackOptions(kinds, count, resolution, color_resolution, workers)
    console = Console(stderr=True)
    columns = ('packing', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task('')

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and (done % 100 == 0 or done == total):
                typer.echo(f'{done} of {total} objects', err=True)

        packed = pack(out, options, show)
    typer.echo(f'{packed} objects written to {out}, {out.stat().st_size / 1e6:.1f} MB')
