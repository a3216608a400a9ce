"""Time of `recon3d run`, mapping only, beside a bare Open3D loop over the same frames.

`python benchmarks/mapping.py [--frames N] [--repeats N] [--json FILE]` reads the recorded kitchen
(RECON3D_DATA). The loop is what one writes first from Open3D's tutorial: decode, take the blocks
in view, integrate, with the default truncation and block size; it writes no files, and `recon3d
run` does. Both run in this process, in turns; the least time of each counts, since what other
programs take only ever adds to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
import resource
import sys
import tempfile
import time
from typing import Any

from _common import KITCHEN, machine, write_json
import cv2
import numpy as np
import open3d as o3d
from recon3d_core.cli.run import run
from recon3d_core.data import load_source
from recon3d_core.mapping.tsdf import TsdfConfig, TsdfMapper
from recon3d_core.types import Frame

VOXEL_M = 0.02
MAX_DEPTH_M = 4.0
BAR = 1.3


def open3d_loop(colors: list[Path]) -> Any:
    """Integrate the frames with Open3D alone and return its grid."""
    intrinsics = o3d.core.Tensor(np.loadtxt(KITCHEN / 'camera-intrinsics.txt'))
    kind = o3d.core.float32
    grid = o3d.t.geometry.VoxelBlockGrid(
        ('tsdf', 'weight', 'color'), (kind, kind, kind), (1, 1, 3), VOXEL_M, 16, 1000
    )
    for color_path in colors:
        stem = color_path.name.removesuffix('.color.jpg')
        color = cv2.cvtColor(cv2.imread(str(color_path)), cv2.COLOR_BGR2RGB)
        depth = cv2.imread(str(KITCHEN / f'{stem}.depth.png'), cv2.IMREAD_UNCHANGED)
        depth[depth == 65535] = 0
        pose = np.linalg.inv(np.loadtxt(KITCHEN / f'{stem}.pose.txt'))
        extrinsic = o3d.core.Tensor(pose)
        depth_image = o3d.t.geometry.Image(o3d.core.Tensor.from_numpy(depth))
        color_image = o3d.t.geometry.Image(o3d.core.Tensor.from_numpy(color))
        blocks = grid.compute_unique_block_coordinates(
            depth_image, intrinsics, extrinsic, 1000.0, MAX_DEPTH_M
        )
        grid.integrate(
            blocks,
            depth_image,
            color_image,
            intrinsics,
            intrinsics,
            extrinsic,
            1000.0,
            MAX_DEPTH_M,
        )
    return grid


def recon3d_run(frames: int) -> None:
    """Run the command's function, files included."""
    overrides = {'find_objects': False, 'mapper': {'voxel_size_m': VOXEL_M}}
    with tempfile.TemporaryDirectory() as out:
        run(str(KITCHEN), Path(out), 'tabletop_rgbd', overrides, frames, 'cpu')


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Return the wall and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def stage_ms(frames: list[Frame], **options: Any) -> dict[str, float]:
    """Return the median time of `integrate` and the time of the extractions."""
    mapper = TsdfMapper(TsdfConfig(**options))
    times = [timed(lambda frame=frame: mapper.integrate(frame)) for frame in frames]
    wall, processor = np.median(times, axis=0) * 1e3
    return {
        'integrate_ms': float(wall),
        'integrate_cpu_ms': float(processor),
        'mesh_ms': timed(mapper.mesh)[0] * 1e3,
        'cloud_ms': timed(mapper.cloud)[0] * 1e3,
        **mapper.stats(),
    }


def measure(count: int, repeats: int) -> dict[str, Any]:
    """Run both in turns and the stages once."""
    colors = sorted(KITCHEN.glob('*.color.jpg'))[:count]
    count = len(colors)
    open3d_loop(colors[:3])
    recon3d_run(3)
    peer, ours = [], []
    for _ in range(repeats):
        peer.append(timed(lambda: open3d_loop(colors)))
        ours.append(timed(lambda: recon3d_run(count)))
    frames = [frame for frame, _ in zip(load_source(KITCHEN), range(min(60, count)))]
    rows = [
        {'what': 'bare Open3D loop', 'wall_s': min(peer)[0], 'cpu_s': min(peer)[1]},
        {'what': 'recon3d run, mapping only', 'wall_s': min(ours)[0], 'cpu_s': min(ours)[1]},
    ]
    return {
        'frames': count,
        'rows': rows,
        'ratio': rows[1]['wall_s'] / rows[0]['wall_s'],
        'bar': BAR,
        'stages': {f'{voxel:g} m': stage_ms(frames, voxel_size_m=voxel) for voxel in (0.02, 0.01)},
        'peak_rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def report(result: dict[str, Any]) -> None:
    """Print what was measured."""
    for row in result['rows']:
        rate = result['frames'] / row['wall_s']
        print(
            f'{row["what"]:28}{row["wall_s"]:8.2f} s  processor {row["cpu_s"]:7.2f} s'
            f'  {rate:6.1f} frames/s'
        )
    verdict = 'ok' if result['ratio'] <= BAR else 'MISSED'
    print(f'ratio {result["ratio"]:.2f}, bar <= {BAR} {verdict}')
    for voxel, stage in result['stages'].items():
        print(
            f'voxels of {voxel}: integrate {stage["integrate_ms"]:.1f} ms '
            f'(processor {stage["integrate_cpu_ms"]:.1f}), mesh {stage["mesh_ms"]:.0f} ms, '
            f'cloud {stage["cloud_ms"]:.0f} ms, {stage["blocks"]:.0f} blocks, '
            f'{stage["memory_mb"]:.0f} MB'
        )
    print(f'peak memory of the process {result["peak_rss_mb"]:.0f} MB')


def main() -> int:
    """Measure, print, write, and return 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, default=250)
    parser.add_argument('--repeats', type=int, default=2)
    parser.add_argument('--json', type=Path, help='write the results into this file')
    arguments = parser.parse_args()
    content: dict[str, Any] = {'machine': machine()}
    good = True
    if KITCHEN.is_dir():
        result = measure(arguments.frames, arguments.repeats)
        report(result)
        content.update(result)
        good = result['ratio'] <= BAR
    else:
        content['skipped'] = f'{KITCHEN} is absent; set RECON3D_DATA'
        print(f'skipped: {content["skipped"]}')
    write_json(arguments.json, 'mapping', content)
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
