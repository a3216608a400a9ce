"""`im2cad` on objects alone on a table: retrieval alone and after matching, known and held apart.

`python benchmarks/im2cad.py [--objects N] [--library N] [--json FILE]` makes one index of training
objects and of the test objects that are seen. `known` has all of it; `held apart` is without the
test objects. Each object is seen once with noisy depth, and three times in colour alone. Times are
processor time of one object, from its first view to its shape.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
from pathlib import Path
import tempfile
import time
from typing import Any

from _common import machine, write_json
import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core import registry
from recon3d_core.data.objects.base import ObjectModel
from recon3d_core.data.objects.meshes import ManifestObjects
from recon3d_core.data.objects.procedural import FIRST_INDEX, HOUSEHOLD, make_object
from recon3d_core.data.rendering.base import Cameras
from recon3d_core.data.rendering.raycast import render
from recon3d_core.data.sets.drawn import draw_lighting
from recon3d_core.fusion.im2cad import Im2CadReconstructor
from recon3d_core.fusion.visual_hull import initial_grid_from_views
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import grid_around, VoxelGrid
from recon3d_core.geometry.transforms import apply, Array, invert, look_at, make_transform
from recon3d_core.matching.descriptors import Describer
from recon3d_core.matching.index import build, ModelIndex, read, write
from recon3d_core.matching.retrieval import Retriever
from recon3d_core.matching.sources import _MeshModel, ModelLibrary, SourceModel, spread
from recon3d_core.meshing.closed import ClosedMesher
from recon3d_core.types import Frame, Plane, Shape, View
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

CAMERA = Camera(320, 240, 300.0, 300.0, 159.5, 119.5)
TABLE = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
SIZES_M = (0.05, 0.5)
SETTINGS = {'1 view, depth': (1, True), '3 views, colour': (3, False)}
SAME = 0.85  # IoU with itself, turned, from which a turn is no error


class Mixed(ModelLibrary):
    """Collected objects and those made by rule, by name."""

    def __init__(self, names: Sequence[str], collection: ManifestObjects) -> None:
        """Take the names."""
        self.names, self.key, self.note = tuple(sorted(names)), '', 'benchmark'
        self._collection = collection

    def model(self, name: str) -> ObjectModel:
        """Return an object."""
        made = name.startswith('procedural/')
        return make_object(name) if made else self._collection.load(name)

    def load(self, name: str) -> SourceModel:
        """Return an object as a model of a library."""
        return _MeshModel(self.model(name))


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object that stands on the table.

    Attributes:
        name: Its name.
        model: The object in its cube.
        yaw: Its turn.
        inside: (64, 64, 64) what it fills of its cube.
    """

    name: str
    model: ObjectModel
    yaw: float
    inside: NDArray[np.bool_]

    @property
    def T_world_cube(self) -> Array:
        """Pose (4, 4) of its cube's middle; it stands on z = 0."""
        R = Rotation.from_rotvec([0, 0, self.yaw]).as_matrix()
        return make_transform(R, (0, 0, -self.model.edge_m * self.model.mesh.vertices[:, 2].min()))

    def views(self, count: int, depth: bool, rng: np.random.Generator) -> list[View]:
        """Return views from around, with depth noise of 1.5 mm and pixels lost."""
        edge = self.model.edge_m
        center = self.T_world_cube[:3, 3]
        poses, start = [], rng.uniform(0, 2 * np.pi)
        for k in range(count):
            turn, rise = start + 1.9 * k, rng.uniform(np.deg2rad(20), np.deg2rad(55))
            back = np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)
            poses.append(look_at(center + max(0.45, 2.2 * edge) * np.array(back), center))
        T = invert(np.stack(poses)) @ self.T_world_cube
        T[:, :3, 3] /= edge
        K = np.broadcast_to(CAMERA.K, (count, 3, 3))
        cameras = Cameras(K, T, CAMERA.height, CAMERA.width)
        seen = render(self.model.mesh, cameras, draw_lighting(rng), supersample=1)
        views = []
        for pose, rgb, mask, exact in zip(poses, seen.rgb, seen.mask, seen.depth):
            noisy = exact * edge + rng.normal(0, 0.0015, exact.shape)
            noisy[~mask | (rng.random(exact.shape) < 0.03)] = 0
            frame = Frame(0, CAMERA, rgb, noisy.astype(np.float32) if depth else None, pose)
            x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
            views.append(View(frame, mask, (x, y, x + w - 1, y + h - 1), support=TABLE))
        return views


