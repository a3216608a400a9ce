"""The source `synthetic:NAME`: rendered scenes with ground truth, the same for the same seed.

`synthetic:tabletop?seed=3&frames=30` sets options after the scene's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig, validate
from recon3d_core.data.synth import scenes
from recon3d_core.data.synth.noise import DepthNoise, noisy_rgb
from recon3d_core.data.synth.paths import disturbed
from recon3d_core.data.synth.rendering import Renderer, Rendering
from recon3d_core.data.synth.truth import ObjectTruth, SceneTruth
from recon3d_core.errors import SourceError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.interfaces import Source
from recon3d_core.types import Frame
import yaml

PREFIX = 'synthetic:'
FIRST_STAMP_NS = 1_000_000_000
MIN_MASK_PX = 20


class SyntheticConfig(PluginConfig):
    """Options of the synthetic source."""

    seed: int = option(0, 'Varies the noise and, where it is not fixed, the scene.', ge=0)
    frames: int = option(60, 'How many frames.', ge=1, le=100000)
    rate_hz: float = option(15.0, 'Frames per second.', unit='Hz', ge=0.1, le=120.0)
    width: int = option(640, 'Width of the images.', unit='px', ge=16, le=4096)
    height: int = option(480, 'Height of the images.', unit='px', ge=16, le=4096)
    path: Literal['auto', 'orbit', 'arc', 'drive'] = option(
        'auto', 'Path of the camera; `auto` is the usual one of the scene.'
    )
    distance_m: float = option(
        0.0,
        'Distance of the camera from what it circles; 0 = the usual one of the scene.',
        unit='m',
        ge=0.0,
        le=2.2,
    )
    height_m: float = option(
        0.0,
        'Height of the camera above what it circles; 0 = the usual one of the scene.',
        unit='m',
        ge=0.0,
        le=2.0,
    )
    noise: float = option(
        1.0, 'Strength of the errors of colour and depth: 0 = none, 1 = typical.', ge=0.0, le=5.0
    )
    pose_noise_m: float = option(
        0.0, 'Standard deviation of the error of the position.', unit='m', ge=0.0, le=1.0
    )
    pose_noise_rad: float = option(
        0.0, 'Standard deviation of the error of the rotation.', unit='rad', ge=0.0, le=1.0
    )
    min_range_m: float = option(
        0.3, 'Nearest depth that the camera measures.', unit='m', ge=0.0, le=10.0
    )
    max_range_m: float = option(
        5.0, 'Farthest depth that the camera measures.', unit='m', ge=0.1, le=100.0
    )
    depth: bool = option(True, 'Whether frames have depth.')
    pose: bool = option(True, 'Whether frames have a pose.')
    masks: bool = option(False, 'Whether frames have the true masks and labels of the objects.')
    shadows: bool = option(True, 'Whether the lights cast shadows.')


class SyntheticSource(Source):
    """Frames of a rendered scene; `Frame.truth` is a SceneTruth.

    Attributes:
        camera: Intrinsics of all frames.
        objects: Ground truth by id.
        T_world_camera: (frames, 4, 4) exact poses.
    """

    name = 'synthetic'
    Config = SyntheticConfig

    def __init__(self, uri: str, config: PluginConfig | None = None) -> None:
        """Build the scene.

        Args:
            uri: `NAME[?option=value&...]`, with or without `synthetic:` before it.
            config: Options; those in the URI win.

        Raises:
            SourceError: No such scene, or its camera cannot go there.
            ConfigError: An option in the URI is unknown or out of range.
        """
        super().__init__(uri, config)
        self.scene_name, values = parse_uri(uri)
        if values:
            merged = {**self.config.model_dump(), **values}
            self.config = validate(SyntheticConfig, merged, prefix='synthetic')
        options: SyntheticConfig = self.config
        self._scene = scenes.build(self.scene_name, options.seed)
        self.objects: dict[int, ObjectTruth] = self._scene.objects
        focal = 585.0 * options.width / 640
        self.camera = Camera(
            options.width,
            options.height,
            focal,
            focal,
            (options.width - 1) / 2,
            (options.height - 1) / 2,
        )
        self.T_world_camera = self._scene.camera_path(
            options.path, options.frames, options.distance_m, options.height_m
        )
        self._renderer = Renderer(self._scene.parts, self._scene.lights, options.shadows)

    @classmethod
    def accepts(cls, uri: str) -> bool:
        """Return whether the URI begins with `synthetic:`."""
        return uri.startswith(PREFIX)

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
        options: SyntheticConfig = self.config
        rng = np.random.default_rng([3, options.seed, index])
        exact_pose = self.T_world_camera[index]
        seen = self._renderer.render(self.camera, exact_pose)
        rgb, depth = self._measured(seen, rng)
        pose = disturbed(exact_pose, options.pose_noise_m, options.pose_noise_rad, rng)
        masks = _visible_masks(seen.instances) if options.masks else None
        labels = None if masks is None else {key: self.objects[key].category for key in masks}
        return Frame(
            stamp_ns=FIRST_STAMP_NS + round(index * 1e9 / options.rate_hz),
            camera=self.camera,
            rgb=rgb,
            depth_m=depth if options.depth else None,
            T_world_camera=pose if options.pose else None,
            gravity_world=np.array((0.0, 0.0, -1.0)) if options.pose else None,
            masks=masks,
            labels=labels,
            truth=SceneTruth(
                self.objects,
                self._scene.support_height_m,
                seen.instances,
                seen.depth_m,
                exact_pose,
            ),
        )

    def _measured(
        self, seen: Rendering, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return colour and depth with the sensor's errors."""
        options: SyntheticConfig = self.config
        sensor = DepthNoise(
            strength=options.noise,
            min_range_m=options.min_range_m,
            max_range_m=options.max_range_m,
        )
        depth = sensor.apply(self.camera, seen.depth_m, seen.cosine, seen.reflectance, rng)
        return noisy_rgb(seen.rgb, options.noise, rng), depth


def parse_uri(uri: str) -> tuple[str, dict[str, object]]:
    """Split `[synthetic:]NAME[?option=value&...]` into the name and the options.

    Raises:
        SourceError: The part after `?` is not a list of `option=value`.
    """
    name, _, query = uri.removeprefix(PREFIX).partition('?')
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        values = {key: yaml.safe_load(value) for key, value in pairs}
    except (ValueError, yaml.YAMLError) as error:
        raise SourceError(
            'options of a synthetic scene', repr(query), 'option=value joined by &'
        ) from error
    return name, values


def _visible_masks(instances: NDArray[np.int32]) -> dict[int, NDArray[np.bool_]]:
    """Return the masks of the objects of which more than a sliver is in view."""
    counts = np.bincount(instances.ravel())
    found = (np.flatnonzero(counts[1:] >= MIN_MASK_PX) + 1).tolist()
    return {instance: instances == instance for instance in found}
