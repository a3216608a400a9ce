"""Objects drawn by ray casting (Embree through Open3D) on a CPU, without a display."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.data.rendering.base import Cameras, Lighting, Rendered

UNCOLORED = (180, 180, 180)
"""RGB of meshes without colours."""

_SHADOW_BIAS = 2e-3  # edges of the cube; below it a surface would shade itself


def render(
    mesh: ObjectMesh,
    cameras: Cameras,
    lighting: Lighting,
    *,
    supersample: int = 2,
    shadows: bool = False,
) -> Rendered:
    """Draw an object from V cameras; faces are seen from both sides.

    Shading is Blinn-Phong (Blinn, SIGGRAPH 1977) in linear numbers, the sum of all lights.

    Args:
        mesh: The object in its cube; textures, or colours of the vertices, or grey.
        cameras: Where it is seen from.
        lighting: Lights, in the cube's frame.
        supersample: Colour and coverage are means over this number squared of rays per pixel.
        shadows: Whether the object casts shadows on itself.

    Returns:
        Images; mask, depth and normals are those of the rays through the pixels' centres.
    """
    scene = make_scene(mesh)
    rays = _rays(cameras, 1)
    centre = _cast(scene, rays)
    mask = np.isfinite(centre['t_hit'])
    depth = np.where(mask, centre['t_hit'], 0).astype(np.float32)
    normals = _normals_camera(centre, mask, rays, cameras)
    rgb = np.zeros((*mask.shape, 3), np.uint8)
    coverage = np.zeros(mask.shape, np.uint8)
    if supersample == 1:
        rgb[mask] = _to_uint8(_shade(scene, mesh, centre, rays, mask, lighting, shadows))
        coverage[mask] = 255
        return Rendered(rgb, mask, depth, normals, coverage)
    near = _dilate(mask)
    rays = _rays(cameras, supersample, near)
    hits = _cast(scene, rays)
    hit = np.isfinite(hits['t_hit'])
    colors = np.zeros((*hit.shape, 3), np.float32)
    colors[hit] = _shade(scene, mesh, hits, rays, hit, lighting, shadows)
    count = hit.sum(1)
    rgb[near] = _to_uint8(colors.sum(1) / np.maximum(count, 1)[:, None])
    coverage[near] = np.round(count * (255 / supersample**2))
    return Rendered(rgb, mask, depth, normals, coverage)


def make_scene(mesh: ObjectMesh) -> o3d.t.geometry.RaycastingScene:
    """Return Open3D's scene of a mesh."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices, np.float32)),
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, np.uint32)),
    )
    return scene


def sample_colors(
    mesh: ObjectMesh, faces: NDArray[np.integer], barycentric: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the colours (n, 3) in 0..255 of points of the surface.

    Args:
        mesh: The mesh.
        faces: (n,) index of each point's face.
        barycentric: (n, 3) weights of its corners.
    """
    if mesh.colors is None:
        colors = np.full((len(faces), 3), UNCOLORED, np.float32)
    else:
        colors = _mix(mesh.colors[mesh.faces[faces]], barycentric)
    if mesh.uv is None or mesh.face_texture is None:
        return colors
    uv = _mix(mesh.uv[faces], barycentric)
    for index, texture in enumerate(mesh.textures):
        chosen = mesh.face_texture[faces] == index
        if chosen.any():
            colors[chosen] = _lookup(texture, uv[chosen])
    return colors


def _mix(corners: NDArray[Any], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weighted sums (n, d) of what the corners (n, 3, d) have."""
    mixed = np.asarray(corners[:, 0] * weights[:, :1], np.float32)
    mixed += corners[:, 1] * weights[:, 1:2]
    mixed += corners[:, 2] * weights[:, 2:]
    return mixed


def _lookup(texture: NDArray[np.uint8], uv: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return bilinear colours of a texture that repeats."""
    height, width = texture.shape[:2]
    x = np.mod(uv[:, 0], 1) * width - 0.5
    y = np.mod(1 - uv[:, 1], 1) * height - 0.5
    x0, y0 = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    fx, fy = (x - x0)[:, None].astype(np.float32), (y - y0)[:, None].astype(np.float32)
    x1, y1 = (x0 + 1) % width, (y0 + 1) % height
    x0, y0 = x0 % width, y0 % height
    upper = texture[y0, x0] * (1 - fx) + texture[y0, x1] * fx
    lower = texture[y1, x0] * (1 - fx) + texture[y1, x1] * fx
    return (upper * (1 - fy) + lower * fy).astype(np.float32)


def _rays(
    cameras: Cameras, supersample: int, where: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return rays in the cube, scaled so that t is the depth.

    Args:
        cameras: V cameras.
        supersample: Rays along each edge of a pixel.
        where: (V, H, W) pixels to make rays for; all where None.

    Returns:
        (V, H, W, 6) for one ray per pixel, or (n, s^2, 6) for the pixels chosen.
    """
    rotation = cameras.T_camera_cube[:, :3, :3]
    origins = -(cameras.T_camera_cube[:, None, :3, 3] @ rotation)[:, 0]
    to_cube = np.linalg.inv(cameras.K).transpose(0, 2, 1) @ rotation
    y, x = np.mgrid[: cameras.height, : cameras.width]
    pixels = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3).astype(np.float64)
    directions = (pixels @ to_cube).astype(np.float32)
    directions = directions.reshape(-1, cameras.height, cameras.width, 3)
    starts = np.broadcast_to(origins[:, None, None].astype(np.float32), directions.shape)
    rays = np.concatenate([starts, directions], -1)
    if where is None:
        return rays
    offset = (np.arange(supersample) + 0.5) / supersample - 0.5
    dy, dx = (part.ravel() for part in np.meshgrid(offset, offset, indexing='ij'))
    shifts = np.zeros((len(rotation), supersample**2, 6), np.float32)
    shifts[..., 3:] = dx[:, None] * to_cube[:, None, 0] + dy[:, None] * to_cube[:, None, 1]
    chosen: NDArray[np.float32] = rays[where][:, None] + shifts[np.nonzero(where)[0]]
    return chosen


def _cast(
    scene: o3d.t.geometry.RaycastingScene, rays: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    found = scene.cast_rays(o3d.core.Tensor.from_numpy(np.ascontiguousarray(rays)))
    return {key: value.numpy() for key, value in found.items()}


def _normals_camera(
    hits: dict[str, NDArray[Any]],
    mask: NDArray[np.bool_],
    rays: NDArray[np.float32],
    cameras: Cameras,
) -> NDArray[np.float32]:
    """Return unit normals (V, H, W, 3) in the camera's frame, turned towards the camera."""
    normals = _unit_normals(hits['primitive_normals'])
    facing = (normals * rays[..., 3:]).sum(-1, keepdims=True)
    normals = np.where(facing > 0, -normals, normals) * mask[..., None]
    rotation = cameras.T_camera_cube[:, None, :3, :3].astype(np.float32)
    turned: NDArray[np.float32] = normals @ rotation.transpose(0, 1, 3, 2)
    return turned


def _unit_normals(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals / np.maximum(length, 1e-12)


def _dilate(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask with its 8 neighbours: only there can a ray of a pixel hit."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    return rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:]


def _shade(
    scene: o3d.t.geometry.RaycastingScene,
    mesh: ObjectMesh,
    hits: dict[str, NDArray[Any]],
    rays: NDArray[np.float32],
    hit: NDArray[np.bool_],
    lighting: Lighting,
    shadows: bool,
) -> NDArray[np.float32]:
    """Return the colours (n, 3) in 0..255, unclipped, of the rays that hit."""
    picked = {key: hits[key][hit] for key in ('t_hit', 'primitive_ids', 'primitive_uvs')}
    uv = picked['primitive_uvs']
    weights = np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], 1)
    albedo = sample_colors(mesh, picked['primitive_ids'].astype(np.int64), weights)
    ray = rays[hit]
    to_eye = -ray[:, 3:] / np.linalg.norm(ray[:, 3:], axis=1, keepdims=True)
    normals = _unit_normals(hits['primitive_normals'][hit])
    normals = np.where((normals * to_eye).sum(1, keepdims=True) < 0, -normals, normals)
    points = ray[:, :3] + ray[:, 3:] * picked['t_hit'][:, None] + normals * _SHADOW_BIAS
    diffuse = np.broadcast_to(lighting.ambient, albedo.shape).astype(np.float32)
    highlight = np.zeros_like(albedo)
    for direction, power in zip(lighting.directions_cube, lighting.powers):
        facing = np.maximum(normals @ direction, 0)
        if shadows:
            facing = facing * _lit(scene, points, direction)
        diffuse = diffuse + facing[:, None] * power
        if lighting.gloss > 0:
            half = to_eye + direction
            half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
            strength = np.maximum((normals * half).sum(1), 0) ** lighting.shininess * (facing > 0)
            highlight += (255 * lighting.gloss * strength)[:, None] * power
    return albedo * diffuse + highlight


def _lit(
    scene: o3d.t.geometry.RaycastingScene,
    points: NDArray[np.float32],
    direction: NDArray[np.float32],
) -> NDArray[np.bool_]:
    rays = np.concatenate([points, np.broadcast_to(direction, points.shape)], 1)
    occluded = scene.test_occlusions(o3d.core.Tensor.from_numpy(rays.astype(np.float32)))
    lit: NDArray[np.bool_] = ~occluded.numpy()
    return lit


def _to_uint8(colors: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(colors + 0.5, 0, 255).astype(np.uint8)
