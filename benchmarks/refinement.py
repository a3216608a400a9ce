"""Joint refinement on cluttered synthetic tables: what it gains, breaks and costs.

`python benchmarks/refinement.py [--seeds N ...] [--frames N] [--json FILE]` reconstructs each table
once without refinement; then the estimates as they are, and the same disturbed, are refined. Times
are processor time of all objects of a table in one update, which is the worst case.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
import dataclasses
from pathlib import Path
import time
from typing import Any

from _common import machine, write_json
import numpy as np
from recon3d_core import Pipeline
from recon3d_core.data.synth.truth import ObjectTruth
from recon3d_core.data.synthetic import SyntheticSource
from recon3d_core.metrics.contact import floating_gap_m, penetration_share
from recon3d_core.metrics.scene import center_error_m, match_objects, surface_distances_m
from recon3d_core.scene.refinement import moved_estimate, Refiner
from recon3d_core.scene.refining.carving import solid_of
from recon3d_core.scene.refining.evidence import Motion
from recon3d_core.scene.self_check import self_check
from recon3d_core.types import ObjectEstimate, View
from rich.console import Console
from rich.table import Table

# Name, shift in metres, turn in radians.
DISTURBANCES = (('as fused', 0.0, 0.0), ('3 mm, 1 degree', 0.003, 0.0175),
                ('5 mm, 3 degrees', 0.005, 0.052))  # fmt: skip
Estimates = Mapping[int, ObjectEstimate]


def disturbed(
    estimate: ObjectEstimate, views: Sequence[View], pipeline: Pipeline, shift_m: float,
    turn_rad: float, rng: np.random.Generator,
) -> ObjectEstimate:  # fmt: skip
    """Return an estimate that is moved and turned in a random direction."""
    axes = rng.normal(size=(2, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    step = np.concatenate([turn_rad * axes[0], shift_m * axes[1], [0.0]])
    motion = Motion.none().then(step)
    mesh, shape, pose = moved_estimate(estimate, motion, estimate.T_world_object[:3, 3])
    check = self_check(mesh, views, pipeline.config.self_check)
    return dataclasses.replace(
        estimate, mesh=mesh, shape=shape, T_world_object=pose, self_check=check
    )


def figures(
    estimates: Estimates, truth: Mapping[int, ObjectTruth], pairs: Mapping[int, int]
) -> dict[str, float]:
    """Return errors of estimates whose true objects are known, `{estimate id: truth id}`."""
    rows = []
    for key, true_id in pairs.items():
        estimate, true = estimates[key], truth[true_id]
        solid, inside = solid_of(estimate.shape), true.occupancy(estimate.shape.grid)
        rows.append((
            center_error_m(estimate, true),
            float(surface_distances_m(estimate.mesh, true.mesh).mean()),
            (solid & inside).sum() / max((solid | inside).sum(), 1),
            floating_gap_m(estimate.mesh, estimate.support),
        ))  # fmt: skip
    center, surface, overlap, gap = np.mean(rows, axis=0)
    return {
        'center_mm': 1e3 * center,
        'surface_mm': 1e3 * surface,
        'iou': overlap,
        'penetration_percent': 100 * penetration_share([e.mesh for e in estimates.values()]),
        'gap_mm': 1e3 * gap,
    }


def run_scene(seed: int, frames: int) -> list[dict[str, Any]]:
    """Return a row for each disturbance of a table: figures before and after."""
    source = SyntheticSource(f'clutter?seed={seed}&frames={frames}')
    pipeline = Pipeline.from_config('tabletop_rgbd', {'refinement': {'enabled': False}})
    for frame in source:
        pipeline.update(frame)
    pipeline.flush()
    fused, views = pipeline.scene().objects, pipeline.kept_views()
    matched = match_objects(fused.values(), source.objects.values()).matches
    pairs = {match.estimate_id: match.truth_id for match in matched}
    rng, rows = np.random.default_rng(seed), []
    for name, shift_m, turn_rad in DISTURBANCES:
        before = {
            key: disturbed(e, views[key], pipeline, shift_m, turn_rad, rng) if shift_m else e
            for key, e in fused.items()
        }
        refiner = Refiner(pipeline.config.refinement, pipeline.config.self_check)
        start = time.process_time()
        new, _ = refiner.refine(sorted(before), before, views, pipeline.mesher)
        spent_ms = 1e3 * (time.process_time() - start)
        rows.append({
            'seed': seed, 'name': name, 'objects': len(fused), 'changed': len(new),
            'processor_ms': spent_ms, 'before': figures(before, source.objects, pairs),
            'after': figures({**before, **new}, source.objects, pairs),
        })  # fmt: skip
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print the means over the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--seeds', nargs='+', type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument('--frames', type=int, default=30)
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    options = parser.parse_args(arguments)
    started = machine()
    rows = [row for seed in options.seeds for row in run_scene(seed, options.frames)]
    table = Table(title=f'{len(options.seeds)} tables, {options.frames} frames; before -> after')
    keys = list(rows[0]['before'])
    for heading in ('disturbed', *keys, 'changed', 'ms per object'):
        table.add_column(heading)
    for name, _, _ in DISTURBANCES:
        some = [row for row in rows if row['name'] == name]
        cells = [
            ' -> '.join(f'{np.mean([row[when][key] for row in some]):.3g}' for when in (
                'before', 'after'))
            for key in keys
        ]  # fmt: skip
        objects = sum(row['objects'] for row in some)
        spent_ms = sum(row['processor_ms'] for row in some) / objects
        changed = f'{sum(row["changed"] for row in some)} of {objects}'
        table.add_row(name, *cells, changed, f'{spent_ms:.0f}')
    Console(width=140).print(table)
    write_json(options.json, 'refinement', {
        'machine': started, 'frames': options.frames, 'rows': rows,
    })  # fmt: skip
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
