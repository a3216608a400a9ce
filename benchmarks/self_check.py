"""Can objects' confidence and covariance be believed? Fits the confidence, and checks both.

`python benchmarks/self_check.py [--frames N] [--rows FILE] [--fit] [--json FILE]` reconstructs the
scenes of both lists; `--rows` keeps what was found, and reads it where the file exists. `--fit`
writes `recon3d_core/scene/confidence_table.py` from the first list; the tables are of the second.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import json
from pathlib import Path
from typing import Any

from _common import machine, write_json
import numpy as np
from numpy.typing import NDArray
from recon3d_core import load_source, Pipeline
from recon3d_core.data.sets.partial import PartialConfig, PartialSet
from recon3d_core.data.synth.truth import ObjectTruth
from recon3d_core.errors import FrameError, InputError
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.metrics.boxes import box_iou_3d
from recon3d_core.metrics.solids import cells_of, MeshSolid
from recon3d_core.models.tsdf_completion.evidence import FREE, OBSERVED, REACH, SDF
from recon3d_core.scene import confidence, confidence_table
from recon3d_core.scene.options import SelfCheckOptions
from recon3d_core.scene.pose_covariance import pose_covariance
from recon3d_core.types import ObjectEstimate, Shape
from rich.console import Console
from rich.table import Table

FIT = tuple(f'synthetic:clutter?seed={k}' for k in range(11, 16)) + tuple(
    f'scenes:val:{k:04d}' for k in range(7)
)
CHECK = tuple(f'synthetic:clutter?seed={k}' for k in range(21, 25)) + tuple(
    f'scenes:test:{k:04d}' for k in range(1, 7)
)
RECONSTRUCTORS = ('tsdf_object', 'tsdf_completion')
GOOD_IOU = 0.5
ELLIPSOID = 7.815  # 95 % of a chi-square with 3 degrees of freedom
_ROUGH = {'min_silhouette_iou': 0.0, 'max_depth_residual_m': 1.0}  # the whole is always told
_CELLS, _BINS, _RIDGE = 40, 5, 1.0
Row = dict[str, Any]
Array = NDArray[np.float64]


def rows_of(uri: str, reconstructor: str, frames: int) -> Iterator[Row]:
    """Yield a row for each object after a fifth, a half and all of the frames."""
    marks = (max(frames // 5, 1), frames // 2, frames)
    options = {
        'self_check': _ROUGH,
        'map_scene': False,
        'reconstructor': {'plugin': reconstructor},
    }
    pipeline = Pipeline.from_config('tabletop_rgbd', options)
    source = load_source(f'{uri}{"&" if "?" in uri else "?"}frames={frames}')
    for count, frame in enumerate(source, 1):
        with contextlib.suppress(FrameError):
            pipeline.update(frame)
        if count in marks:
            pipeline.flush()
            for estimate in pipeline.scene().objects.values():
                iou, truth = best_truth(estimate, frame.truth.objects)
                about = {'uri': uri, 'reconstructor': reconstructor, 'frames': count}
                yield {**about, **row_of(estimate, iou, truth)}


def best_truth(
    estimate: ObjectEstimate, truths: Mapping[int, ObjectTruth]
) -> tuple[float, ObjectTruth | None]:
    """Return the largest IoU with a true object, and that object; 0 and None where there is none."""
    solid, best = MeshSolid(estimate.mesh), (0.0, None)
    for truth in truths.values():
        apart_m = np.linalg.norm(truth.T_world_object[:3, 3] - estimate.T_world_object[:3, 3])
        if 2 * apart_m > np.linalg.norm(truth.size_m) + np.linalg.norm(estimate.size_m):
            continue
        other = MeshSolid(truth.mesh)
        bounds = np.stack([solid.bounds_world_m, other.bounds_world_m])
        points, _ = cells_of(np.stack([bounds[:, 0].min(0), bounds[:, 1].max(0)]), _CELLS)
        a, b = solid.contains(points), other.contains(points)
        iou = float((a & b).sum() / max((a | b).sum(), 1))
        best = max(best, (iou, truth), key=lambda pair: pair[0])
    return best


def row_of(estimate: ObjectEstimate, iou: float, truth: ObjectTruth | None) -> Row:
    """Return what an estimate says of itself, and how good it is."""
    check, limits = estimate.self_check, SelfCheckOptions()
    passed = check.silhouette_iou >= limits.min_silhouette_iou
    passed &= not check.depth_residual_m > limits.max_depth_residual_m
    features = confidence.features_of(check, estimate.mesh, estimate.shape, estimate.seen_fraction)
    row: Row = {'iou': iou, 'passed': bool(passed), 'features': features.tolist()}
    if truth is not None:
        covariance = pose_covariance(
            estimate.T_world_object, estimate.mesh, estimate.shape, check
        )[:3, :3]
        offset = truth.T_world_object[:3, 3] - estimate.T_world_object[:3, 3]
        row['box_iou'] = _box_iou(estimate, truth)
        row['center_mm'] = 1e3 * float(np.linalg.norm(offset))
        row['stated_mm'] = 1e3 * float(np.sqrt(np.trace(covariance)))
        row['mahalanobis2'] = float(offset @ np.linalg.solve(covariance, offset))
    return row


def _box_iou(estimate: ObjectEstimate, truth: ObjectTruth) -> float:
    try:
        return box_iou_3d(
            estimate.T_world_object, estimate.size_m, truth.T_world_object, truth.size_m
        )
    except InputError:  # tilted
        return 0.0


def fitted(rows: Sequence[Row]) -> Array:
    """Return the weights of a logistic regression with a ridge, by Newton's method."""
    X = np.array([row['features'] for row in rows])
    y = np.array([row['iou'] > GOOD_IOU for row in rows], float)
    ridge = _RIDGE * np.diag([0.01] + [1.0] * (X.shape[1] - 1))
    weights = np.zeros(X.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-X @ weights))
        gradient = X.T @ (p - y) + ridge @ weights
        weights -= np.linalg.solve(X.T @ (X * (p * (1 - p))[:, None]) + ridge, gradient)
    return weights


