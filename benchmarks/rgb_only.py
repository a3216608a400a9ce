"""Objects from colour, masks and poses: time of a view in a track, and shapes beside carving.

`python benchmarks/rgb_only.py [--part NAME ...] [--threads N] [--scenes N] [--frames N] [--json FILE]`

- `time`: a new view comes into a track: crop, network, fusion; and its shape on the grid with what
  was seen and in which colours. Bar: a view costs at most 60 ms with networks of 128 px and 32^3.
- `objects`: scenes `synthetic:tabletop` through the pipeline of `tabletop_rgb` with true masks and
  with those of `centermask` and `foreground`. IoU of each object found with the true one on a fine grid, 0 for those
  not found. Bar: `posed_fusion` is above its peer of the same run, `visual_hull`.

Networks without weights in this package have random ones in `time`, and are left out of `objects`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import statistics
import sys
import tempfile
import time
from typing import Any

from _common import verdict, write_json
import numpy as np
import open3d as o3d
from recon3d_core import load_source, Pipeline, registry
from recon3d_core.data.synth.truth import ObjectTruth
from recon3d_core.fusion.visual_hull import initial_grid_from_views
from recon3d_core.metrics.scene import match_objects
from recon3d_core.models import create_model
from recon3d_core.models.weights import save_weights, shipped_weights, WeightsCard
from recon3d_core.scene.views import cut_view
from recon3d_core.types import Mesh, ObjectEstimate
from rich.console import Console
from rich.table import Table
import torch

PARTS = ('time', 'objects')
RECONSTRUCTORS = {
    'posed_fusion': 'posed_fusion',
    'pix2vox': 'pix2vox_s',
    'r2n2': 'r2n2_s',
    'visual_hull': None,
}
BAR_MS = 60.0
FINE = 48  # samples along each edge of a true object's box
Row = dict[str, Any]


def make(name: str, folder: Path) -> Any:
    """Return a reconstructor; one without shipped weights has random ones."""
    kind, model = registry.load('reconstructor', name), RECONSTRUCTORS[name]
    if model is None or model in shipped_weights():
        return kind()
    network = create_model(model)
    card = WeightsCard(model, config=network.config.model_dump())
    path = folder / f'{model}.safetensors'
    save_weights(path, network.state_dict(), card)
    return kind(kind.Config(weights=str(path)))


def time_row(name: str, folder: Path) -> Row:
    """Measure one reconstructor with 20 views of a mug."""
    source = load_source('synthetic:single_mug?masks=true&depth=false&frames=20')
    detector = registry.load('detector', 'frame_masks')()
    views = [cut_view(frame, detector.detect(frame).items[0], None) for frame in source]
    reconstructor = make(name, folder)
    state = reconstructor.start(initial_grid_from_views(views, 48))
    view_ms, cpu_ms, shape_ms = [], [], []
    for view in views:
        start, cpu = time.perf_counter(), time.process_time()
        state = reconstructor.observe(state, view)
        middle = time.perf_counter()
        cpu_ms.append(1e3 * (time.process_time() - cpu))
        reconstructor.shape(state)
        view_ms.append(1e3 * (middle - start))
        shape_ms.append(1e3 * (time.perf_counter() - middle))
    row = {
        'reconstructor': name,
        'view_ms': statistics.median(view_ms[1:]),
        'view_cpu_ms': statistics.median(cpu_ms[1:]),
        'view_max_ms': max(view_ms[1:]),
        'shape_ms': statistics.median(shape_ms[1:]),
    }
    row['good'] = row['view_ms'] <= BAR_MS
    return row


def inside(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Return which points (..., 3) are inside a closed mesh."""
    rays = o3d.t.geometry.RaycastingScene()
    rays.add_triangles(
        np.ascontiguousarray(mesh.vertices_m, np.float32),
        np.ascontiguousarray(mesh.faces, np.uint32),
    )
    return rays.compute_occupancy(o3d.core.Tensor(points.astype(np.float32))).numpy() > 0.5


def shape_iou(estimate: ObjectEstimate, truth: ObjectTruth) -> float:
    """Return the IoU of two closed meshes on a grid around both."""
    both = np.concatenate([estimate.mesh.vertices_m, truth.mesh.vertices_m])
    low, high = both.min(0), both.max(0)
    axes = [np.linspace(a, b, FINE) for a, b in zip(low, high)]
    points = np.stack(np.meshgrid(*axes, indexing='ij'), -1)
    a, b = inside(estimate.mesh, points), inside(truth.mesh, points)
    return float((a & b).sum() / max((a | b).sum(), 1))


