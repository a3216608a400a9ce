"""Cluttered scenes, each said by its split and number: true objects at rest, seen by a robot."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.objects.base import SPLITS
from recon3d_core.data.rendering.raycast import sample_colors
from recon3d_core.data.scenes.library import Library, Shares
from recon3d_core.data.scenes.placing import Crowding, Placed, Placing
from recon3d_core.data.scenes.surroundings import (
    draw_surroundings,
    Kind,
    random_surface,
    Surroundings,
)
from recon3d_core.data.scenes.viewpoints import draw_camera, draw_pose
from recon3d_core.data.sets.batches import seed_of
from recon3d_core.data.synth.materials import random_material
from recon3d_core.data.synth.noise import DepthNoise, noisy_rgb
from recon3d_core.data.synth.rendering import Part, Renderer, Rendering
from recon3d_core.data.synth.truth import object_truth, ObjectTruth, SceneTruth
from recon3d_core.errors import InputError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply
from recon3d_core.types import Frame, Mesh

Array = NDArray[np.float64]

MIN_OBJECTS, MAX_OBJECTS = 3, 12
_KINDS: tuple[Kind, ...] = ('table', 'floor', 'shelf')
_KIND_SHARES = (0.6, 0.22, 0.18)
_CELL_M = {'table': 0.004, 'shelf': 0.004, 'floor': 0.008}
_SIZES_M = {'table': (0.035, 0.42), 'shelf': (0.035, 0.34), 'floor': (0.06, 1.3)}
_NEAREST_M = 0.12
_LEAST_PX = 0.0008  # of the image: what is smaller counts as unseen


@dataclasses.dataclass(frozen=True)
class ComposedScene:
    """A scene that can be seen from anywhere.

    Attributes:
        name: Its name, such as `scenes/train/000012`.
        surroundings: What is around the objects.
        placed: The objects; number k has the id k + 1.
        renderer: Sees it.
    """

    name: str
    surroundings: Surroundings
    placed: tuple[Placed, ...]
    renderer: Renderer

    @functools.cached_property
    def objects(self) -> Mapping[int, ObjectTruth]:
        """Ground truth by id."""
        return {
            number: object_truth(number, one.item.category, _mesh(one))
            for number, one in enumerate(self.placed, 1)
        }


@dataclasses.dataclass(frozen=True)
class SceneView:
    """What a camera sees of a scene.

    Attributes:
        camera: Intrinsics.
        T_world_camera: (4, 4) exact pose.
        seen: The exact images.
        rgb: (H, W, 3) uint8 with the sensor's noise.
        depth_m: (H, W) float32 as a structured-light camera measures it, 0 = invalid.
    """

    camera: Camera
    T_world_camera: Array
    seen: Rendering
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]

    def frame(self, scene: ComposedScene, stamp_ns: int = 0) -> Frame:
        """Return what the sensor gives, with the truth."""
        truth = SceneTruth(
            scene.objects,
            scene.surroundings.support_m,
            self.seen.instances,
            self.seen.depth_m,
            self.T_world_camera,
        )
        return Frame(
            stamp_ns=stamp_ns,
            camera=self.camera,
            rgb=self.rgb,
            depth_m=self.depth_m,
            T_world_camera=self.T_world_camera,
            gravity_world=np.array((0.0, 0.0, -1.0)),
            truth=truth,
        )


class TexturedRenderer(Renderer):
    """A renderer of meshes with textures or colours of their own, beside patterned ones."""

    def __init__(self, parts: list[Part], own: dict[int, Placed], **kwargs: object) -> None:
        """Build the scene.

        Args:
            parts: Meshes of the scene.
            own: Objects that have their own colours, by number of the part.
            **kwargs: As `Renderer` has them.
        """
        super().__init__(parts, **kwargs)  # type: ignore[arg-type]
        self._own = own

    def part_albedo(
        self,
        index: int,
        points_local_m: NDArray[np.float32],
        pixels: NDArray[np.int64],
        hits: Mapping[str, o3d.core.Tensor],
    ) -> NDArray[np.float32]:
        """Return the reflectance (3, n), from the object's own colours where it has some."""
        if index not in self._own:
            return super().part_albedo(index, points_local_m, pixels, hits)
        faces = hits['primitive_ids'].numpy()[pixels].astype(np.int64)
        uv = hits['primitive_uvs'].numpy()[pixels]
        weights = np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], 1)
        colors = sample_colors(self._own[index].item.mesh, faces, weights) / np.float32(255)
        # The renderer's gamma is 2.
        return np.ascontiguousarray(np.square(colors).T)


def scene_name(split: str, index: int) -> str:
    """Return the name of a scene.

    Raises:
        InputError: There is no such split.
    """
    if split not in SPLITS:
        raise InputError('unknown split', repr(split), f'of {", ".join(SPLITS)}')
    return f'scenes/{split}/{index:06d}'


