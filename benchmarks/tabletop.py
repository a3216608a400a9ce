"""Five synthetic tables, 60 noisy frames around each: are the objects found, placed and shaped?

`python benchmarks/tabletop.py [--scenes NAME ...] [--frames N] [--noise X] [--json FILE]`
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
import time
from typing import Any

from _common import machine, write_json
import numpy as np
from recon3d_core import Pipeline
from recon3d_core.data.synth.scenes import BENCHMARK_SCENES
from recon3d_core.data.synth.truth import ObjectTruth
from recon3d_core.data.synthetic import SyntheticSource
from recon3d_core.metrics.scene import (
    center_error_m,
    edge_errors,
    IdSwitchCounter,
    match_objects,
    surface_error_m,
)
from recon3d_core.types import ObjectEstimate
from rich.console import Console
from rich.table import Table
import trimesh

# Name, where it is in the summary, bound, and whether the bound is the least or the most.
BARS: tuple[tuple[str, str, float, str], ...] = (
    ('precision at box IoU 0.5', 'precision', 0.9, '>='),
    ('recall at box IoU 0.5', 'recall', 0.9, '>='),
    ('id switches', 'id_switches', 0, '<='),
    ('seen surface, median over objects (mm)', 'surface_mm', 4.0, '<='),
    ('centre, median over objects (mm)', 'center_mm', 10.0, '<='),
    ('box edges, median (%)', 'edge_percent', 10.0, '<='),
    ('meshes that are not watertight, finite, of positive volume', 'bad_meshes', 0, '<='),
)


def run_scene(name: str, frames: int, noise: float, config: str) -> dict[str, Any]:
    """Return the figures of one scene, with a row for each of its objects."""
    source = SyntheticSource(f'{name}?frames={frames}&noise={noise}')
    pipeline = Pipeline.from_config(config)
    switches = IdSwitchCounter()
    seconds = 0.0
    for frame in source:
        start = time.perf_counter()
        update = pipeline.update(frame)
        seconds += time.perf_counter() - start
        if update.changed or update.removed:
            switches.update(pipeline.scene().objects, source.objects)
    start = time.perf_counter()
    pipeline.flush()
    seconds += time.perf_counter() - start
    estimates = pipeline.scene().objects
    switches.update(estimates, source.objects)
    matched = match_objects(estimates.values(), source.objects.values())
    return {
        'scene': name,
        'precision': matched.precision,
        'recall': matched.recall,
        'id_switches': switches.switches,
        'estimates': len(estimates),
        'frames_per_s': frames / seconds,
        'bad_meshes': sum(not _is_solid(estimate) for estimate in estimates.values()),
        'objects': [
            _object_row(source.objects[m.truth_id], estimates[m.estimate_id], m.iou)
            for m in matched.matches
        ],
        'missed': _missed(source.objects, {m.truth_id for m in matched.matches}),
        'phantoms': sorted(set(estimates) - {m.estimate_id for m in matched.matches}),
    }


def _object_row(truth: ObjectTruth, estimate: ObjectEstimate, iou: float) -> dict[str, Any]:
    return {
        'truth_id': truth.id,
        'estimate_id': estimate.id,
        'category': truth.category,
        'iou': iou,
        'surface_mm': 1e3 * surface_error_m(estimate.mesh, truth.mesh),
        'center_mm': 1e3 * center_error_m(estimate, truth),
        'edge_percent': (100 * edge_errors(estimate, truth)).tolist(),
        'views_used': estimate.views_used,
        'watertight': estimate.watertight,
        'seen_fraction': estimate.seen_fraction,
        'silhouette_iou': estimate.self_check.silhouette_iou,
    }


def _missed(objects: Mapping[int, ObjectTruth], found: set[int]) -> list[str]:
    return [truth.category for key, truth in objects.items() if key not in found]


def _is_solid(estimate: ObjectEstimate) -> bool:
    mesh = trimesh.Trimesh(estimate.mesh.vertices_m, estimate.mesh.faces, process=False)
    finite = bool(np.isfinite(estimate.mesh.vertices_m).all())
    return finite and mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0


def summarise(scenes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the figures of all scenes together; NaN where no object was found."""
    objects = [row for scene in scenes for row in scene['objects']]
    estimates = sum(scene['estimates'] for scene in scenes)
    truths = sum(len(scene['objects']) + len(scene['missed']) for scene in scenes)

    def median(key: str) -> float:
        return float(np.median([row[key] for row in objects])) if objects else float('nan')

    return {
        'precision': len(objects) / max(estimates, 1),
        'recall': len(objects) / truths,
        'id_switches': sum(scene['id_switches'] for scene in scenes),
        'surface_mm': median('surface_mm'),
        'center_mm': median('center_mm'),
        'edge_percent': median('edge_percent'),
        'bad_meshes': sum(scene['bad_meshes'] for scene in scenes),
        'frames_per_s': float(np.mean([scene['frames_per_s'] for scene in scenes])),
    }


def print_tables(scenes: Sequence[Mapping[str, Any]], summary: Mapping[str, float]) -> bool:
    """Print the objects and the bars; return whether all bars are met."""
    console = Console()
    table = Table(title='Objects')
    for heading in ('scene', 'object', 'IoU', 'surface mm', 'centre mm', 'edges %', 'views'):
        table.add_column(heading, justify='left' if heading in ('scene', 'object') else 'right')
    for scene in scenes:
        for row in scene['objects']:
            edges = ' '.join(f'{value:.0f}' for value in row['edge_percent'])
            table.add_row(
                scene['scene'], row['category'], f'{row["iou"]:.2f}', f'{row["surface_mm"]:.1f}',
                f'{row["center_mm"]:.1f}', edges, str(row['views_used']),
            )  # fmt: skip
        for category in scene['missed']:
            table.add_row(scene['scene'], f'{category} (missed)', *['-'] * 5)
        if scene['phantoms']:
            table.add_row(scene['scene'], f'phantoms: {scene["phantoms"]}', *['-'] * 5)
    console.print(table)
    bars = Table(title=f'Bars ({summary["frames_per_s"]:.1f} frames/s)')
    for heading in ('what', 'measured', 'bar', ''):
        bars.add_column(heading)
    met = []
    for title, key, bound, relation in BARS:
        value = summary[key]
        met.append(bool(value >= bound if relation == '>=' else value <= bound))
        bars.add_row(title, f'{value:.3g}', f'{relation} {bound:g}', 'ok' if met[-1] else 'MISSED')
    console.print(bars)
    return all(met)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0 where all bars are met, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--scenes', nargs='+', default=list(BENCHMARK_SCENES))
    parser.add_argument('--frames', type=int, default=60)
    parser.add_argument('--noise', type=float, default=1.0)
    parser.add_argument('--config', default='tabletop_rgbd')
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    options = parser.parse_args(arguments)
    started = machine()
    scenes = [
        run_scene(name, options.frames, options.noise, options.config) for name in options.scenes
    ]
    summary = summarise(scenes)
    met = print_tables(scenes, summary)
    write_json(options.json, 'tabletop', {
        'machine': started, 'frames': options.frames, 'noise': options.noise,
        'config': options.config, 'summary': summary, 'met': met, 'scenes': scenes,
    })  # fmt: skip
    return 0 if met else 1


if __name__ == '__main__':
    raise SystemExit(main())
