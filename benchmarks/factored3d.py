"""Single colour images of composed scenes, taken apart: the protocol of Factored3D.

`python benchmarks/factored3d.py [--weights FILE] [--scenes N] [--boxes NAME ...] [--detector-weights
FILE] [--picture FILE] [--json FILE]`

Test scenes of the set `parses`, of which neither an object nor a scene was trained on. Rows are the
network and the mean shape (mean cells, edges, place and depth of the training objects, level
camera turn) in each kind of boxes: `oracle`, those of the true visible pixels, or those that a
detector finds in the colour image. Columns are average precision with all criteria (box IoU above
.5, rotation within 30 degrees, translation within 1 m, shape IoU above .25, mean |log2| of the
edges' ratios below .5) and with each dropped. Bars: detected boxes give at least half of what
oracle boxes give, and more than the mean shape in the same boxes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import time
from typing import Any

from _common import machine, verdict, write_json
import numpy as np
from recon3d_core import registry
from recon3d_core.data.sets.parses import collate_parses, ParsesConfig, ParsesSet
from recon3d_core.data.sets.parses_alter import Parse
from recon3d_core.geometry.cameras import Camera
from recon3d_core.metrics.parsing import (
    CRITERIA,
    factored_ap,
    PosedObject,
    rotation_error_rad,
    scale_error_log2,
    shape_iou,
)
from recon3d_core.models import create_network
from recon3d_core.models.factored3d import frames
from recon3d_core.models.factored3d.loss import truths_of
from recon3d_core.models.factored3d.model import box_rays, Factored3d, Factors
from recon3d_core.models.factored3d.parsing import ParsedObject, place, see_image, tell_objects
from recon3d_core.training.parses_pictures import draw_parses
from recon3d_core.training.parses_scores import found_objects, true_objects
from recon3d_core.types import Frame
from rich.console import Console
from rich.table import Table
import torch
from torch import Tensor

ORACLE = 'oracle'
Boxes = list[tuple[tuple[float, float, float, float], float]]
_THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


class MeanShape:
    """Tells the same of every box: the mean over training objects.

    Attributes:
        threshold: Probability from which a cell is inside, with the best IoU on these objects.
    """

    def __init__(self, views: Sequence[Parse]) -> None:
        """Average over the objects of views."""
        shape, rows, ups, kept = torch.zeros(32, 32, 32), [], [], []
        for view in views:
            batch = collate_parses([view], ['']).tensors()
            truth, _ = truths_of(batch)
            rays, extent = box_rays(batch['K'][batch['image_of']], batch['boxes'])
            middle = batch['T_camera_object'][:, :3, 3]
            offset = (middle[:, :2] / middle[:, 2:] - rays[:, :2]) / extent
            rows.append(torch.cat([truth.log_edges, offset, middle[:, 2:].log()], 1))
            ups.append(batch['T_camera_object'][:, :3, 2])
            shape += truth.occupancy.sum(0)
            kept.append(truth.occupancy[:2] > 0.5)
        numbers = torch.cat(rows)
        self.shape = shape / len(numbers)
        self.numbers = numbers.median(0).values
        self.up = torch.nn.functional.normalize(torch.cat(ups).mean(0), dim=0)
        some = torch.cat(kept)
        self.threshold = max(_THRESHOLDS, key=lambda t: float(_ious(self.shape > t, some).mean()))

    def tell(self, view: Parse, boxes: Boxes) -> list[ParsedObject]:
        """Return an object for each box."""
        if not boxes:
            return []
        count = len(boxes)
        edges = torch.tensor([box for box, _ in boxes])
        K = torch.from_numpy(view.K).float().expand(count, -1, -1)
        yaw = frames.bin_targets(torch.zeros(count)).clamp(min=1e-6).log()
        told = self.numbers.expand(count, -1)
        logits = torch.zeros(count, 1, 1, 1)
        factors = Factors(logits, yaw, told[:, :3], told[:, 3:5], told[:, 5], logits[:, 0, 0, 0])
        T, size = place(factors, K, edges, self.up.expand(count, -1))
        cells = self.shape.numpy()
        return [
            ParsedObject(box, _exact(T[k]), size[k].double().numpy(), cells, score)
            for k, (box, score) in enumerate(boxes)
        ]


def _ious(shape: Tensor, others: Tensor) -> Tensor:
    common = (shape & others).flatten(1).sum(1)
    return common / (shape | others).flatten(1).sum(1).clamp(min=1)


def _exact(pose: Tensor) -> Any:
    u, _, v = torch.linalg.svd(pose[:3, :3].double())
    exact = pose.double()
    exact[:3, :3] = u @ v
    return exact.numpy()


def boxes_in(view: Parse, detector: Any) -> Boxes:
    """Return the boxes of a view, outer edges, with scores; the true ones without a detector."""
    if detector is None:
        return [(tuple(box), 1.0) for box in view.box_xyxy.tolist()]
    height, width = view.rgb.shape[:2]
    (fx, _, cx), (_, fy, cy), _ = view.K.tolist()
    frame = Frame(0, Camera(width, height, fx, fy, cx, cy), rgb=view.rgb)
    detector.reset()  # images have nothing to do with each other
    found: Boxes = []
    for item in detector.detect(frame).items:
        x0, y0, x1, y1 = (float(value) for value in item.box_xyxy)
        found.append(((x0, y0, x1 + 1, y1 + 1), float(item.score)))
    return found


def medians(images: Sequence[tuple[list[PosedObject], list[PosedObject]]]) -> dict[str, float]:
    """Return median errors of objects told from true boxes, which are in the same order."""
    pairs = [pair for found, true in images for pair in zip(found, true, strict=True)]
    shifts = [a.T_camera_object[:3, 3] - b.T_camera_object[:3, 3] for a, b in pairs]
    errors = {
        'shape IoU': [shape_iou(a, b) for a, b in pairs],
        'rotation, degrees': [np.rad2deg(rotation_error_rad(a, b)) for a, b in pairs],
        'translation, m': [float(np.linalg.norm(shift)) for shift in shifts],
        'scale, log2': [scale_error_log2(a, b) for a, b in pairs],
    }
    return {key: round(float(np.median(values)), 4) for key, values in errors.items()}


def make_detector(name: str, weights: str) -> Any:
    """Return a detector of the registry, or None for true boxes."""
    if name == ORACLE:
        return None
    kind = registry.load('detector', name)
    has_weights = 'weights' in kind.Config.model_fields
    return kind(kind.Config(weights=weights) if has_weights else kind.Config())


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return average precisions by kind of boxes and by who tells, and median errors."""
    data = ParsesSet(
        '', ParsesConfig(train_scenes=options.train_scenes, views=options.train_views)
    )
    network = create_network('factored3d', options.weights)
    assert isinstance(network, Factored3d)
    mean = MeanShape([data.parse(name, 0) for name in data.names('train')])
    views = [data.parse(name, 0) for name in data.names('test')[: options.scenes]]
    true = [true_objects(view) for view in views]
    spent, layout, shown = [], [], []
    rows: list[dict[str, Any]] = []
    for kind in options.boxes:
        detector = make_detector(kind, options.detector_weights)
        told: dict[str, list[list[PosedObject]]] = {'factored3d': [], 'mean shape': []}
        for view, objects in zip(views, true, strict=True):
            boxes = boxes_in(view, detector)
            begin = time.process_time()
            seen = see_image(network, view.rgb, view.K)
            parsed = tell_objects(network, seen, [box for box, _ in boxes])
            spent.append(1e3 * (time.process_time() - begin))
            layout.append(float(np.abs(seen.layout - view.layout).mean()))
            scored = [
                ParsedObject(o.box_xyxy, o.T_camera_object, o.size_m, o.probabilities, o.score * s)
                for o, (_, s) in zip(parsed, boxes, strict=True)
            ]
            told['factored3d'].append(found_objects(scored, network.threshold, objects))
            alike = mean.tell(view, boxes)
            told['mean shape'].append(found_objects(alike, mean.threshold, objects))
            if kind == options.boxes[-1] and len(shown) < options.pictures:
                shown.append((view, seen, scored))
        for who, found in told.items():
            images = list(zip(found, true, strict=True))
            row = {'boxes': kind, 'told by': who, **factored_ap(images)}
            rows.append(row | ({'medians': medians(images)} if kind == ORACLE else {}))
    if options.picture is not None:
        draw_parses(options.picture, shown, network.threshold)
    return {
        'scenes': len(views),
        'objects': sum(len(some) for some in true),
        'rows': rows,
        'layout_error_per_m': round(float(np.mean(layout)), 4),
        'processor_ms_per_image': round(float(np.median(spent)), 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--weights', default='default')
    parser.add_argument('--scenes', type=int, default=60, help='test scenes')
    parser.add_argument('--train-scenes', type=int, default=100, help='of which means are taken')
    parser.add_argument('--train-views', type=int, default=2, help='as the network was trained')
    parser.add_argument('--boxes', nargs='+', default=[ORACLE, 'centermask'])
    parser.add_argument('--detector-weights', default='default')
    parser.add_argument('--picture', type=Path, help='PNG of the first scenes')
    parser.add_argument('--pictures', type=int, default=6, help='rows of it')
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started = machine()
    result = run(options)
    title = f'{result["scenes"]} test scenes, {result["objects"]} objects: average precision'
    table = Table(title=title)
    for heading in ('boxes', 'told by', 'all', *(f'- {name}' for name in CRITERIA)):
        table.add_column(heading)
    for row in result['rows']:
        figures = [f'{row[key]:.3f}' for key in ('all', *(f'all - {name}' for name in CRITERIA))]
        table.add_row(row['boxes'], row['told by'], *figures)
    console = Console(width=140)
    console.print(table)
    for row in result['rows']:
        if 'medians' in row:
            console.print(f'medians of {row["told by"]} in true boxes: {row["medians"]}')
    console.print(
        f'layout off by {result["layout_error_per_m"]} per metre; '
        f'{result["processor_ms_per_image"]} ms of processor time per image'
    )
    ap = {(row['boxes'], row['told by']): row['all'] for row in result['rows']}
    for kind in options.boxes:
        above = ap[kind, 'factored3d'] > ap[kind, 'mean shape']
        half = ap[kind, 'factored3d'] >= 0.5 * ap.get((ORACLE, 'factored3d'), 0.0)
        console.print(
            f'{kind}: above mean shapes {verdict(above)}, half of oracle {verdict(half)}'
        )
    write_json(options.json, 'factored3d', {'machine': started, **result})
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
