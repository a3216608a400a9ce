"""Completion judged beside what needs no training, on the same objects and views."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import validate
from recon3d_core.data.partial.drawing import SUPPORT
from recon3d_core.data.sets.partial import PartialConfig, PartialRow, PartialSet
from recon3d_core.errors import InputError
from recon3d_core.fusion.evidence_cube import resampled
from recon3d_core.meshing.closed import ClosedMesher
from recon3d_core.meshing.closing.envelope import slice_hulls
from recon3d_core.models import create_network
from recon3d_core.models.tsdf_completion.evidence import undecided
from recon3d_core.training import tables
from recon3d_core.training.checkpoints import whole_file
from recon3d_core.training.completion import Completer, iou_of, surface_places, unseen_chamfer
from recon3d_core.training.contest import labels
from recon3d_core.training.progress import progress
from recon3d_core.training.run import check_writable
from recon3d_core.training.validation import spread
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
import torch

logger = logging.getLogger(__name__)

VESSELS = 'vessels'
COLUMNS = ('iou', 'chamfer_unseen_mm', 'cavity_free', 'share_outside')
_LEAST_CAVITY = 0.15  # of the volume with the cavity filled: less is no vessel
_BINS = 10
_MANY_POINTS = 20_000

Volume = NDArray[np.bool_]


def closing(row: PartialRow) -> Volume:
    """Return what the mesher `closed` makes of the fused distances."""
    _, filled = ClosedMesher().mesh(row.seen.shape, SUPPORT)
    if filled.sdf_m is None:
        return np.zeros(row.cube.shape, bool)
    inside = resampled(-torch.from_numpy(filled.sdf_m)[None], filled.grid, row.cube)[0]
    return np.asarray(inside.numpy() > 0)


def convex_hull(row: PartialRow) -> Volume:
    """Return the convex hull of the visible points."""
    return _in_hull(row, _points(row))


def mirrored_cloud(row: PartialRow) -> Volume:
    """Return the visible points and their mirror image, the slices filled.

    The plane is upright, across the mean direction of sight, where the visible surface ends.
    """
    points = _points(row)
    across = row.seen.towards_cameras.copy()
    across[2] = 0
    across /= max(float(np.linalg.norm(across)), 1e-9)
    depth = points @ across
    mirrored = points + 2 * (np.quantile(depth, 0.02) - depth)[:, None] * across
    volume = np.zeros(row.cube.shape, bool)
    index = row.cube.indices(np.concatenate([points, mirrored]))
    index = index[((index >= 0) & (index < row.cube.shape)).all(1)]
    volume[tuple(index.T)] = True
    return np.asarray(slice_hulls(volume))


def _points(row: PartialRow) -> NDArray[np.float64]:
    """Return the visible points (n, 3) without the outer per cent on each side, as grids are placed."""
    points = row.seen.points_world_m
    low, high = np.percentile(points, [1, 99], axis=0)
    points = points[((points >= low) & (points <= high)).all(1)]
    return points[:: max(1, len(points) // _MANY_POINTS)].astype(np.float64)


def _in_hull(row: PartialRow, points: NDArray[np.float64]) -> Volume:
    try:
        planes = ConvexHull(points).equations
    except (QhullError, ValueError):  # they lie in a plane
        return np.zeros(row.cube.shape, bool)
    centers = row.cube.centers_world_m().reshape(-1, 3).astype(np.float64)
    inside = np.ones(len(centers), bool)
    for plane in planes:
        inside[inside] = centers[inside] @ plane[:3] + plane[3] <= 0
    return inside.reshape(row.cube.shape)


BASELINES: dict[str, Callable[[PartialRow], Volume]] = {
    'closing': closing, 'convex_hull': convex_hull, 'mirrored_cloud': mirrored_cloud,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Score:
    """How one model does on one object after some views.

    Attributes:
        model: Its name.
        views: How many views saw the object.
        category: What the object is.
        vessel: Whether it has a cavity.
        values: Of `COLUMNS`; None where there is none.
    """

    model: str
    views: int
    category: str
    vessel: bool
    values: dict[str, float | None]


class Reliability:
    """How often voxels of a probability are inside, of those that the evidence leaves open."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.count, self.inside, self.sum = np.zeros((3, _BINS))

    def add(self, found: torch.Tensor, row: PartialRow) -> None:
        """Count an object's voxels."""
        open_ = undecided(row.evidence[None])[0].numpy()
        p, truth = found.numpy()[open_], row.truth[open_]
        index = np.clip((p * _BINS).astype(int), 0, _BINS - 1)
        self.count += np.bincount(index, minlength=_BINS)
        self.inside += np.bincount(index, truth, _BINS)
        self.sum += np.bincount(index, p, _BINS)

    def summary(self) -> dict[str, Any]:
        """Return the expected calibration error, and by bin probability, frequency and count."""
        count = np.maximum(self.count, 1)
        p, frequency = self.sum / count, self.inside / count
        error = float((np.abs(p - frequency) * self.count).sum() / max(self.count.sum(), 1))
        return {
            'ece': round(error, 5),
            'probability': p.round(4).tolist(),
            'frequency': frequency.round(4).tolist(),
            'voxels': self.count.astype(int).tolist(),
        }


