"""One object on a support, seen by a depth camera from a few sides, as a robot would fuse it.

Everything between the exact surface and the fused distances is as in use: the sensor's noise,
detectors' masks, neighbours and occluders, small errors of the poses, and a grid that is placed
around the points that were visible and grows (`tsdf_object`).
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.data.objects.base import ObjectModel
from recon3d_core.data.partial.masks import imperfect
from recon3d_core.data.scenes.resting import draw_resting, resting_poses
from recon3d_core.data.sets.drawn import draw_rotation
from recon3d_core.data.stretching import stretch_factors
from recon3d_core.data.synth.noise import DepthNoise
from recon3d_core.data.synth.solids import box, revolve
from recon3d_core.data.synth.truth import ray_scene
from recon3d_core.errors import InputError
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor, TsdfState
from recon3d_core.geometry.cameras import Camera, pixel_rays
from recon3d_core.geometry.grids import grid_around, VoxelGrid
from recon3d_core.geometry.transforms import apply, frame_from_normal, invert, look_at
from recon3d_core.types import Frame, Mesh, Plane, Shape, View

Array = NDArray[np.float64]

SIZES_M = (0.05, 0.4)
DISTANCES_M = (0.4, 1.5)
SUPPORT = Plane(np.array([0.0, 0.0, 1.0]), 0.0)
_ELEVATIONS = np.deg2rad((12.0, 70.0))
_UPRIGHT = 0.85  # of what can stand, so much does
_WINDOW = 0.35  # free room around the object in the images, of its size
_MANY_PX = 60_000  # a larger window is drawn at half the resolution
_LEAST_PX = 60  # of an object that was seen
_POSE_NOISE = (0.001, np.deg2rad(0.1))  # metres, radians


@dataclasses.dataclass(frozen=True)
class Setting:
    """An object on its support, with its neighbours.

    Attributes:
        name: The object's name.
        category: What it is.
        vertices_m: (V, 3) float32 its vertices in the world; z is up, the support is at 0.
        faces: (F, 3) int32.
        scene: Rays hit 0 the object, 1 the support, 2 and more its neighbours.
    """

    name: str
    category: str
    vertices_m: NDArray[np.float32]
    faces: NDArray[np.int32]
    scene: o3d.t.geometry.RaycastingScene


@dataclasses.dataclass(frozen=True)
class Observed:
    """What is known after some views.

    Attributes:
        views: How many.
        state: State of `tsdf_object`; the next views change it.
        shape: What that makes of it.
        towards_cameras: (3,) mean of the unit vectors from the object to the cameras.
        points_world_m: (n, 3) float32 visible points of all views.
    """

    views: int
    state: TsdfState
    shape: Shape
    towards_cameras: Array
    points_world_m: NDArray[np.float32]


def set_up(model: ObjectModel, rng: np.random.Generator, *, training: bool) -> Setting:
    """Return an object at rest, at a size that stands on tables.

    Args:
        model: The object.
        rng: Draws size, attitude and, for training, proportions and neighbours.
        training: Whether it may be stretched, lie, and have neighbours; otherwise it stands as it
            should, alone.
    """
    edge_m = model.edge_m * (1 if model.metric else rng.uniform(0.8, 1.25))
    vertices = model.mesh.vertices.astype(np.float64)
    if training:
        vertices *= stretch_factors(rng)
    edges = float(np.ptp(vertices, axis=0).max())
    longest = edge_m * edges
    if not SIZES_M[0] <= longest <= SIZES_M[1]:
        longest = float(np.exp(rng.uniform(*np.log((0.1, SIZES_M[1])))))
    vertices = vertices @ _attitude(vertices, model.category, rng, upright=not training).T
    vertices *= longest / edges
    low, high = vertices.min(0), vertices.max(0)
    vertices -= [*(low + high)[:2] / 2, low[2]]
    placed = vertices.astype(np.float32)
    scene = ray_scene(Mesh(placed, model.mesh.faces))
    reach = float(np.hypot(*placed[:, :2].T).max())
    others = _neighbors(reach, longest, rng) if training else []
    for mesh in [_table(3 * longest + 0.6), *others]:
        scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices_m, np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, np.uint32)),
        )
    return Setting(model.name, model.category, placed, model.mesh.faces, scene)


def _attitude(vertices: Array, category: str, rng: np.random.Generator, *, upright: bool) -> Array:
    stands = category != 'random'
    if upright and stands:
        return draw_rotation(rng, True)
    try:
        return draw_resting(resting_poses(vertices), _UPRIGHT if stands else 0.0, rng)
    except (InputError, IndexError, ValueError):  # flat, or it lies on nothing
        return draw_rotation(rng, stands)


def _table(half_m: float) -> Mesh:
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * half_m
    return Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def _neighbors(reach_m: float, size_m: float, rng: np.random.Generator) -> list[Mesh]:
    """Return up to two boxes or cylinders beside an object."""
    found = []
    for _ in range(int(rng.choice(3, p=(0.5, 0.3, 0.2)))):
        wide, high = size_m * rng.uniform(0.3, 0.9), size_m * rng.uniform(0.2, 1.2)
        if rng.random() < 0.5:
            mesh = box((wide, wide * rng.uniform(0.4, 1), high))
        else:
            mesh = revolve([(0, 0), (wide / 2, 0), (wide / 2, high), (0, high)], 32)
        angle = rng.uniform(0, 2 * np.pi)
        away = reach_m + wide * 0.71 + rng.uniform(0.002, 0.06)
        shift = np.array([away * np.cos(angle), away * np.sin(angle), 0], np.float32)
        found.append(Mesh(mesh.vertices_m + shift, mesh.faces))
    return found


def observe(
    setting: Setting, views: int, resolution: int, rng: np.random.Generator
) -> Iterator[Observed]:
    """Yield what is known after each of some views.

    Args:
        setting: The object.
        views: How many.
        resolution: Voxels along the longest visible extent, as the pipeline's option.
        rng: Draws cameras and errors.

    Raises:
        InputError: The object was hardly visible in the first views.
    """
    reconstructor = TsdfObjectReconstructor()
    state: TsdfState | None = None
    towards, points = np.zeros(3), np.zeros((0, 3), np.float32)
    middle = (setting.vertices_m.min(0) + setting.vertices_m.max(0)) / 2
    done = 0
    for pose in _poses(setting, 4 * views + 8, rng):
        view = _seen(setting, pose, rng)
        if view is None:
            continue
        points = np.concatenate([points, _visible_points(view)])
        if state is None:
            grid = placed_grid(points, resolution)
            if grid is None:
                continue
            state = reconstructor.start(grid)
        state = reconstructor.observe(state, view)
        back = pose[:3, 3] - middle
        towards = (towards * done + back / np.linalg.norm(back)) / (done + 1)
        done += 1
        yield Observed(done, state, reconstructor.shape(state), towards, points)
        if done == views:
            return
    raise InputError(f'{setting.name} is hardly visible', f'{done} views', f'{views} views')


def placed_grid(points_world_m: NDArray[np.float32], resolution: int) -> VoxelGrid | None:
    """Return the grid around visible points, as the pipeline places it on a level support."""
    if len(points_world_m) < _LEAST_PX:
        return None
    low, high = np.percentile(points_world_m, [1, 99], axis=0)
    points = points_world_m[((points_world_m >= low) & (points_world_m <= high)).all(1)]
    if not len(points):
        return None
    longest = float(np.ptp(points, axis=0).max())
    voxel_size_m = float(np.clip(longest / resolution, 0.003, 0.03))
    axes = frame_from_normal(SUPPORT.normal_world)
    return grid_around(points, voxel_size_m, max(6 * voxel_size_m, 0.2 * longest), axes)


def _poses(setting: Setting, count: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield `T_world_camera`: a camera that goes around, or jumps."""
    middle = (setting.vertices_m.min(0) + setting.vertices_m.max(0)).astype(np.float64) / 2
    size = float(np.ptp(setting.vertices_m, axis=0).max())
    azimuth, step = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.6) * rng.choice((-1, 1))
    around = rng.random() < 0.6
    nearest, farthest = np.log(DISTANCES_M)
    nearest = max(nearest, np.log(1.3 * size))
    distance = rng.uniform(nearest, farthest)
    for _ in range(count):
        elevation = np.arcsin(rng.uniform(*np.sin(_ELEVATIONS)))
        away = np.exp(np.clip(distance + rng.normal(0, 0.2), nearest, farthest))
        level = np.cos(elevation)
        back = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
        yield look_at(middle + away * back, middle + rng.normal(0, 0.05, 3))
        azimuth += step + rng.normal(0, 0.2) if around else rng.uniform(0, 2 * np.pi)


