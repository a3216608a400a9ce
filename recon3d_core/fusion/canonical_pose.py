"""Where a canonical volume stands: the yaw, scale and place at which it fills the seen masks.

Canonical networks give a shape in a pose of its own, with z up and in a cube of size 1. Its place
in the object's grid is found by rendering and matching: for every yaw, scale and centre follow
from the masks' boxes by a few steps of least squares, and the yaw whose silhouettes overlap the
masks best is refined. Symmetric objects have several good yaws; any of them will do.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.crops import mask_box
from recon3d_core.fusion._crops import Crop, SOLID
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import Array, invert
from scipy import ndimage

YAWS = 24
CELLS = 28  # along a crop's edge, of the silhouettes that are compared
COARSE_CELLS = 14
BOX_POINTS = 300
COARSE_POINTS = 1500
FINE_POINTS = 12000
STEPS = 5
PRIOR = 0.02  # weight of the grid's own middle, where the rays leave the depth open
AS_GOOD = 0.02  # of overlap: the former yaw is kept within it, so that the shape does not spin
NEAREST = 0.05  # depth of points in edges of the grid, below which they are not projected


@dataclasses.dataclass(frozen=True)
class CanonicalPose:
    """Place of a canonical cube in a grid.

    Attributes:
        yaw: Turn about z, radians.
        edge: Edge of the cube by the grid's longest extent.
        center: (3,) its middle, from the grid's middle, in the grid's longest extents.
        agreement: Mean IoU of its silhouettes and the masks, in [0, 1].
    """

    yaw: float
    edge: float
    center: Array
    agreement: float


class _Cameras:
    """Crops as arrays, in the frame about a grid's middle and in its longest extents."""

    def __init__(self, crops: Sequence[Crop], grid: VoxelGrid) -> None:
        T_grid_middle = np.eye(4)
        T_grid_middle[:3, 3] = grid.extent_m / 2
        T = np.stack([invert(c.T_world_camera) @ grid.T_world_grid @ T_grid_middle for c in crops])
        self.R = T[:, :3, :3]
        self.t = T[:, :3, 3] / float(grid.extent_m.max())
        self.K = np.stack([crop.K for crop in crops]).astype(np.float64)
        self.masks = [crop.mask for crop in crops]
        size = len(crops[0].mask)
        self.boxes = np.array([mask_box(mask >= SOLID) for mask in self.masks]) / size

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return image coordinates (..., V, P, 2) and depths (..., V, P) of points (..., P, 3)."""
        local = points[..., None, :, :] @ self.R.transpose(0, 2, 1) + self.t[:, None]
        depth = np.maximum(local[..., 2], NEAREST)
        image = local @ self.K.transpose(0, 2, 1)
        return image[..., :2] / depth[..., None], depth

    def small_masks(self, cells: int) -> NDArray[np.bool_]:
        """Return the masks (V, 2 cells, 2 cells) with an empty half crop on every side."""
        padded = np.zeros((len(self.masks), 2 * cells, 2 * cells), bool)
        inner = slice(cells // 2, cells // 2 + cells)
        for target, mask in zip(padded, self.masks):
            target[inner, inner] = cv2.resize(mask, (cells, cells), interpolation=3) >= SOLID
        return padded


def match(
    inside: NDArray[np.bool_],
    crops: Sequence[Crop],
    grid: VoxelGrid,
    former_yaw: float | None = None,
) -> CanonicalPose | None:
    """Return where a canonical solid fills the masks best.

    Args:
        inside: (N, N, N) the solid in its cube, z up.
        crops: Views of the object with masks that are not empty; one is enough.
        grid: The object's grid, z up.
        former_yaw: What was found before, radians.

    Returns:
        The place, or None where the solid is empty.
    """
    if not inside.any() or not crops:
        return None
    points = _Points(inside)
    cameras = _Cameras(crops, grid)
    yaws = np.linspace(0, 2 * np.pi, YAWS, endpoint=False)
    scored = _score(points, yaws, cameras, COARSE_CELLS)
    best = max(scored, key=lambda pose: pose.agreement)
    near = (best.yaw + np.linspace(-0.5, 0.5, 5) * (2 * np.pi / YAWS)).astype(np.float64)
    fine = _score(points, near, cameras, CELLS)
    best = max(fine, key=lambda pose: pose.agreement)
    if former_yaw is not None:
        former = _score(points, np.array([former_yaw]), cameras, CELLS)[0]
        if former.agreement >= best.agreement - AS_GOOD:
            return former
    return best


class _Points:
    """The surface of a solid in its cube: few points, more, and many within each voxel."""

    def __init__(self, inside: NDArray[np.bool_]) -> None:
        index = np.argwhere(inside & ~ndimage.binary_erosion(inside)) + 0.5
        self.half_voxel = 0.5 / len(inside)
        centers = index / len(inside) - 0.5
        self.few, self.more = _some(centers, BOX_POINTS), _some(centers, COARSE_POINTS)
        parts = np.array(list(np.ndindex(2, 2, 2))) - 0.5
        many = (index[:, None] + 0.5 * parts).reshape(-1, 3) / len(inside) - 0.5
        self.many = _some(many, FINE_POINTS)


def _score(points: _Points, yaws: Array, cameras: _Cameras, cells: int) -> list[CanonicalPose]:
    """Return the best place for each yaw."""
    edge, center = _fit_boxes(_turned(points.few, yaws), points.half_voxel, cameras)
    turned = _turned(points.more if cells < CELLS else points.many, yaws)
    places = turned * edge[:, None, None] + center[:, None]
    masks = cameras.small_masks(cells)
    return [
        CanonicalPose(float(yaw), float(size), middle, _overlap(place, masks, cameras, cells))
        for yaw, size, middle, place in zip(yaws, edge, center, places)
    ]


def _some(points: Array, count: int) -> Array:
    return points[:: -(-len(points) // count)]


def _turned(points: Array, yaws: Array) -> Array:
    """Return points (Y, P, 3) turned about z."""
    c, s = np.cos(yaws)[:, None], np.sin(yaws)[:, None]
    x, y, z = points.T
    return np.stack([c * x - s * y, s * x + c * y, np.broadcast_to(z, (len(yaws), len(z)))], -1)


def _fit_boxes(turned: Array, half_voxel: float, cameras: _Cameras) -> tuple[Array, Array]:
    """Return scale (Y,) and centre (Y, 3) at which the boxes of points are those of the masks.

    Scale is the mean ratio of the boxes' sizes; the centre follows from the boxes' middles by
    least squares, drawn a little to where it was: one view leaves the depth open.
    """
    wanted_size = cameras.boxes[:, 2:] - cameras.boxes[:, :2]
    wanted_middle = (cameras.boxes[:, 2:] + cameras.boxes[:, :2]) / 2
    edge, center = np.full(len(turned), 0.8), np.zeros((len(turned), 3))
    focal = cameras.K[:, [0, 1], [0, 1]]
    for _ in range(STEPS):
        image, depth = cameras.project(turned * edge[:, None, None] + center[:, None])
        middle_depth = depth.mean(2)[..., None]
        border = half_voxel * edge[:, None, None] * focal / middle_depth
        low, high = image.min(2) - border, image.max(2) + border
        ratio = wanted_size.max(1) / np.maximum((high - low).max(2), 1e-6)
        edge = np.clip(edge * np.exp(np.log(ratio).mean(1)), 0.05, 3.0)
        # A shift moves the image by f (R_x - slope R_z) / depth, in each of two directions.
        miss = wanted_middle - (low + high) / 2
        slope = (wanted_middle - cameras.K[:, :2, 2]) / focal
        rows = cameras.R[:, :2] - slope[..., None] * cameras.R[:, 2:]
        rows = (focal[..., None] * rows)[None] / middle_depth[..., None]
        matrix = np.einsum('yvij,yvik->yjk', rows, rows)
        vector = np.einsum('yvij,yvi->yj', rows, miss)
        weight = PRIOR * np.trace(matrix, axis1=1, axis2=2)[:, None, None] / 3
        matrix = matrix + weight * np.eye(3)
        center = np.clip(center + np.linalg.solve(matrix, vector[..., None])[..., 0], -1, 1)
    return edge, center


def _overlap(points: Array, masks: NDArray[np.bool_], cameras: _Cameras, cells: int) -> float:
    """Return the mean IoU of the silhouettes of points (P, 3) with masks (V, 2 cells, 2 cells)."""
    image, _ = cameras.project(points)
    index = np.floor(image * cells).astype(np.int64) + cells // 2
    column, row = np.clip(index, 0, 2 * cells - 1).transpose(2, 0, 1)
    drawn = np.zeros_like(masks)
    drawn[np.arange(len(masks))[:, None], row, column] = True
    union = (drawn | masks).sum((1, 2))
    return float(((drawn & masks).sum((1, 2)) / np.maximum(union, 1)).mean())
