"""Rendering by ray casting: colour, exact depth, instances and normals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.synth.materials import Material
from recon3d_core.geometry.cameras import Camera, pixel_rays
from recon3d_core.geometry.transforms import invert
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
        shadows: Whether it casts shadows; a weak light that fills them does without.
    """

    position_world_m: tuple[float, float, float]
    power: float
    shadows: bool = True


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What an ideal camera sees.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, 0 where nothing is hit.
        instances: (H, W) int32, 0 = background.
        normals_camera: (H, W, 3) float32 unit normals towards the camera, 0 where nothing is hit.
        cosine: (H, W) float32 |cos| of the angle between normal and ray, in [0, 1].
        reflectance: (H, W) float32 in [0, 1].
    """

    rgb: NDArray[np.uint8]
    depth_m: Floats
    instances: NDArray[np.int32]
    normals_camera: Floats
    cosine: Floats
    reflectance: Floats


class Renderer:
    """Renders one scene from any pose."""

    AMBIENT = 0.32
    BACKGROUND = 0.75
    BAND_ROWS = 32  # even, as shadows are computed on every second row

    def __init__(
        self, parts: Sequence[Part], lights: Sequence[Light], shadows: bool = True
    ) -> None:
        """Build the ray-casting scene.

        Args:
            parts: Meshes of the scene.
            lights: Lights.
            shadows: Whether lights may cast shadows, at half the image's resolution.
        """
        self.parts = tuple(parts)
        self.lights = tuple(lights)
        self.shadows = shadows
        self._scene = o3d.t.geometry.RaycastingScene()
        for part in self.parts:
            self._scene.add_triangles(
                o3d.core.Tensor.from_numpy(np.ascontiguousarray(part.mesh.vertices_m, np.float32)),
                o3d.core.Tensor.from_numpy(np.ascontiguousarray(part.mesh.faces, np.uint32)),
            )
        # One entry more, 0, for rays that hit nothing.
        self._instance = np.array([part.instance for part in self.parts] + [0], np.int32)

    def render(self, camera: Camera, T_world_camera: NDArray[np.float64]) -> Rendering:
        """Return what a camera sees; its lens must be without distortion."""
        size = (camera.height, camera.width)
        seen = Rendering(
            np.empty((*size, 3), np.uint8),
            np.empty(size, np.float32),
            np.empty(size, np.int32),
            np.empty((*size, 3), np.float32),
            np.empty(size, np.float32),
            np.empty(size, np.float32),
        )
        # In bands that fit into the cache, which halves the time.
        for top in range(0, camera.height, self.BAND_ROWS):
            rows = np.s_[top : top + self.BAND_ROWS]
            band = [getattr(seen, field.name)[rows] for field in dataclasses.fields(seen)]
            self._render_band(pixel_rays(camera)[rows], T_world_camera, Rendering(*band))
        return seen

    def _render_band(
        self, rays_camera: Floats, T_world_camera: NDArray[np.float64], out: Rendering
    ) -> None:
        """Render the pixels of rays (h, w, 3) into `out`.

        Vectors are kept as (3, h * w) here: numpy is slow along a last axis of three.
        """
        rotation = T_world_camera[:3, :3].astype(np.float32)
        origin = T_world_camera[:3, 3:].astype(np.float32)
        size = rays_camera.shape[:2]
        directions = rotation @ rays_camera.reshape(-1, 3).T
        rays = np.empty((directions.shape[1], 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin[:, 0], directions.T
        hits = self._scene.cast_rays(o3d.core.Tensor.from_numpy(rays))
        # The rays have z = 1 in the camera's frame, so that their length is the depth.
        depth = hits['t_hit'].numpy()
        hit = np.isfinite(depth)
        depth = np.where(hit, depth, np.float32(0))
        part_of = np.where(hit, hits['geometry_ids'].numpy(), len(self.parts)).astype(np.int16)
        normals = np.ascontiguousarray(hits['primitive_normals'].numpy().T)
        facing = _dot(normals, directions)
        normals *= np.where(facing > 0, np.float32(-1), np.float32(1)) * hit
        points = origin + directions * depth
        albedo = self._albedo(points, part_of, hits)
        rgb = np.sqrt(np.clip(albedo * self._light(points, normals, hit, size), 0, 1))
        rgb[:, ~hit] = self.BACKGROUND
        cosine = np.abs(facing) / np.sqrt(_dot(directions, directions))
        out.rgb[:] = np.rint(rgb * np.float32(255)).T.reshape(*size, 3)
        out.depth_m[:] = depth.reshape(size)
        out.instances[:] = self._instance[part_of].reshape(size)
        out.normals_camera[:] = (rotation.T @ normals).T.reshape(*size, 3)
        out.cosine[:] = np.clip(cosine * hit, 0, 1).reshape(size)
        out.reflectance[:] = albedo.mean(0).reshape(size)

    def _albedo(
        self, points: Floats, part_of: NDArray[np.int16], hits: Mapping[str, o3d.core.Tensor]
    ) -> Floats:
        albedo = np.zeros_like(points)
        order = np.argsort(part_of, kind='stable')
        starts = np.searchsorted(part_of[order], np.arange(len(self.parts) + 1))
        for index, part in enumerate(self.parts):
            pixels = order[starts[index] : starts[index + 1]]
            if pixels.size:
                T_local_world = invert(part.T_world_local).astype(np.float32)
                local = T_local_world[:3, :3] @ points.take(pixels, 1) + T_local_world[:3, 3:]
                albedo[:, pixels] = self.part_albedo(index, local, pixels, hits)
        return albedo

    def part_albedo(
        self,
        index: int,
        points_local_m: Floats,
        pixels: NDArray[np.int64],  # noqa: ARG002 - for those who look a texture up
        hits: Mapping[str, o3d.core.Tensor],  # noqa: ARG002
    ) -> Floats:
        """Return the reflectance (3, n) of a part where rays hit it.

        Args:
            index: Number of the part.
            points_local_m: (3, n) the hits in the frame of the part's pattern.
            pixels: (n,) which of the rays these are.
            hits: What Open3D says of all rays, such as faces and barycentric coordinates.
        """
        return self.parts[index].material.albedo(points_local_m)

    def _light(
        self, points: Floats, normals: Floats, hit: NDArray[np.bool_], size: tuple[int, int]
    ) -> Floats:
        """Return the light (h * w,) that arrives at points (3, h * w)."""
        # The sky of an indoor scene is its ceiling: surfaces that face up get more of it.
        total: Floats = np.float32(self.AMBIENT) * (1 + np.float32(0.35) * normals[2])
        for light in self.lights:
            towards = np.array(light.position_world_m, np.float32)[:, None] - points
            lambert = _dot(normals, towards) / np.maximum(np.sqrt(_dot(towards, towards)), 1e-6)
            lit = np.float32(light.power) * np.maximum(lambert, 0)
            if self.shadows and light.shadows:
                lit *= self._visible(points, normals, towards, hit, size)
            total += lit
        return total

    def _visible(
        self,
        points: Floats,
        normals: Floats,
        towards: Floats,
        hit: NDArray[np.bool_],
        size: tuple[int, int],
    ) -> Floats:
        """Return which part (h * w,) of a light reaches the points, from every second pixel."""
        half = np.arange(hit.size).reshape(size)[::2, ::2]
        near = half.ravel()
        rays = np.empty((near.size, 6), np.float32)
        # Begin a little above the surface, or it would shade itself.
        rays[:, :3] = (points.take(near, 1) + np.float32(1e-3) * normals.take(near, 1)).T
        rays[:, 3:] = towards.take(near, 1).T
        hidden = self._scene.test_occlusions(
            o3d.core.Tensor.from_numpy(rays), tnear=0.0, tfar=1.0
        ).numpy()
        free = (~(hidden & hit[near])).astype(np.float32).reshape(half.shape)
        full = cv2.resize(free, (2 * half.shape[1], 2 * half.shape[0]))
        return np.asarray(full[: size[0], : size[1]]).ravel()


def _dot(a: Floats, b: Floats) -> Floats:
    """Return the dot products (N,) of vectors (3, N)."""
    products: Floats = a[0] * b[0]
    products += a[1] * b[1]
    products += a[2] * b[2]
    return products
