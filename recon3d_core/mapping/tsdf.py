"""The mapper `tsdf`: a truncated signed distance field in sparse blocks of voxels.

Open3D's VoxelBlockGrid does the work (Curless & Levoy 1996). It holds Python's lock while it
integrates or extracts, so other threads wait for that long (docs/performance.md).
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
import threading
from typing import Any
import zipfile

import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from recon3d_core.config import option, PluginConfig
from recon3d_core.errors import FrameError, InputError
from recon3d_core.geometry.regions import Box
from recon3d_core.geometry.transforms import invert
from recon3d_core.interfaces import Mapper
from recon3d_core.mapping.blocks import ATTRIBUTES, BoundedBlocks
from recon3d_core.mapping.depth import without_edges
from recon3d_core.meshing.export import write_atomically
from recon3d_core.types import Frame, Mesh, PointCloud

logger = logging.getLogger(__name__)

_MAX_UINT16 = 65535
# What is first seen by a camera without colour tends to this grey.
_UNKNOWN_COLOR = 128
_HALF_PIXEL = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
# The bound of the weights is applied every so many frames, as it touches all blocks.
_WEIGHT_PERIOD = 16
# float32 coordinates are finer than 8 mm up to here.
_MAX_DISTANCE_M = 1e5


class TsdfConfig(PluginConfig):
    """Options of the mapper `tsdf`."""

    voxel_size_m: float = option(0.02, 'Edge of a voxel.', unit='m', ge=0.001, le=1.0)
    block_resolution: int = option(8, 'Voxels along the edge of a block.', ge=4, le=32)
    max_blocks: int = option(
        40000,
        'Most blocks that are kept; beyond it, those farthest from the camera are dropped.',
        ge=100,
        le=10000000,
    )
    truncation_voxels: float = option(
        4.0, 'Distance from the surface, in voxels, up to which it is stored.', ge=2.0, le=32.0
    )
    max_depth_m: float = option(
        4.0, 'Farther measurements are left out.', unit='m', ge=0.1, le=100.0, live=True
    )
    max_weight: float = option(
        100.0,
        "Bound of a voxel's weight; the lower, the quicker the map follows changes.",
        ge=1.0,
        le=10000.0,
        live=True,
    )
    max_depth_step: float = option(
        0.05,
        "Pixels whose neighbours' depths differ by more than this part of the depth are left "
        'out, as edges and grazing surfaces; 0 = none are.',
        ge=0.0,
        le=1.0,
        live=True,
    )
    min_weight: float = option(
        3.0,
        'The surface is given where it was seen this often, or in every frame so far.',
        ge=1.0,
        le=1000.0,
        live=True,
    )


class TsdfMapper(Mapper):
    """The scene's surface from depth images with poses, coloured where there is colour."""

    name = 'tsdf'
    Config = TsdfConfig
    needs = frozenset({'depth', 'intrinsics', 'pose'})

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Make an empty map on a device; on the CPU where Open3D has no CUDA."""
        super().__init__(config, device)
        if device != 'cpu' and not o3d.core.cuda.is_available():
            logger.warning('mapper tsdf runs on the CPU: this Open3D has no CUDA')
            self.device = 'cpu'
        index = self.device.partition(':')[2] or '0'
        name = 'CPU' if self.device == 'cpu' else 'CUDA'
        self._blocks = BoundedBlocks(
            self.config.voxel_size_m,
            self.config.block_resolution,
            self.config.max_blocks,
            o3d.core.Device(f'{name}:{index}'),
        )
        self._frames = 0
        self._colored_frames = 0
        # Meshes are made while another thread integrates.
        self._lock = threading.RLock()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._blocks.clear()
            self._frames = 0
            self._colored_frames = 0

    def integrate(self, frame: Frame) -> None:
        """Add a frame that has depth and pose.

        Raises:
            FrameError: It has none, or its pose is unusable.
        """
        if frame.depth_m is None or frame.T_world_camera is None:
            reason = 'no_depth' if frame.depth_m is None else 'no_pose'
            raise FrameError(reason, 'a frame to map', sorted(frame.inputs), 'depth and pose')
        frame = frame.checked()
        assert frame.depth_m is not None
        assert frame.T_world_camera is not None
        if np.abs(frame.T_world_camera[:3, 3]).max() > _MAX_DISTANCE_M:
            raise FrameError(
                'bad_pose',
                "camera too far from the world's origin",
                frame.T_world_camera[:3, 3].tolist(),
                f'within {_MAX_DISTANCE_M:g} m',
                'Use a local frame as world frame.',
            )
        # Read once: it may be changed by another thread.
        max_depth_m = float(self.config.max_depth_m)
        depth_m = without_edges(frame.depth_m, max_depth_m, self.config.max_depth_step)
        # Of images, Open3D takes uint16 with uint8, or float32 with float32, which costs more.
        depth_m *= np.float32(_MAX_UINT16 / max_depth_m)
        depth_m += np.float32(0.5)
        depth = depth_m.astype(np.uint16)
        with self._lock:
            self._integrate(frame, frame.T_world_camera, depth, max_depth_m)

    def clear_box(self, box: Box) -> None:
        """Forget the surface inside a box, to the voxel."""
        with self._lock:
            if len(self._blocks):
                self._blocks.clear_box(box)

    def mesh(self) -> Mesh:
        """Return the surface as a mesh, possibly empty."""
        with self._lock:
            if not len(self._blocks):
                return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
            found = self._blocks.grid.extract_triangle_mesh(self._weight_threshold()).cpu()
        vertices = found.vertex.positions.numpy()
        if not len(vertices):
            return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
        faces = found.triangle.indices.numpy().astype(np.int32)
        return Mesh(vertices, faces, self._colors(found.vertex))

    def cloud(self) -> PointCloud:
        """Return the surface as points with normals, possibly empty."""
        with self._lock:
            if not len(self._blocks):
                return PointCloud(np.zeros((0, 3), np.float32))
            found = self._blocks.grid.extract_point_cloud(self._weight_threshold()).cpu()
        points = found.point.positions.numpy()
        if not len(points):
            return PointCloud(np.zeros((0, 3), np.float32))
        return PointCloud(points, self._colors(found.point), found.point.normals.numpy())

    def save(self, path: Path) -> None:
        """Write the state to an .npz file.

        Raises:
            RunError: It cannot be written.
        """
        with self._lock:
            arrays = self._blocks.arrays()
            arrays['voxel_size_m'] = np.array(self.config.voxel_size_m)
            arrays['frames'] = np.array([self._frames, self._colored_frames])
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write_atomically(path, content.getvalue())

    def load(self, path: Path) -> None:
        """Read the state that `save` wrote; the map so far is forgotten.

        Raises:
            InputError: It is no such file, or its voxels are of another size.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ('blocks', *ATTRIBUTES)}
                size_m, (frames, colored) = float(file['voxel_size_m']), file['frames'].tolist()
            got = (size_m, arrays['tsdf'].shape[1:4])
            count = len(arrays['blocks'])
            shapes = {name: (count, *got[1], n) for name, n in ATTRIBUTES.items()}
            if any(arrays[name].shape != shape for name, shape in shapes.items()):
                raise ValueError('its arrays do not fit each other')
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(
                f'{path} is not a saved map', error, 'a file that save wrote'
            ) from error
        wanted = (self.config.voxel_size_m, (self.config.block_resolution,) * 3)
        if got != wanted:
            raise InputError(f'{path} has other voxels', got, wanted, 'Set the same options.')
        with self._lock:
            self._blocks.restore(arrays)
            self._frames, self._colored_frames = frames, colored

    def stats(self) -> dict[str, float]:
        """Return the numbers of blocks, of frames, and the memory that the map takes."""
        with self._lock:
            return {
                'blocks': float(len(self._blocks)),
                'max_blocks': float(self.config.max_blocks),
                'dropped_blocks': float(self._blocks.dropped),
                'frames': float(self._frames),
                'memory_mb': self._blocks.memory_mb,
            }

    def _integrate(
        self,
        frame: Frame,
        T_world_camera: NDArray[np.float64],
        depth: NDArray[np.uint16],
        max_depth_m: float,
    ) -> None:
        blocks = self._blocks_in_view(frame, T_world_camera, depth, max_depth_m)
        self._frames += 1
        self._colored_frames += frame.rgb is not None
        if not len(blocks):
            return
        self._blocks.activate(blocks, T_world_camera[:3, 3])
        rgb = frame.rgb
        if rgb is None:
            rgb = np.full((*depth.shape, 3), _UNKNOWN_COLOR, np.uint8)
        self._blocks.grid.integrate(
            self._blocks.tensor(blocks),
            self._image(depth),
            self._image(rgb),
            # Open3D cuts a voxel's pixel coordinates off, where the nearest pixel is meant.
            o3d.core.Tensor(frame.camera.K + _HALF_PIXEL),
            o3d.core.Tensor(invert(T_world_camera)),
            _MAX_UINT16 / max_depth_m,
            max_depth_m,
            self.config.truncation_voxels,
        )
        if self._frames % _WEIGHT_PERIOD == 0:
            self._blocks.bound_weights(self.config.max_weight)

    def _blocks_in_view(
        self,
        frame: Frame,
        T_world_camera: NDArray[np.float64],
        depth: NDArray[np.uint16],
        max_depth_m: float,
    ) -> NDArray[np.int32]:
        """Return the coordinates (B, 3) of the blocks near the surface in view."""
        # Open3D looks at every fourth pixel; a farther stride is enough for large voxels.
        block_m = self.config.voxel_size_m * self.config.block_resolution
        spacing_m = 4 * max_depth_m / frame.camera.fx
        step = int(np.clip(0.5 * block_m / spacing_m, 1, 4))
        depth = depth[::step, ::step]
        if not depth.any():
            return np.zeros((0, 3), np.int32)
        blocks: NDArray[np.int32] = (
            self._blocks.grid.compute_unique_block_coordinates(
                self._image(depth),
                o3d.core.Tensor(frame.camera.subsampled(step).K),
                o3d.core.Tensor(invert(T_world_camera)),
                _MAX_UINT16 / max_depth_m,
                max_depth_m,
                self.config.truncation_voxels,
            )
            .cpu()
            .numpy()
        )
        return self._blocks.nearest(blocks, T_world_camera[:3, 3])

    def _image(self, image: NDArray[Any]) -> Any:
        return o3d.t.geometry.Image(self._blocks.tensor(image))

    def _weight_threshold(self) -> float:
        # Open3D takes what lies above the threshold, and weights are whole numbers.
        return min(self.config.min_weight, float(self._frames)) - 0.5

    def _colors(self, attributes: Any) -> NDArray[np.uint8] | None:
        if not self._colored_frames:
            return None
        colors = attributes.colors.numpy() * 255
        return np.clip(np.rint(colors), 0, 255).astype(np.uint8)