def completion_contest(
    models: Sequence[str],
    uri: str,
    *,
    views: Sequence[int],
    split: str = 'test',
    limit: int = 0,
    json_path: Path | None = None,
    out: Path | None = None,
    baselines: bool = True,
    device: str = 'cpu',
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge completions and return the document that `--json` writes.

    Args:
        models: Each `NAME` or `NAME=WEIGHTS`; or the name of a baseline.
        uri: `partial` or `partial:ROOT`.
        views: Numbers of views.
        split: Split of the data set.
        limit: Objects at most, evenly spread; 0 = all.
        json_path: File for the document, or None.
        out: Folder for the document as JSON and Markdown, and the reliability plot; or None.
        baselines: Whether all baselines are judged too.
        device: `cpu` or `cuda:N`.
        options: Options of the data set.

    Raises:
        InputError: A model, its weights or an option is wrong.
        RunError: A file cannot be written.
    """
    for folder in (out, json_path.absolute().parent if json_path else None):
        if folder is not None:
            check_writable(folder)
    named = labels([text for text in models if text not in BASELINES])
    networks = {label: _network(text, device) for label, text in named.items()}
    rules = {name: rule for name, rule in BASELINES.items() if baselines or name in models}
    sizes = {one.resolution for one in networks.values()}
    data = _data(uri, sizes, options or {})
    if not views or min(views) < 1 or max(views) > data.max_views:
        raise InputError('--views', list(views), f'numbers from 1 to {data.max_views}')
    names = spread(data.names(split), limit or len(data.names(split)))
    if not names:
        raise InputError(f'data set {uri}', f'no object in its split {split}')
    scores: list[Score] = []
    reliability = {text: Reliability() for text in networks}
    with progress(len(names), 0, f'eval {uri}', unit='objects') as advance:
        for done, name in enumerate(names, 1):
            for row in data.observed(name, evaluation=True):
                if row.seen.views in views:
                    scores += _judge(row, networks, rules, reliability)
            advance(done, f'{len(networks) + len(rules)} models')
    document = {
        'schema': 1,
        'data': uri,
        'split': split,
        'threshold': {text: one.threshold for text, one in networks.items()},
        'reliability': {text: one.summary() for text, one in reliability.items()},
        'rows': make_rows(scores),
    }
    _write(document, json_path, out)
    return document


def _data(uri: str, sizes: Collection[int], options: Mapping[str, Any]) -> PartialSet:
    """Return the data set at the resolution that all networks have.

    Raises:
        InputError: They have several, or an option is wrong.
    """
    if len(sizes) > 1:
        raise InputError('models of different resolution', sorted(sizes), 'one in a table')
    chosen = {'resolution': next(iter(sizes), 64), **options}
    return PartialSet(uri.partition(':')[2], validate(PartialConfig, chosen, 'partial'))


def _network(text: str, device: str) -> Completer:
    name, _, weights = text.partition('=')
    network = create_network(name, weights or 'default', device)
    if not isinstance(network, Completer):
        raise InputError(
            'model for the data set partial', name, 'tsdf_completion or point_completion'
        )
    return network.eval()


@torch.inference_mode()
def _judge(
    row: PartialRow,
    networks: Mapping[str, Completer],
    rules: Mapping[str, Callable[[PartialRow], Volume]],
    reliability: Mapping[str, Reliability],
) -> list[Score]:
    volumes = {}
    for text, network in networks.items():
        found = network.probabilities(row.evidence[None].to(network.device))[0].float().cpu()
        reliability[text].add(found, row)
        volumes[text] = found.numpy() > network.threshold
    volumes |= {name: rule(row) for name, rule in rules.items()}
    hollow = cavity(row.truth)
    vessel = int(hollow.sum()) > _LEAST_CAVITY * int((hollow | row.truth).sum())
    seen = row.seen_surface_m()
    truth = surface_places(row.truth)
    return [
        Score(
            model, row.seen.views, row.setting.category, vessel,
            {
                'iou': iou_of(volume, row.truth, row.outside),
                'chamfer_unseen_mm': unseen_chamfer(volume, truth, seen, row.cube),
                'cavity_free': 1 - float(volume[hollow].mean()) if vessel else None,
                'share_outside': row.outside / max(1, row.outside + int(row.truth.sum())),
            },
        )
        for model, volume in volumes.items()
    ]  # fmt: skip


def cavity(solid: Volume) -> Volume:
    """Return the hollow (nx, ny, nz) of an upright vessel: what its walls enclose in a slice."""
    filled = np.stack([ndimage.binary_fill_holes(level) for level in np.moveaxis(solid, 2, 0)], 2)
    return np.asarray(filled & ~solid)


def make_rows(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return a row for each model, number of views, and category; `all` and `vessels` too."""
    grouped: dict[tuple[str, int, str], list[Score]] = {}
    for score in scores:
        groups = (tables.ALL, score.category, *([VESSELS] if score.vessel else []))
        for group in groups:
            grouped.setdefault((score.model, score.views, group), []).append(score)
    order = sorted(grouped, key=lambda key: (key[2] not in (tables.ALL, VESSELS), key[2], key[1]))
    rows = []
    for model, views, category in order:
        members = grouped[model, views, category]
        row: dict[str, Any] = {
            'model': model, 'views': views, 'category': category, 'objects': len(members),
        }  # fmt: skip
        for column in COLUMNS:
            known = [value for one in members if (value := one.values[column]) is not None]
            row[column] = round(float(np.mean(known)), 4) if known else None
        rows.append(row)
    return rows


def _write(document: dict[str, Any], json_path: Path | None, out: Path | None) -> None:
    if json_path is not None:
        tables.write_json(json_path, document)
    if out is None:
        return
    tables.write_json(out / 'eval.json', document)
    columns = ('model', 'views', 'category', 'objects', *COLUMNS)
    lines = ['| ' + ' | '.join(columns) + ' |', '|---' * len(columns) + '|']
    for row in document['rows']:
        lines.append('| ' + ' | '.join(_cell(row[name]) for name in columns) + ' |')
    with whole_file(out / 'eval.md') as partial:
        partial.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    try:
        draw_reliability(out / 'reliability.png', document['reliability'])
    except ImportError:
        logger.warning('matplotlib is not installed: no plot is drawn')


def _cell(value: Any) -> str:
    return '' if value is None else f'{value:.3f}' if isinstance(value, float) else str(value)


def draw_reliability(path: Path, reliability: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw how often voxels are inside over the probability that they were given."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout='constrained')
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color='0.7', linewidth=1)
    for name, one in reliability.items():
        known = [k for k, count in enumerate(one['voxels']) if count]
        x, y = ([one[key][k] for k in known] for key in ('probability', 'frequency'))
        axes.plot(x, y, marker='o', label=f'{name}: calibration error {one["ece"]:.3f}')
    axes.set_xlabel('probability')
    axes.set_ylabel('share of voxels that are inside')
    if reliability:
        axes.legend()
    with whole_file(path) as partial:
        figure.savefig(partial, format='png', dpi=100)
