"""Objects as clusters of depth points above their support plane; no learning, no labels.

The classical table-top segmentation (Rusu 2009, chapter 6.5): find the planes that can carry
things, take what stands on them, group it by nearness in space, and keep what an object can be.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.detection._groups import sparse_groups
from recon3d_core.detection.clusters import (
    join_overhanging,
    near_cluster,
    Pixels,
    split_flat,
    spread,
    stands_out,
    thinned,
)
from recon3d_core.detection.planes import find_supports, PlaneSearch, rows, Support
from recon3d_core.geometry.transforms import apply
from recon3d_core.interfaces import Detector, DetectorConfig
from recon3d_core.types import Detection, Detections, Frame

_PLANE_MEMORY_NS = 2_000_000_000  # clusters without a plane only after so long without one


class ClusterOptions(PluginConfig):
    """What makes a cluster of points an object."""

    max_range_m: float = option(
        3.0, 'Depth beyond this is ignored.', unit='m', ge=0.2, le=20.0, live=True
    )
    min_height_m: float = option(
        0.015,
        'An object rises at least this far above its support.',
        unit='m',
        ge=0.002,
        le=0.5,
        live=True,
    )
    min_size_m: float = option(
        0.03, 'Smallest longest edge of an object.', unit='m', ge=0.005, le=5.0, live=True
    )
    max_size_m: float = option(
        0.6, 'Largest edge of an object.', unit='m', ge=0.02, le=5.0, live=True
    )
    min_pixels: int = option(
        150, 'Fewest pixels of an object.', unit='px', ge=10, le=100000, live=True
    )
    gap_m: float = option(
        0.014,
        'Points closer than about this belong to one object.',
        unit='m',
        ge=0.004,
        le=0.2,
        live=True,
    )
    max_planes: int = option(4, 'How many support planes are looked for.', ge=0, le=12, live=True)
    min_plane_area_m2: float = option(
        0.1, 'Smallest area of a support plane.', unit='m2', ge=0.005, le=100.0, live=True
    )
    step: int = option(2, 'Every n-th pixel is used to find planes and clusters.', ge=1, le=8)


class DepthClusterConfig(ClusterOptions, DetectorConfig):
    """Options of `depth_cluster`."""


@dataclasses.dataclass(frozen=True)
class _Cloud:
    """The frame's points at reduced resolution; arrays (h, w) or (h, w, 3)."""

    points: NDArray[np.float32]
    valid: NDArray[np.bool_]
    depth: NDArray[np.float32]
    noise: NDArray[np.float32]