def compose(name: str, library: Library) -> ComposedScene:
    """Return the scene of a name, always the same.

    Raises:
        InputError: It is no name of a scene.
    """
    head, _, rest = name.partition('/')
    split, _, digits = rest.partition('/')
    if head != 'scenes' or split not in SPLITS or not (digits.isdigit() and len(digits) == 6):
        raise InputError('no such scene', repr(name), 'scenes/SPLIT/NNNNNN, six digits')
    rng = np.random.default_rng(seed_of(name))
    kind = _KINDS[int(rng.choice(len(_KINDS), p=_KIND_SHARES))]
    surroundings = draw_surroundings(kind, rng)
    placing = Placing(
        surroundings.half_size_m, _CELL_M[kind], surroundings.support_m, _crowding(kind, rng)
    )
    _fill(placing, kind, split, library, rng)
    parts, own = _object_parts(placing.placed, rng)
    renderer = TexturedRenderer([*parts, *surroundings.parts], own, lights=surroundings.lights)
    renderer.AMBIENT = float(rng.uniform(0.16, 0.45))  # type: ignore[misc]
    return ComposedScene(name, surroundings, tuple(placing.placed), renderer)


def _crowding(kind: Kind, rng: np.random.Generator) -> Crowding:
    wide = {'table': (0.1, 0.3), 'shelf': (0.12, 0.3), 'floor': (0.25, 0.6)}[kind]
    stack, touch = rng.dirichlet((1.0, 1.6, 1.8))[:2]
    highest = {'table': 0.6, 'shelf': 0.27, 'floor': 1.6}[kind]
    return Crowding(float(rng.uniform(*wide)), float(touch), float(stack), highest)


def _fill(
    placing: Placing, kind: Kind, split: str, library: Library, rng: np.random.Generator
) -> None:
    """Put 3 to 12 objects in, larger ones first more often than not."""
    count = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1 if kind != 'shelf' else 9))
    bulky = float(rng.uniform(0, 0.6)) if kind == 'floor' else 0.0
    shares = Shares(bulky=bulky, random=float(rng.choice([0.05, 0.3])))
    items = [library.draw(split, shares, _SIZES_M[kind], rng) for _ in range(count)]
    if rng.random() < 0.7:
        items.sort(key=lambda item: -float(np.ptp(item.mesh.vertices, axis=0).prod()))
    for item in items:
        placing.add(item, rng)
    for _ in range(30):
        if len(placing.placed) >= MIN_OBJECTS:
            break
        low, high = _SIZES_M[kind]
        small = (low, low + 0.3 * (high - low))
        placing.add(library.draw(split, Shares(), small, rng), rng)


def _mesh(one: Placed) -> Mesh:
    vertices = apply(one.T_world_object, one.item.mesh.vertices).astype(np.float32)
    return Mesh(vertices, one.item.mesh.faces)


def _object_parts(
    placed: list[Placed], rng: np.random.Generator
) -> tuple[list[Part], dict[int, Placed]]:
    parts, own = [], {}
    for number, one in enumerate(placed):
        mesh = _mesh(one)
        size = float(np.ptp(mesh.vertices_m, axis=0).max())
        plain = rng.random() < 0.4
        material = random_surface(rng) if plain else random_material(rng, size, rng.random() < 0.1)
        colors = one.item.mesh.colors
        grey = one.item.mesh.uv is None and (colors is None or np.ptp(colors) == 0)
        if not (grey or one.item.recolor or rng.random() < 0.12):
            own[number] = one
        parts.append(Part(mesh, material, one.T_world_object, number + 1))
    return parts, own


def draw_view(
    scene: ComposedScene, index: int, size: tuple[int, int] = (640, 480), noise: float = 1.0
) -> SceneView:
    """Return a view of a scene from a camera that its number draws.

    Args:
        scene: The scene.
        index: Number of the view.
        size: Width and height of the images.
        noise: Strength of the sensor's errors; 0 = none, 1 = typical.
    """
    rng = np.random.default_rng(seed_of(f'{scene.name}:{index}'))
    centers = np.stack([one.T_world_object[:3, 3] for one in scene.placed])
    for _ in range(20):
        camera = draw_camera(*size, rng)
        pose = draw_pose(scene.surroundings, centers, rng)
        # A glance first: most of the time goes into drawing.
        if _worth_seeing(scene.renderer.render(_small(camera), pose)):
            break
    seen = scene.renderer.render(camera, pose)
    sensor = DepthNoise(strength=noise, min_range_m=0.25, max_range_m=5.0)
    depth = sensor.apply(camera, seen.depth_m, seen.cosine, seen.reflectance, rng)
    return SceneView(camera, pose, seen, noisy_rgb(seen.rgb, noise, rng), depth)


def _small(camera: Camera) -> Camera:
    return camera.scaled(80 / camera.width)


def _worth_seeing(seen: Rendering) -> bool:
    """Return whether a camera is off all surfaces and sees at least two objects."""
    if float(seen.depth_m[seen.depth_m > 0].min(initial=0.0)) < _NEAREST_M:
        return False
    counts = np.bincount(seen.instances.ravel())[1:]
    return int((counts > _LEAST_PX * seen.instances.size).sum()) >= 2
