"""Rendering by ray casting: colour, exact depth, instances and normals."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
import open3d as o3d

from recon3d_core.data.synth.materials import Material
from recon3d_core.geometry.cameras import Camera, pixel_rays
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import Mesh

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Part:
    """One mesh of a scene.

    Attributes:
        mesh: Closed mesh in the world's frame.
        material: Its colours.
        T_world_local: (4, 4) frame in which the material's pattern lies.
        instance: Id of the object, 0 for background.
    """

    mesh: Mesh
    material: Material
    T_world_local: NDArray[np.float64]
    instance: int = 0


@dataclasses.dataclass(frozen=True)
class Light:
    """A point light.

    Attributes:
        position_world_m: (3,).
        power: Radiance on a white surface that faces it.
    """

    position_world_m: tuple[float, float, float]
    power: float


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What an ideal camera sees.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, 0 where nothing is hit.
        instances: (H, W) int32, 0 = background.
        normals_camera: (H, W, 3) float32 unit normals towards the camera, 0 where nothing is hit.
        reflectance: (H, W) float32 in [0, 1].
    """

    rgb: NDArray[np.uint8]
    depth_m: Floats
    instances: NDArray[np.int32]
    normals_camera: Floats
    reflectance: Floats


class Renderer:
    """Renders one scene from any pose."""

    AMBIENT = 0.32
    BACKGROUND = 0.75

    def __init__(
        self, parts: Sequence[Part], lights: Sequence[Light], shadows: bool = True
    ) -> None:
        """Build the ray-casting scene.

        Args:
            parts: Meshes of the scene.
            lights: Lights.
            shadows: Whether the lights cast shadows, at half the image's resolution.
        """
        self.parts = tuple(parts)
        self.lights = tuple(lights)
        self.shadows = shadows
        self._scene = o3d.t.geometry.RaycastingScene()
        for part in self.parts:
            self._scene.add_triangles(
                o3d.core.Tensor(np.ascontiguousarray(part.mesh.vertices_m, np.float32)),
                o3d.core.Tensor(np.ascontiguousarray(part.mesh.faces, np.uint32)),
            )
        # One entry more, 0, for rays that hit nothing.
        self._instance = np.array([part.instance for part in self.parts] + [0], np.int32)

    def render(self, camera: Camera, T_world_camera: NDArray[np.float64]) -> Rendering:
        """Return what a camera sees; its lens must be without distortion."""
        rotation = T_world_camera[:3, :3].astype(np.float32)
        origin = T_world_camera[:3, 3].astype(np.float32)
        directions = pixel_rays(camera) @ rotation.T
        rays = np.empty((camera.height, camera.width, 6), np.float32)
        rays[..., :3], rays[..., 3:] = origin, directions
        hits = self._scene.cast_rays(o3d.core.Tensor(rays))
        # The rays have z = 1 in the camera's frame, so that their length is the depth.
        depth = hits['t_hit'].numpy()
        hit = np.isfinite(depth)
        depth = np.where(hit, depth, np.float32(0))
        part_of = np.where(hit, hits['geometry_ids'].numpy(), len(self.parts)).astype(np.int32)
        normals = hits['primitive_normals'].numpy() * hit[..., None]
        facing = np.einsum('hwc,hwc->hw', normals, directions)
        normals *= np.where(facing > 0, np.float32(-1), np.float32(1))[..., None]
        points = origin + directions * depth[..., None]
        albedo = self._albedo(points, part_of)
        light = self._light(points, normals, hit)
        rgb = np.sqrt(np.clip(albedo * light[..., None], 0, 1)) * np.float32(255)
        rgb[~hit] = 255 * self.BACKGROUND
        return Rendering(
            np.rint(rgb).astype(np.uint8),
            depth,
            self._instance[part_of],
            normals @ rotation,
            albedo.mean(-1),
        )

    def _albedo(self, points: Floats, part_of: NDArray[np.int32]) -> Floats:
        albedo = np.zeros((points.shape[0] * points.shape[1], 3), np.float32)
        flat, owner = points.reshape(-1, 3), part_of.ravel()
        order = np.argsort(owner.astype(np.int16), kind='stable')
        starts = np.searchsorted(owner[order], np.arange(len(self.parts) + 1))
        for index, part in enumerate(self.parts):
            pixels = order[starts[index]:starts[index + 1]]
            if pixels.size:
                local = apply(invert(part.T_world_local), flat[pixels])
                albedo[pixels] = part.material.albedo(local)
        return albedo.reshape(points.shape)

    def _light(self, points: Floats, normals: Floats, hit: NDArray[np.bool_]) -> Floats:
        """Return the light (H, W) that arrives at points (H, W, 3)."""
        # The sky of an indoor scene is its ceiling: surfaces that face up get more of it.
        total: Floats = np.float32(self.AMBIENT) * (1 + np.float32(0.35) * normals[..., 2])
        for light in self.lights:
            towards = np.float32(light.position_world_m) - points
            distance = np.sqrt(np.einsum('hwc,hwc->hw', towards, towards))
            lambert = np.einsum('hwc,hwc->hw', normals, towards) / np.maximum(distance, 1e-6)
            lit = np.float32(light.power) * np.maximum(lambert, 0)
            total += lit * self._visible(points, normals, towards, hit) if self.shadows else lit
        return total

    def _visible(
        self, points: Floats, normals: Floats, towards: Floats, hit: NDArray[np.bool_]
    ) -> Floats:
        """Return which part (H, W) of a light reaches the points, computed on every second."""
        half = np.s_[::2, ::2]
        rays = np.empty((*points[half].shape[:2], 6), np.float32)
        # Begin a little above the surface, or it would shade itself.
        rays[..., :3] = points[half] + np.float32(1e-3) * normals[half]
        rays[..., 3:] = towards[half]
        hidden = self._scene.test_occlusions(o3d.core.Tensor(rays), tnear=0.0, tfar=1.0).numpy()
        free = (~(hidden & hit[half])).astype(np.float32)
        soft = cv2.blur(free, (3, 3))
        height, width = hit.shape
        return np.asarray(cv2.resize(soft, (2 * soft.shape[1], 2 * soft.shape[0])))[:height, :width]
