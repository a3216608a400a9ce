"""The source `scenes:SPLIT:NUMBER`: a camera goes around a composed scene, with ground truth.

`scenes:test:0007?frames=30` is the scene `scenes/test/000007` of the data set `scenes`; options
follow after a question mark. The same text gives the same frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig, validate
from recon3d_core.data.objects.base import SPLITS
from recon3d_core.data.scenes.composer import compose, ComposedScene, scene_name, SceneView
from recon3d_core.data.scenes.library import Library
from recon3d_core.data.scenes.surroundings import Kind, Surroundings
from recon3d_core.data.scenes.viewpoints import draw_camera
from recon3d_core.data.sets.batches import seed_of
from recon3d_core.data.synth.noise import DepthNoise, noisy_rgb
from recon3d_core.data.synth.paths import disturbed, orbit
from recon3d_core.data.synth.truth import ObjectTruth
from recon3d_core.data.synthetic import FIRST_STAMP_NS, MIN_MASK_PX, parse_uri
from recon3d_core.errors import SourceError
from recon3d_core.geometry.transforms import look_at
from recon3d_core.interfaces import Source
from recon3d_core.types import Frame

Array = NDArray[np.float64]

PREFIX = 'scenes:'
# Degrees above the horizon, distance in metres, degrees of the arc.
_PATHS: dict[Kind, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    'table': ((30.0, 60.0), (0.6, 1.1), (120.0, 270.0)),
    'floor': ((25.0, 55.0), (1.2, 2.2), (120.0, 270.0)),
    'shelf': ((2.0, 25.0), (0.6, 1.1), (60.0, 90.0)),
}
_SHELF_OPENS_RAD = -np.pi / 2  # towards -y
_WALL_M = 0.15  # cameras keep this distance from walls
_NEAREST_M = 0.15  # and this one from everything else
_PROBES = 8  # of the path's places, at which that is looked after


class SceneSweepConfig(PluginConfig):
    """Options of the source `scenes`."""

    frames: int = option(30, 'How many frames.', ge=1, le=10000)
    rate_hz: float = option(5.0, 'Frames per second.', unit='Hz', ge=0.1, le=120.0)
    width: int = option(640, 'Width of the images.', unit='px', ge=16, le=4096)
    height: int = option(480, 'Height of the images.', unit='px', ge=16, le=4096)
    noise: float = option(
        1.0, 'Strength of the errors of colour and depth: 0 = none, 1 = typical.', ge=0.0, le=5.0
    )
    pose_noise_m: float = option(
        0.001, 'Standard deviation of the error of the position.', unit='m', ge=0.0, le=1.0
    )
    pose_noise_rad: float = option(
        0.002, 'Standard deviation of the error of the rotation.', unit='rad', ge=0.0, le=1.0
    )
    depth: bool = option(True, 'Whether frames have depth.')
    masks: bool = option(False, 'Whether frames have the true masks and labels of the objects.')
    root: str = option('', 'Folder of a mesh collection; the recorded data where empty.')


class SceneSweepSource(Source):
    """A camera's sweep over a composed scene; `Frame.truth` is a SceneTruth.

    Attributes:
        scene: The scene.
        camera: Intrinsics of all frames.
        T_world_camera: (frames, 4, 4) exact poses.
    """

    name = 'scenes'
    Config = SceneSweepConfig

    def __init__(
        self, uri: str, config: PluginConfig | None = None, library: Library | None = None
    ) -> None:
        """Compose the scene.

        Args:
            uri: `SPLIT:NUMBER[?option=value&...]`, with or without `scenes:` before it.
            config: Options; those in the URI win.
            library: Objects, where they are open already.

        Raises:
            SourceError: There is no such scene.
            ConfigError: An option in the URI is unknown or out of range.
        """
        super().__init__(uri, config)
        name, values = parse_uri(uri.removeprefix(PREFIX))
        if values:
            self.config = validate(
                SceneSweepConfig, {**self.config.model_dump(), **values}, prefix='scenes'
            )
        options: SceneSweepConfig = self.config
        self.scene = compose(_full_name(name), library or Library(options.root))
        rng = np.random.default_rng(seed_of(f'sweep:{self.scene.name}'))
        self.camera = draw_camera(options.width, options.height, rng)
        self.T_world_camera = draw_path(self.scene, options.frames, rng)

    @classmethod
    def accepts(cls, uri: str) -> bool:
        """Return whether the URI begins with `scenes:`."""
        return uri.startswith(PREFIX)

    @property
    def objects(self) -> Mapping[int, ObjectTruth]:
        """Ground truth by id."""
        return self.scene.objects

    def __len__(self) -> int:
        """Return how many frames there are."""
        return int(self.config.frames)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; every time the same."""
        for index in range(len(self)):
            yield self.frame(index)

    def frame(self, index: int) -> Frame:
        """Return one frame; it does not depend on those made before.

        Raises:
            IndexError: There is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'frame {index} of {len(self)}')
        options: SceneSweepConfig = self.config
        rng = np.random.default_rng(seed_of(f'sweep:{self.scene.name}:{index}'))
        exact = self.T_world_camera[index]
        seen = self.scene.renderer.render(self.camera, exact)
        sensor = DepthNoise(strength=options.noise, min_range_m=0.25, max_range_m=5.0)
        depth = sensor.apply(self.camera, seen.depth_m, seen.cosine, seen.reflectance, rng)
        rgb = noisy_rgb(seen.rgb, options.noise, rng)
        stamp_ns = FIRST_STAMP_NS + round(index * 1e9 / options.rate_hz)
        frame = SceneView(self.camera, exact, seen, rgb, depth).frame(self.scene, stamp_ns)
        frame = dataclasses.replace(
            frame,
            depth_m=depth if options.depth else None,
            T_world_camera=disturbed(exact, options.pose_noise_m, options.pose_noise_rad, rng),
        )
        return with_true_masks(frame) if options.masks else frame


def with_true_masks(frame: Frame) -> Frame:
    """Return a frame with masks and labels of the objects of which more than a sliver is in view.

    Args:
        frame: A frame whose truth is a SceneTruth.
    """
    instances, objects = frame.truth.instance_mask, frame.truth.objects
    counts = np.bincount(instances.ravel())
    found = [int(k) for k in np.flatnonzero(counts[1:] >= MIN_MASK_PX) + 1]
    return dataclasses.replace(
        frame,
        masks={k: instances == k for k in found},
        labels={k: objects[k].category for k in found},
    )


def draw_path(scene: ComposedScene, frames: int, rng: np.random.Generator) -> Array:
    """Return poses `T_world_camera` (frames, 4, 4) on an arc around the objects of a scene.

    The arc keeps inside of the room. Where the camera comes too near to something, it keeps more
    distance and looks from higher up.

    Args:
        scene: The scene.
        frames: How many.
        rng: Draws direction, height, distance and length of the arc.
    """
    surroundings = scene.surroundings
    elevations, distances, arcs = _PATHS[surroundings.kind]
    boxes = np.stack([truth.T_world_object[:3, 3] for truth in scene.objects.values()])
    center = (boxes.min(0) + boxes.max(0)) / 2
    elevation = np.deg2rad(rng.uniform(*elevations))
    distance = float(rng.uniform(*distances))
    arc = float(np.deg2rad(rng.uniform(*arcs)))
    start = float(rng.uniform(0, 2 * np.pi))
    if surroundings.kind == 'shelf':
        start = _SHELF_OPENS_RAD + float(rng.uniform(-0.2, 0.2))
    glance = functools.partial(_nearest_m, scene)
    for _ in range(6):
        height = distance * float(np.sin(elevation))
        poses = _inside(orbit(center, distance, height, frames, arc, start), center, surroundings)
        if min(map(glance, poses[:: max(1, frames // _PROBES)])) > _NEAREST_M:
            break
        distance *= 1.15
        if surroundings.kind != 'shelf':
            elevation += np.deg2rad(5)
    return poses


def _inside(poses: Array, center: Array, surroundings: Surroundings) -> Array:
    """Return poses moved away from the walls, still looking at the middle."""
    low, high = surroundings.room_m[0] + _WALL_M, surroundings.room_m[1] - _WALL_M
    eyes = poses[:, :3, 3].copy()
    eyes[:, :2] = np.clip(eyes[:, :2], np.minimum(low, 0), np.maximum(high, 0))
    return np.stack([look_at(eye, center) for eye in eyes])


def _nearest_m(scene: ComposedScene, T_world_camera: Array) -> float:
    """Return the least depth that a camera of a few pixels sees."""
    camera = draw_camera(32, 24, np.random.default_rng(0))
    depth = scene.renderer.render(camera, T_world_camera).depth_m
    return float(depth[depth > 0].min(initial=np.inf))


def _full_name(short: str) -> str:
    """Return `scenes/test/000007` of `test:7`.

    Raises:
        SourceError: It is no name of a scene.
    """
    split, _, digits = short.partition(':')
    if split not in SPLITS or not (digits.isdecimal() and len(digits) <= 6):
        wanted = f'scenes:SPLIT:NUMBER with a split of {", ".join(SPLITS)} and up to six digits'
        raise SourceError('no such scene', repr(short), wanted)
    return scene_name(split, int(digits))