def grid_of(views: Sequence[View]) -> VoxelGrid:
    """Return the grid of an object at birth, as the pipeline places it."""
    depth = views[0].frame.depth_m
    if depth is None:
        return initial_grid_from_views(views, 48, TABLE)
    points = CAMERA.points(depth)[views[0].mask & (depth > 0)]
    points = apply(views[0].frame.pose, points)
    low, high = np.percentile(points, [1, 99], axis=0)
    points = points[((points >= low) & (points <= high)).all(1)]
    longest = float(np.ptp(points, axis=0).max())
    voxel = float(np.clip(longest / 48, 0.003, 0.03))
    return grid_around(points, voxel, max(6 * voxel, 0.2 * longest))


def judge(shape: Shape, thing: Thing) -> dict[str, float]:
    """Return IoU and mean distance of the surfaces, of their voxels' centres."""
    edge, n = thing.model.edge_m, len(thing.inside)
    T = thing.T_world_cube
    own = (np.argwhere(thing.inside) + 0.5) / n - 0.5
    found = shape.occupancy > 0.5
    index = shape.grid.indices(apply(T, own * edge))
    held = ((index >= 0) & (index < found.shape)).all(1)
    common = found[tuple(index[held].T)].sum() * (edge / n) ** 3
    union = len(own) * (edge / n) ** 3 + found.sum() * shape.grid.voxel_size_m**3 - common
    surface = rim(thing.inside, lambda i: apply(T, ((i + 0.5) / n - 0.5) * edge))
    grid = shape.grid
    other = rim(found, lambda i: apply(grid.T_world_grid, (i + 0.5) * grid.voxel_size_m))
    if not len(other):
        return {'iou': 0.0, 'chamfer_mm': 1e3 * edge}
    there, back = cKDTree(surface).query(other)[0], cKDTree(other).query(surface)[0]
    return {'iou': float(common / union), 'chamfer_mm': 500 * float(there.mean() + back.mean())}


def rim(inside: NDArray[np.bool_], place: Any) -> Array:
    """Return the places (n, 3) of the voxels at a surface."""
    index = np.argwhere(inside & ~ndimage.binary_erosion(inside)).astype(np.float64)
    points: Array = place(index)
    return points


def turn_error_deg(yaw: float, thing: Thing) -> float:
    """Return how far a yaw is off, turns that leave the object nearly as it is forgiven."""
    coarse = thing.inside.reshape(32, 2, 32, 2, 32, 2).any((1, 3, 5)).astype(np.float32)
    errors = []
    for degrees in range(0, 360, 15):
        turned = ndimage.rotate(coarse, degrees, (0, 1), reshape=False, order=1) > 0.5
        both = np.logical_and(turned, coarse).sum() / np.logical_or(turned, coarse).sum()
        if degrees == 0 or both > SAME:
            off = (np.rad2deg(yaw - thing.yaw) - degrees + 180) % 360 - 180
            errors.append(abs(off))
    return float(min(errors))


def without(index: ModelIndex, names: Sequence[str]) -> ModelIndex:
    """Return an index without some models, whose entries are left out."""
    kept = ~np.isin(index.names[index.owner], list(names))
    return dataclasses.replace(
        index, features=index.features[kept], owner=index.owner[kept], turns=index.turns[kept]
    )


def placed_row(
    reconstructor: Im2CadReconstructor, thing: Thing, views: Sequence[View], match: bool
) -> dict[str, Any]:
    """Return the figures of im2cad on one object."""
    reconstructor.config.match = match
    state = reconstructor.start(grid_of(views))
    begin = time.process_time()
    for view in views:
        state = reconstructor.observe(state, view)
    shape = reconstructor.shape(state)
    spent_s = time.process_time() - begin
    placed = reconstructor.placed(state)
    assert placed is not None
    row = {**judge(shape, thing), 's': spent_s, 'agreement': placed.agreement,
           'found': placed.model.name, 'same': placed.model.name == thing.name}  # fmt: skip
    if row['same']:
        yaw = float(placed.theta[0])  # about the axes of the grid, which may be turned
        ahead = state.T_world_local[:3, :3] @ (np.cos(yaw), np.sin(yaw), 0.0)
        row['turn_deg'] = turn_error_deg(float(np.arctan2(ahead[1], ahead[0])), thing)
    return row


def other_row(
    name: str, reconstructor: Any, thing: Thing, views: Sequence[View]
) -> dict[str, Any]:
    """Return the figures of another reconstructor on one object."""
    state = reconstructor.start(grid_of(views))
    begin = time.process_time()
    for view in views:
        state = reconstructor.observe(state, view)
    shape = reconstructor.shape(state)
    if name == 'closing':
        shape = ClosedMesher().fill(shape, TABLE) or shape
    return {**judge(shape, thing), 's': time.process_time() - begin}


