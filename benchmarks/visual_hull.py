"""`visual_hull` from 12 masks with true poses: IoU against the true solid, beside its peers.

`python benchmarks/visual_hull.py [--seeds N] [--resolution N] [--json FILE]`

Solids come from the catalogue of the synthetic scenes. The masks are exact, or ragged by a pixel.
Peers in the same run: soft votes without level ends, hard carving, and the convex hull of what it leaves.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
import sys
import time
from typing import Any

from _common import write_json
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.synth.catalogue import make
from recon3d_core.data.synth.truth import ray_scene
from recon3d_core.fusion.visual_hull import (
    initial_grid_from_views,
    VisualHullConfig,
    VisualHullReconstructor,
)
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, invert, look_at
from recon3d_core.meshing.render import cast_mesh
from recon3d_core.types import Frame, Mesh, View
from rich.console import Console
from rich.table import Table
from scipy.spatial import ConvexHull, Delaunay

BAR = 0.85
CONVEX = ('box', 'book', 'carton', 'cylinder', 'sphere', 'ellipsoid', 'cone')
OTHERS = ('mug', 'chair')
CAMERA = Camera(640, 480, 585.0, 585.0, 319.5, 239.5)
Array = NDArray[np.float64]


def directions(layout: str, rng: np.random.Generator) -> Array:
    """Return 12 unit vectors (12, 3) from the object to the cameras."""
    turn = rng.uniform(0, 2 * np.pi)
    if layout == 'sphere':
        height = (np.arange(12) + 0.5) / 6 - 1
        around = np.arange(12) * np.pi * (3 - np.sqrt(5)) + turn
    else:
        degrees = {'ring': [30], 'hemisphere': [10, 35, 70]}[layout]
        height = np.sin(np.deg2rad(np.resize(degrees, 12)))
        around = np.arange(12) * 2 * np.pi / 12 + turn
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(around), flat * np.sin(around), height], 1)


def see(mesh: Mesh, layout: str, ragged: bool, rng: np.random.Generator) -> list[View]:
    """Return 12 views with the object's masks and nothing else."""
    low, high = mesh.vertices_m.min(0), mesh.vertices_m.max(0)
    center = ((low + high) / 2).astype(np.float64)
    distance = 2.2 * float(np.linalg.norm(high - low))
    views = []
    for direction in directions(layout, rng):
        pose = look_at(center + distance * direction, center)
        mask = cast_mesh(mesh, CAMERA, pose) > 0
        if ragged:
            rows, columns = np.indices(mask.shape)
            rows = np.clip(rows + rng.integers(-1, 2, mask.shape), 0, mask.shape[0] - 1)
            columns = np.clip(columns + rng.integers(-1, 2, mask.shape), 0, mask.shape[1] - 1)
            mask = mask[rows, columns]
        rows, columns = np.nonzero(mask)
        box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
        views.append(View(Frame(0, CAMERA, T_world_camera=pose), mask, box))
    return views


def tents(grid: VoxelGrid, views: Sequence[View]) -> NDArray[np.bool_]:
    """Return what `visual_hull` calls solid without level ends."""
    return soft_votes(grid, views, level_ends=False)


def soft_votes(
    grid: VoxelGrid, views: Sequence[View], level_ends: bool = True
) -> NDArray[np.bool_]:
    """Return what `visual_hull` calls solid."""
    reconstructor = VisualHullReconstructor(VisualHullConfig(level_ends=level_ends))
    state = reconstructor.start(grid)
    for view in views:
        state = reconstructor.observe(state, view)
    return reconstructor.shape(state).occupancy > 0.5


def hard_carving(grid: VoxelGrid, views: Sequence[View]) -> NDArray[np.bool_]:
    """Return the voxels that lie in every mask."""
    centers = grid.centers_world_m().astype(np.float64)
    inside = np.ones(grid.shape, bool)
    for view in views:
        assert view.frame.T_world_camera is not None
        pixels = CAMERA.project(apply(invert(view.frame.T_world_camera), centers))
        x, y = np.moveaxis(np.rint(pixels), -1, 0)
        seen = (x >= 0) & (x < CAMERA.width) & (y >= 0) & (y < CAMERA.height)
        inside[seen] &= view.mask[y[seen].astype(int), x[seen].astype(int)]
    return inside


