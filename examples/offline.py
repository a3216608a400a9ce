#!/usr/bin/env python3
"""Use the library from Python: frames of any source in, objects out.

examples/offline.py [SOURCE]      # an RGB-D folder, a recording, or synthetic:NAME
"""

from __future__ import annotations

import sys

from recon3d_core import load_source, Pipeline
from recon3d_core.errors import FrameError


def main(uri: str) -> None:
    """Tell what changes while the frames come in, and what there is at the end."""
    source = load_source(uri)
    pipeline = Pipeline.from_config('tabletop_rgbd', {'mesh': {'rate_hz': 1.0}})
    for frame in source:
        try:
            update = pipeline.update(frame)
        except FrameError as error:
            print(f'frame dropped ({error.reason}): {error}')
            continue
        for item in update.changed:
            if item.revision == 1:
                print(f'{update.stamp_ns / 1e9:8.2f} s  object {item.id} appeared')
        for object_id in update.removed:
            print(f'{update.stamp_ns / 1e9:8.2f} s  object {object_id} is gone')
    pipeline.flush()
    for item in pipeline.scene().objects.values():
        size_cm = ' x '.join(f'{100 * edge:.1f}' for edge in item.size_m)
        state = 'closed' if item.watertight else 'open'
        print(f'object {item.id}: {size_cm} cm, {item.views_used} views, {state}')
    source.close()


if __name__ == '__main__':
    main(sys.argv[1] if len(sys.argv) > 1 else 'synthetic:tabletop?frames=30')
