"""`recon3d train`: a recipe in, weights with their card, logs and pictures out."""

from __future__ import annotations

from pathlib import Path
import shlex
import sys
from typing import Annotated

from recon3d_core.cli.options import NetworkDevice
from recon3d_core.config import parse_assignments
import typer


def command(
    recipe: Annotated[str, typer.Argument(help='Name of a recipe, or a YAML file.')],
    out: Annotated[
        Path | None,
        typer.Option(
            '--out', '-o', help='Folder for the results.', show_default='out/train/RECIPE'
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            '--set',
            metavar='OPTION=VALUE',
            help='Change an option, such as batch=32 or stages.0.lr=0.001. May be given again.',
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option('--resume', help='Go on from the checkpoint in --out.')
    ] = False,
    device: NetworkDevice = 'auto',
    devices: Annotated[
        int, typer.Option('--devices', min=1, max=1024, help='Devices of each machine.')
    ] = 1,
    nodes: Annotated[int, typer.Option('--nodes', min=1, max=1024, help='Machines.')] = 1,
    max_minutes: Annotated[
        float | None,
        typer.Option('--max-minutes', min=0, help='Stop with a checkpoint after this time.'),
    ] = None,
) -> None:
    """Train a network by RECIPE: a name of this package's recipes, or a YAML file."""
    from recon3d_core.training.run import train

    folder = out or Path('out') / 'train' / Path(recipe).stem
    summary = train(
        recipe,
        folder,
        parse_assignments(assignments or []),
        resume=resume,
        device=device,
        devices=devices,
        nodes=nodes,
        max_minutes=float('inf') if max_minutes is None else max_minutes,
        command=shlex.join(['recon3d', *sys.argv[1:]]),
    )
    best = summary['best']
    typer.echo(
        f'{summary["step"]}/{summary["steps"]} steps in {summary["seconds"] / 60:.1f} min, '
        f'{summary["images_per_s"]:.1f} images/s, {100 * summary["wait_share"]:.1f} % waiting '
        f'for data, best mean {"none yet" if best is None else f"{best:.3f}"}. '
        f'Look at {folder / "samples.png"} and {folder / "curves.png"}.'
    )
