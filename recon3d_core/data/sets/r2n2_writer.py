"""Our objects in the layout of R2N2's renderings, so that other people's code trains on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data import ground_truth
from recon3d_core.data.binvox import Binvox, write_binvox
from recon3d_core.data.objects.base import ObjectModel, ObjectSet, SPLITS
from recon3d_core.data.rendering.base import Cameras
from recon3d_core.data.rendering.raycast import render
from recon3d_core.data.sets.batches import seed_of
from recon3d_core.data.sets.drawn import draw_lighting
from recon3d_core.data.sets.r2n2_layout import (
    FIELD_OF_VIEW,
    IMAGE_SIZE,
    intrinsics,
    Layout,
    pose_of,
    splits_json,
    SYNSETS,
    VIEWS,
)
from recon3d_core.errors import RunError

RESOLUTION = 32
ELEVATION_DEG = (25.0, 30.0)
DISTANCE = (0.65, 1.0)  # of `LENGTH`; as in the published renderings


def write_r2n2(
    objects: ObjectSet,
    root: Path,
    names: dict[str, list[str]],
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> None:
    """Render objects and write them with their voxels and splits.

    Args:
        objects: Where they come from.
        root: Folder to write to.
        names: Names of the objects by split.
        progress: Wraps the names, such as a progress bar.

    Raises:
        RunError: A file cannot be written.
    """
    layout = Layout(root)
    rows: dict[str, dict[str, Any]] = {}
    split_of = {name: split for split, chosen in names.items() for name in chosen}
    for name in progress(split_of):
        model = objects.load(name)
        synset = SYNSETS.get(model.category, model.category)
        row = rows.setdefault(synset, _empty_row(synset, model.category))
        identity = name.replace('/', '-')
        row[split_of[name]].append(identity)
        try:
            _write_object(layout, synset, identity, model)
        except OSError as error:
            raise RunError(f'{name} cannot be written to {root}', error.strerror) from error
    layout.splits.write_text(splits_json([rows[key] for key in sorted(rows)]), encoding='utf-8')


def _empty_row(synset: str, category: str) -> dict[str, Any]:
    lists: dict[str, list[str]] = {split: [] for split in SPLITS}
    return {'taxonomy_id': synset, 'taxonomy_name': category, **lists}


def _write_object(layout: Layout, synset: str, identity: str, model: ObjectModel) -> None:
    vertices = model.mesh.vertices
    # The layout's unit of length is the diagonal of the object's box.
    extent = vertices.max(0) - vertices.min(0)
    scale = float(1 / np.linalg.norm(extent))
    corner = vertices.min(0) * scale
    voxels = ground_truth.occupancy(model.mesh, RESOLUTION)
    path = layout.voxels(synset, identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    # x, y, z of the file: its y is up, its z is our -y.
    translate = (float(corner[0]), float(corner[2]), float(-vertices[:, 1].max() * scale))
    write_binvox(path, Binvox(voxels, translate, scale))
    rng = np.random.default_rng(seed_of(f'r2n2:{model.name}'))
    rows = _draw_rows(rng)
    folder = layout.views(synset, identity)
    folder.mkdir(parents=True, exist_ok=True)
    _write_views(folder, model, np.stack([pose_of(row, scale) for row in rows]), rng)
    text = '\n'.join(' '.join(f'{value:.12g}' for value in row) for row in rows)
    (folder / 'rendering_metadata.txt').write_text(text + '\n', encoding='ascii')
    listed = '\n'.join(f'{index:02d}.png' for index in range(VIEWS))
    (folder / 'renderings.txt').write_text(listed + '\n', encoding='ascii')


def _draw_rows(rng: np.random.Generator) -> NDArray[np.float64]:
    columns = [
        rng.uniform(0, 360, VIEWS),
        rng.uniform(*ELEVATION_DEG, VIEWS),
        np.zeros(VIEWS),
        rng.uniform(*DISTANCE, VIEWS),
        np.full(VIEWS, FIELD_OF_VIEW),
    ]
    return np.stack(columns, 1)


def _write_views(
    folder: Path, model: ObjectModel, poses: NDArray[np.float64], rng: np.random.Generator
) -> None:
    K = np.broadcast_to(intrinsics(IMAGE_SIZE, IMAGE_SIZE), (VIEWS, 3, 3))
    cameras = Cameras(K, poses, IMAGE_SIZE, IMAGE_SIZE)
    seen = render(model.mesh, cameras, draw_lighting(rng), supersample=2)
    assert seen.coverage is not None
    for index, (rgb, alpha) in enumerate(zip(seen.rgb, seen.coverage)):
        bgra = np.concatenate([rgb[..., ::-1], alpha[..., None]], -1)
        _, encoded = cv2.imencode('.png', bgra)
        (folder / f'{index:02d}.png').write_bytes(encoded.tobytes())