def training_figures(objects: int = 150) -> tuple[Array, Array]:
    """Return mean and precision matrix of the evidence that completion is trained on."""
    options = PartialConfig(household_families=30, furniture_families=3, random_shapes=False)
    data = PartialSet('', options)
    names = data.names('val')
    figures = []
    for name in names[:: max(1, len(names) // objects)]:
        for views in (1, 3, 5):
            evidence = data.sample(name, views).evidence().numpy()
            N = evidence.shape[-1]
            shape = Shape(
                VoxelGrid(np.eye(4), 1.0, (N, N, N)), evidence[0], REACH * evidence[SDF],
                evidence[OBSERVED] > 0.5, evidence[FREE] > 0.5,
            )  # fmt: skip
            figures.append(confidence.describe_evidence(shape))
    spread = np.cov(np.array(figures).T) + 1e-4 * np.eye(len(figures[0]))
    return np.mean(figures, axis=0), np.linalg.inv(spread)


def write_table(weights: Array, mean: Array, precision: Array) -> None:
    """Write the module that `confidence` reads."""

    def line(values: Array) -> str:
        return '(' + ', '.join(repr(round(float(value), 4)) for value in values) + ')'

    rows = ''.join(f'    {line(row)},\n' for row in precision)
    features = ''.join(f'    {name!r},\n' for name in confidence_table.FEATURES)
    Path(str(confidence_table.__file__)).write_text(
        f'"""{str(confidence_table.__doc__).strip()}"""\n\nFEATURES = (\n{features})\n'
        f'WEIGHTS = {line(weights)}\nMEAN = {line(mean)}\nPRECISION = (\n{rows})\n',
        encoding='utf-8',
    )


def told(rows: Sequence[Row], weights: Array) -> Array:
    """Return the confidences of rows."""
    X = np.array([row['features'] for row in rows])
    return np.asarray(1 / (1 + np.exp(-X @ weights)))


def reliability(rows: Sequence[Row], weights: Array) -> tuple[list[Row], float]:
    """Return confidence and frequency of good shapes by bin, and the calibration error."""
    p, good = told(rows, weights), np.array([row['iou'] > GOOD_IOU for row in rows])
    index = np.clip((p * _BINS).astype(int), 0, _BINS - 1)
    bins = [
        {'from': k / _BINS, 'objects': int(some.sum()), 'confidence': float(p[some].mean()),
         'good': float(good[some].mean())}
        for k in range(_BINS) if (some := index == k).any()
    ]  # fmt: skip
    error = sum(one['objects'] * abs(one['confidence'] - one['good']) for one in bins)
    return bins, error / len(rows)


def verdicts(rows: Sequence[Row], weights: Array) -> list[Row]:
    """Return how well rules find the shapes whose IoU is below a half."""
    bad = np.array([row['iou'] <= GOOD_IOU for row in rows])
    p, failed = told(rows, weights), ~np.array([row['passed'] for row in rows])
    rules = {'limits': failed, 'confidence < 0.5': p < 0.5, 'confidence < 0.3': p < 0.3,
             'limits or confidence < 0.3': failed | (p < 0.3)}  # fmt: skip
    return [
        {'rule': name, 'called bad': int(found.sum()),
         'precision': float((found & bad).sum() / max(found.sum(), 1)),
         'recall': float((found & bad).sum() / max(bad.sum(), 1)),
         'right': float((found == bad).mean())}
        for name, found in rules.items()
    ]  # fmt: skip


def coverage(rows: Sequence[Row]) -> Row:
    """Return how often the true centre lies in the ellipsoid of 95 %, of objects that were found.

    One that is two objects in truth, or half of one, is not found: its box does not fit.
    """
    known = [row for row in rows if 'mahalanobis2' in row]
    some = [row for row in known if row['box_iou'] > GOOD_IOU]
    inside = [row['mahalanobis2'] < ELLIPSOID for row in some]
    return {
        'found': len(some),
        'inside, of all': float(np.mean([row['mahalanobis2'] < ELLIPSOID for row in known])),
        'inside': float(np.mean(inside)),
        'error_mm': float(np.median([row['center_mm'] for row in some])),
        'stated_mm': float(np.median([row['stated_mm'] for row in some])),
    }


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a table."""
    table = Table(title=title)
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows:
        cells = (f'{v:.3f}' if isinstance(v, float) else str(v) for v in row.values())
        table.add_row(*cells)
    Console(width=120).print(table)


def collected(frames: int, path: Path | None) -> list[Row]:
    """Return the rows of all scenes, from a file where there is one."""
    if path is not None and path.exists():
        rows: list[Row] = json.loads(path.read_text(encoding='utf-8'))
        return rows
    rows = []
    for reconstructor in RECONSTRUCTORS:
        for uri in FIT + CHECK:
            rows += rows_of(uri, reconstructor, frames)
    if path is not None:
        path.write_text(json.dumps(rows), encoding='utf-8')
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--frames', type=int, default=16)
    parser.add_argument('--rows', type=Path, help='file that keeps what was found')
    parser.add_argument('--fit', action='store_true', help='fit the confidence, and write it')
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    options = parser.parse_args(arguments)
    rows = collected(options.frames, options.rows)
    weights = np.array(confidence_table.WEIGHTS)
    if options.fit:
        weights = fitted([row for row in rows if row['uri'] in FIT])
        write_table(weights, *training_figures())
    figures: Row = {'weights': dict(zip(confidence_table.FEATURES, weights.tolist(), strict=True))}
    for name, scenes in (('fit', FIT), ('check', CHECK)):
        some = [row for row in rows if row['uri'] in scenes]
        bins, error = reliability(some, weights)
        rules, covered = verdicts(some, weights), coverage(some)
        figures[name] = {'objects': len(some), 'ece': error, 'bins': bins, 'rules': rules,
                         'coverage': covered}  # fmt: skip
        show(f'{name}: {len(some)} estimates, calibration error {error:.3f}', bins)
        show(f'{name}: shapes with an IoU below a half', rules)
        show(f'{name}: true centre in the ellipsoid of 95 %', [covered])
    write_json(options.json, 'self_check', {'machine': machine(), **figures})
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