def _seen(setting: Setting, pose: Array, rng: np.random.Generator) -> View | None:
    """Return what the sensor and a detector make of a view; None where little is visible."""
    camera = _window(setting, pose, float(rng.uniform(520, 620)))
    if camera is None:
        return None
    scale = camera.fx / 570  # of the whole image's width by 640 pixels, about
    hits = _cast(setting, camera, pose)
    ids = np.where(np.isfinite(hits['t_hit']), hits['geometry_ids'].astype(np.int64), -1)
    if (ids == 0).sum() < _LEAST_PX:
        return None
    exact = np.where(ids >= 0, hits['t_hit'], 0).astype(np.float32)
    reflected = np.full(exact.shape, rng.uniform(0.15, 0.9), np.float32)
    noise = DepthNoise(disparity_step_px=0.125 * scale * 640 / camera.width)
    depth = noise.apply(camera, exact, hits['cosine'], reflected, rng)
    mask = imperfect(ids == 0, ids >= 2, ids == 1, scale, rng)
    if (mask & (depth > 0)).sum() < _LEAST_PX:
        return None
    others = ids >= 2 if rng.random() < 0.5 else None
    rows, columns = np.nonzero(mask)
    box_xyxy = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
    frame = Frame(0, camera, None, depth, _disturbed(pose, rng))
    return View(frame, mask, box_xyxy, others)


