"""Fusion of views by networks: what a further view costs, training, and the published structure.

`python benchmarks/fusion.py [--part NAME ...] [--threads N] [--repeats N] [--json FILE]`

- `stream`: views 1 to 20 arrive one after the other; time, memory of the state, agreement with the
  batch. Bars: view 20 costs at most 1.1 x view 1 in the same memory; a small network takes in a
  view and gives its shape within 60 ms.
- `train`: views per second of the small networks, forward, backward and step. Bar: 15.
- `arrival`: an 8th view comes to a track of 7 in `pix2vox_a`, beside the published structure, which
  computes all 8 again. Bar: a sixth of its time.
- `gpu`: 16 objects x 8 views in `pix2vox_a`, where there is a GPU. The peer is the published
  structure in fp32 (a loop over the views, TF32 off). Bar: 3 x its throughput with probabilities
  within 1e-4 (fp32, TF32 off) or 1e-2 (TF32, bf16) of it.

Weights are random: they change no time. Peers run in the same process, in turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import copy
from pathlib import Path
import statistics
import sys
import time
from typing import Any

from _common import machine, ROOT, verdict, write_json
from recon3d_core.models import create_model
from recon3d_core.models.base import VolumeNetwork
from rich.console import Console
from rich.table import Table
import torch
from torch import Tensor

sys.path.insert(0, str(ROOT / 'test' / 'helpers'))
import plain_networks

PARTS = ('stream', 'train', 'arrival', 'gpu')
VIEWS = 20
Row = dict[str, Any]


def clock(work: Callable[[], Any], device: str = 'cpu') -> float:
    """Return the time of one call in milliseconds."""
    if device != 'cpu':
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != 'cpu':
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


def draw(model: VolumeNetwork, batch: int, count: int) -> Tensor:
    """Return preprocessed random views (B, V, 3, size, size)."""
    size = model.config.image_size
    generator = torch.Generator().manual_seed(0)
    return model.preprocess(torch.rand(batch, count, 3, size, size, generator=generator))


def held_bytes(state: Any) -> int:
    """Return the memory of a state's tensors."""
    tensors = [value for value in vars(state).values() if isinstance(value, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@torch.inference_mode()
def stream_row(name: str, repeats: int) -> Row:
    """Measure one network while 20 views arrive."""
    model = create_model(name)
    views = draw(model, 1, VIEWS)
    whole = model(views)
    model.optimize_for_inference()
    times: list[list[float]] = []
    shape_ms: list[float] = []
    sizes: list[int] = []
    for repeat in range(repeats + 1):  # the first warms up
        state, took = model.start(), []
        for index in range(VIEWS):
            start = time.perf_counter()
            state = model.observe(state, views[:, index])
            took.append((time.perf_counter() - start) * 1e3)
            sizes.append(held_bytes(state))
        start = time.perf_counter()
        model.probabilities(state)
        shape_ms.append((time.perf_counter() - start) * 1e3)
        if repeat:
            times.append(took)
    first, last = (statistics.median(took[at] for took in times) for at in (0, -1))
    every = statistics.median(ms for took in times for ms in took)
    turned = model.start()
    for index in reversed(range(VIEWS)):
        turned = model.observe(turned, views[:, index])
    found = model.probabilities(state)
    row: Row = {
        'model': name,
        'parameters': sum(p.numel() for p in model.parameters()),
        'view_ms': every,
        'view_1_ms': first,
        'view_20_ms': last,
        'ratio': min(took[-1] for took in times) / min(took[0] for took in times),
        'shape_ms': statistics.median(shape_ms[1:]),
        'state_bytes': sizes[-1],
        'constant': len(set(sizes)) == 1,
        'to_batch': float((found - whole).abs().max()),
        'to_reverse': float((found - model.probabilities(turned)).abs().max()),
    }
    row['good'] = row['ratio'] <= 1.1 and row['constant']
    if name.endswith('_s'):
        row['good'] = row['good'] and row['view_ms'] + row['shape_ms'] <= 60
    return row


def stream(repeats: int, console: Console) -> list[Row]:
    """Measure streaming and print it."""
    rows = [stream_row(name, repeats) for name in ('pix2vox_s', 'r2n2_s', 'pix2vox_f')]
    table = Table(title='A view arrives (bars: view 20 <= 1.1 x view 1, same memory; _s <= 60 ms)')
    for column in ('network', 'parameters', 'view', 'view 1', 'view 20', 'ratio', 'shape'):
        table.add_column(column)
    for column in ('state', 'to batch', 'to reverse order', ''):
        table.add_column(column)
    for row in rows:
        table.add_row(
            row['model'],
            f'{row["parameters"] / 1e6:.2f} M',
            *(f'{row[key]:.1f} ms' for key in ('view_ms', 'view_1_ms', 'view_20_ms')),
            f'{row["ratio"]:.2f}',
            f'{row["shape_ms"]:.1f} ms',
            f'{row["state_bytes"] / 1024:.0f} KiB' + ('' if row['constant'] else ' GROWS'),
            f'{row["to_batch"]:.1e}',
            f'{row["to_reverse"]:.1e}',
            verdict(row['good']),
        )
    console.print(table)
    return rows


def train_row(name: str, repeats: int, views: int = 3, objects: int = 8) -> Row:
    """Measure training steps of one network."""
    model = create_model(name).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    batch = draw(model, objects, views)
    occupancy = (torch.rand(objects, *(model.resolution,) * 3) > 0.8).float()

    def step() -> None:
        optimizer.zero_grad()
        model.loss(batch, occupancy).backward()
        optimizer.step()

    step()
    milliseconds = statistics.median(clock(step) for _ in range(repeats))
    rate = 1e3 * objects * views / milliseconds
    return {'model': name, 'views_per_s': rate, 'good': rate >= 15}


def train(repeats: int, console: Console) -> list[Row]:
    """Measure training and print it."""
    rows = [train_row(name, repeats) for name in ('pix2vox_s', 'r2n2_s')]
    table = Table('network', 'views/s', '', title='Training, 8 objects x 3 views (bar: 15)')
    for row in rows:
        table.add_row(row['model'], f'{row["views_per_s"]:.1f}', verdict(row['good']))
    console.print(table)
    return rows


@torch.inference_mode()
def arrival(repeats: int, console: Console) -> list[Row]:
    """Measure an 8th view in `pix2vox_a`, beside the published structure."""
    model = plain_networks.lively(create_model('pix2vox_a'))
    views = draw(model, 1, 8)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    model.optimize_for_inference()
    track = model.start()
    for index in range(7):
        track = model.observe(track, views[:, index])
    ours: list[float] = []
    theirs: list[float] = []

    def arrive() -> Tensor:
        return model.probabilities(model.observe(copy.deepcopy(track), views[:, 7]))

    plain_networks.pix2vox('pix2vox_a', weights, views[:, :1])  # warm
    for _ in range(repeats):
        ours.append(clock(arrive))
        theirs.append(clock(lambda: plain_networks.pix2vox('pix2vox_a', weights, views)))
    ratio = statistics.median(o / t for o, t in zip(ours, theirs))
    expected = plain_networks.to_ours(plain_networks.pix2vox('pix2vox_a', weights, views))
    row: Row = {
        'model': 'pix2vox_a',
        'ours_ms': statistics.median(ours),
        'published_ms': statistics.median(theirs),
        'ratio': ratio,
        'error': float((arrive() - expected).abs().max()),
        'good': ratio <= 1 / 6,
    }
    console.print(
        f'pix2vox_a, 8th view to a track of 7: {row["ours_ms"]:.0f} ms, published structure with '
        f'all 8: {row["published_ms"]:.0f} ms; ratio 1/{1 / ratio:.1f} (bar 1/6) '
        f'{verdict(row["good"])}',
        highlight=False,
        soft_wrap=True,
    )
    return [row]


def gpu_variants() -> dict[str, tuple[bool, torch.dtype, bool, float]]:
    """Return TF32, type, compilation and tolerance of each way to run our network."""
    return {
        'fp32, TF32 off': (False, torch.float32, False, 1e-4),
        'fp32, TF32 on': (True, torch.float32, False, 1e-2),
        'bf16': (True, torch.bfloat16, False, 1e-2),
        'bf16, CUDA graphs': (True, torch.bfloat16, True, 1e-2),
    }


def set_tf32(wanted: bool) -> None:
    """Allow or forbid TF32 in convolutions and products of matrices."""
    torch.backends.cudnn.allow_tf32 = wanted
    torch.backends.cuda.matmul.allow_tf32 = wanted


def gpu_row(
    model: VolumeNetwork,
    views: Tensor,
    expected: Tensor,
    dtype: torch.dtype,
    graphs: bool,
    repeats: int,
) -> Row:
    """Measure one way to run our network: its time, and how far it is from what is expected."""
    run = torch.compile(model, mode='reduce-overhead') if graphs else model

    def ours() -> Tensor:
        with torch.autocast('cuda', dtype, enabled=dtype != torch.float32):
            return run(views)

    ours()
    error = float((ours().float() - expected).abs().max())
    return {'ms': statistics.median(clock(ours, 'cuda') for _ in range(repeats)), 'error': error}


@torch.inference_mode()
def gpu(repeats: int, console: Console, objects: int = 16, count: int = 8) -> list[Row]:
    """Measure throughput on a GPU, beside the published structure."""
    if not torch.cuda.is_available():
        console.print('gpu: skipped, no CUDA device')
        return []
    torch.backends.cudnn.benchmark = True
    model = plain_networks.lively(create_model('pix2vox_a'))
    views = draw(model, objects, count).cuda()
    weights = {key: value.cuda() for key, value in model.state_dict().items()}
    quick = model.cuda().optimize_for_inference()

    def published() -> Tensor:
        return plain_networks.pix2vox('pix2vox_a', weights, views)

    set_tf32(False)
    expected = plain_networks.to_ours(published())
    peer = statistics.median(clock(published, 'cuda') for _ in range(repeats))
    rows: list[Row] = [{'how': 'published structure, fp32', 'ms': peer, 'speedup': 1.0}]
    for how, (tf32, dtype, graphs, tolerance) in gpu_variants().items():
        set_tf32(tf32)
        try:
            row = gpu_row(quick, views, expected, dtype, graphs, repeats)
        except RuntimeError as error:  # a compiler may be missing
            console.print(f'{how}: not measured, {" ".join(str(error).split())[:120]}')
            continue
        row['speedup'] = peer / row['ms']
        row['same'] = row['error'] <= tolerance
        row['good'] = row['same'] and row['speedup'] >= 3
        rows.append({'how': how, **row})
    show_gpu(rows, console, objects, count)
    best = any(row.get('good') for row in rows)
    return [{**row, 'good': best and row.get('same', True)} for row in rows]


def show_gpu(rows: Sequence[Row], console: Console, objects: int, count: int) -> None:
    """Print the table of throughputs."""
    title = f'pix2vox_a on {torch.cuda.get_device_name()}, {objects} objects x {count} views'
    table = Table('how', 'time', 'speed-up', 'largest difference', 'bar 3 x', title=title)
    for row in rows:
        error = f'{row["error"]:.1e}' if 'error' in row else ''
        good = verdict(row['good']) if 'good' in row else ''
        table.add_row(row['how'], f'{row["ms"]:.1f} ms', f'{row["speedup"]:.2f}', error, good)
    console.print(table)


def main() -> int:
    """Measure, print, write, and return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--part', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--json', type=Path, help='write the results into this file')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    console = Console(width=None if sys.stdout.isatty() else 140)
    content: dict[str, Any] = {'machine': machine(), 'threads': arguments.threads}
    runs = {'stream': stream, 'train': train, 'arrival': arrival, 'gpu': gpu}
    for part in arguments.part:
        content[part] = runs[part](arguments.repeats, console)
    write_json(arguments.json, 'fusion', content)
    rows = [row for part in arguments.part for row in content[part]]
    return 0 if all(row['good'] for row in rows) else 1


if __name__ == '__main__':
    sys.exit(main())