def convex_hull(grid: VoxelGrid, views: Sequence[View]) -> NDArray[np.bool_]:
    """Return the convex hull of the hard carving."""
    carved = hard_carving(grid, views)
    index = np.argwhere(carved)
    corners = Delaunay(index[ConvexHull(index).vertices])
    low, high = index.min(0), index.max(0) + 1
    box = np.indices(tuple(high - low)).reshape(3, -1).T + low
    box = box[~carved[tuple(box.T)]]
    carved[tuple(box[corners.find_simplex(box) >= 0].T)] = True
    return carved


METHODS: dict[str, Callable[[VoxelGrid, Sequence[View]], NDArray[np.bool_]]] = {
    'visual_hull': soft_votes,
    'soft votes alone': tents,
    'hard carving': hard_carving,
    'convex hull': convex_hull,
}


def measure(
    category: str, layout: str, ragged: bool, seed: int, resolution: int
) -> dict[str, dict[str, float]]:
    """Return IoU and time of each method on one object."""
    rng = np.random.default_rng(seed)
    mesh = make(category, rng)
    views = see(mesh, layout, ragged, rng)
    grid = initial_grid_from_views(views, resolution)
    points = grid.centers_world_m()
    truth = ray_scene(mesh).compute_occupancy(points).numpy() > 0.5
    result: dict[str, dict[str, float]] = {}
    for name, method in METHODS.items():
        start = time.perf_counter()
        solid = method(grid, views)
        seconds = time.perf_counter() - start
        iou = float((solid & truth).sum() / (solid | truth).sum())
        result[name] = {'iou': iou, 'ms_per_view': seconds * 1e3 / len(views)}
    return result


def run(seeds: int, resolution: int) -> list[dict[str, Any]]:
    """Return one row per category, layout and kind of masks: means over the seeds."""
    rows = []
    for layout in ('sphere', 'hemisphere', 'ring'):
        for ragged in (False, True):
            for category in CONVEX + OTHERS:
                found = [measure(category, layout, ragged, s, resolution) for s in range(seeds)]
                row: dict[str, Any] = {
                    'layout': layout,
                    'masks': 'ragged' if ragged else 'exact',
                    'category': category,
                    'convex': category in CONVEX,
                }
                for name in METHODS:
                    row[name] = float(np.mean([item[name]['iou'] for item in found]))
                    row[f'{name} ms'] = float(
                        np.median([item[name]['ms_per_view'] for item in found])
                    )
                rows.append(row)
    return rows


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the means over convex and over other objects."""
    table = Table(title=f'IoU at 12 views (bar for convex objects: {BAR})')
    for column in ('cameras', 'masks', 'objects', *METHODS, 'worst visual_hull', 'ms per view'):
        table.add_column(column)
    for layout in dict.fromkeys(row['layout'] for row in rows):
        for masks in ('exact', 'ragged'):
            for convex in (True, False):
                part = [
                    row
                    for row in rows
                    if (row['layout'], row['masks'], row['convex']) == (layout, masks, convex)
                ]
                table.add_row(
                    layout,
                    masks,
                    'convex' if convex else 'others',
                    *(f'{np.mean([row[name] for row in part]):.3f}' for name in METHODS),
                    f'{min(row["visual_hull"] for row in part):.3f}',
                    f'{np.median([row["visual_hull ms"] for row in part]):.1f}',
                )
    console.print(table)


def convex_means(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Return the mean IoU over convex objects for each layout of cameras and kind of masks."""
    kinds = dict.fromkeys((row['layout'], row['masks']) for row in rows if row['convex'])
    return [
        float(np.mean([
            row['visual_hull'] for row in rows
            if row['convex'] and (row['layout'], row['masks']) == kind
        ]))
        for kind in kinds
    ]  # fmt: skip


def main() -> int:
    """Measure, print, write, and return 1 where the bar is missed for some cameras."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--resolution', type=int, default=64)
    parser.add_argument('--json', type=Path)
    arguments = parser.parse_args()
    rows = run(arguments.seeds, arguments.resolution)
    show(rows, Console(width=120))
    write_json(arguments.json, 'visual_hull', {'bar': BAR, 'views': 12, 'rows': rows})
    return 0 if all(value >= BAR for value in convex_means(rows)) else 1


if __name__ == '__main__':
    sys.exit(main())
