"""Frames of a ROS 2 recording: a rosbag2 folder, an .mcap or a .db3 file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.data.bags.assembly import Assembler, Pair
from recon3d_core.data.bags.frames import ImageReader
from recon3d_core.data.bags.poses import PoseTrack, stamp_of
from recon3d_core.data.bags.reader import BagReader, decode, Message, STORAGE
from recon3d_core.data.bags.topics import CameraTopics, find_cameras
from recon3d_core.data.camera_info import camera_from_info
from recon3d_core.data.recorded import RecordedConfig, RecordedSource
from recon3d_core.errors import FrameError, SourceError
from recon3d_core.types import Frame


class RosbagConfig(RecordedConfig):
    """Options of a ROS 2 recording."""

    color_topic: str = option('', 'Colour images; empty finds them, `none` does without.')
    depth_topic: str = option('', 'Depth images; empty finds them, `none` does without.')
    info_topic: str = option('', 'camera_info of both; empty takes those beside the images.')
    cameras: list[str] = option([], 'Names of the cameras to read; empty reads all.')
    pose_source: Literal['auto', 'tf', 'odometry', 'pose', 'none'] = option(
        'auto',
        'Where the poses come from; `auto` takes TF where it leads to a world frame, else '
        'Odometry, else PoseStamped.',
    )
    pose_topic: str = option('', 'Topic of Odometry or PoseStamped; empty finds it.')
    world_frame: str = option('', 'Frame of the poses; empty takes map, world, odom or the root.')
    camera_frame: str = option(
        '', 'Frame that a PoseStamped is the pose of; empty: the frame of the images.'
    )
    require_pose: bool = option(
        True, 'Drop frames whose pose is unknown; otherwise they come without a pose.'
    )
    require_both: bool = option(
        True, 'Drop images that find no partner where a camera has colour and depth.'
    )
    z_up: bool = option(True, 'The world has z up, as REP-103 wants; gravity is known by that.')
    max_stamp_difference_s: float = option(
        0.02,
        'Largest difference of stamps of colour and depth in a frame.',
        unit='s',
        ge=0.0,
        le=10.0,
    )
    max_extrapolation_s: float = option(
        0.05, 'How far beyond its first and last sample a pose is held.', unit='s', ge=0.0, le=10.0
    )
    max_wait_s: float = option(
        1.0,
        'How long an image waits for its partner and pose, in the time of recording.',
        unit='s',
        ge=0.01,
        le=30.0,
    )


class RosbagSource(RecordedSource):
    """Frames of all cameras of a recording, in order of time."""

    name = 'rosbag'
    Config = RosbagConfig

    def __init__(self, uri: str, config: PluginConfig | None = None) -> None:
        """Find cameras and poses in a recording.

        Raises:
            SourceError: It cannot be read, has no usable camera, or not the given topics.
        """
        super().__init__(uri, config)
        path = Path(uri).expanduser()
        if not path.exists():
            raise SourceError('recording', f'nothing at {uri}', 'a rosbag2 folder, .mcap or .db3')
        self._bag = BagReader(path)
        options = self.config
        self._cameras = find_cameras(
            self._bag,
            options.color_topic,
            options.depth_topic,
            options.info_topic,
            tuple(options.cameras),
        )
        self._infos = self._first_infos()
        self._leads = [self._lead(camera) for camera in self._cameras]
        self._poses = PoseTrack(
            self._bag,
            {camera.name: self._optical_frame(camera) for camera in self._cameras},
            options.pose_source,
            options.pose_topic,
            options.world_frame,
            options.camera_frame,
        )
        self._bag.close()
        self._readers = [ImageReader(camera, self._poses.between) for camera in self._cameras]

    @classmethod
    def accepts(cls, uri: str) -> bool:
        """Return whether this is a recording by its name or its metadata.yaml."""
        path = Path(uri).expanduser()
        if path.is_dir():
            return (path / 'metadata.yaml').is_file() or any(
                part.suffix in STORAGE for part in path.iterdir()
            )
        return path.suffix in STORAGE

    def __len__(self) -> int:
        """Return how many leading images are read at most."""
        return len(self.config.selected(sum(self._bag.counts[lead] for lead, _ in self._leads)))

    def read(self) -> Iterator[Frame | FrameError]:
        """Yield the frames of the recording."""
        options = self.config
        infos = dict(self._infos)
        self._poses.restart()
        assembler = Assembler(
            self._leads,
            round(options.max_stamp_difference_s * 1e9),
            round(options.max_wait_s * 1e9),
        )
        topics = {topic for streams in self._leads for topic in streams if topic}
        position = 0
        last = options.selected(1 << 62)
        for message in self._messages(topics, infos):
            if isinstance(message, FrameError):
                yield message
                continue
            if message is not None:
                assembler.tick(message.log_time_ns)
                error = self._take(message, assembler, infos)
                if error is not None:
                    yield error
            for pair in assembler.ready(self._has_pose, finished=message is None):
                if position in last:
                    yield self._frame_or_error(pair, infos)
                position += 1
                if position > last[-1]:
                    return

    def _messages(
        self, topics: set[str], infos: dict[str, Any]
    ) -> Iterator[Message | FrameError | None]:
        """Yield the messages of interest, and None at the end."""
        yield from self._bag.messages({*topics, *infos, *self._poses.topics})
        yield None

    def _take(
        self, message: Message, assembler: Assembler, infos: dict[str, Any]
    ) -> FrameError | None:
        """Put a message where it belongs; return why an image was dropped."""
        if message.topic in self._poses.topics:
            self._poses.take(message)
            return None
        try:
            content = decode(message)
            if message.topic in infos:
                infos[message.topic] = content
            else:
                stamp_ns = stamp_of(content.header, message.log_time_ns)
                assembler.push(message.topic, stamp_ns, message.log_time_ns, content)
        except FrameError as error:
            return error
        return None

    def _frame_or_error(self, pair: Pair, infos: dict[str, Any]) -> Frame | FrameError:
        try:
            return self._frame(pair, infos)
        except FrameError as error:
            return error

    def _frame(self, pair: Pair, infos: dict[str, Any]) -> Frame:
        topics = self._cameras[pair.camera]
        lead, other = self._leads[pair.camera]
        color, depth = (pair.lead, pair.other) if lead == topics.color else (pair.other, pair.lead)
        if other and pair.other is None and self.config.require_both:
            kind = 'color' if depth is not None else 'depth'
            raise FrameError(f'no_{kind}', f'no {kind} image near {pair.stamp_ns} ns on {other}')
        pose = self._pose(pair)
        images = self._readers[pair.camera].read(color, depth, infos, pair.stamp_ns)
        return Frame(
            pair.stamp_ns,
            images.camera,
            images.rgb,
            images.depth_m,
            pose,
            topics.name,
            self._gravity() if pose is not None else None,
        ).checked()

    def _pose(self, pair: Pair) -> NDArray[np.float64] | None:
        try:
            return self._poses.pose(
                self._cameras[pair.camera].name, pair.stamp_ns, self.config.max_extrapolation_s
            )
        except FrameError:
            if self.config.require_pose:
                raise
            return None

    def _has_pose(self, camera: int, stamp_ns: int) -> bool:
        if self._poses.source == 'none':
            return True
        try:
            self._poses.pose(self._cameras[camera].name, stamp_ns, 0.0)
        except FrameError:
            return False
        return True

    def _gravity(self) -> NDArray[np.float64] | None:
        known = self.config.z_up and self._poses.gravity_is_known
        return np.array([0.0, 0.0, -1.0]) if known else None

    def _lead(self, camera: CameraTopics) -> tuple[str, str]:
        """Return the leading and the other topic of a camera: the rarer one leads."""
        if not (camera.color and camera.depth):
            return camera.color or camera.depth, ''
        counts = self._bag.counts
        if counts[camera.color] < counts[camera.depth]:
            return camera.color, camera.depth
        return camera.depth, camera.color

    def _optical_frame(self, camera: CameraTopics) -> str:
        """Return the frame_id of a camera's images: the colour's where it has both."""
        message = self._bag.first(camera.color or camera.depth)
        try:
            content = None if message is None else decode(message)
        except FrameError:
            content = self._infos.get(camera.color_info or camera.depth_info)
        return '' if content is None else str(content.header.frame_id)

    def _first_infos(self) -> dict[str, Any]:
        """Return `{topic: first camera_info}`.

        Raises:
            SourceError: A camera is not calibrated, or its camera_info is not usable.
        """
        infos: dict[str, Any] = {}
        wanted = {t for c in self._cameras for t in (c.color_info, c.depth_info) if t}
        for topic in sorted(wanted):
            message = self._bag.first(topic)
            if message is None:
                raise SourceError(f'no camera_info on {topic}', 'no message', 'at least one')
            try:
                infos[topic] = decode(message)
                camera_from_info(infos[topic])
            except FrameError as error:
                raise SourceError(f'{topic} of {self._bag.path.name}: {error}') from error
        return infos
