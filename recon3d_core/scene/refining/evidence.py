"""An object rendered into a view, against what the view shows: depth, normals and outline.

Silhouette and depth are the residuals of MarrNet-like re-projection (Wu et al. 2017), here between
a mesh and a view: point to plane along each ray, and the rendered outline in the distance transform
of the mask.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.types import Mesh, View
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

MAX_PIXELS = 800
_DEPTH_M, _NORMAL, _OUTLINE_M = 0.003, 0.5, 0.004  # standard deviations
_CUT = 3.0  # of those, from where on a residual hardly pulls
_GRAZING = 0.25
_IN_FRONT_M = 0.01
_MARGIN = 0.35  # of the mask's box
_NORMAL_WEIGHT = 0.2
_XOR_WEIGHT = 8.0


@dataclasses.dataclass(frozen=True)
class Motion:
    """A small similarity about a point: x -> center + scale * rotation (x - center) + shift."""

    rotation: Array
    shift_m: Array
    scale: float = 1.0

    @staticmethod
    def none() -> Motion:
        """Return the motion that moves nothing."""
        return Motion(np.eye(3), np.zeros(3))

    def then(self, step: Array) -> Motion:
        """Return this motion, and then a step (7,): turn, shift, and logarithm of the scale."""
        turn, scale = Rotation.from_rotvec(step[:3]).as_matrix(), float(np.exp(step[6]))
        return Motion(turn @ self.rotation, self.shift_m + step[3:6], self.scale * scale)

    def apply(self, local_m: Array) -> Array:
        """Return where points (N, 3), given about the centre, come to lie about it."""
        moved: Array = self.scale * (local_m @ self.rotation.T) + self.shift_m
        return moved


@dataclasses.dataclass(frozen=True)
class Rows:
    """Linearised residuals of one kind, divided by their standard deviation.

    Attributes:
        values: (N,).
        jacobian: (N, 7) by a step of `Motion.then`.
        weight: What their mean counts.
    """

    values: Array
    jacobian: Array
    weight: float = 1.0

    @property
    def cost(self) -> float:
        """Mean of the Geman-McClure function of the residuals, times the weight."""
        if not len(self.values):
            return 0.0
        square = self.values**2
        return self.weight * float((square / (1 + square / _CUT**2)).mean())

    def normal_equations(self) -> tuple[Array, Array]:
        """Return the matrix (7, 7) and the vector (7,) of one Gauss-Newton step."""
        if not len(self.values):
            return np.zeros((7, 7)), np.zeros(7)
        share = self.weight / len(self.values) / (1 + self.values**2 / _CUT**2) ** 2
        weighted = self.jacobian * share[:, None]
        return weighted.T @ self.jacobian, weighted.T @ self.values


def rows_along(
    points_m: Array, directions: Array, values_m: Array, sigma_m: float, weight: float = 1.0
) -> Rows:
    """Return the rows of residuals that change by the motion of surface points along directions.

    Args:
        points_m: (N, 3) about where the centre is now.
        directions: (N, 3) gradient of the residual by the point's place.
        values_m: (N,) residuals.
        sigma_m: Their standard deviation.
        weight: What their mean counts.
    """
    turn = np.cross(points_m, directions)
    grow = (points_m * directions).sum(1, keepdims=True)
    return Rows(values_m / sigma_m, np.concatenate([turn, directions, grow], 1) / sigma_m, weight)


class RaySurface:
    """A mesh about a centre, ready for rays and distances."""

    def __init__(self, mesh: Mesh, center_world_m: Array) -> None:
        """Take the mesh; single precision is enough near its centre."""
        self.center_world_m = center_world_m
        self.local_m = mesh.vertices_m - center_world_m
        self._scene = o3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(self.local_m, np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, np.uint32)),
        )

    def cast(self, origin: Array, directions: Array) -> tuple[NDArray[np.float32], Array]:
        """Return distance (N,), infinite without a hit, and normal (N, 3) of rays, about it."""
        rays = np.empty((len(directions), 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin, directions
        hits = self._scene.cast_rays(o3d.core.Tensor.from_numpy(rays))
        return hits['t_hit'].numpy(), hits['primitive_normals'].numpy().astype(np.float64)

    def depths_inside(self, points_world_m: Array) -> tuple[Array, Array]:
        """Return how deep points (N, 3) are inside, 0 outside, and the way out (N, 3), unit."""
        local = np.ascontiguousarray(points_world_m - self.center_world_m, np.float32)
        tensor = o3d.core.Tensor.from_numpy(local)
        inside = self._scene.compute_occupancy(tensor, nsamples=3).numpy() > 0.5
        way = np.zeros((len(local), 3))
        if inside.any():
            part = o3d.core.Tensor.from_numpy(np.ascontiguousarray(local[inside]))
            nearest = self._scene.compute_closest_points(part)['points'].numpy()
            way[inside] = nearest - local[inside]
        depth = np.linalg.norm(way, axis=1)
        return depth, way / np.maximum(depth, 1e-9)[:, None]


class ViewEvidence:
    """What one view shows near an object, thinned to a bounded number of pixels."""

    def __init__(self, view: View) -> None:
        """Prepare a view that has a pose and a mask that is not empty."""
        camera = view.frame.camera
        low, high = np.array(view.box_xyxy[:2]), np.array(view.box_xyxy[2:])
        margin = np.ceil(_MARGIN * (high - low)).astype(int) + 4
        size = np.array([camera.width, camera.height])
        low, high = np.maximum(low - margin, 0), np.minimum(high + margin + 1, size)
        step = max(1, int(np.ceil(np.sqrt(np.prod(high - low) / MAX_PIXELS))))
        part = (slice(low[1], high[1], step), slice(low[0], high[0], step))
        width, height = (high - low).tolist()
        camera = camera.cropped(int(low[0]), int(low[1]), width, height).subsampled(step)
        self.mask = view.mask[part]
        self.shape = self.mask.shape
        y, x = np.mgrid[: self.shape[0], : self.shape[1]]
        pixels = np.stack([x, y], -1).reshape(-1, 2).astype(np.float64)
        rays = camera.unproject(pixels, np.ones(len(pixels)))
        self.pose = view.frame.pose
        self.rays = rays @ self.pose[:3, :3].T
        self.focal_px = float(camera.fx)
        depth = None if view.frame.depth_m is None else view.frame.depth_m[part]
        self.depth_m = np.zeros(self.shape, np.float32) if depth is None else depth
        self.others = np.zeros(self.shape, bool) if view.others is None else view.others[part]
        self.has_depth = depth is not None
        self.outline_px = _signed_distance(self.mask)
        down, across = np.gradient(self.outline_px)
        self._slopes = np.stack([across, down], -1).reshape(-1, 2)
        self.normals = self._normals() if self.has_depth else None

    def _normals(self) -> Array:
        """Return the measured normals (N, 3), zero where unknown."""
        valid = self.mask & (self.depth_m > 0)
        points = (self.rays * self.depth_m.reshape(-1, 1)).reshape(*self.shape, 3)
        weight = cv2.blur(valid.astype(np.float32), (5, 5))
        smooth = cv2.blur(points * valid[..., None], (5, 5)) / np.maximum(weight, 1e-6)[..., None]
        across = np.gradient(smooth, axis=1)
        down = np.gradient(smooth, axis=0)
        normal = np.cross(down, across)
        length = np.linalg.norm(normal, axis=2, keepdims=True)
        whole = cv2.erode(valid.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        return np.asarray(
            np.where(whole[..., None], normal / np.maximum(length, 1e-12), 0)
        ).reshape(-1, 3)

    def compare(self, surface: RaySurface, motion: Motion) -> tuple[list[Rows], float]:
        """Return the residuals of a moved surface, and the cost of pixels that disagree."""
        origin = self.pose[:3, 3] - surface.center_world_m
        local = motion.rotation.T @ (origin - motion.shift_m) / motion.scale
        depth, normals = surface.cast(local, self.rays @ motion.rotation / motion.scale)
        hit = np.isfinite(depth)
        normals = normals @ motion.rotation.T
        mask, seen_m = self.mask.ravel(), self.depth_m.ravel()
        hidden = ~mask & (self.others.ravel() | ((seen_m > 0) & (seen_m < depth - _IN_FRONT_M)))
        rendered_m = np.where(hit, depth, 0).astype(np.float64)
        places = origin + self.rays * rendered_m[:, None] - motion.shift_m
        rows = [self._outline_rows(hit, hidden, places, rendered_m)]
        if self.has_depth:
            rows += self._depth_rows(hit & mask & (seen_m > 0), places, normals, rendered_m)
        xor = ((hit ^ mask) & ~(hidden & hit)).sum() / max(int(mask.sum()), 1)
        return rows, _XOR_WEIGHT * float(xor)

    def _depth_rows(
        self, both: NDArray[np.bool_], places: Array, normals: Array, rendered_m: Array
    ) -> list[Rows]:
        facing = np.abs((normals * self.rays).sum(1)) / np.linalg.norm(self.rays, axis=1)
        chosen = np.flatnonzero(both & (facing > _GRAZING))
        n, q = normals[chosen], places[chosen]
        off = (n * self.rays[chosen]).sum(1) * (rendered_m[chosen] - self.depth_m.ravel()[chosen])
        rows = [rows_along(q, n, off, _DEPTH_M)]
        assert self.normals is not None
        measured = chosen[(self.normals[chosen] != 0).any(1)]
        model, seen = normals[measured], self.normals[measured]
        model = model * np.sign((model * seen).sum(1, keepdims=True))
        jacobian = np.zeros((len(measured), 3, 7))
        jacobian[:, :, :3] = -_cross_matrices(model)
        rows.append(
            Rows(
                (model - seen).reshape(-1) / _NORMAL,
                jacobian.reshape(-1, 7) / _NORMAL,
                _NORMAL_WEIGHT,
            )
        )
        return rows

    def _outline_rows(
        self, hit: NDArray[np.bool_], hidden: NDArray[np.bool_], places: Array, rendered_m: Array
    ) -> Rows:
        """Return how far the rendered outline is from the mask's, where nothing hides either."""
        picture = np.pad(hit.reshape(self.shape).astype(np.uint8), 1, mode='edge')
        inner = cv2.erode(picture, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
        blocked = (hidden.reshape(self.shape) | self.others).astype(np.uint8)
        blocked = cv2.dilate(blocked, np.ones((5, 5), np.uint8)) > 0
        edge = hit.reshape(self.shape) & ~inner & ~blocked
        edge[[0, -1]] = edge[:, [0, -1]] = False
        chosen = np.flatnonzero(edge)
        depth = rendered_m[chosen]
        metres = depth / self.focal_px
        # Along the image only: the direction of the slope, as a vector in the world.
        slope = self._slopes[chosen]
        along = np.zeros((len(chosen), 3))
        along[:, :2] = slope
        rays = self.rays[chosen] @ self.pose[:3, :3]
        along[:, 2] = -(slope * rays[:, :2]).sum(1)
        directions = along @ self.pose[:3, :3].T
        # The outermost pixel that is hit lies half a pixel within the outline.
        values = (self.outline_px.ravel()[chosen] + 0.5) * metres
        return rows_along(places[chosen], directions, values, _OUTLINE_M)


def _signed_distance(mask: NDArray[np.bool_]) -> Array:
    """Return the distance (H, W) in pixels from a mask's border, negative within."""
    padded = np.pad(mask.astype(np.uint8), 1)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform(1 - padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    distance: Array = np.where(mask, 0.5 - inside, outside - 0.5).astype(np.float64)
    return distance


def _cross_matrices(vectors: Array) -> Array:
    """Return the matrices (N, 3, 3) of the cross products by vectors (N, 3)."""
    matrices = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    matrices[:, 0, 1], matrices[:, 0, 2], matrices[:, 1, 2] = -z, y, -x
    matrices[:, 1, 0], matrices[:, 2, 0], matrices[:, 2, 1] = z, -y, x
    return matrices
