"""Detectors on cluttered test scenes: average precision of masks and time, all in one run.

`python benchmarks/detection.py [--weights FILE] [--scenes N] [--json FILE]` composes test scenes,
whose objects and seeds no detector was trained on, and runs every detector over the same frames
of 640 x 480 pixels. Peers of `centermask` are `depth_cluster` and `foreground`; `voting` joins it
with the former.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import dataclasses
from pathlib import Path
import sys
import time
from typing import Any

from _common import verdict, write_json
import numpy as np
from recon3d_core import registry
from recon3d_core.config import validate
from recon3d_core.data.scenes.composer import compose, draw_view, scene_name
from recon3d_core.data.scenes.library import Library
from recon3d_core.errors import InputError
from recon3d_core.interfaces import Detector
from recon3d_core.metrics.instances import (
    instance_ap,
    instance_f1,
    InstanceMatch,
    match_instances,
)
from recon3d_core.types import Frame
import torch

LEAST_PX = 160  # of 640 x 480: smaller objects do not count
BARS = {'centermask': 0.80, 'centermask with depth': 0.85}


@dataclasses.dataclass
class Entrant:
    """A detector with what it may see, and what came of it."""

    name: str
    detector: Detector
    sees: Callable[[Frame], Frame]
    matches: list[InstanceMatch] = dataclasses.field(default_factory=list)
    spent_s: list[float] = dataclasses.field(default_factory=list)

    def look(self, frame: Frame) -> None:
        """Detect, and compare with the truth."""
        begin = time.process_time()
        items = self.detector.detect(self.sees(frame)).items
        self.spent_s.append(time.process_time() - begin)
        truth = frame.truth.instance_mask
        masks = np.stack([item.mask for item in items]) if items else np.zeros((0, *truth.shape))
        scores = [item.score for item in items]
        self.matches.append(match_instances(masks > 0, scores, truth, LEAST_PX))

    def row(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            'detector': self.name,
            'ap50': instance_ap(self.matches, 0.5),
            'ap75': instance_ap(self.matches, 0.75),
            'best_f1': max(instance_f1(self.matches, 0.5, k / 40) for k in range(40)),
            'ms': 1e3 * float(np.median(self.spent_s)),
            'objects': sum(match.ious.shape[1] for match in self.matches),
        }


def without_depth(frame: Frame) -> Frame:
    """Return a frame as a plain camera gives it."""
    return dataclasses.replace(frame, depth_m=None)


def entrants(weights: str) -> list[Entrant]:
    """Return the detectors; `centermask` and `voting` only where there are weights."""
    found = []
    for name in ('depth_cluster', 'foreground'):
        found.append(Entrant(name, registry.load('detector', name)(), lambda frame: frame))
    # Every object counts, however low its score: the area below the curve wants them all.
    options = {'weights': weights, 'min_score': 0.01, 'min_pixels': 60}
    voting = {'min_score': 0.01, 'masks': options}
    try:
        for name, plugin, given, sees in (
            ('centermask', 'centermask', options, without_depth),
            ('centermask with depth', 'centermask', options, lambda frame: frame),
            ('voting', 'voting', voting, lambda frame: frame),
        ):
            kind = registry.load('detector', plugin)
            found.append(Entrant(name, kind(validate(kind.Config, given)), sees))
    except InputError as error:
        print(f'centermask and voting are left out: {error}')
    return found


def main() -> int:
    """Measure, print, write, and return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--weights', default='default', help='file, or `default`')
    parser.add_argument('--scenes', type=int, default=200)
    parser.add_argument('--json', type=Path, help='write the results into this file')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    library, racing = Library(), entrants(arguments.weights)
    for index in range(arguments.scenes):
        scene = compose(scene_name('test', index), library)
        frame = draw_view(scene, 0).frame(scene, stamp_ns=index * 10**10)
        for entrant in racing:
            entrant.detector.reset()
            entrant.look(frame)
    rows = [entrant.row() for entrant in racing]
    print(f'{"detector":24}{"AP50":>8}{"AP75":>8}{"best F1":>9}{"ms":>9}')
    for row in rows:
        bar = BARS.get(row['detector'])
        end = '' if bar is None else f'   bar {bar:.2f} {verdict(row["ap50"] >= bar)}'
        print(
            f'{row["detector"]:24}{row["ap50"]:8.3f}{row["ap75"]:8.3f}{row["best_f1"]:9.3f}'
            f'{row["ms"]:9.1f}{end}'
        )
    content = {'scenes': arguments.scenes, 'rows': rows, 'bars': BARS}
    write_json(arguments.json, 'detection', content)
    return int(any(row['ap50'] < BARS.get(row['detector'], 0.0) for row in rows))


if __name__ == '__main__':
    sys.exit(main())
