"""What flows through the pipeline: frames in, detections and tracks between, objects out.

Metres, seconds, radians. Arrays are numpy; they are not written to after they were handed on.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_transform
from recon3d_core.errors import FrameError, InputError
from recon3d_core.geometry.cameras import Camera, rectify
from recon3d_core.geometry.grids import VoxelGrid

INPUTS = frozenset({'rgb', 'depth', 'mask', 'intrinsics', 'pose'})


@dataclasses.dataclass(frozen=True)
class Frame:
    """What one camera saw at one moment; colour and depth share the camera's pixels.

    Attributes:
        stamp_ns: Time of the exposure, nanoseconds.
        camera: Intrinsics.
        rgb: (H, W, 3) uint8, or None.
        depth_m: (H, W) float32, z along the optical axis, 0 = invalid; or None.
        T_world_camera: (4, 4) pose of the camera's optical frame, or None where unknown.
        camera_name: Which camera, where there are several.
        gravity_world: (3,) unit vector that points down in the world, or None where unknown.
        masks: Object masks that came with the frame, `{instance: (H, W) bool}`, or None.
        labels: `{instance: label}` for those masks.
        truth: Ground truth of a synthetic frame; for evaluation only.
    """

    stamp_ns: int
    camera: Camera
    rgb: NDArray[np.uint8] | None = None
    depth_m: NDArray[np.float32] | None = None
    T_world_camera: NDArray[np.float64] | None = None
    camera_name: str = 'camera'
    gravity_world: NDArray[np.float64] | None = None
    masks: Mapping[int, NDArray[np.bool_]] | None = None
    labels: Mapping[int, str] | None = None
    truth: Any = None

    @property
    def inputs(self) -> frozenset[str]:
        """Which of `INPUTS` the frame has."""
        present = {
            'rgb': self.rgb,
            'depth': self.depth_m,
            'mask': self.masks,
            'pose': self.T_world_camera,
        }
        return frozenset({'intrinsics'} | {k for k, v in present.items() if v is not None})

    @property
    def depth(self) -> NDArray[np.float32]:
        """The depth image.

        Raises:
            FrameError: There is none.
        """
        if self.depth_m is None:
            raise FrameError('no_depth', 'the frame has no depth image')
        return self.depth_m

    @property
    def pose(self) -> NDArray[np.float64]:
        """The camera's pose `T_world_camera`.

        Raises:
            FrameError: It is unknown.
        """
        if self.T_world_camera is None:
            raise FrameError('no_pose', 'the pose of the camera is unknown')
        return self.T_world_camera

    def checked(self) -> Frame:
        """Return the frame with its lens distortion undone, after checking it.

        Raises:
            FrameError: Sizes differ, types are wrong, or the pose is not a rigid transform.
        """
        size = (self.camera.height, self.camera.width)
        for name, image in (('rgb', self.rgb), ('depth', self.depth_m)):
            if image is not None and image.shape[:2] != size:
                raise FrameError(
                    'size_mismatch', f'{name} image', image.shape, f'{size} as camera'
                )
        if self.rgb is not None and (self.rgb.dtype != np.uint8 or self.rgb.ndim != 3):
            raise FrameError('bad_color', 'rgb image', (self.rgb.dtype, self.rgb.shape), 'uint8')
        if self.depth_m is not None and self.depth_m.dtype != np.float32:
            raise FrameError('bad_depth', 'depth image', self.depth_m.dtype, 'float32 metres')
        if self.T_world_camera is not None:
            try:
                check_transform('T_world_camera', self.T_world_camera)
            except InputError as error:
                raise FrameError('bad_pose', str(error)) from error
        depth = self.depth_m
        if depth is not None and not np.isfinite(depth.sum(dtype=np.float64)):
            depth = np.where(np.isfinite(depth), depth, np.float32(0))
            self = dataclasses.replace(self, depth_m=depth)
        if not self.camera.distorted:
            return self
        rgb = self.rgb
        return dataclasses.replace(
            self,
            camera=self.camera.rectified(),
            rgb=None if rgb is None else rectify(self.camera, rgb, is_depth=False),
            depth_m=None if depth is None else rectify(self.camera, depth, is_depth=True),
            masks=self.masks
            and {
                key: rectify(self.camera, mask.astype(np.uint8), is_depth=True) > 0
                for key, mask in self.masks.items()
            },
        )


@dataclasses.dataclass(frozen=True)
class Plane:
    """A support surface: `normal . p + offset = 0`, the normal pointing to its free side.

    Attributes:
        normal_world: (3,) unit vector.
        offset_m: Signed distance of the world's origin from the plane.
        boundary_world_m: (N, 3) convex outline in order, or None for an unbounded plane.
    """

    normal_world: NDArray[np.float64]
    offset_m: float
    boundary_world_m: NDArray[np.float64] | None = None

    def height_m(self, points_world_m: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the signed distance (...) of points (..., 3), positive on the free side."""
        heights: NDArray[np.floating] = points_world_m @ self.normal_world.astype(
            points_world_m.dtype
        ) + points_world_m.dtype.type(self.offset_m)
        return heights