def make_index(library: Mixed, cache: Path | None) -> ModelIndex:
    """Return the index of the benchmark, from a file where that is given and there."""
    found = read(cache) if cache is not None else None
    if found is None or set(found.names) != set(library.names):
        found = build(library, Describer(), most=len(library.names))
        if cache is not None:
            write(cache, found)
    return found


def choose(
    objects: int, library: int, collection: ManifestObjects, rng: np.random.Generator
) -> tuple[Mixed, list[Thing]]:
    """Return the library, test objects included, and the test objects."""
    train = [n for s in ('train', 'val') for n in collection.names(s)]
    train = [n for n in train if collection.category(n) != 'random']
    made = [f'procedural/{f}/{k:06d}' for f in HOUSEHOLD for k in range(library // 44 + 1)]
    known = [*spread(train, library // 2), *spread(made, library - library // 2)]
    seen = [n for n in collection.names('test') if collection.category(n) != 'random']
    seen = [n for n in seen if SIZES_M[0] < collection.load(n).edge_m < SIZES_M[1]]
    test_made = [f'procedural/{f}/{FIRST_INDEX["test"] + 11:06d}' for f in HOUSEHOLD]
    chosen = [*spread(seen, objects - objects // 2), *spread(test_made, objects // 2)]
    mixed = Mixed([*known, *chosen], collection)
    things = []
    for name in chosen:
        inside = mixed.load(name).occupancy()
        things.append(Thing(name, mixed.model(name), float(rng.uniform(0, 2 * np.pi)), inside))
    return mixed, things


def run(objects: int, library: int, cache: Path | None) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each object: one for each setting and way."""
    rng = np.random.default_rng(0)
    mixed, things = choose(objects, library, ManifestObjects(), rng)
    index = make_index(mixed, cache)
    kind = Im2CadReconstructor
    with tempfile.TemporaryDirectory() as folder:
        config = kind.Config(library='procedural', max_models=1, cache=folder)
        reconstructor = kind(config)
    retrievers = {
        'known': Retriever(index),
        'held apart': Retriever(without(index, [thing.name for thing in things])),
    }
    posed = registry.load('reconstructor', 'posed_fusion')()
    fused = registry.load('reconstructor', 'tsdf_object')()
    for place in rng.permutation(len(things)):
        thing, rows = things[place], []
        for setting, (count, depth) in SETTINGS.items():
            views = thing.views(count, depth, rng)
            base = {'object': thing.name, 'setting': setting}
            for which, retriever in retrievers.items():
                reconstructor._retriever = retriever
                for match in (False, True):
                    way = f'{which}, {"matched" if match else "retrieval alone"}'
                    figures = placed_row(reconstructor, thing, views, match)
                    rows.append({**base, 'way': way, **figures})
            rows.append({**base, 'way': 'posed_fusion',
                         **other_row('posed_fusion', posed, thing, views)})  # fmt: skip
            if depth:
                figures = other_row('closing', fused, thing, views)
                rows.append({**base, 'way': 'closing', **figures})
        yield rows


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the means."""
    table = Table(title='means over objects; turn: median of those found')
    for heading in ('setting', 'way', 'IoU', 'chamfer mm', 'same object', 'turn', 's'):
        table.add_column(heading)
    for key in dict.fromkeys((row['setting'], row['way']) for row in rows):
        some = [row for row in rows if (row['setting'], row['way']) == key]
        mean = {name: np.mean([row[name] for row in some]) for name in ('iou', 'chamfer_mm', 's')}
        turns = [row['turn_deg'] for row in some if 'turn_deg' in row]
        table.add_row(
            *key, f'{mean["iou"]:.3f}', f'{mean["chamfer_mm"]:.1f}',
            f'{np.mean([row["same"] for row in some]):.2f}' if 'same' in some[0] else '',
            f'{np.median(turns):.1f}' if turns else '', f'{mean["s"]:.2f}',
        )  # fmt: skip
    Console(width=120).print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--objects', type=int, default=20)
    parser.add_argument('--library', type=int, default=80, help='training objects in it')
    parser.add_argument('--index', type=Path, help='file that keeps the index')
    parser.add_argument('--json', type=Path, help='file to write the figures to')
    options = parser.parse_args(arguments)
    started = machine()
    rows: list[dict[str, Any]] = []
    for found in run(options.objects, options.library, options.index):
        rows += found
        write_json(options.json, 'im2cad', {'machine': started, 'rows': rows})
    show(rows)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