def objects_row(name: str, detector: str, scenes: int, frames: int) -> Row:
    """Run scenes through the pipeline and compare what was found with the truth."""
    options = {
        'reconstructor': {'plugin': name},
        'detector': {'plugin': detector},
        'tracker': {'plugin': 'cones', 'use_identities': detector == 'frame_masks'},
    }
    ious: list[float] = []
    found = false = closed = 0
    for seed in range(scenes):
        source = load_source(
            f'synthetic:tabletop?masks=true&depth=false&frames={frames}&rate_hz=5&seed={seed}'
        )
        pipeline = Pipeline.from_config('tabletop_rgb', options)
        for frame in source:
            pipeline.update(frame)
        pipeline.flush()
        estimates = dict(pipeline.scene().objects)
        matched = match_objects(estimates.values(), source.objects.values(), min_iou=0.1)
        by_truth = {match.truth_id: estimates[match.estimate_id] for match in matched.matches}
        ious += [
            shape_iou(by_truth[key], truth) if key in by_truth else 0.0
            for key, truth in source.objects.items()
        ]
        found += len(by_truth)
        false += len(estimates) - len(by_truth)
        closed += sum(estimate.watertight for estimate in estimates.values())
    return {
        'reconstructor': name,
        'detector': detector,
        'objects': len(ious),
        'recall': found / len(ious),
        'false': false,
        'closed': closed / max(found + false, 1),
        'iou': statistics.fmean(ious),
        'iou_found': statistics.fmean([iou for iou in ious if iou > 0] or [0.0]),
    }


def measure_time(console: Console) -> list[Row]:
    """Measure and print the times."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [time_row(name, Path(folder)) for name in RECONSTRUCTORS]
    table = Table(title=f'A view comes into a track (bar: {BAR_MS:.0f} ms)')
    for column in ('reconstructor', 'view', 'its CPU time', 'slowest', 'shape', ''):
        table.add_column(column)
    for row in rows:
        keys = ('view_ms', 'view_cpu_ms', 'view_max_ms', 'shape_ms')
        times = (f'{row[key]:.1f} ms' for key in keys)
        table.add_row(row['reconstructor'], *times, verdict(row['good']))
    console.print(table)
    return rows


def measure_objects(scenes: int, frames: int, console: Console) -> list[Row]:
    """Run and print the comparison with the truth."""
    shipped = shipped_weights()
    names = [name for name, model in RECONSTRUCTORS.items() if model is None or model in shipped]
    rows = [
        objects_row(name, detector, scenes, frames)
        for detector in ('frame_masks', 'centermask', 'foreground')
        for name in names
    ]
    table = Table(title=f'{scenes} tables, {frames} frames each')
    for column in ('detector', 'reconstructor', 'objects', 'recall', 'false', 'closed'):
        table.add_column(column)
    for column in ('IoU, missing = 0', 'IoU of those found', ''):
        table.add_column(column)
    for row in rows:
        peer = next(r for r in rows if r['reconstructor'] == 'visual_hull'
                    and r['detector'] == row['detector'])  # fmt: skip
        row['good'] = row['reconstructor'] != 'posed_fusion' or row['iou'] > peer['iou']
        table.add_row(
            row['detector'], row['reconstructor'], str(row['objects']), f'{row["recall"]:.2f}',
            str(row['false']), f'{row["closed"]:.2f}', f'{row["iou"]:.3f}',
            f'{row["iou_found"]:.3f}', verdict(row['good']),
        )  # fmt: skip
    console.print(table)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0 where all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--part', action='append', choices=PARTS)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--scenes', type=int, default=3)
    parser.add_argument('--frames', type=int, default=24)
    parser.add_argument('--json', type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    parts, console = options.part or PARTS, Console()
    content: dict[str, Any] = {'threads': options.threads}
    if 'time' in parts:
        content['time'] = measure_time(console)
    if 'objects' in parts:
        content['objects'] = measure_objects(options.scenes, options.frames, console)
    write_json(options.json, 'rgb_only', content)
    rows = [*content.get('time', []), *content.get('objects', [])]
    return 0 if all(row['good'] for row in rows) else 1


if __name__ == '__main__':
    sys.exit(main())
