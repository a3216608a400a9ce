"""One object drawn as a data set wants it: posed in its cube, lit, seen, with its true shape."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.crops import MARGIN
from recon3d_core.data.objects.base import ObjectMesh, ObjectModel
from recon3d_core.data.rendering.base import Cameras, Lighting
from recon3d_core.data.sets.batches import seed_of, times_coverage
from recon3d_core.data.view_sampling import (
    crop_cameras,
    draw_poses,
    spread_poses,
    ViewRange,
)

EVALUATION_SCALE = 1.1  # edge of the cube by the object's longest, where nothing is jittered
# So dense that the F-score at 1 % of the edge measures the shape, not the sampling.
SURFACE_POINTS = 32768
DEPTH_STEP = 1 / 6000  # edges of the cube; uint16 then reaches 10.9 edges


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What is drawn of each object.

    Attributes:
        size: Edge of the images, pixels.
        resolution: Voxels along an edge of the occupancy.
        draws: How often the object is posed and lit anew.
        views: Views of each draw.
        canonical: Whether the object keeps its pose and its cube; otherwise it is turned about
            the vertical axis, or any way where it has no upright, and gets another cube.
        evaluation: Fixed views that are well spread, with depth and surface; otherwise random
            ones, and a cube jittered as when it was placed from visible points.
        range: From where the object is seen.
    """

    size: int
    resolution: int
    draws: int
    views: int
    canonical: bool
    evaluation: bool
    range: ViewRange

    @property
    def record(self) -> np.dtype[Any]:
        """Type of the record that holds a drawn object."""
        per_draw, per_view, size = (self.draws,), (self.draws, self.views), self.size
        packed = (self.resolution**3 + 7) // 8
        fields: list[Any] = [
            ('rgba', np.uint8, (*per_view, size, size, 4)),
            ('K', np.float32, (*per_view, 3, 3)),
            ('T_camera_cube', np.float32, (*per_view, 4, 4)),
            ('occupancy', np.uint8, (*per_draw, packed)),
            ('edge_m', np.float32, per_draw),
        ]
        if self.evaluation:
            fields += [
                ('depth', np.uint16, (*per_view, size, size)),
                ('surface', np.float32, (*per_draw, SURFACE_POINTS, 3)),
                ('normals', np.float32, (*per_draw, SURFACE_POINTS, 3)),
            ]
        return np.dtype(fields)


def draw_object(model: ObjectModel, drawing: Drawing, upright: bool) -> NDArray[Any]:
    """Return the record (1,) of an object; its name says all that is drawn.

    Args:
        model: The object.
        drawing: What to draw.
        upright: Whether it stands on a ground; otherwise it is turned any way.
    """
    purpose = 'evaluation' if drawing.evaluation else 'training'
    rng = np.random.default_rng(seed_of(f'{purpose}:{model.name}'))
    record = np.zeros(1, drawing.record)
    truth = None
    for draw in range(drawing.draws):
        mesh, edge = (
            (model.mesh, 1.0)
            if drawing.canonical
            else place(model.mesh, rng, upright, jitter=not drawing.evaluation)
        )
        if truth is None or not drawing.canonical:
            truth = _truth(mesh, drawing, rng)
        for key, value in {**truth, **_views(mesh, drawing, rng)}.items():
            record[0][key][draw] = value
        record[0]['edge_m'][draw] = model.edge_m * edge
    return record


def place(
    mesh: ObjectMesh, rng: np.random.Generator, upright: bool, *, jitter: bool
) -> tuple[ObjectMesh, float]:
    """Return an object turned and in another cube, and that cube's edge in edges of the old one.

    Args:
        mesh: The object in its cube.
        rng: Draws the turn and the jitter.
        upright: Whether to turn it about the vertical axis only.
        jitter: Whether its cube is off in place and size, as one is that was placed around what
            some views showed.
    """
    rotation = draw_rotation(rng, upright)
    vertices = mesh.vertices.astype(np.float64) @ rotation.T
    center, edge = draw_cube(vertices, rng, jitter=jitter)
    turned = ((vertices - center) / edge).astype(np.float32)
    return dataclasses.replace(mesh, vertices=turned), edge


