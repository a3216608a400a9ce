"""Time of completing an object: its cube, the rules' answer, the network, and what binds it.

`python benchmarks/completion.py [--objects N] [--json FILE]` fuses partly seen test objects, as
`recon3d eval tsdf_completion --data partial` does, and completes each after every view, with one
thread and with two.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys
import time

from _common import machine, verdict, write_json
import numpy as np
from recon3d_core.data.partial.drawing import SUPPORT
from recon3d_core.data.sets.partial import PartialSet
from recon3d_core.fusion.tsdf_completion import CompletionState, TsdfCompletionReconstructor
import torch

BAR_MS = 120.0  # on two cores


def main() -> int:
    """Measure, print, write, and return 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--objects', type=int, default=12)
    parser.add_argument('--json', type=Path, help='write the results into this file')
    arguments = parser.parse_args()
    before = machine()
    data, reconstructor = PartialSet(), TsdfCompletionReconstructor()
    names = data.names('test')
    names = names[:: max(1, len(names) // arguments.objects)][: arguments.objects]
    spent: dict[int, list[float]] = {1: [], 2: []}
    for name in names:
        for row in data.observed(name, evaluation=True):
            seen = row.seen
            for threads, times in spent.items():
                torch.set_num_threads(threads)
                state = CompletionState(
                    seen.state, SUPPORT, seen.towards_cameras * seen.views, seen.views
                )
                begin = time.perf_counter()
                reconstructor.shape(state)
                times.append(1e3 * (time.perf_counter() - begin))
    rows = {
        threads: {f'p{q}': round(float(np.percentile(times, q)), 1) for q in (50, 95)}
        for threads, times in spent.items()
    }
    good = rows[2]['p50'] <= BAR_MS
    for threads, row in rows.items():
        print(f'{threads} thread(s): p50 {row["p50"]:.0f} ms, p95 {row["p95"]:.0f} ms')
    print(f'{len(names)} objects; bar on two {BAR_MS:.0f} ms {verdict(good)}')
    content = {'machine': before, 'objects': len(names), 'threads': rows, 'bar_ms': BAR_MS}
    write_json(arguments.json, 'completion', content)
    return int(not good)


if __name__ == '__main__':
    sys.exit(main())
