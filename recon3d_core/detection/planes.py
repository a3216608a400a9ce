"""Support planes in a cloud of points: RANSAC (Fischler & Bolles 1981) with a gravity prior."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.transforms import frame_from_normal
from recon3d_core.types import Plane

_SAMPLES = 1500  # points on which hypotheses are scored; more changes the winner rarely


@dataclasses.dataclass(frozen=True)
class PlaneSearch:
    """Bounds of the search for planes.

    Attributes:
        max_planes: How many are looked for.
        tolerance_m: Largest distance of an inlier at 1 m; it grows with the depth's noise.
        min_area_m2: Smallest connected area of a support.
        max_tilt_rad: Largest angle between a support's normal and up.
        hypotheses: Random triples per plane.
        cell_size_m: Resolution at which areas are measured.
        bridge_m: Parts of a plane that are closer are one support.
    """

    max_planes: int = 4
    tolerance_m: float = 0.012
    min_area_m2: float = 0.04
    max_tilt_rad: float = 0.15
    hypotheses: int = 100
    cell_size_m: float = 0.02
    bridge_m: float = 0.3


def within(index: NDArray[np.integer], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which indices (..., D) lie in an array of a shape (D,)."""
    inside = np.ones(index.shape[:-1], bool)
    # One axis after the other: `all(-1)` over a short last axis is many times slower.
    for axis, size in enumerate(shape):
        inside &= (index[..., axis] >= 0) & (index[..., axis] < size)
    return inside