def draw_rotation(rng: np.random.Generator, upright: bool) -> NDArray[np.float64]:
    """Return a turn (3, 3) about the vertical axis, or any, uniformly drawn."""
    return _yaw(rng.uniform(0, 2 * np.pi)) if upright else _any_rotation(rng)


def draw_cube(
    points: NDArray[np.float64], rng: np.random.Generator, *, jitter: bool
) -> tuple[NDArray[np.float64], float]:
    """Return centre (3,) and edge of a cube around an object's points (P, 3)."""
    low, high = points.min(0), points.max(0)
    longest = float((high - low).max())
    if not jitter:
        return (low + high) / 2, longest * EVALUATION_SCALE
    offset = rng.normal(0, 0.04, 3).clip(-0.1, 0.1) * longest
    # Mostly close; a cube placed when little was seen is kept while the object turns out smaller.
    return (low + high) / 2 + offset, longest * (1 + 0.7 * rng.uniform() ** 2)


def _yaw(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _any_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q * np.linalg.det(q), np.float64)


def _truth(mesh: ObjectMesh, drawing: Drawing, rng: np.random.Generator) -> dict[str, Any]:
    from recon3d_core.data import ground_truth

    inside = ground_truth.occupancy(mesh, drawing.resolution)
    truth: dict[str, Any] = {'occupancy': np.packbits(inside)}
    if drawing.evaluation:
        samples = ground_truth.surface_samples(mesh, SURFACE_POINTS, rng)
        truth['surface'], truth['normals'] = samples
    return truth


def _views(mesh: ObjectMesh, drawing: Drawing, rng: np.random.Generator) -> dict[str, Any]:
    from recon3d_core.data.rendering.raycast import render

    poses = (spread_poses if drawing.evaluation else draw_poses)(drawing.views, rng, drawing.range)
    cameras: Cameras = crop_cameras(mesh.vertices, poses, drawing.size, MARGIN)
    # Crops of training views are resampled, which smooths their rims.
    samples = 2 if drawing.evaluation else 1
    seen = render(mesh, cameras, draw_lighting(rng), supersample=samples)
    assert seen.coverage is not None
    rgb = seen.rgb if drawing.evaluation else _recolor(seen.rgb, rng)
    views = {
        'rgba': times_coverage(rgb, seen.coverage),
        'K': cameras.normalized_K(),
        'T_camera_cube': poses.astype(np.float32),
    }
    if drawing.evaluation:
        views['depth'] = np.round(seen.depth / DEPTH_STEP).clip(0, 65535).astype(np.uint16)
    return views


def _recolor(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the views of a draw as if the object were of another colour, every second time."""
    if rng.uniform() < 0.5:
        return rgb
    gain = rng.uniform(0.6, 1.2, 3)
    return (rgb[..., rng.permutation(3)] * gain).clip(0, 255).astype(np.uint8)


def draw_lighting(rng: np.random.Generator) -> Lighting:
    """Return one to three lights from above and the sides, bright or dim, and a gloss."""
    count = int(rng.integers(1, 4))
    directions = rng.normal(size=(count, 3))
    directions[:, 2] = np.abs(directions[:, 2]) + 0.2
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    tint = rng.uniform(0.85, 1.0, (count, 3))
    powers = rng.uniform(0.35, 0.9, (count, 1)) / count**0.5 * tint
    ambient = rng.uniform(0.2, 0.55) * rng.uniform(0.9, 1.0, 3)
    gloss = float(rng.uniform(0, 0.5)) if rng.uniform() < 0.5 else 0.0
    return Lighting(
        directions.astype(np.float32),
        powers.astype(np.float32),
        ambient.astype(np.float32),
        gloss,
        float(rng.uniform(8, 64)),
    )
