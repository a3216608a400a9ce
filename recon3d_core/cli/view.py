"""`recon3d view`: a web page of a result, or of a source while it is reconstructed."""

from __future__ import annotations

import contextlib
from pathlib import Path
import signal
import threading
import time
from typing import Annotated, Any

from recon3d_core.cli.options import ConfigName, MaxFrames, PipelineDevice
from recon3d_core.config import merge, parse_assignments
from recon3d_core.errors import FrameError
import typer

_SCENE_PERIOD_S = 2.0


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar='DIR|SOURCE',
            help='A folder that `recon3d run` or ~/save wrote; or an RGB-D folder, a rosbag2 '
            'folder, an .mcap file or synthetic:NAME, shown while it is reconstructed.',
        ),
    ],
    port: Annotated[
        int, typer.Option('--port', min=1, max=65535, help='First port to try.')
    ] = 8080,
    host: Annotated[
        str, typer.Option('--host', help='Address to serve at; 0.0.0.0 lets other machines in.')
    ] = '127.0.0.1',
    config: ConfigName = 'tabletop_rgbd',
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            '--set', metavar='OPTION=VALUE', help='Change an option, as with `recon3d run`.'
        ),
    ] = None,
    max_frames: MaxFrames = None,
    device: PipelineDevice = None,
) -> None:
    """Show a result, or a source while it is reconstructed, in a web page; Ctrl-C ends it."""
    from recon3d_core.viewer.content import is_result, read_result
    from recon3d_core.viewer.page import Page

    if is_result(Path(what)):
        content = read_result(Path(what))
        with _served(Page(host, port)) as (page, ended):
            page.show(content)
            _say(content.status, page.url)
            _wait(ended)
        return
    overrides = parse_assignments(assignments or [])
    source_options = overrides.pop('source', {})
    if device is not None:
        overrides = merge(overrides, {'device': device})
    pipeline, source = _open(what, source_options, config, overrides)
    try:
        with _served(Page(host, port)) as (page, ended):
            _say(f'reconstructing {what}', page.url)
            typer.echo(_reconstruct(what, source, pipeline, page, max_frames, ended))
            _wait(ended)
    finally:
        source.close()
        pipeline.close()


def _open(
    uri: str, source_options: dict[str, Any], config: str, overrides: dict[str, Any]
) -> tuple[Any, Any]:
    # Imported here: a result is shown without waiting for Open3D.
    from recon3d_core.data import load_source
    from recon3d_core.scene.options import load_config
    from recon3d_core.scene.pipeline import Pipeline

    options = load_config(config, overrides)
    source = load_source(uri, **source_options)
    return Pipeline(options), source


def _reconstruct(
    uri: str,
    source: Any,
    pipeline: Any,
    page: Any,
    max_frames: int | None,
    ended: threading.Event,
) -> str:
    """Run all frames through the pipeline, with the page kept up to date; return a last line."""
    total = min(len(source), max_frames or len(source))
    done, shown_s = 0, -float('inf')
    for frame in source:
        if done >= total or ended.is_set():
            break
        done += 1
        try:
            update = pipeline.update(frame)
        except FrameError:  # counted by the pipeline
            continue
        page.show_camera(frame)
        surface_due = time.monotonic() - shown_s > _SCENE_PERIOD_S
        if surface_due or update.changed or update.removed:
            _show(page, pipeline, f'{uri}: frame {done} of {total}', surface=surface_due)
        if surface_due:
            shown_s = time.monotonic()
    pipeline.flush()
    dropped = sum(pipeline.dropped.values()) + sum(source.dropped.values())
    status = f'{uri}: {done} frames, {dropped} dropped'
    _show(page, pipeline, status, surface=True)
    return status


def _show(page: Any, pipeline: Any, status: str, *, surface: bool) -> None:
    from recon3d_core.viewer.content import Content, ShownObject

    scene = pipeline.scene(mesh=surface)
    objects = {key: ShownObject.from_estimate(item) for key, item in scene.objects.items()}
    page.show(Content(objects, scene.mesh, f'{status}, {len(objects)} objects'))


@contextlib.contextmanager
def _served(page: Any) -> Any:
    """Give the page and an event that Ctrl-C or SIGTERM sets; close the page in the end."""
    ended = threading.Event()
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda *_: ended.set())
    try:
        yield page, ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        page.close()


def _say(status: str, url: str) -> None:
    typer.echo(f'{status}\nOpen {url} in a browser; Ctrl-C ends it.')


def _wait(ended: threading.Event) -> None:
    # In short waits: a wait without end cannot be interrupted on every platform.
    while not ended.wait(0.5):
        pass
