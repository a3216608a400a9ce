"""`recon3d predict`: photos of one object in, its closed mesh, occupancy and a picture out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from recon3d_core.cli.options import NetworkDevice
import typer


def command(
    images: Annotated[
        list[Path], typer.Argument(metavar='IMAGE...', help='Photos of one object: JPEG or PNG.')
    ],
    masks: Annotated[
        list[Path] | None,
        typer.Option(
            '--mask',
            metavar='FILE',
            help='White where the object is; once for every image, in their order. Without, '
            'opacity tells it, or what differs from the background.',
        ),
    ] = None,
    poses: Annotated[
        Path | None,
        typer.Option('--poses', help='The cameras: a JSON file, or an RGB-D folder.'),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            '--model', help='A network.', show_default='posed_fusion with poses, else pix2vox_s'
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option('--weights', help='`default`, or a file of weights.')
    ] = 'default',
    out: Annotated[
        Path | None,
        typer.Option(
            '--out', '-o', help='Folder for the results.', show_default='out/predict/IMAGE'
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            '--threshold', help='Probability of the surface.', show_default="the weights'"
        ),
    ] = None,
    device: NetworkDevice = 'auto',
) -> None:
    """Predict the shape of the object in IMAGEs: GLB, PLY, occupancy, preview and summary."""
    from recon3d_core.prediction.files import check_writable, write
    from recon3d_core.prediction.predict import predict
    from recon3d_core.training.devices import torch_device

    folder = out or Path('out') / 'predict' / images[0].stem
    check_writable(folder)
    found = predict(images, masks or [], poses, model, weights, threshold, torch_device(device))
    _report(write(found, folder), folder)


def _report(summary: dict[str, Any], out: Path) -> None:
    from recon3d_core.prediction.confidence import in_words

    for view in summary['views']:
        for note in view['notes']:
            typer.echo(f'{view["file"]}: {note}', err=True)
    for note in [*summary['notes'], summary['advice']]:
        if note:
            typer.echo(f'note: {note}', err=True)
    closed = 'closed mesh' if summary['watertight'] else 'open mesh'
    change = summary['expected_change']
    more = '' if change is None else f', as many views again would change {100 * change:.0f} %'
    typer.echo(
        f'{summary["model"]}: {closed} from {in_words(summary["views_used"])}, '
        f'confidence {summary["confidence"]:.2f}{more}. Look at {out / "preview.png"} first.'
    )