def _window(setting: Setting, pose: Array, focal_px: float) -> Camera | None:
    """Return the camera of the image's part around the object, coarser where that is large."""
    whole = Camera(640, 480, focal_px, focal_px, 319.5, 239.5)
    local = apply(invert(pose), setting.vertices_m.astype(np.float64))
    if local[:, 2].min() < 0.1:
        return None
    pixels = whole.project(local)
    low, high = pixels.min(0), pixels.max(0)
    room = _WINDOW * float((high - low).max()) + 8
    x0, y0 = np.floor(np.clip(low - room, 0, (whole.width, whole.height))).astype(int).tolist()
    x1, y1 = np.ceil(np.clip(high + room, 0, (whole.width, whole.height))).astype(int).tolist()
    width, height = x1 - x0, y1 - y0
    if min(width, height) < 16:
        return None
    camera = whole.cropped(x0, y0, width, height)
    if width * height <= _MANY_PX:
        return camera
    return Camera(
        width // 2, height // 2, camera.fx / 2, camera.fy / 2,
        (camera.cx - 0.5) / 2, (camera.cy - 0.5) / 2,
    )  # fmt: skip


def _cast(setting: Setting, camera: Camera, pose: Array) -> dict[str, NDArray[np.float32]]:
    directions = pixel_rays(camera) @ pose[:3, :3].T.astype(np.float32)
    origins = np.broadcast_to(pose[:3, 3].astype(np.float32), directions.shape)
    rays = np.concatenate([origins, directions], -1)
    hits = setting.scene.cast_rays(o3d.core.Tensor.from_numpy(rays))
    normals = hits['primitive_normals'].numpy()
    lengths = np.linalg.norm(directions, axis=-1) * np.maximum(
        np.linalg.norm(normals, axis=-1), np.float32(1e-9)
    )
    cosine = np.abs((normals * directions).sum(-1)) / lengths
    return {
        't_hit': hits['t_hit'].numpy(),
        'geometry_ids': hits['geometry_ids'].numpy(),
        'cosine': np.clip(cosine, 0, 1),
    }


def _disturbed(pose: Array, rng: np.random.Generator) -> Array:
    moved = pose.copy()
    turn, _ = cv2.Rodrigues(rng.normal(0, _POSE_NOISE[1], 3))
    moved[:3, :3] = turn @ pose[:3, :3]
    moved[:3, 3] += rng.normal(0, _POSE_NOISE[0], 3)
    return moved


def _visible_points(view: View) -> NDArray[np.float32]:
    """Return the points (n, 3) of a mask, without its fringe and what is at the support."""
    inner = cv2.erode(view.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    depth = view.frame.depth
    rows, columns = np.nonzero((inner if inner.sum() >= _LEAST_PX else view.mask) & (depth > 0))
    pixels = np.stack([columns, rows], -1).astype(np.float64)
    local = view.frame.camera.unproject(pixels, depth[rows, columns])
    points = apply(view.frame.pose, local).astype(np.float32)
    return points[points[:, 2] > 0.003]
