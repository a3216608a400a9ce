"""A folder of RGB-D frames in the layout of 7-Scenes.

::

    camera-intrinsics.txt          3x3 K in pixels
    frame-000000.color.jpg         or .png, .jpeg; optional
    frame-000000.depth.png         16 bits; 0 and 65535 are invalid; optional where colour is
    frame-000000.pose.txt          4x4 camera to world in metres; optional
    gravity-direction.txt          3 numbers: the unit vector in the world that points down; optional
"""

from __future__ import annotations

from collections.abc import Iterator
import logging
from pathlib import Path
import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.data.color_alignment import ColorAlignment, estimate_color_alignment
from recon3d_core.data.compressed import decode_compressed_color, decode_png_depth
from recon3d_core.data.encodings import to_depth_m
from recon3d_core.data.recorded import RecordedConfig, RecordedSource
from recon3d_core.data.registration import resize_color, resized
from recon3d_core.errors import FrameError, InputError, SourceError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import quaternion_from_rotation, rotation_from_quaternion
from recon3d_core.types import Frame

logger = logging.getLogger(__name__)

INTRINSICS = 'camera-intrinsics.txt'
GRAVITY = 'gravity-direction.txt'
_ALIGNED_FRAMES = 12
_NAME = re.compile(r'(frame-\d+)\.(color|depth|pose)\.(jpg|jpeg|png|txt)')
_LAYOUT = f'frame-*.color.jpg, frame-*.depth.png, frame-*.pose.txt and {INTRINSICS}'


class RgbdFolderConfig(RecordedConfig):
    """Options of an RGB-D folder."""

    depth_scale: float = option(
        0.001, 'Metres per unit of the depth images.', unit='m', ge=1e-6, le=1.0
    )
    rate_hz: float = option(
        15.0,
        'Rate that the stamps of the frames have; the files carry none.',
        unit='Hz',
        ge=0.01,
        le=1000.0,
    )
    require_pose: bool = option(
        True, 'Drop frames without a pose file; otherwise they come without a pose.'
    )
    intrinsics_of: Literal['auto', 'depth', 'color'] = option(
        'auto',
        'Which images the intrinsics are of, where sizes differ; `auto` takes those whose '
        'middle is nearest to the principal point.',
    )
    align_color: bool = option(
        True, 'Whether colour that was not registered to depth is aligned by the edges of both.'
    )
    color: bool = option(True, 'Whether the colour images are read.')
    depth: bool = option(True, 'Whether the depth images are read.')


def _read_numbers(path: Path) -> NDArray[np.float64]:
    """Return the numbers of a text file; InputError where it has none or other things."""
    try:
        text = path.read_text(encoding='utf-8')
        numbers = np.array(
            [
                [float(word) for word in line.replace(',', ' ').split()]
                for line in text.splitlines()
                if line.strip()
            ]
        )
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read', str(error), 'rows of numbers') from error
    return numbers


def read_intrinsics(path: Path) -> NDArray[np.float64]:
    """Return K (3, 3) of a text file.

    Raises:
        SourceError: It is missing or no matrix of intrinsics.
    """
    if not path.is_file():
        raise SourceError('no intrinsics', f'no file {path}', 'a 3x3 matrix K in pixels')
    try:
        K = _read_numbers(path)
    except InputError as error:
        raise SourceError(str(error)) from error
    if K.shape == (4, 4):
        K = K[:3, :3]
    if K.shape != (3, 3) or not np.isfinite(K).all():
        raise SourceError(f'intrinsics {path}', f'shape {K.shape}', '3x3 finite numbers')
    if min(K[0, 0], K[1, 1]) <= 0 or not np.allclose(K[2], (0, 0, 1)):
        raise SourceError(
            f'intrinsics {path}', K.tolist(), 'focal lengths above 0 and last row 0 0 1'
        )
    return K


def read_pose(path: Path) -> NDArray[np.float64]:
    """Return `T_world_camera` (4, 4) of a text file, its rotation made orthonormal.

    Raises:
        FrameError: `no_pose` without a file, `bad_pose` where it is no rigid transform.
    """
    if not path.is_file():
        raise FrameError('no_pose', f'no pose file {path.name}')
    try:
        T = _read_numbers(path)
    except InputError as error:
        raise FrameError('bad_pose', str(error)) from error
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise FrameError('bad_pose', f'pose {path.name}', f'shape {T.shape}', '4x4 finite numbers')
    deviation = float(np.abs(T[:3, :3].T @ T[:3, :3] - np.eye(3)).max())
    if deviation > 0.01 or np.linalg.det(T[:3, :3]) < 0 or not np.allclose(T[3], (0, 0, 0, 1)):
        raise FrameError('bad_pose', f'pose {path.name}', T.tolist(), 'a rigid transform')
    T[:3, :3] = rotation_from_quaternion(quaternion_from_rotation(T[:3, :3]))
    T[3] = (0, 0, 0, 1)
    return T


