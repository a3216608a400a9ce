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
from recon3d_core.geometry.transforms import invert
from recon3d_core.interfaces import Mapper
from recon3d_core.mapping.depth import without_edges
from recon3d_core.meshing.export import write_atomically
from recon3d_core.types import Frame, Mesh, PointCloud

logger = logging.getLogger(__name__)

_ATTRIBUTES = (('tsdf', 1), ('weight', 1), ('color', 3))
_FIRST_BLOCKS = 2048
_MAX_UINT16 = 65535
# What is first seen by a camera without colour tends to this grey.
_UNKNOWN_COLOR = 128
_HALF_PIXEL = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
# The bound of the weights is applied every so many frames, as it touches all blocks.
_WEIGHT_PERIOD = 16
# Blocks are dropped this much at a time, so that not every frame at the bound pays for it.
_DROPPED_SHARE = 0.05
# float32 coordinates are finer than 8 mm up to here.
_MAX_DISTANCE_M = 1e5


class TsdfConfig(PluginConfig):
    """Options of the mapper `tsdf`."""

    voxel_size_m: float = option(0.01, 'Edge of a voxel.', unit='m', ge=0.001, le=1.0)
    block_resolution: int = option(8, 'Voxels along the edge of a block.', ge=4, le=32)
    max_blocks: int = option(
        40000, 'Most blocks that are kept; beyond it, those farthest from the camera are dropped.',
        ge=100, le=10000000,
    )
    truncation_voxels: float = option(
        4.0, 'Distance from the surface, in voxels, up to which it is stored.', ge=2.0, le=32.0
    )
    max_depth_m: float = option(
        4.0, 'Farther measurements are left out.', unit='m', ge=0.1, le=100.0, live=True
    )
    max_weight: float = option(
        100.0, 'Bound of a voxel\'s weight; the lower, the quicker the map follows changes.',
        ge=1.0, le=10000.0, live=True,
    )
    max_depth_step: float = option(
        0.05, 'Pixels whose neighbours\' depths differ by more than this part of the depth are left '
        'out, as edges and grazing surfaces; 0 = none are.', ge=0.0, le=1.0, live=True,
    )
    min_weight: float = option(
        3.0, 'The surface is given where it was seen this often, or in every frame so far.',
        ge=1.0, le=1000.0, live=True,
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
        self._o3d_device = o3d.core.Device(f'{name}:{index}')
        # Meshes are made while another thread integrates.
        self._lock = threading.RLock()
        self._dropped = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._grid = self._empty_grid()
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
                'bad_pose', 'camera too far from the world\'s origin',
                frame.T_world_camera[:3, 3].tolist(), f'within {_MAX_DISTANCE_M:g} m',
                'Use a local frame as world frame.',
            )
        # Read once: it may be changed by another thread.
        max_depth_m = float(self.config.max_depth_m)
        depth_m = without_edges(frame.depth_m, max_depth_m, self.config.max_depth_step)
        # Of images, Open3D takes uint16 with uint8, or float32 with float32, which costs more.
        depth = (depth_m * (_MAX_UINT16 / max_depth_m) + 0.5).astype(np.uint16)
        with self._lock:
            self._integrate(frame, frame.T_world_camera, depth, max_depth_m)

    def mesh(self) -> Mesh:
        """Return the surface as a mesh, possibly empty."""
        with self._lock:
            if not self._grid.hashmap().size():
                return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
            found = self._grid.extract_triangle_mesh(self._weight_threshold()).cpu()
        vertices = found.vertex.positions.numpy()
        if not len(vertices):
            return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
        faces = found.triangle.indices.numpy().astype(np.int32)
        return Mesh(vertices, faces, self._colors(found.vertex))

    def cloud(self) -> PointCloud:
        """Return the surface as points with normals, possibly empty."""
        with self._lock:
            if not self._grid.hashmap().size():
                return PointCloud(np.zeros((0, 3), np.float32))
            found = self._grid.extract_point_cloud(self._weight_threshold()).cpu()
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
            hashmap = self._grid.hashmap()
            slots = hashmap.active_buf_indices().cpu().numpy().astype(np.int64)
            arrays = {name: self._grid.attribute(name).cpu().numpy()[slots]
                      for name, _ in _ATTRIBUTES}
            arrays['blocks'] = hashmap.key_tensor().cpu().numpy()[slots]
            arrays['voxel_size_m'] = np.array(self.config.voxel_size_m)
            arrays['frames'] = np.array([self._frames, self._colored_frames])
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        write_atomically(path, content.getvalue())

    def load(self, path: Path) -> None:
        """Read the state that `save` wrote; the map so far is forgotten.

        Raises:
            InputError: It is no such file, or its voxels are of another size.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            shape = (self.config.voxel_size_m, arrays['tsdf'].shape[1:])
            size_m, frames = float(arrays['voxel_size_m']), arrays['frames'].tolist()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f'{path} is not a saved map', error, 'a file that save wrote') from error
        expected = (size_m, (self.config.block_resolution,) * 3 + (1,))
        if shape != expected:
            raise InputError(f'{path} has other voxels', expected, shape, 'Set the same options.')
        with self._lock:
            self.reset()
            self._restore(arrays)
            self._frames, self._colored_frames = frames

    def stats(self) -> dict[str, float]:
        """Return the numbers of blocks, of frames, and the memory that the map takes."""
        with self._lock:
            hashmap = self._grid.hashmap()
            voxel_bytes = sum(4 * channels for _, channels in _ATTRIBUTES)
            block_bytes = voxel_bytes * self.config.block_resolution**3
            return {
                'blocks': float(hashmap.size()),
                'max_blocks': float(self.config.max_blocks),
                'dropped_blocks': float(self._dropped),
                'frames': float(self._frames),
                'memory_mb': hashmap.capacity() * block_bytes / 1e6,
            }

    def _empty_grid(self) -> Any:
        names = [name for name, _ in _ATTRIBUTES]
        channels = [count for _, count in _ATTRIBUTES]
        return o3d.t.geometry.VoxelBlockGrid(
            names, [o3d.core.float32] * len(names), channels, self.config.voxel_size_m,
            self.config.block_resolution, min(_FIRST_BLOCKS, self.config.max_blocks),
            self._o3d_device,
        )

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
        self._activate(blocks, T_world_camera[:3, 3])
        rgb = frame.rgb
        if rgb is None:
            rgb = np.full((*depth.shape, 3), _UNKNOWN_COLOR, np.uint8)
        self._grid.integrate(
            self._tensor(blocks),
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
            self._bound_weights()

    def _bound_weights(self) -> None:
        weight = self._grid.attribute('weight').flatten(0)
        if self.device == 'cpu':
            view = weight.numpy()
            np.minimum(view, self.config.max_weight, out=view)
        else:
            weight[weight.gt(self.config.max_weight)] = self.config.max_weight

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
        blocks: NDArray[np.int32] = self._grid.compute_unique_block_coordinates(
            self._image(depth),
            o3d.core.Tensor(frame.camera.subsampled(step).K),
            o3d.core.Tensor(invert(T_world_camera)),
            _MAX_UINT16 / max_depth_m,
            max_depth_m,
            self.config.truncation_voxels,
        ).cpu().numpy()
        if len(blocks) <= self.config.max_blocks:
            return blocks
        self._count_dropped(len(blocks) - self.config.max_blocks)
        order = np.argsort(self._distances_m(blocks, T_world_camera[:3, 3]), kind='stable')
        return blocks[order[:self.config.max_blocks]]

    def _activate(
        self, blocks: NDArray[np.int32], camera_world_m: NDArray[np.float64]
    ) -> None:
        """Give every block a place, dropping far ones at the bound."""
        hashmap = self._grid.hashmap()
        keys = self._tensor(blocks)
        new = len(blocks)
        if hashmap.size() + new > min(hashmap.capacity(), self.config.max_blocks):
            new = int((~hashmap.find(keys)[1].cpu().numpy()).sum())
        excess = hashmap.size() + new - self.config.max_blocks
        if excess > 0:
            self._drop(max(excess, int(_DROPPED_SHARE * self.config.max_blocks)), blocks,
                       camera_world_m)
        if hashmap.size() + new > hashmap.capacity():
            # Left alone, Open3D grows by what is missing, and copies everything every frame.
            grown = max(2 * hashmap.capacity(), hashmap.size() + new)
            hashmap.reserve(min(grown, self.config.max_blocks))
        places, fresh = hashmap.activate(keys)
        if self._dropped:
            # The place of an erased block keeps its values.
            for name, _ in _ATTRIBUTES:
                self._grid.attribute(name)[places[fresh].to(o3d.core.int64)] = 0.0

    def _drop(
        self, count: int, kept: NDArray[np.int32], camera_world_m: NDArray[np.float64]
    ) -> None:
        """Erase the blocks farthest from the camera, but none that is in view."""
        hashmap = self._grid.hashmap()
        keys = hashmap.key_tensor().cpu().numpy()[hashmap.active_buf_indices().cpu().numpy()]
        low = np.minimum(keys.min(0), kept.min(0)).astype(np.int64)
        size = np.maximum(keys.max(0), kept.max(0)) - low + 1
        flat, in_view = (((k - low) @ (1, size[0], size[0] * size[1])) for k in (keys, kept))
        keys = keys[~np.isin(flat, in_view)]
        order = np.argsort(-self._distances_m(keys, camera_world_m), kind='stable')
        gone = keys[order[:count]]
        hashmap.erase(self._tensor(gone))
        self._count_dropped(len(gone))

    def _count_dropped(self, count: int) -> None:
        if not self._dropped:
            logger.warning(
                'the map is full: the blocks farthest from the camera are dropped; raise '
                'mapper.max_blocks = %d or mapper.voxel_size_m', self.config.max_blocks,
            )
        self._dropped += count

    def _distances_m(
        self, blocks: NDArray[np.int32], point_world_m: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        block_m = self.config.voxel_size_m * self.config.block_resolution
        distances: NDArray[np.float64] = np.linalg.norm(
            (blocks + 0.5) * block_m - point_world_m, axis=1
        )
        return distances

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        blocks = arrays['blocks'].astype(np.int32)
        if not len(blocks):
            return
        self._activate(blocks, np.zeros(3))
        places = self._grid.hashmap().find(self._tensor(blocks))[0].to(o3d.core.int64)
        for name, _ in _ATTRIBUTES:
            self._grid.attribute(name)[places] = self._tensor(arrays[name])

    def _tensor(self, array: NDArray[Any]) -> Any:
        tensor = o3d.core.Tensor.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self._o3d_device)

    def _image(self, image: NDArray[Any]) -> Any:
        return o3d.t.geometry.Image(self._tensor(image))

    def _weight_threshold(self) -> float:
        # Open3D takes what lies above the threshold, and weights are whole numbers.
        return min(self.config.min_weight, float(self._frames)) - 0.5

    def _colors(self, attributes: Any) -> NDArray[np.uint8] | None:
        if not self._colored_frames:
            return None
        colors = attributes.colors.numpy() * 255
        return np.clip(np.rint(colors), 0, 255).astype(np.uint8)
