"""The scenes by name: what stands where, its light, and the camera's usual path."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from recon3d_core import registry
from recon3d_core.data.synth import catalogue, solids
from recon3d_core.data.synth.layout import place
from recon3d_core.data.synth.materials import Material, random_material
from recon3d_core.data.synth.paths import drive, orbit
from recon3d_core.data.synth.rendering import Light, Part
from recon3d_core.data.synth.truth import object_truth, ObjectTruth
from recon3d_core.errors import SourceError
from recon3d_core.geometry.transforms import make_transform

Array = NDArray[np.float64]

# Off the origin and off a grid of centimetres, so that neither hides an error of a frame.
CENTER = (0.413, -0.227)
TABLE_SIZE_M = (1.2, 0.8, 0.72)
HALF_ROOM_M = 2.5
WALL_HEIGHT_M = 2.6

BENCHMARK_SCENES: dict[str, tuple[str, ...]] = {
    'tabletop_01': ('mug', 'box', 'can', 'bowl', 'banana', 'bottle'),
    'tabletop_02': ('book', 'cup', 'sphere', 'carton', 'plate'),
    'tabletop_03': ('mug', 'vase', 'cylinder', 'torus', 'box', 'ellipsoid', 'can'),
    'tabletop_04': ('lamp', 'cone', 'bowl', 'cup', 'bottle', 'book'),
    'tabletop_05': ('carton', 'mug', 'box', 'cylinder', 'sphere', 'plate', 'bottle', 'can'),
}
ROOM_OBJECTS = ('table', 'chair', 'chair', 'chair', 'stool', 'crate', 'crate', 'bin')


@dataclasses.dataclass(frozen=True)
class Scene:
    """A scene that can be rendered.

    Attributes:
        parts: Its meshes.
        lights: Its lights.
        objects: Ground truth by id.
        support_height_m: Height of the surface on which the objects stand.
        target_world_m: (3,) point at which the camera looks.
        distance_m: Usual distance of the camera from there.
        height_m: Usual height of the camera above there.
        waypoints_world_m: Way of a mobile robot's camera; None where the camera circles.
    """

    parts: tuple[Part, ...]
    lights: tuple[Light, ...]
    objects: dict[int, ObjectTruth]
    support_height_m: float
    target_world_m: Array
    distance_m: float
    height_m: float
    waypoints_world_m: tuple[tuple[float, float, float], ...] | None = None

    def camera_path(
        self, path: str, frames: int, distance_m: float = 0.0, height_m: float = 0.0
    ) -> Array:
        """Return `T_world_camera` (frames, 4, 4).

        Args:
            path: `orbit`, `arc` (120 degrees), `drive`, or `auto` for the scene's own.
            frames: How many poses.
            distance_m: Distance from the target, 0 = the scene's.
            height_m: Height above the target, 0 = the scene's.

        Raises:
            SourceError: The scene has no way to drive, or the height is above the distance.
        """
        if path == 'drive' and self.waypoints_world_m is None:
            raise SourceError('this scene has no room to drive', path, 'orbit or arc')
        if self.waypoints_world_m is not None and path in ('auto', 'drive'):
            return drive(self.waypoints_world_m, self.target_world_m, frames)
        distance, height = distance_m or self.distance_m, height_m or self.height_m
        if height >= 0.97 * distance:
            raise SourceError(
                'the camera cannot be so high',
                f'height_m = {height:g}',
                f'less than 0.97 of distance_m = {distance:g}',
            )
        arc = np.deg2rad(120) if path == 'arc' else 2 * np.pi
        return orbit(self.target_world_m, distance, height, frames, arc)


def names() -> list[str]:
    """Return the names of all scenes."""
    singles = [f'single_{name}' for name in (*catalogue.TABLETOP, *catalogue.FURNITURE)]
    return ['tabletop', *BENCHMARK_SCENES, 'clutter', 'room', *sorted(singles)]


def build(name: str, seed: int) -> Scene:
    """Return a scene.

    Args:
        name: One of `names()`.
        seed: Varies the scene, except for the fixed ones, `tabletop_NN`.

    Raises:
        SourceError: No such scene.
    """
    if name not in names():
        known = ', '.join(['tabletop', *BENCHMARK_SCENES, 'clutter', 'room', 'single_SOLID'])
        solid = ', '.join(sorted((*catalogue.TABLETOP, *catalogue.FURNITURE)))
        raise SourceError(
            'unknown synthetic scene',
            repr(name),
            f'one of {known} (SOLID: {solid})',
            registry.closest(name, names()),
        )
    if name in BENCHMARK_SCENES:
        rng = np.random.default_rng([1, int(name[-2:])])
        return _on_table(BENCHMARK_SCENES[name], rng, gap_m=0.03)
    rng = np.random.default_rng([2, seed])
    if name == 'tabletop':
        count = int(rng.integers(5, 9))
        return _on_table(_choice(rng, count), rng, gap_m=0.03)
    if name == 'clutter':
        return _on_table(_choice(rng, 10), rng, gap_m=0.012, crowd=12)
    if name == 'room':
        return _room(rng)
    solid = name.removeprefix('single_')
    if solid in catalogue.TABLETOP:
        return _on_table((solid,), rng, gap_m=0.03, crowd=50, distance_m=0.65)
    return _on_floor(solid, rng)


def _choice(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    picked = rng.choice(sorted(catalogue.TABLETOP), count, replace=False)
    return tuple(str(name) for name in picked)


def _on_table(
    categories: Sequence[str],
    rng: np.random.Generator,
    gap_m: float,
    crowd: int = 1,
    distance_m: float = 0.85,
) -> Scene:
    top = TABLE_SIZE_M[2]
    half = (0.29, 0.25) if len(categories) > 1 else (0.05, 0.05)
    parts, objects = _objects(categories, (*CENTER, top), half, gap_m, rng, crowd)
    wood = Material('wood', (0.62, 0.4, 0.22), (0.4, 0.22, 0.1), 0.13, float(rng.uniform(0, 9)))
    pose = make_transform(None, (*CENTER, 0))
    table = Part(solids.moved(catalogue.table(TABLE_SIZE_M), None, pose[:3, 3]), wood, pose)
    return Scene(
        (*parts, table, *_shell(rng)),
        _lights(),
        objects,
        top,
        np.array((*CENTER, top + 0.05)),
        distance_m,
        0.53 * distance_m,
    )


def _on_floor(category: str, rng: np.random.Generator) -> Scene:
    parts, objects = _objects((category,), (*CENTER, 0.0), (0.05, 0.05), 0.03, rng)
    target = np.array((*CENTER, float(objects[1].size_m[2]) / 2))
    reach = max(1.3, 2.2 * float(objects[1].size_m.max()))
    return Scene(
        (*parts, *_shell(rng)), _lights(), objects, 0.0, target, min(reach, 2.2), 0.4 * reach
    )


def _room(rng: np.random.Generator) -> Scene:
    parts, objects = _objects(ROOM_OBJECTS, (*CENTER, 0.0), (1.1, 1.0), 0.15, rng)
    x, y = CENTER
    way = (
        (x - 2.1, y - 2.1, 0.95),
        (x + 2.6, y - 2.9, 0.95),
        (x + 2.9, y + 2.9, 0.95),
        (x - 1.6, y + 2.1, 0.95),
    )
    return Scene(
        (*parts, *_shell(rng)), _lights(), objects, 0.0, np.array((x, y, 0.4)), 2.0, 0.8, way
    )


def _objects(
    categories: Sequence[str],
    center_world_m: ArrayLike,
    half_size_m: tuple[float, float],
    gap_m: float,
    rng: np.random.Generator,
    crowd: int = 1,
) -> tuple[list[Part], dict[int, ObjectTruth]]:
    meshes = [catalogue.make(category, rng) for category in categories]
    poses = place(meshes, center_world_m, half_size_m, gap_m, rng, crowd)
    parts, objects = [], {}
    for instance, (category, mesh, pose) in enumerate(zip(categories, meshes, poses), 1):
        size = float(np.ptp(mesh.vertices_m, axis=0).max())
        material = random_material(rng, size, dark=bool(rng.random() < 0.07))
        mesh = solids.moved(mesh, pose[:3, :3], pose[:3, 3])
        parts.append(Part(mesh, material, pose, instance))
        objects[instance] = object_truth(instance, category, mesh)
    return parts, objects


def _shell(rng: np.random.Generator) -> list[Part]:
    """Return a floor and four walls around the scene."""
    (x, y), half, height = CENTER, HALF_ROOM_M, WALL_HEIGHT_M
    floor = Material('wood', (0.42, 0.36, 0.3), (0.3, 0.24, 0.19), 0.22, float(rng.uniform(0, 9)))
    paint = [(0.66, 0.64, 0.6), (0.55, 0.6, 0.62), (0.64, 0.66, 0.6), (0.62, 0.56, 0.5)]
    pose = make_transform(None, (x, y, 0))
    slabs = [((-half, -half, -0.1), (half, half, 0.0), floor)]
    for (a, b), color in zip(((-1, 0), (0, -1), (1, 0), (0, 1)), paint):
        low = (a * half - 0.05, -half, 0) if a else (-half, b * half - 0.05, 0)
        high = (a * half + 0.05, half, height) if a else (half, b * half + 0.05, height)
        dim = (color[0] * 0.8, color[1] * 0.8, color[2] * 0.8)
        slabs.append((low, high, Material('plain', color, dim, 0.9)))
    return [
        Part(solids.moved(solids.blocks([(low, high)]), None, pose[:3, 3]), material, pose)
        for low, high, material in slabs
    ]


def _lights() -> tuple[Light, ...]:
    x, y = CENTER
    return (
        Light((x + 0.9, y - 0.7, 2.5), 0.62),
        Light((x - 1.5, y + 1.2, 2.3), 0.28, shadows=False),
    )
