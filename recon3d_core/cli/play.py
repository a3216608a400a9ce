"""`recon3d play`: publish a source as ROS topics, or record it as a bag."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

from recon3d_core import config
from recon3d_core.errors import RunError
import typer


def command(
    source: Annotated[
        str, typer.Argument(help='RGB-D folder, rosbag2 folder, .mcap file or synthetic:NAME.')
    ],
    rate: Annotated[float, typer.Option(help='Speed; 2 is twice as fast.')] = 1.0,
    loop: Annotated[int, typer.Option(help='How often to play it; 0 = until interrupted.')] = 1,
    clock: Annotated[
        bool, typer.Option(help='Keep the stamps of the source and publish /clock.')
    ] = False,
    compressed: Annotated[bool, typer.Option(help='Publish JPEG and compressedDepth.')] = False,
    pose: Annotated[
        str, typer.Option(help='auto, tf, pose, odometry or none: how poses are published.')
    ] = 'auto',
    world_frame: Annotated[str, typer.Option(help='Frame of the poses.')] = 'map',
    preload: Annotated[
        bool, typer.Option(help='Decode everything first, for the steadiest timing.')
    ] = False,
    wait: Annotated[
        float, typer.Option(help='Seconds to wait for a subscriber before starting.')
    ] = 0.0,
    bag: Annotated[
        Path | None, typer.Option(help='Record a bag (.mcap or a folder) and publish nothing.')
    ] = None,
) -> None:
    """Publish a source as ROS topics with its own timing, or record it as a bag."""
    from recon3d_core.data import load_source

    opened = load_source(source)
    if bag is not None:
        values = {'pose': 'tf' if pose == 'auto' else pose, 'world_frame': world_frame}
        if compressed:
            values |= {'color': 'jpeg', 'depth': 'compressed'}
        _record(opened, bag, values)
        return
    try:
        player: Any = importlib.import_module('recon3d_ros.player')
    except ImportError as error:
        raise RunError(
            'playing needs ROS 2',
            str(error),
            'rclpy and the common messages',
            'Source a ROS installation, or run `make setup`; --bag works without ROS.',
        ) from error
    options = player.PlayerOptions(
        rate=rate,
        loops=loop,
        clock=clock,
        compressed=compressed,
        pose=pose,
        world_frame=world_frame,
        preload=preload,
        wait_s=wait,
    )
    typer.echo(f'playing {source}: {len(opened)} frames, poses by {player.pose_kind(pose)}')
    sent = player.play(opened, options)
    typer.echo(f'{sent} frames sent')


def _record(source: Any, path: Path, values: dict[str, Any]) -> None:
    from recon3d_core.data.bag_writer import BagOptions, write_bag

    report = write_bag(source, path, config.validate(BagOptions, values))
    typer.echo(f'{report.frames} frames written to {report.path}, {report.bytes / 1e6:.1f} MB')