@dataclasses.dataclass(frozen=True)
class Detection:
    """One object found in one frame.

    Attributes:
        mask: (H, W) bool, the visible pixels.
        box_xyxy: Pixel box x0, y0, x1, y1, both ends inclusive.
        label: What it is; `object` where the detector does not know.
        score: Confidence in [0, 1].
        points_world_m: (N, 3) float32 visible surface points, or None without depth.
        support: Plane it stands on, or None.
        truncated: Whether the mask touches the image's border.
        instance: Identity that the detector itself gives the object, or None.
    """

    mask: NDArray[np.bool_]
    box_xyxy: tuple[int, int, int, int]
    label: str = 'object'
    score: float = 1.0
    points_world_m: NDArray[np.float32] | None = None
    support: Plane | None = None
    truncated: bool = False
    instance: int | None = None


@dataclasses.dataclass(frozen=True)
class Detections:
    """What a detector found in a frame.

    Attributes:
        items: The objects.
        planes: Support planes in view.
        looked: Whether the frame was looked at; where not, no object was missed in it, and the
            detector is asked again at the next frame.
    """

    items: tuple[Detection, ...] = ()
    planes: tuple[Plane, ...] = ()
    looked: bool = True


@dataclasses.dataclass(frozen=True)
class View:
    """What a reconstructor sees of one object: a frame and the object's mask in it.

    Attributes:
        frame: The frame; its pose is known.
        mask: (H, W) bool, pixels of the object.
        box_xyxy: Pixel box of the mask, both ends inclusive.
        others: (H, W) bool, pixels of other objects; or None. What they hide of the object is
            unknown, and without depth they say nothing of it.
        support: Plane that the object stands on, or None where unknown.
    """

    frame: Frame
    mask: NDArray[np.bool_]
    box_xyxy: tuple[int, int, int, int]
    others: NDArray[np.bool_] | None = None
    support: Plane | None = None


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A triangle mesh in the world's frame; faces turn counter-clockwise seen from outside.

    Attributes:
        vertices_m: (V, 3) float32.
        faces: (F, 3) int32.
        colors: (V, 3) uint8 RGB, or None.
        face_observed: (F,) bool, True where a camera saw the face; None where unknown.
    """

    vertices_m: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8] | None = None
    face_observed: NDArray[np.bool_] | None = None


@dataclasses.dataclass(frozen=True)
class PointCloud:
    """Points in the world's frame.

    Attributes:
        points_m: (N, 3) float32.
        colors: (N, 3) uint8 RGB, or None.
        normals: (N, 3) float32, or None.
    """

    points_m: NDArray[np.float32]
    colors: NDArray[np.uint8] | None = None
    normals: NDArray[np.float32] | None = None


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a reconstructor knows of an object, on its grid.

    Attributes:
        grid: Place and resolution.
        occupancy: (nx, ny, nz) float32 probability that a voxel is inside.
        sdf_m: (nx, ny, nz) float32 signed distance, negative inside, or None.
        observed: (nx, ny, nz) bool, voxels near a seen surface; or None.
        free: (nx, ny, nz) bool, voxels seen to be empty; or None.
        colors: (nx, ny, nz, 3) uint8, or None.
        views_used: How many views made it.
        completed: Whether `occupancy` tells of the unseen part too; a mesher then takes it as it
            is instead of closing what was seen.
    """

    grid: VoxelGrid
    occupancy: NDArray[np.float32]
    sdf_m: NDArray[np.float32] | None = None
    observed: NDArray[np.bool_] | None = None
    free: NDArray[np.bool_] | None = None
    colors: NDArray[np.uint8] | None = None
    views_used: int = 0
    completed: bool = False


