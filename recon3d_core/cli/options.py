"""Options that several verbs share, each written once."""

from __future__ import annotations

from typing import Annotated

import typer

ConfigName = Annotated[
    str, typer.Option('--config', '-c', help='Name of a configuration, or a YAML file.')
]
MaxFrames = Annotated[
    int | None, typer.Option('--max-frames', min=1, help='Stop after this many frames.')
]
# Without it the configuration decides.
PipelineDevice = Annotated[str | None, typer.Option('--device', help='auto, cpu or cuda.')]
NetworkDevice = Annotated[str, typer.Option('--device', help='auto, cpu, cuda or cuda:N.')]