def rows(values: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """Return `values[chosen]` (n, 3) of values (..., 3), several times faster."""
    return values.reshape(-1, values.shape[-1]).take(np.flatnonzero(chosen), axis=0)


@dataclasses.dataclass(frozen=True)
class Support:
    """A connected part of a plane on which things can stand.

    Attributes:
        plane: The plane, its normal on the side of the camera.
        T_axes: (3, 3) columns x, y, normal of the plane's own frame in the world.
        origin_m: (2,) corner of `area` along x and y.
        area: (nx, ny) bool, cells that were seen to be plane, or lie within their outline.
        cell_size_m: Edge of a cell.
    """

    plane: Plane
    T_axes: NDArray[np.float64]
    origin_m: NDArray[np.float64]
    area: NDArray[np.bool_]
    cell_size_m: float

    def covers(
        self, points_world_m: NDArray[np.floating], margin_m: float = 0.0
    ) -> NDArray[np.bool_]:
        """Return which points (N, 3) lie above or below the area, grown by a margin."""
        area, origin = self.area, self.origin_m
        cells = round(margin_m / self.cell_size_m)
        if cells > 0:
            size = 2 * cells + 1
            kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (size, size))
            area = cv2.dilate(np.pad(self.area, cells).astype(np.uint8), kernel) > 0
            origin = origin - cells * self.cell_size_m
        # Coordinates one after the other: columns of (N, 2) cost several times more.
        xy = self.T_axes[:, :2].T.astype(points_world_m.dtype) @ points_world_m.T
        x, y = np.floor((xy - origin[:, None]) / self.cell_size_m).astype(np.int32)
        nx, ny = area.shape
        covered = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        place = np.where(covered, x * np.int32(ny) + y, 0)
        covered &= area.ravel().take(place)
        return covered

    def ring(self, points_world_m: NDArray[np.floating]) -> float:
        """Return which part of the rim around the footprint of points (N, 3) is support."""
        xy = points_world_m @ self.T_axes[:, :2].astype(points_world_m.dtype)
        index = np.floor((xy - self.origin_m) / self.cell_size_m).astype(np.int32)
        low = index.min(0) - 3
        footprint = np.zeros(index.max(0) - low + 4, np.uint8)
        footprint[tuple((index - low).T)] = 1
        footprint = cv2.morphologyEx(footprint, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        inner = cv2.dilate(footprint, np.ones((3, 3), np.uint8))
        rim = np.argwhere(cv2.dilate(inner, np.ones((3, 3), np.uint8)) > inner) + low
        inside = within(rim, self.area.shape)
        rim[~inside] = 0
        return float((inside & self.area[rim[:, 0], rim[:, 1]]).mean())


def find_supports(
    points_world_m: NDArray[np.float32],
    normals_world: NDArray[np.float32],
    noise_m: NDArray[np.float32],
    camera_world_m: NDArray[np.float64],
    up_world: NDArray[np.float64] | None,
    search: PlaneSearch,
    rng: np.random.Generator,
) -> list[Support]:
    """Find the planes on which objects may stand, the best supported first.

    Args:
        points_world_m: (N, 3) points.
        normals_world: (N, 3) unit normals towards the camera; NaN where unknown.
        noise_m: (N,) expected depth noise of each point.
        camera_world_m: (3,) where the camera is; it must be above a support.
        up_world: (3,) direction against gravity; None allows planes of any orientation.
        search: Bounds.
        rng: Source of randomness.
    """
    usable = np.isfinite(normals_world[:, 0])
    if up_world is not None:
        usable &= normals_world @ up_world.astype(np.float32) > np.cos(3 * search.max_tilt_rad)
    points, noise = rows(points_world_m, usable), noise_m[usable]
    supports: list[Support] = []
    for _ in range(search.max_planes):
        if len(points) < 300:
            break
        plane = _ransac(points, noise, up_world, search, rng)
        if plane is None:
            break
        near = _inliers(plane, points, noise, search)
        if near.sum() < 200:
            break
        above = plane.height_m(camera_world_m[None])[0]
        if up_world is None and above < 0:
            plane, above = Plane(-plane.normal_world, -plane.offset_m), -above
        if above > 0:
            supports += _connected_areas(plane, rows(points, near), points_world_m, search)
        points, noise = rows(points, ~near), noise[~near]
    return supports


def _inliers(
    plane: Plane,
    points: NDArray[np.float32],
    noise: NDArray[np.float32],
    search: PlaneSearch,
    factor: float = 1.0,
) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(plane.height_m(points)) < factor * np.maximum(
        search.tolerance_m, 2 * noise
    )
    return near


def _ransac(
    points: NDArray[np.float32],
    noise: NDArray[np.float32],
    up: NDArray[np.float64] | None,
    search: PlaneSearch,
    rng: np.random.Generator,
) -> Plane | None:
    """Return the plane with most inliers, refined by least squares, or None."""
    pick = rng.choice(len(points), min(_SAMPLES, len(points)), replace=False)
    sample = points[pick].astype(np.float64)
    triples = sample[rng.integers(0, len(sample), (search.hypotheses, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    length = np.linalg.norm(normals, axis=1)
    good = length > 1e-4  # square metres: nearly collinear triples give wild planes
    normals[good] /= length[good, None]
    if up is not None:
        normals *= np.where(normals @ up < 0, -1.0, 1.0)[:, None]
        good &= normals @ up > np.cos(search.max_tilt_rad)
    if not good.any():
        return None
    normals, anchors = normals[good], triples[good, 0]
    distance = np.abs(sample @ normals.T - (anchors * normals).sum(1))
    tolerance = np.maximum(search.tolerance_m, 2 * noise[pick])
    best = int((distance < tolerance[:, None]).sum(0).argmax())
    plane = Plane(normals[best], float(-anchors[best] @ normals[best]))
    for factor in (1.0, 0.7):
        near = _inliers(plane, points, noise, search, factor)
        if near.sum() < 50:
            return None
        plane = _least_squares(rows(points, near), plane.normal_world)
    if up is not None and plane.normal_world @ up < np.cos(search.max_tilt_rad):
        return None
    return plane


def _least_squares(points: NDArray[np.float32], side: NDArray[np.float64]) -> Plane:
    """Fit a plane to points; its normal is on the side of `side`."""
    center = points.mean(0, dtype=np.float64)
    centered = points - center.astype(np.float32)
    _, vectors = np.linalg.eigh((centered.T @ centered).astype(np.float64))
    normal = vectors[:, 0] * (1.0 if vectors[:, 0] @ side > 0 else -1.0)
    return Plane(normal, float(-normal @ center))


def _connected_areas(
    plane: Plane,
    inliers: NDArray[np.float32],
    everything: NDArray[np.float32],
    search: PlaneSearch,
) -> list[Support]:
    """Split a plane's inliers (N, 3) into connected areas that are large enough.

    Where some point of `everything` (M, 3) lies below the plane there is no support.
    """
    axes = frame_from_normal(plane.normal_world)
    xy = inliers @ axes[:, :2].astype(np.float32)
    cell = search.cell_size_m
    origin = xy.min(0) - 3 * cell
    index = np.floor((xy - origin) / cell).astype(np.int32)
    shape = index.max(0) + 4
    if shape.prod() > 4_000_000:
        return []
    seen = np.zeros(shape, np.uint8)
    seen[index[:, 0], index[:, 1]] = 1
    areas = _joined_over_shadows(seen, search)
    open_cells = _cells_with_points_below(plane, everything, axes, origin, seen.shape, cell)
    sizes = [area[index[:, 0], index[:, 1]].sum() for area in areas]
    found = []
    for number in np.argsort(sizes)[::-1]:
        if areas[number].sum() * cell * cell < search.min_area_m2:
            continue
        area = _outline_filled(areas[number], open_cells)
        boundary = _boundary(area, origin, cell, plane, axes)
        found.append(
            Support(
                dataclasses.replace(plane, boundary_world_m=boundary),
                axes,
                origin.astype(np.float64),
                area,
                cell,
            )
        )
    return found


def _joined_over_shadows(seen: NDArray[np.uint8], search: PlaneSearch) -> list[NDArray[np.bool_]]:
    """Return the areas of a plane; parts that only the shadows of objects divide are one.

    Args:
        seen: (nx, ny) 1 where the plane was seen.
        search: Bounds.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, kernel)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] * search.cell_size_m**2 >= 0.2 * search.min_area_m2
    large[0] = False
    kept = large[labels]
    reach = 2 * round(search.bridge_m / 2 / search.cell_size_m) + 1
    near = cv2.dilate(kept.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, groups = cv2.connectedComponents(near, connectivity=4)
    return [kept & (groups == number) for number in range(1, count)]


def _cells_with_points_below(
    plane: Plane,
    points: NDArray[np.float32],
    axes: NDArray[np.float64],
    origin: NDArray[np.floating],
    shape: tuple[int, ...],
    cell: float,
) -> NDArray[np.bool_]:
    """Return the cells (nx, ny) beneath which something was seen through the plane."""
    low = rows(points, plane.height_m(points) < -0.04)
    index = np.floor((low @ axes[:, :2].astype(np.float32) - origin) / cell).astype(np.int32)
    index = index[within(index, shape)]
    cells = np.zeros(shape, bool)
    cells[index[:, 0], index[:, 1]] = True
    return cells


def _outline_filled(area: NDArray[np.bool_], open_cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill an area to its convex hull, but for what was seen to be open."""
    contours, _ = cv2.findContours(
        area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    hull = np.zeros(area.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(contours)), 1)
    filled: NDArray[np.bool_] = (hull > 0) & (area | ~open_cells)
    return filled


def _boundary(
    area: NDArray[np.bool_],
    origin: NDArray[np.floating],
    cell: float,
    plane: Plane,
    axes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the convex outline (N, 3) of an area in the world."""
    contours, _ = cv2.findContours(
        area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    hull = cv2.convexHull(np.concatenate(contours))[:, 0, ::-1]
    xy = (hull + 0.5) * cell + origin
    outline: NDArray[np.float64] = xy @ axes[:, :2].T - plane.offset_m * plane.normal_world
    return outline
