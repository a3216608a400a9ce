"""Recording of any source as a ROS 2 bag that `ros2 bag play` feeds to the node as it is.

Topics per camera: `<name>/image` or `<name>/image/compressed`, `<name>/depth` or
`<name>/depth/compressedDepth`, `<name>/camera_info`, and the pose as `/tf` and `/tf_static`,
`<name>/odom` or `<name>/pose`.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from pathlib import Path
import re
import shutil
import tempfile
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, Options
from recon3d_core.data.bags import messages
from recon3d_core.data.bags.reader import typestore
from recon3d_core.errors import InputError, RunError
from recon3d_core.geometry.transforms import frame_from_normal, make_transform
from recon3d_core.interfaces import Source
from recon3d_core.types import Frame
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

_FOREVER = QosTime(9223372036, 854775807)


class BagOptions(Options):
    """How a source is recorded."""

    color: Literal['raw', 'jpeg', 'png', 'none'] = option('raw', 'How colour is stored.')
    jpeg_quality: int = option(95, 'Quality of JPEG.', ge=1, le=100)
    depth: Literal['raw', 'compressed', 'none'] = option(
        'raw', 'How depth is stored; compressed is compressedDepth with PNG.'
    )
    depth_encoding: Literal['16UC1', '32FC1'] = option(
        '16UC1', 'Encoding of raw depth: millimetres or metres.'
    )
    pose: Literal['tf', 'odometry', 'pose', 'none'] = option('tf', 'How the pose is stored.')
    world_frame: str = option(
        'map', 'Name of the world frame.', pattern='^[A-Za-z][A-Za-z0-9_/]*$'
    )
    turn_upright: bool = option(
        True, 'Turn a world whose gravity is known and not -z so that z is up, as REP-103 wants.'
    )
    storage: Literal['sqlite3', 'mcap'] = option(
        'sqlite3', 'Storage of a folder; a path that ends in .mcap is one file.'
    )
    compression: Literal['none', 'zstd'] = option(
        'none', 'Compression of the whole: of the chunks in MCAP, of each message in sqlite3.'
    )


@dataclasses.dataclass(frozen=True)
class BagReport:
    """What was recorded.

    Attributes:
        path: The file or folder.
        frames: How many frames it holds.
        without_pose: How many of them had no pose.
        bytes: Its size.
    """

    path: Path
    frames: int
    without_pose: int
    bytes: int


def upright_transform(gravity_world: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return `T_up_world` (4, 4), which turns a world so that gravity points along -z."""
    gravity = np.asarray(gravity_world, np.float64)
    if np.allclose(gravity / np.linalg.norm(gravity), (0, 0, -1), atol=1e-6):
        return np.eye(4)
    return make_transform(frame_from_normal(-gravity).T)


def write_bag(
    source: Source,
    path: str | Path,
    options: BagOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BagReport:
    """Record a source; nothing is left at `path` where it fails.

    Args:
        source: Frames to record.
        path: New `.mcap` file, or new rosbag2 folder.
        options: How; the defaults where None.
        progress: Called with (frames written, frames at most) after each frame.

    Raises:
        InputError: There is something at `path` already.
        RunError: No frame could be recorded, or it cannot be written.
    """
    path, options = Path(path).expanduser(), options or BagOptions()
    if path.exists():
        raise InputError(f'{path} exists', fix='Choose another name or remove it.')
    single = path.suffix == '.mcap'
    mcap = single or options.storage == 'mcap'
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
        folder = temporary / path.stem
        storage = StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3
        writer = Writer(folder, version=8, storage_plugin=storage)
        if options.compression == 'zstd':
            mode = CompressionMode.STORAGE if mcap else CompressionMode.MESSAGE
            writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            recorder = _Recorder(writer, options)
            for frame in source:
                recorder.write(frame)
                if progress is not None:
                    progress(recorder.frames, len(source))
            if not recorder.frames:
                raise RunError('nothing was recorded', f'dropped frames {dict(source.dropped)}')
        (folder / f'{folder.name}.mcap' if single else folder).replace(path)
    except OSError as error:
        raise RunError(f'{path} cannot be written', str(error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    files = [path] if single else list(path.iterdir())
    size = sum(file.stat().st_size for file in files)
    return BagReport(path, recorder.frames, recorder.without_pose, size)


class _Recorder:
    """Writes frames as messages."""

    def __init__(self, writer: Writer, options: BagOptions) -> None:
        self.frames = 0
        self.without_pose = 0
        self._writer = writer
        self._options = options
        self._connections: dict[str, Connection] = {}
        self._cameras: set[str] = set()
        self._T_up_world: NDArray[np.float64] | None = None

    def write(self, frame: Frame) -> None:
        """Write one frame."""
        options, stamp_ns = self._options, frame.stamp_ns
        name = re.sub(r'\W', '_', frame.camera_name) or 'camera'
        optical = f'{name}_optical_frame'
        self._write_pose(frame, name)
        self._send(f'/{name}/camera_info', messages.camera_info(frame.camera, optical, stamp_ns))
        if frame.rgb is not None and options.color == 'raw':
            self._send(f'/{name}/image', messages.image(frame.rgb, 'rgb8', optical, stamp_ns))
        elif frame.rgb is not None and options.color != 'none':
            self._send(
                f'/{name}/image/compressed',
                messages.compressed_color(
                    frame.rgb, options.color, options.jpeg_quality, optical, stamp_ns
                ),
            )
        if frame.depth_m is not None and options.depth == 'raw':
            content = messages.depth(frame.depth_m, options.depth_encoding, optical, stamp_ns)
            self._send(f'/{name}/depth', content)
        elif frame.depth_m is not None and options.depth == 'compressed':
            content = messages.compressed_depth(frame.depth_m, optical, stamp_ns)
            self._send(f'/{name}/depth/compressedDepth', content)
        self.frames += 1

    def _write_pose(self, frame: Frame, name: str) -> None:
        options, stamp_ns = self._options, frame.stamp_ns
        if frame.T_world_camera is None:
            self.without_pose += 1
            return
        if options.pose == 'none':
            return
        T = self._upright(frame) @ frame.T_world_camera
        if options.pose == 'pose':
            self._send(f'/{name}/pose', messages.pose_stamped(T, options.world_frame, stamp_ns))
            return
        link, optical = f'{name}_link', f'{name}_optical_frame'
        if name not in self._cameras:
            self._cameras.add(name)
            self._send(
                '/tf_static', messages.transform(messages.T_LINK_OPTICAL, link, optical, stamp_ns)
            )
        T = T @ messages.T_OPTICAL_LINK
        if options.pose == 'odometry':
            content = messages.odometry(T, options.world_frame, link, stamp_ns)
            self._send(f'/{name}/odom', content)
        else:
            self._send('/tf', messages.transform(T, options.world_frame, link, stamp_ns))

    def _upright(self, frame: Frame) -> NDArray[np.float64]:
        """Return how the world is turned: decided by the first frame with a pose, then kept."""
        if self._T_up_world is None:
            turn = self._options.turn_upright and frame.gravity_world is not None
            self._T_up_world = upright_transform(frame.gravity_world) if turn else np.eye(4)  # type: ignore[arg-type]
        return self._T_up_world

    def _send(self, topic: str, content: messages.Stamped) -> None:
        store = typestore()
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(
                topic,
                content.type,
                typestore=store,
                offered_qos_profiles=[_qos(latched=topic == '/tf_static')],
            )
            self._connections[topic] = connection
        data = store.serialize_cdr(content.message, content.type)
        self._writer.write(connection, content.stamp_ns, data)


def _qos(latched: bool) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST,
        10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )
