"""Objects drawn from grids of signed distances by sphere tracing (Hart 1996), in torch.

It needs no display and runs on any device; many objects and views are drawn at once.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from recon3d_core.checks import check_shape
from recon3d_core.data.rendering.base import Lighting
from recon3d_core.data.rendering.sdf_grids import BAND_VOXELS, LEVELS, SdfGrids
import torch
from torch import Tensor
from torch.nn import functional

_MAX_STEPS = 96
_MIN_STEP_VOXELS = 0.25  # a ray that grazes a surface must not crawl
_CHECK_EVERY = 4  # steps between droppings of finished rays
_NORMAL_STEP_VOXELS = 0.75


@dataclasses.dataclass(frozen=True)
class Lights:
    """The lights of B objects (`Lighting`), on one device.

    Attributes:
        directions_cube: (B, L, 3) unit vectors towards the lights.
        powers: (B, L, 3) RGB radiance.
        ambient: (B, 3) RGB radiance from everywhere.
        gloss: (B,) strength of the highlight.
        shininess: (B,) its exponent.
    """

    directions_cube: Tensor
    powers: Tensor
    ambient: Tensor
    gloss: Tensor
    shininess: Tensor

    @classmethod
    def stack(cls, lightings: Sequence[Lighting], device: torch.device | str = 'cpu') -> Lights:
        """Join the lights of several objects; those with fewer get dark ones."""
        most = max(len(lighting.directions_cube) for lighting in lightings)
        directions = np.zeros((len(lightings), most, 3), np.float32)
        powers = np.zeros_like(directions)
        for row, lighting in enumerate(lightings):
            count = len(lighting.directions_cube)
            directions[row, :count] = lighting.directions_cube
            powers[row, :count] = lighting.powers
        ambient = np.stack([lighting.ambient for lighting in lightings]).astype(np.float32)
        gloss = np.array([lighting.gloss for lighting in lightings], np.float32)
        shininess = np.array([lighting.shininess for lighting in lightings], np.float32)
        arrays = (directions, powers, ambient, gloss, shininess)
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))


@dataclasses.dataclass(frozen=True)
class RenderedViews:
    """What V cameras see of each of B objects.

    Attributes:
        rgb: (B, V, 3, H, W) float32 in [0, 1], colour of the object alone; 0 where nothing is.
        coverage: (B, V, 1, H, W) float32 in [0, 1], how much of each pixel the object covers.
        depth: (B, V, 1, H, W) float32 along the optical axis in edges of the cube, 0 = nothing.
        normals_camera: (B, V, 3, H, W) float32 unit normals towards the camera, 0 = nothing.
    """

    rgb: Tensor
    coverage: Tensor
    depth: Tensor
    normals_camera: Tensor


@torch.no_grad()
def render_sdf(
    grids: SdfGrids,
    indices: Tensor,
    K: Tensor,
    T_camera_cube: Tensor,
    lighting: Lights | Lighting,
    size: int,
    *,
    supersample: int = 1,
) -> RenderedViews:
    """Draw B objects from V cameras each, on the grids' device.

    Args:
        grids: Many objects.
        indices: (B,) which of them to draw.
        K: (B, V, 3, 3) intrinsics for image coordinates in [0, 1] (`ViewCameras.K`).
        T_camera_cube: (B, V, 4, 4) cube to camera's optical frame, in edges of the cube.
        lighting: Lights of each object, or the same for all.
        size: Edge of the square images in pixels.
        supersample: Everything is the mean over this number squared of rays per pixel.

    Raises:
        InputError: A shape is wrong.
    """
    check_shape('K', K, (len(indices), 'V', 3, 3))
    check_shape('T_camera_cube', T_camera_cube, (*K.shape[:2], 4, 4))
    device, (count, views) = grids.device, K.shape[:2]
    lights = Lights.stack([lighting] * count) if isinstance(lighting, Lighting) else lighting
    lights = Lights(*(getattr(lights, f.name).to(device) for f in dataclasses.fields(lights)))
    pose = T_camera_cube.to(device, torch.float32)
    origins, rays = _rays(K.to(device), pose, size * supersample)
    lengths = rays.norm(dim=-1)
    directions = rays / lengths[:, None]
    per_view = (size * supersample) ** 2
    view = torch.arange(count * views, device=device).repeat_interleave(per_view)
    item = view // views
    tracer = _Tracer(grids, indices.to(device))
    distance, hit = tracer.trace(origins[view], directions, item)
    at = hit.nonzero()[:, 0]
    points = origins[view[at]] + directions[at] * distance[at, None]
    normals = tracer.normals(points, directions[at], item[at])
    albedo = tracer.colors(points, item[at])
    rgb = _shade(albedo, normals, directions[at], lights, item[at])
    rotation = pose.flatten(0, 1)[:, :3, :3]
    turned = torch.einsum('nij,nj->ni', rotation[view[at]], normals)
    planes = torch.zeros(len(view), 8, device=device)
    depth = (distance[at] / lengths[at])[:, None]
    planes[at] = torch.cat([rgb, torch.ones_like(depth), depth, turned], 1)
    return _images(planes.view(count, views, size, supersample, size, supersample, 8))


def _images(planes: Tensor) -> RenderedViews:
    """Return the means over the rays (B, V, H, s, W, s, 8) of each pixel that hit."""
    mean = planes.mean((3, 5)) if planes.shape[3] > 1 else planes[:, :, :, 0, :, 0]
    mean = mean.permute(0, 1, 4, 2, 3)
    coverage = mean[:, :, 3:4]
    share = coverage.clamp_min(1e-6)
    return RenderedViews(
        rgb=mean[:, :, :3] / share,
        coverage=coverage,
        depth=mean[:, :, 4:5] / share,
        normals_camera=functional.normalize(mean[:, :, 5:], dim=2, eps=1e-6),
    )


def _rays(K: Tensor, T_camera_cube: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the cameras' centres (B V, 3) and rays (B V H W, 3) with t = depth, in the cube."""
    place = (torch.arange(size, device=K.device) + 0.5) / size
    y, x = torch.meshgrid(place, place, indexing='ij')
    pixels = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
    rotation, shift = T_camera_cube[..., :3, :3], T_camera_cube[..., :3, 3:]
    to_cube = rotation.transpose(-1, -2) @ torch.linalg.inv(K.float())
    origins = -(rotation.transpose(-1, -2) @ shift)[..., 0]
    return origins.view(-1, 3), (pixels @ to_cube.transpose(-1, -2)).reshape(-1, 3)


