"""Small recordings made message by message, for the tests of reading them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from recon3d_core.data.bags import messages
from recon3d_core.data.bags.reader import typestore
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at, make_transform
from recon3d_core.interfaces import Source
from recon3d_core.types import Frame
from rosbags.rosbag2 import StoragePlugin, Writer

SECOND = 1_000_000_000
CAMERA = Camera(40, 30, 35.0, 36.0, 19.0, 14.5)
OPTICAL = 'camera_optical_frame'
TIMES = (1.0, 1.1, 1.2, 1.3)  # of the images of `plain_bag`, seconds


def rgb_of(index: int, size=(30, 40)) -> np.ndarray:
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[:] = (index % 256, 100, 200)
    rgb[:5, :7] = (255, 0, index % 256)
    return rgb


def depth_of(index: int, size=(30, 40)) -> np.ndarray:
    """Depth (H, W) in whole millimetres, with a corner that is invalid."""
    y, x = np.mgrid[: size[0], : size[1]]
    depth = ((1000 + 10 * index + x + 2 * y) / 1000).astype(np.float32)
    depth[:2, :3] = 0
    return depth


def pose_of(stamp_ns: int) -> np.ndarray:
    angle = stamp_ns / SECOND
    return look_at((2 * np.cos(angle), 2 * np.sin(angle), 1.5), (0, 0, 0.1 * angle))


class MemorySource(Source):
    """Frames from a list."""

    name = 'memory'

    def __init__(self, frames):
        super().__init__('memory')
        self._frames = frames

    @classmethod
    def accepts(cls, uri):
        return False

    def __iter__(self):
        return iter(self._frames)

    def __len__(self):
        return len(self._frames)


def frames(count=6, rate_hz=10, camera=CAMERA, name='camera', start_ns=3 * SECOND, **changes):
    made = []
    for index in range(count):
        stamp = start_ns + index * SECOND // rate_hz
        values = {
            'rgb': rgb_of(index, (camera.height, camera.width)),
            'depth_m': depth_of(index, (camera.height, camera.width)),
            'T_world_camera': pose_of(stamp),
            'camera_name': name,
            'gravity_world': np.array([0.0, 0, -1]),
            **changes,
        }
        made.append(Frame(stamp, camera, **values))
    return made


class Bag:
    """Messages to write, in any order; `at` is the time of recording in seconds."""

    def __init__(self):
        self.items = []

    def add(self, topic, content, at=None):
        self.items.append((topic, content, content.stamp_ns if at is None else int(at * SECOND)))
        return self

    def add_bytes(self, topic, kind, data, at):
        self.items.append((topic, messages.Stamped(kind, data, 0), int(at * SECOND)))
        return self

    def color(self, topic, s, index=0, frame=OPTICAL, at=None, rgb=None):
        rgb = rgb_of(index) if rgb is None else rgb
        return self.add(topic, messages.image(rgb, 'rgb8', frame, int(s * SECOND)), at)

    def depth(self, topic, s, index=0, frame=OPTICAL, at=None, depth=None, encoding='16UC1'):
        depth = depth_of(index) if depth is None else depth
        return self.add(topic, messages.depth(depth, encoding, frame, int(s * SECOND)), at)

    def info(self, topic, s=0.0, camera=CAMERA, frame=OPTICAL, at=None):
        return self.add(topic, messages.camera_info(camera, frame, int(s * SECOND)), at)

    def tf(self, T, parent, child, s=0.0, static=False, at=None):
        topic = '/tf_static' if static else '/tf'
        return self.add(topic, messages.transform(T, parent, child, int(s * SECOND)), at)

    def write(self, path: Path, mcap=True) -> Path:
        """Write as one .mcap file or as a sqlite3 folder."""
        folder = path.with_suffix('.folder') if mcap else path
        storage = StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3
        with Writer(folder, version=8, storage_plugin=storage) as writer:
            connections = {}
            for topic, content, log_time_ns in sorted(self.items, key=lambda item: item[2]):
                if topic not in connections:
                    connections[topic] = writer.add_connection(
                        topic, content.type, typestore=typestore()
                    )
                data = content.message
                if not isinstance(data, bytes):
                    data = typestore().serialize_cdr(data, content.type)
                writer.write(connections[topic], log_time_ns, data)
        if not mcap:
            return path
        return next(folder.glob('*.mcap')).replace(path)


def plain_bag(times=TIMES, poses=True, **kwargs):
    """Return a bag of one camera; its pose moves along x with 1 m/s."""
    bag = Bag().info('/camera/camera_info', times[0] - 0.05)
    for index, s in enumerate(times):
        bag.color('/camera/image', s, index, **kwargs).depth('/camera/depth', s, index)
    if poses:
        for s in np.arange(times[0] - 0.5, times[-1] + 0.5, 0.07):
            bag.tf(make_transform(translation=(s, 0, 0)), 'map', OPTICAL, s)
    return bag


def seconds(source):
    """Return the stamps of all frames."""
    return [round(frame.stamp_ns / SECOND, 3) for frame in source]