class DepthClusterDetector(Detector):
    """Support planes by RANSAC, and clusters of points above them.

    Also takes plain `ClusterOptions`, as part of another detector.
    """

    name = 'depth_cluster'
    Config = DepthClusterConfig
    needs = frozenset({'depth', 'intrinsics', 'pose'})

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Make a detector that has seen no plane yet."""
        super().__init__(config, device)
        self.reset()

    def reset(self) -> None:
        """Forget that there were planes."""
        self._last_support_ns = -_PLANE_MEMORY_NS

    def detect(self, frame: Frame) -> Detections:
        """Return clusters above the support planes; without a plane, all compact clusters."""
        found, supports = self.look(frame)
        return Detections(tuple(found), tuple(support.plane for support in supports))

    def knows_supports(self, frame: Frame) -> bool:
        """Return whether a support was in view when a frame was taken, or shortly before."""
        return 0 <= frame.stamp_ns - self._last_support_ns < _PLANE_MEMORY_NS

    def look(self, frame: Frame) -> tuple[list[Detection], list[Support]]:
        """Return what `detect` does, and the supports with their areas, the highest first."""
        config: ClusterOptions = self.config
        cloud = _make_cloud(frame, config.step, config.max_range_m)
        if cloud.valid.sum() < config.min_pixels / config.step**2:
            return [], []
        supports = self._supports(frame, cloud)
        found: list[Detection] = []
        taken = np.zeros(cloud.valid.shape, bool)
        for support in supports:
            found += self._on_support(frame, cloud, support, supports, taken)
        if supports:
            self._last_support_ns = frame.stamp_ns
        elif not self.knows_supports(frame):
            found = self._free_standing(frame, cloud)
        return found, supports

    def _supports(self, frame: Frame, cloud: _Cloud) -> list[Support]:
        """Return the support planes, the highest first."""
        config: ClusterOptions = self.config
        up = None if frame.gravity_world is None else -frame.gravity_world
        points, depth = cloud.points[::2, ::2], cloud.depth[::2, ::2]
        normals = _normals(points, frame.pose[:3, 3])
        valid = cloud.valid[::2, ::2]
        # A fresh generator per frame: what was seen before does not change the result.
        rng = np.random.default_rng(frame.stamp_ns % 2**32)
        search = PlaneSearch(max_planes=config.max_planes, min_area_m2=config.min_plane_area_m2)
        supports = find_supports(
            rows(points, valid),
            rows(normals, valid),
            depth_noise_m(depth[valid]),
            frame.pose[:3, 3],
            up,
            search,
            rng,
        )
        supports = [s for s in supports if not self._is_lid(s, supports)]
        return sorted(supports, key=lambda support: -_mean_height(support, up))

    def _is_lid(self, support: Support, supports: list[Support]) -> bool:
        """Return whether a plane is the top of an object that stands on another one."""
        outline = support.plane.boundary_world_m
        assert outline is not None
        if np.ptp(outline @ support.T_axes, axis=0).max() > self.config.max_size_m:
            return False
        for other in supports:
            if other is support:
                continue
            rise = float(other.plane.height_m(outline).mean())
            if 0 < rise < self.config.max_size_m and other.covers(outline).mean() > 0.7:
                return True
        return False

    def _on_support(
        self,
        frame: Frame,
        cloud: _Cloud,
        support: Support,
        supports: list[Support],
        taken: NDArray[np.bool_],
    ) -> list[Detection]:
        """Return the objects on one support, and mark their points as taken."""
        config: ClusterOptions = self.config
        height = support.plane.height_m(cloud.points)
        coarse = height[::2, ::2]
        hanging = rows(
            cloud.points[::2, ::2], cloud.valid[::2, ::2] & (coarse < -0.04) & (coarse > -0.3)
        )
        below = hanging @ support.T_axes[:, :2].astype(np.float32)
        floor = np.maximum(0.6 * config.min_height_m, 2.5 * cloud.noise)
        over = cloud.valid & ~taken & (height > floor) & (height < 2.0 * config.max_size_m)
        # Wider than the support, so that what is only partly above it shows its true size.
        covered = support.covers(rows(cloud.points, over), margin_m=0.5 * config.max_size_m)
        over[over] = covered
        gap_m = self._gap(cloud, over)
        least = max(12, config.min_pixels // (2 * config.step**2))
        clusters = sparse_groups(cloud.points, over, support.T_axes, gap_m, least)
        clusters = [
            part
            for pixels in clusters
            for part in split_flat(cloud.points, pixels, height, support.T_axes, gap_m)
        ]
        clusters = join_overhanging(
            cloud.points, clusters, height, support.T_axes, frame.pose[:3, 3]
        )
        found = []
        for pixels in clusters:
            if not self._is_object(cloud, pixels, height, below, support, supports):
                continue
            points = cloud.points[pixels]
            mask, box = self._full_mask(frame, points, support)
            if mask.sum() < config.min_pixels:
                continue
            taken[pixels] = True
            found.append(_detection(mask, box, points, support, height[pixels]))
        return found

    def _gap(self, cloud: _Cloud, chosen: NDArray[np.bool_]) -> float:
        """Return the clustering distance, at least some pixels at the points' depth."""
        config: ClusterOptions = self.config
        if not chosen.any():
            return float(config.gap_m)
        far = float(spread(cloud.depth[chosen], 0.8, 0.8)[0])
        return max(config.gap_m, 2.2 * config.step * far / 550.0)

    def _is_object(
        self,
        cloud: _Cloud,
        pixels: Pixels,
        height: NDArray[np.float32],
        below: NDArray[np.float32],
        support: Support,
        supports: list[Support],
    ) -> bool:
        """Return whether a cluster can be an object that stands on the support."""
        config: ClusterOptions = self.config
        count = len(pixels[0])
        if count * config.step**2 < config.min_pixels:
            return False
        pixels = thinned(pixels, 1000)
        points, heights = cloud.points[pixels], height[pixels]
        local = points @ support.T_axes.astype(np.float32)
        low, high = spread(local, 0.02, 0.98)
        size = high - low
        if not config.min_size_m <= size.max() <= config.max_size_m:
            return False
        if support.covers(points).mean() < 0.8 or support.ring(points) < 0.5:
            return False  # it stands beside the support, or rises from its edge
        noise = float(spread(cloud.noise[pixels], 0.5, 0.5)[0])
        bottom, top = spread(heights, 0.05, 0.95)
        if top < max(config.min_height_m, 3 * noise):
            return False
        if bottom > 0.05 + 0.1 * size.max():
            return False  # it floats: a thing on the wall behind
        seen_below = (below > low[:2]) & (below < high[:2])
        if 4 * np.count_nonzero(seen_below[:, 0] & seen_below[:, 1]) > 0.1 * count:
            return False  # a chair's back behind the table's edge
        return not any(other is not support and _carries(other, points) for other in supports)

    def _full_mask(
        self, frame: Frame, points: NDArray[np.float32], support: Support | None
    ) -> tuple[NDArray[np.bool_], tuple[int, int, int, int]]:
        """Return the cluster's mask at full resolution, and its box."""
        step = self.config.step
        pixels = _project(frame, points)
        height, width = frame.depth.shape
        x0, y0 = np.maximum(pixels.min(0) - 4 * step, 0).astype(int)
        x1, y1 = np.minimum(pixels.max(0) + 4 * step, (width - 1, height - 1)).astype(int)
        crop = frame.depth[y0 : y1 + 1, x0 : x1 + 1]
        camera = frame.camera.cropped(int(x0), int(y0), crop.shape[1], crop.shape[0])
        world = apply(frame.pose, camera.points(crop).reshape(-1, 3)).reshape(*crop.shape, 3)
        member = near_cluster(world, points, 1.2 * max(self.config.gap_m, 0.012)) & (crop > 0)
        if support is not None:
            low = np.maximum(0.004, 1.5 * depth_noise_m(crop))
            member &= support.plane.height_m(world) > low
        part = cv2.morphologyEx(member.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5)))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=4)
        if count > 2:  # specks of the support's noise
            sizes = stats[:, cv2.CC_STAT_AREA]
            sizes[0] = 0  # what is no part of the object
            part = (sizes >= 0.1 * sizes.max())[labels]
        mask = np.zeros((height, width), bool)
        mask[y0 : y1 + 1, x0 : x1 + 1] = part > 0
        return mask, _box(mask, int(x0), int(y0), int(x1), int(y1))

    def _free_standing(self, frame: Frame, cloud: _Cloud) -> list[Detection]:
        """Return compact clusters where no plane is in view."""
        config: ClusterOptions = self.config
        axes = np.eye(3)
        clusters = sparse_groups(cloud.points, cloud.valid, axes, self._gap(cloud, cloud.valid))
        found = []
        for pixels in clusters:
            points = cloud.points[pixels]
            size = np.ptp(points, axis=0).max()
            if not config.min_size_m <= size <= config.max_size_m:
                continue
            mask, box = self._full_mask(frame, points, None)
            if mask.sum() >= config.min_pixels and stands_out(mask, box, frame.depth):
                found.append(_detection(mask, box, points, None, None))
        return found


