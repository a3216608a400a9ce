"""Depth, masks and pictures of meshes by ray casting (Embree through Open3D), without a display."""

from __future__ import annotations

from collections.abc import Sequence
import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray
import open3d as o3d
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.types import Mesh

UNCOLORED = (200, 200, 200)
"""RGB of meshes without colours."""

_AMBIENT = 0.4


def cast_mesh(
    mesh: Mesh, camera: Camera, T_world_camera: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the depth image of a mesh; `cast_mesh(...) > 0` is its silhouette.

    Args:
        mesh: Mesh in the world's frame, possibly empty.
        camera: Any camera; a cropped one (`Camera.cropped`) casts that part of the image only.
        T_world_camera: (4, 4) pose of the camera's optical frame.

    Returns:
        (H, W) float32 metres along the optical axis, 0 where the ray hits nothing.
    """
    if not len(mesh.faces):
        return np.zeros((camera.height, camera.width), np.float32)
    hits = _cast(_vertices_camera_m(mesh, T_world_camera), mesh.faces, camera)
    return _depth_m(hits)


def render_mesh(
    meshes: Sequence[Mesh],
    camera: Camera,
    T_world_camera: NDArray[np.float64],
    background: ArrayLike = (255, 255, 255),
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw meshes with interpolated vertex colours, lit from the camera.

    Args:
        meshes: Meshes in the world's frame; those without colours are drawn grey.
        camera: Any camera.
        T_world_camera: (4, 4) pose of the camera's optical frame.
        background: RGB 0..255 of the rest, (3,), or an image (H, W, 3) to draw over.

    Returns:
        The picture (H, W, 3) uint8 RGB, and its depth (H, W) float32 metres, 0 = background.
    """
    shape = (camera.height, camera.width)
    rgb = np.array(np.broadcast_to(np.asarray(background, np.uint8), (*shape, 3)))
    solid = [mesh for mesh in meshes if len(mesh.faces)]
    if not solid:
        return rgb, np.zeros(shape, np.float32)
    vertices = np.concatenate([_vertices_camera_m(mesh, T_world_camera) for mesh in solid])
    starts = np.cumsum([0] + [len(mesh.vertices_m) for mesh in solid[:-1]])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(solid, starts)])
    colors = np.concatenate([_colors(mesh) for mesh in solid])
    hits = _cast(vertices, faces, camera)
    depth_m = _depth_m(hits)
    hit = depth_m > 0
    corners = faces[hits['primitive_ids'].numpy()[hit].astype(np.int64)]
    u, v = hits['primitive_uvs'].numpy()[hit].T
    weights = np.stack([1 - u - v, u, v], 1)
    mixed = np.einsum('nc,ncd->nd', weights, colors[corners].astype(np.float32))
    normals = hits['primitive_normals'].numpy()[hit]
    rays = _rays(camera)[hit]
    facing = np.abs((normals * rays).sum(1)) / np.linalg.norm(rays, axis=1)
    light = _AMBIENT + (1 - _AMBIENT) * facing
    rgb[hit] = np.clip(mixed * light[:, None], 0, 255).astype(np.uint8)
    return rgb, depth_m


def _vertices_camera_m(mesh: Mesh, T_world_camera: NDArray[np.float64]) -> NDArray[np.float32]:
    # In the camera's frame the rays depend on the intrinsics only, and numbers stay small.
    local = apply(invert(T_world_camera), mesh.vertices_m.astype(np.float64))
    return local.astype(np.float32)


def _colors(mesh: Mesh) -> NDArray[np.uint8]:
    if mesh.colors is not None:
        return mesh.colors
    return np.full((len(mesh.vertices_m), 3), UNCOLORED, np.uint8)


@functools.lru_cache(maxsize=4)
def _rays(camera: Camera) -> NDArray[np.float32]:
    """Return the ray (H, W, 3) through each pixel, scaled to z = 1, so that distance is depth."""
    y, x = np.mgrid[: camera.height, : camera.width]
    pixels = np.stack([x, y], -1)
    if camera.distorted:
        return camera.unproject(pixels, np.ones(x.shape)).astype(np.float32)
    rays = np.ones((*x.shape, 3), np.float32)
    rays[..., :2] = (pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    return rays


def _cast(
    vertices_camera_m: NDArray[np.float32], faces: NDArray[np.integer], camera: Camera
) -> dict[str, o3d.core.Tensor]:
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices_camera_m)),
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(faces, np.uint32)),
    )
    directions = _rays(camera)
    rays = np.concatenate([np.zeros_like(directions), directions], -1)
    hits: dict[str, o3d.core.Tensor] = scene.cast_rays(o3d.core.Tensor.from_numpy(rays))
    return hits


def _depth_m(hits: dict[str, o3d.core.Tensor]) -> NDArray[np.float32]:
    distance: NDArray[np.float32] = hits['t_hit'].numpy()
    distance[~np.isfinite(distance)] = 0
    return distance