@dataclasses.dataclass(frozen=True)
class SelfCheck:
    """How well an object, rendered into the views that made it, agrees with them.

    Attributes:
        silhouette_iou: Median over views of the IoU of rendered and seen mask, in [0, 1].
        depth_residual_m: Median of |rendered - seen depth| over the common pixels; NaN without.
        passed: Whether both are within the configured limits.
        free_share: Mean over views of the part of the solid that was seen to be empty; NaN without
            depth.
    """

    silhouette_iou: float
    depth_residual_m: float
    passed: bool
    free_share: float = float('nan')


@dataclasses.dataclass(frozen=True)
class ObjectEstimate:
    """One object of the scene.

    Attributes:
        id: Stable number from 1.
        label: What it is.
        score: Confidence in [0, 1].
        mesh: Closed mesh in the world's frame; the observed surface only where the self-check
            failed.
        shape: Occupancy on the object's grid, the unseen part included.
        T_world_object: (4, 4) pose of the oriented box's centre, z away from the support.
        size_m: (3,) edges of that box.
        views_used: How many views made it.
        watertight: Whether the mesh is closed.
        volume_m3: Its volume; 0 where not watertight.
        seen_fraction: Part of the mesh's area that a camera saw, in [0, 1].
        self_check: Agreement with the views.
        first_stamp_ns: When it was first seen.
        last_stamp_ns: When it was last seen.
        support: Plane it stands on, or None.
        revision: Grows whenever mesh, pose or label change.
        observed_only: Whether the mesh is only a shell of the seen surface, because the closed
            object did not agree with its views.
        expected_change: What as many views again are expected to change of the shape, as
            1 - IoU in [0, 1] (`fusion.progress`); None where unknown.
        confidence: Probability that the IoU of the closed shape with the truth is above 0.5
            (`scene.confidence`); None where unknown.
        pose_covariance: (6, 6) of `T_world_object`, in the order of ROS: position along the world's
            x, y, z in m^2, then turns about them in rad^2 (`scene.pose_covariance`); or None.
    """

    id: int
    label: str
    score: float
    mesh: Mesh
    shape: Shape
    T_world_object: NDArray[np.float64]
    size_m: NDArray[np.float64]
    views_used: int
    watertight: bool
    volume_m3: float
    seen_fraction: float
    self_check: SelfCheck
    first_stamp_ns: int
    last_stamp_ns: int
    support: Plane | None = None
    revision: int = 0
    observed_only: bool = False
    expected_change: float | None = None
    confidence: float | None = None
    pose_covariance: NDArray[np.float64] | None = None


@dataclasses.dataclass(frozen=True)
class OccupancyGrid2D:
    """A map for navigation in the plane normal to up.

    Attributes:
        T_world_grid: (4, 4) pose of cell (0, 0)'s corner; z is up.
        cell_size_m: Edge of a cell.
        cells: (nx, ny) int8: 0 free, 100 occupied, -1 unknown.
    """

    T_world_grid: NDArray[np.float64]
    cell_size_m: float
    cells: NDArray[np.int8]


@dataclasses.dataclass(frozen=True)
class SceneUpdate:
    """What one frame changed.

    Attributes:
        stamp_ns: The frame's stamp.
        frame_index: Number of the frame since the start or the last reset, from 0.
        integrated: Whether the mapper took it.
        detections: What was found; None where the detector did not run on this frame.
        changed: Objects that are new or have a new revision.
        removed: Ids of objects that are gone.
        timings_ms: Time of each stage that ran.
        notes: What a person should know, such as a fallback in use.
    """

    stamp_ns: int
    frame_index: int
    integrated: bool
    detections: Detections | None
    changed: tuple[ObjectEstimate, ...]
    removed: tuple[int, ...]
    timings_ms: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything that is known at one moment.

    Attributes:
        stamp_ns: Stamp of the last frame, or 0.
        objects: The objects by id.
        mesh: Surface of the scene, or None where not asked for or empty.
        cloud: Points of that surface, or None likewise.
        planes: Support planes.
        occupancy_grid: Map for navigation, or None where not asked for.
    """

    stamp_ns: int
    objects: Mapping[int, ObjectEstimate]
    mesh: Mesh | None = None
    cloud: PointCloud | None = None
    planes: tuple[Plane, ...] = ()
    occupancy_grid: OccupancyGrid2D | None = None
