"""Detectors on the recorded kitchen: in how many frames the things on the table are found.

`python benchmarks/kitchen_detection.py [--step N] [--json FILE]` runs every detector over the same
frames (RECON3D_DATA). Nobody has outlined the things: known are the place of each, a point of its
surface, and its width. It counts in a frame where that point is in the image, depth sees it there,
and it is wider than 40 pixels. It is found where a mask covers the point and is not much larger.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import dataclasses
from pathlib import Path
import sys
import time
from typing import Any

from _common import KITCHEN, verdict, write_json
from kitchen import ON_THE_TABLE
import numpy as np
from recon3d_core import registry
from recon3d_core.data import load_source
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import Detections, Frame
import torch

# Widths that the reconstruction of the sequence has; that of the magazines by hand.
WIDTH_M = {
    'papers': 0.40,
    'white mug': 0.13,
    'magazines': 0.30,
    'flowered mug': 0.15,
    'plastic box': 0.38,
    'game controller': 0.17,
}
LEAST_PX = 40
NEAR_PX = 6  # between the point and a mask that covers it
TOO_LARGE = 2.5  # a mask so many times as wide has swallowed neighbours
AGREES_M = 0.08
BAR = 0.8
DETECTORS = ('centermask', 'centermask with depth', 'voting', 'depth_cluster')


def shown(frame: Frame, name: str) -> tuple[int, int, float] | None:
    """Return column, row and width in pixels of a thing; None where it does not count."""
    (point,) = apply(invert(frame.pose), np.array([ON_THE_TABLE[name]]))
    camera = frame.camera
    if point[2] < 0.2:
        return None
    x, y = np.rint(camera.project(point)).astype(int).tolist()
    margin = LEAST_PX // 2
    if not (margin <= x < camera.width - margin and margin <= y < camera.height - margin):
        return None
    around = frame.depth[y - 2 : y + 3, x - 2 : x + 3]
    around = around[around > 0]
    width = camera.fx * WIDTH_M[name] / point[2]
    if not len(around) or abs(np.median(around) - point[2]) > AGREES_M or width < LEAST_PX:
        return None
    return x, y, width


def is_found(found: Detections, x: int, y: int, width: float) -> bool:
    """Return whether a mask covers a pixel, or nearly so, and is not much wider than that."""
    part = np.s_[y - NEAR_PX : y + NEAR_PX + 1, x - NEAR_PX : x + NEAR_PX + 1]
    for item in found.items:
        x0, y0, x1, y1 = item.box_xyxy
        if max(x1 - x0, y1 - y0) <= TOO_LARGE * width and item.mask[part].any():
            return True
    return False


def look(name: str, frames: Sequence[Frame]) -> dict[str, Any]:
    """Return in how many of the frames that show a thing a detector finds it."""
    plugin = registry.load('detector', name.split()[0])
    detector = plugin()
    counts = {key: [0, 0] for key in ON_THE_TABLE}
    spent, masks = [], 0
    for frame in frames:
        given = dataclasses.replace(frame, depth_m=None) if name == 'centermask' else frame
        begin = time.process_time()
        found = detector.detect(given)
        spent.append(time.process_time() - begin)
        masks += len(found.items)
        for key, count in counts.items():
            at = shown(frame, key)
            if at is not None:
                count[0] += is_found(found, *at)
                count[1] += 1
    hits, looks = np.sum(list(counts.values()), axis=0).tolist()
    return {
        'detector': name,
        'found': round(hits / max(looks, 1), 3),
        'looks': looks,
        'masks_per_frame': round(masks / max(len(frames), 1), 1),
        'processor_ms': round(1e3 * float(np.median(spent)), 1),
        'things': {key: count for key, count in counts.items() if count[1]},
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--frames', type=int, default=250)
    parser.add_argument('--step', type=int, default=5, help='every n-th frame')
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    options = parser.parse_args()
    if not KITCHEN.is_dir():
        reason = f'{KITCHEN} is absent; set RECON3D_DATA'
        print(f'skipped: {reason}')
        write_json(options.json, 'kitchen_detection', {'skipped': reason})
        return 0
    torch.set_num_threads(1)
    frames = []
    for index, frame in enumerate(load_source(KITCHEN)):
        if index >= options.frames:
            break
        if index % options.step == 0:
            frames.append(frame)
    rows = [look(name, frames) for name in DETECTORS]
    for row in rows:
        things = ', '.join(f'{key} {hits}/{looks}' for key, (hits, looks) in row['things'].items())
        print(
            f'{row["detector"]:22}{row["found"]:6.3f} of {row["looks"]} looks, '
            f'{row["masks_per_frame"]} masks a frame, {row["processor_ms"]} ms: {things}'
        )
    good = {
        row['detector']: row['found'] >= BAR for row in rows if 'centermask' in row['detector']
    }
    for name, met in good.items():
        print(f'{name}: found in {BAR:.0%} of the frames or more {verdict(met)}')
    write_json(
        options.json, 'kitchen_detection', {'frames': len(frames), 'rows': rows, 'bar': BAR}
    )
    return 0 if all(good.values()) else 1


if __name__ == '__main__':
    sys.exit(main())