def _shade(albedo: Tensor, normals: Tensor, rays: Tensor, lights: Lights, item: Tensor) -> Tensor:
    """Return colours (n, 3) in [0, 1] by Blinn-Phong, as the ray caster does."""
    diffuse = lights.ambient[item]
    highlight = torch.zeros_like(albedo)
    gloss = lights.gloss[item]
    for light in range(lights.directions_cube.shape[1]):
        direction, power = lights.directions_cube[item, light], lights.powers[item, light]
        facing = (normals * direction).sum(-1).clamp_min(0)
        diffuse = diffuse + facing[:, None] * power
        half = functional.normalize(direction - rays, dim=-1)
        strength = (normals * half).sum(-1).clamp_min(0) ** lights.shininess[item]
        highlight += (gloss * strength * (facing > 0))[:, None] * power
    return (albedo / 255 * diffuse + highlight).clamp(0, 1)


class _Tracer:
    """Looks up grids and follows rays through them."""

    def __init__(self, grids: SdfGrids, indices: Tensor) -> None:
        self.n = grids.resolution
        self.grids = grids
        self.indices = indices
        self.sdf = grids.sdf.view(-1)
        self.jump = grids.jump.view(-1)
        self.cells = grids.jump.shape[-1]

    def trace(self, origins: Tensor, rays: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances (n,) at which rays hit, and whether they do (n,)."""
        near, far = _cube_span(origins, rays)
        result, hit = torch.zeros_like(near), torch.zeros_like(near, dtype=torch.bool)
        active = (far > near).nonzero()[:, 0]
        t, before = near[active], torch.full_like(near[active], BAND_VOXELS)
        t_before = t
        for _ in range(_MAX_STEPS // _CHECK_EVERY):
            if not len(active):
                break
            o, r, number = origins[active], rays[active], self.indices[item[active]]
            end, at = far[active], t.clone()
            done = torch.zeros_like(active, dtype=torch.bool)
            found = done
            for _ in range(_CHECK_EVERY):
                points = o + r * t[:, None]
                value = self.distance(points, number)
                crossed = (value <= 0) & ~done
                share = before / (before - value).clamp_min(1e-6)
                at = torch.where(crossed, t_before + (t - t_before) * share.clamp(0, 1), at)
                found = found | crossed
                done = done | crossed | (t > end)
                before, t_before = value, t
                ahead = value.clamp_min(_MIN_STEP_VOXELS)
                ahead = torch.maximum(ahead, self._jump(points, number))
                t = torch.where(done, t, t + ahead / self.n)
            result[active], hit[active] = at, found
            keep = (~done).nonzero()[:, 0]
            active, t, before, t_before = active[keep], t[keep], before[keep], t_before[keep]
        return result, hit

    def _jump(self, points: Tensor, number: Tensor) -> Tensor:
        cell = ((points + 0.5) * self.cells).long().clamp_(0, self.cells - 1)
        flat = ((number * self.cells + cell[:, 0]) * self.cells + cell[:, 1]) * self.cells
        return self.jump[flat + cell[:, 2]].float() * (self.n // self.cells)

    def distance(self, points: Tensor, number: Tensor) -> Tensor:
        """Return signed distances (n,) in voxels, by trilinear interpolation."""
        flat, weights = _corners(points, number, self.n)
        values = self.sdf[flat].float()
        return (values * weights).sum(0) * (BAND_VOXELS / LEVELS)

    def normals(self, points: Tensor, rays: Tensor, item: Tensor) -> Tensor:
        """Return unit normals (n, 3) turned towards the camera: gradients of the distance."""
        number = self.indices[item]
        shift = _NORMAL_STEP_VOXELS / self.n
        gradient = []
        for axis in range(3):
            offset = torch.zeros(3, device=points.device)
            offset[axis] = shift
            ahead = self.distance(points + offset, number)
            gradient.append(ahead - self.distance(points - offset, number))
        normals = torch.stack(gradient, -1)
        flat = normals.norm(dim=-1, keepdim=True) < 1e-6
        normals = functional.normalize(torch.where(flat, -rays, normals), dim=-1)
        away = (normals * rays).sum(-1, keepdim=True) > 0
        return torch.where(away, -normals, normals)

    def colors(self, points: Tensor, item: Tensor) -> Tensor:
        """Return colours (n, 3) in 0..255, interpolated between the voxels that have one."""
        m = self.grids.colors.shape[-2]
        number = self.indices[item]
        flat, weights = _corners(points, number, m)
        rgba = self.grids.colors.view(-1, 4)[flat].float()
        weights = weights * (rgba[..., 3] > 0)
        total = weights.sum(0)[:, None]
        mean = (rgba[..., :3] * weights[..., None]).sum(0) / total.clamp_min(1e-6)
        return torch.where(total > 1e-6, mean, self.grids.mean_color[number])


def _cube_span(origins: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Return where rays (n, 3) enter and leave the cube; those behind the camera are cut off."""
    slope = 1 / torch.where(rays.abs() < 1e-9, torch.full_like(rays, 1e-9), rays)
    first, second = (-0.5 - origins) * slope, (0.5 - origins) * slope
    near = torch.minimum(first, second).amax(-1).clamp_min(0)
    return near, torch.maximum(first, second).amin(-1)


def _corners(points: Tensor, number: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return flat indices and weights (8, p) of the voxels around points (p, 3) of objects."""
    place = ((points + 0.5) * n - 0.5).clamp(0, n - 1)
    low = place.floor().clamp_max(n - 2)
    part = place - low
    x, y, z = low.long().unbind(-1)
    base = ((number * n + x) * n + y) * n + z
    flat = torch.stack(
        [base + (i * n + j) * n + k for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    )
    fx, fy, fz = part.unbind(-1)
    xs, ys, zs = (1 - fx, fx), (1 - fy, fy), (1 - fz, fz)
    weights = torch.stack([xs[i] * ys[j] * zs[k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    return flat, weights