def depth_noise_m(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the axial noise (...) of a structured-light camera at depths (...), in metres.

    Nguyen, Izadi and Lovell 2012, equation 3 without the angle's term.
    """
    noise: NDArray[np.float32] = (
        np.float32(0.0012) + np.float32(0.0019) * (depth_m - np.float32(0.4)) ** 2
    )
    return noise


def _make_cloud(frame: Frame, step: int, max_range_m: float) -> _Cloud:
    """Return the points of every n-th pixel, without the veils of jump edges."""
    depth = np.ascontiguousarray(frame.depth[::step, ::step])
    valid = (depth > 0.1) & (depth < max_range_m)
    kernel = np.ones((3, 3), np.uint8)
    nearest = cv2.erode(np.where(valid, depth, np.float32(100)), kernel)
    valid &= cv2.dilate(depth, kernel) - nearest < 0.008 + 0.012 * step * depth
    local = frame.camera.subsampled(step).points(depth)
    # As one list of points: a stack of rows would be multiplied row by row.
    points = apply(frame.pose, local.reshape(-1, 3)).reshape(local.shape)
    return _Cloud(points, valid, depth, depth_noise_m(depth))


def _normals(
    points: NDArray[np.float32], camera_world_m: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return unit normals (h, w, 3) of an organised cloud, towards the camera; NaN at its rim."""
    # From a smoothed cloud: the sensor's quantisation is larger than a pixel's step.
    smooth = cv2.blur(points, (3, 3))
    normals = np.full(points.shape, np.nan, np.float32)
    right = smooth[1:-1, 2:] - smooth[1:-1, :-2]
    down = smooth[2:, 1:-1] - smooth[:-2, 1:-1]
    # Written out: np.cross is several times slower on images.
    x = down[..., 1] * right[..., 2] - down[..., 2] * right[..., 1]
    y = down[..., 2] * right[..., 0] - down[..., 0] * right[..., 2]
    z = down[..., 0] * right[..., 1] - down[..., 1] * right[..., 0]
    towards = camera_world_m.astype(np.float32) - smooth[1:-1, 1:-1]
    side = x * towards[..., 0] + y * towards[..., 1] + z * towards[..., 2]
    with np.errstate(invalid='ignore', divide='ignore'):
        scale = np.where(side < 0, -1, 1) / np.sqrt(x * x + y * y + z * z)
        normals[1:-1, 1:-1] = np.stack([x * scale, y * scale, z * scale], -1)
    return normals


def _carries(support: Support, points: NDArray[np.float32]) -> bool:
    """Return whether much of a cluster is itself this other support: furniture, not an object."""
    near = np.abs(support.plane.height_m(points)) < 0.015
    near[near] = support.covers(points[near])
    return bool(near.mean() > 0.25)


def _mean_height(support: Support, up: NDArray[np.float64] | None) -> float:
    """Return how high a support lies; higher ones claim their objects first."""
    if up is None or support.plane.boundary_world_m is None:
        return 0.0
    return float((support.plane.boundary_world_m @ up).mean())


def _project(frame: Frame, points: NDArray[np.float32]) -> NDArray[np.float64]:
    rotation, translation = frame.pose[:3, :3], frame.pose[:3, 3]
    return frame.camera.project((points - translation) @ rotation)


def _box(mask: NDArray[np.bool_], x0: int, y0: int, x1: int, y1: int) -> tuple[int, int, int, int]:
    """Return the tight box of a mask that lies within the given bounds."""
    part = mask[y0 : y1 + 1, x0 : x1 + 1]
    columns, rows = np.nonzero(part.any(0))[0], np.nonzero(part.any(1))[0]
    if len(columns) == 0:
        return (x0, y0, x0, y0)
    return (x0 + int(columns[0]), y0 + int(rows[0]), x0 + int(columns[-1]), y0 + int(rows[-1]))


def _detection(
    mask: NDArray[np.bool_],
    box: tuple[int, int, int, int],
    points: NDArray[np.float32],
    support: Support | None,
    heights: NDArray[np.float32] | None,
) -> Detection:
    height, width = mask.shape
    # Kinect-like depth has a blind margin of some pixels, so the border is taken wider.
    truncated = min(box[0], box[1]) <= 12 or box[2] >= width - 13 or box[3] >= height - 13
    size = 1.0 - np.exp(-mask.sum() / 600.0)
    rise = 1.0 if heights is None else 1.0 - np.exp(-float(spread(heights, 0.0, 0.95)[1]) / 0.015)
    return Detection(
        mask=mask,
        box_xyxy=box,
        score=float(size * rise * (0.6 if truncated else 1.0)),
        points_world_m=points,
        support=None if support is None else support.plane,
        truncated=truncated,
    )