class RgbdFolderSource(RecordedSource):
    """Frames of a folder with one file per colour image, depth image and pose."""

    name = 'rgbd_folder'
    Config = RgbdFolderConfig

    def __init__(self, uri: str, config: PluginConfig | None = None) -> None:
        """List the frames of a folder.

        Raises:
            SourceError: There is no such folder, no frame in it, or no usable intrinsics.
        """
        super().__init__(uri, config)
        self.folder = Path(uri).expanduser()
        if not self.folder.is_dir():
            raise SourceError('RGB-D folder', f'no folder {uri}', f'one with {_LAYOUT}')
        self._files = _list_frames(self.folder)
        if not self._files:
            raise SourceError(f'no frames in {uri}', None, _LAYOUT)
        self._K = read_intrinsics(self.folder / INTRINSICS)
        self._gravity = self._read_gravity()
        self._alignment: ColorAlignment | None = None
        names = sorted(self._files)
        self._names = [names[index] for index in self.config.selected(len(names))]
        self._first = self.config.start

    @classmethod
    def accepts(cls, uri: str) -> bool:
        """Return whether this is a folder with frames."""
        folder = Path(uri).expanduser()
        return folder.is_dir() and any(_NAME.fullmatch(path.name) for path in folder.iterdir())

    def __len__(self) -> int:
        """Return how many frames are read."""
        return len(self._names)

    def read(self) -> Iterator[Frame | FrameError]:
        """Yield the frames in order of their names."""
        if self.config.align_color and self._alignment is None:
            self._alignment = self._estimate_alignment()
        for index, name in enumerate(self._names):
            position = self._first + index * self.config.stride
            try:
                yield self._frame(name, round(position * 1e9 / self.config.rate_hz))
            except FrameError as error:
                yield error

    def _estimate_alignment(self) -> ColorAlignment:
        """Return where colour lies, from some frames of all of the folder."""
        if not (self.config.color and self.config.depth):
            return ColorAlignment()
        names = sorted(self._files)
        pairs = []
        for name in names[:: max(1, len(names) // _ALIGNED_FRAMES)]:
            try:
                rgb, depth_m = self._images(name)
            except FrameError:
                continue
            if rgb is not None and depth_m is not None and rgb.shape[:2] == depth_m.shape:
                pairs.append((rgb, depth_m))
        alignment = estimate_color_alignment(pairs)
        if not alignment.trivial:
            logger.info(
                '%s: colour is not registered to depth; zoomed by %.3f and shifted by %.1f, %.1f '
                'pixels; source.align_color=false leaves it',
                self.uri,
                alignment.zoom,
                *alignment.shift_px,
            )
        return alignment

    def _read_gravity(self) -> NDArray[np.float64] | None:
        path = self.folder / GRAVITY
        if not path.is_file():
            return None
        try:
            vector = _read_numbers(path).ravel()
        except InputError as error:
            raise SourceError(str(error)) from error
        length = np.linalg.norm(vector)
        if vector.shape != (3,) or not np.isfinite(length) or length < 1e-6:
            raise SourceError(f'gravity {path}', vector.tolist(), 'a vector of 3 numbers')
        unit: NDArray[np.float64] = vector / length
        return unit

    def _frame(self, name: str, stamp_ns: int) -> Frame:
        files = self._files[name]
        pose = None
        if self.config.require_pose or 'pose' in files:
            pose = read_pose(files.get('pose', self.folder / f'{name}.pose.txt'))
        rgb, depth_m = self._images(name)
        if rgb is None and depth_m is None:
            raise FrameError('no_image', f'{name} has neither colour nor depth')
        if rgb is not None and self._alignment is not None:
            rgb = self._alignment.apply(rgb)
        rgb, camera = self._common_camera(rgb, depth_m)
        return Frame(stamp_ns, camera, rgb, depth_m, pose, gravity_world=self._gravity).checked()

    def _images(self, name: str) -> tuple[NDArray[np.uint8] | None, NDArray[np.float32] | None]:
        """Return the colour and the depth of a frame as they are in the files."""
        files = self._files[name]
        rgb = depth_m = None
        if self.config.color and 'color' in files:
            rgb = decode_compressed_color('', _read_bytes(files['color'], 'bad_color'))
        if self.config.depth and 'depth' in files:
            pixels = decode_png_depth(_read_bytes(files['depth'], 'bad_depth'))
            depth_m = to_depth_m(pixels, '16UC1', self.config.depth_scale)
        return rgb, depth_m

    def _common_camera(
        self, rgb: NDArray[np.uint8] | None, depth_m: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.uint8] | None, Camera]:
        """Return colour in the size of the depth, and the camera of both."""
        sizes = {
            kind: image.shape[1::-1]
            for kind, image in (('color', rgb), ('depth', depth_m))
            if image is not None
        }
        owner = self.config.intrinsics_of
        if owner not in sizes:
            middle = 2 * self._K[:2, 2]
            owner = min(sizes, key=lambda kind: float(np.abs(middle / sizes[kind] - 1).sum()))
        camera = self._camera(*sizes[owner])
        if rgb is None or depth_m is None or sizes['color'] == sizes['depth']:
            return rgb, camera
        width, height = sizes['depth']
        aspect = sizes['color'][0] / sizes['color'][1] * height / width
        if not 0.98 < aspect < 1.02:
            raise FrameError(
                'size_mismatch', 'colour and depth of different shape', sizes, 'the same aspect'
            )
        if owner == 'color':
            camera = resized(camera, width, height)
        return resize_color(rgb, width, height), camera

    def _camera(self, width: int, height: int) -> Camera:
        fx, fy, cx, cy = self._K[(0, 1, 0, 1), (0, 1, 2, 2)].tolist()
        return Camera(width, height, fx, fy, cx, cy)


def _list_frames(folder: Path) -> dict[str, dict[str, Path]]:
    """Return `{frame: {color, depth, pose: file}}` of all frames that have an image."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and (match[2] == 'pose') == (match[3] == 'txt'):
            found.setdefault(match[1], {})[match[2]] = path
    return {name: files for name, files in found.items() if set(files) & {'color', 'depth'}}


def _read_bytes(path: Path, reason: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FrameError(reason, f'{path.name} cannot be read', str(error)) from error
