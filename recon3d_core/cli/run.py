"""`recon3d run`: a recording or a synthetic scene in, meshes and a summary out."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import logging
from pathlib import Path
import signal
import time
from typing import Annotated, Any

from recon3d_core.cli.options import ConfigName, MaxFrames, PipelineDevice
from recon3d_core.config import merge, parse_assignments
from recon3d_core.errors import FrameError, InputError, RunError
import typer

logger = logging.getLogger(__name__)


def command(
    source: Annotated[
        str,
        typer.Argument(
            help='An RGB-D folder, a rosbag2 folder, an .mcap file, or synthetic:NAME.'
        ),
    ],
    out: Annotated[Path, typer.Option('--out', '-o', help='Folder for the results.')],
    config: ConfigName = 'tabletop_rgbd',
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            '--set',
            metavar='OPTION=VALUE',
            help='Change an option, such as mapper.voxel_size_m=0.02; `source.` options go to '
            'the source. May be given again and again.',
        ),
    ] = None,
    max_frames: MaxFrames = None,
    device: PipelineDevice = None,
) -> None:
    """Reconstruct SOURCE into --out: scene, objects, preview.png and summary.json."""
    run(source, out, config, parse_assignments(assignments or []), max_frames, device)


def run(
    uri: str,
    out: Path,
    config: str,
    overrides: dict[str, Any],
    max_frames: int | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Reconstruct a source into files and return the summary.

    Args:
        uri: What `load_source` takes.
        out: Folder for the results.
        config: Name or file of a configuration.
        overrides: Nested options; the section `source` goes to the source.
        max_frames: Stop after this many frames.
        device: `auto`, `cpu` or `cuda`; the configuration's where None.

    Raises:
        InputError: The source or an option is wrong, or the folder cannot be written.
        RunError: No frame could be used.
    """
    # Imported here: `recon3d run --help` must not wait for Open3D.
    from recon3d_core.data import load_source
    from recon3d_core.scene.options import load_config
    from recon3d_core.scene.pipeline import Pipeline

    overrides = dict(overrides)
    source_options = overrides.pop('source', {})
    if device is not None:
        overrides = merge(overrides, {'device': device})
    options = load_config(config, overrides)
    _check_writable(out)
    source = load_source(uri, **source_options)
    pipeline = Pipeline(options)
    try:
        begin = time.perf_counter()
        total = min(len(source), max_frames or len(source))
        with _stop_on_interrupt() as stopped, _progress(total, f'{uri}') as advance:
            for count, frame in enumerate(source):
                if count >= total or stopped():
                    break
                with contextlib.suppress(FrameError):  # counted by the pipeline
                    pipeline.update(frame)
                advance()
        pipeline.flush()
        spent = time.perf_counter() - begin
        summary = pipeline.save(out, source.dropped)
        _report(summary, out, spent)
        read = summary['frames']['read']
        if pipeline.frames_read - sum(pipeline.dropped.values()) == 0:
            reasons = ', '.join(f'{k} {v}' for k, v in summary['frames']['dropped'].items())
            raise RunError('no frame could be used', f'{read} read; dropped: {reasons or "none"}')
        return summary
    finally:
        source.close()
        pipeline.close()


def _check_writable(out: Path) -> None:
    """Find out before the work whether its result can be kept."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / '.recon3d_probe'
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            '--out cannot be written', f'{out}: {error.strerror}', 'a folder that can be written'
        ) from error


@contextlib.contextmanager
def _stop_on_interrupt() -> Iterator[Any]:
    """Let the first Ctrl-C end the reading, so that what is computed is saved."""
    hit: list[int] = []

    def note(number: int, _: Any) -> None:
        if hit:
            raise KeyboardInterrupt
        hit.append(number)
        logger.warning('interrupted: saving what there is; once more gives up')

    try:
        previous = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(hit)
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _progress(total: int, title: str) -> Iterator[Any]:
    """Show a bar on a terminal, and a plain line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('frames'),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda: bar.advance(task)
        return
    done, last = 0, time.perf_counter()

    def advance() -> None:
        nonlocal done, last
        done += 1
        if time.perf_counter() - last > 5.0 or done == total:
            last = time.perf_counter()
            console.print(f'{title}: {done}/{total} frames', highlight=False, soft_wrap=True)

    yield advance


def _report(summary: dict[str, Any], out: Path, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table('id', 'label', 'size (cm)', 'views', 'seen', 'score', 'mesh')
    for item in summary['objects']:
        mesh = 'closed' if item['watertight'] else 'open'
        if item['published'] == 'observed_surface_only':
            mesh += ', seen surface only'
        size = ' x '.join(f'{100 * edge:.1f}' for edge in item['size_m'])
        table.add_row(
            str(item['id']),
            item['label'],
            size,
            str(item['views_used']),
            f'{100 * item["seen_fraction"]:.0f} %',
            f'{item["score"]:.2f}',
            mesh,
        )
    console.print(table)
    frames = summary['frames']
    dropped = ', '.join(f'{count} {reason}' for reason, count in frames['dropped'].items())
    console.print(
        f'{frames["read"]} frames read, {frames["integrated"]} integrated, '
        f'dropped: {dropped or "none"}; {frames["read"] / max(seconds, 1e-9):.1f} frames/s, '
        f'peak memory {summary["peak_rss_mb"]:.0f} MB on {summary["device"]}',
        highlight=False,
        soft_wrap=True,
    )
    console.print(f'Look at {out / "preview.png"} first.', highlight=False, soft_wrap=True)
