"""Where the cameras of a recording were: from TF, Odometry or PoseStamped."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.bags import topics as names
from recon3d_core.data.bags.reader import BagReader, decode, Message
from recon3d_core.errors import FrameError, InputError, SourceError
from recon3d_core.geometry.tf_tree import TransformTree
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion

logger = logging.getLogger(__name__)
WORLDS = ('map', 'world', 'odom')
_CACHE_S = 30.0
_LOOK_AHEAD_NS = 5_000_000_000
_LOOK_AHEAD = 5000


def stamp_of(header: Any, log_time_ns: int) -> int:
    """Return a header's stamp in ns; the time of recording where it is zero."""
    return (int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)) or log_time_ns


def transform_from(position: Any, orientation: Any) -> NDArray[np.float64]:
    """Return the (4, 4) matrix of a message's position and quaternion.

    Raises:
        FrameError: `tf_invalid` for NaN or a zero quaternion.
    """
    quaternion = (orientation.w, orientation.x, orientation.y, orientation.z)
    try:
        rotation = rotation_from_quaternion(quaternion)
    except InputError as error:
        raise FrameError('tf_invalid', str(error)) from error
    return make_transform(rotation, (position.x, position.y, position.z))


class PoseTrack:
    """The poses of a recording, filled while it is read.

    Attributes:
        source: `tf`, `odometry`, `pose` or `none`.
        world: Frame in which poses are given.
        topics: Topics that `take` wants.
    """

    def __init__(
        self,
        bag: BagReader,
        optical_frames: dict[str, str],
        source: str = 'auto',
        topic: str = '',
        world: str = '',
        camera_frame: str = '',
    ) -> None:
        """Decide where poses come from, and read what holds at all times.

        Args:
            bag: The recording.
            optical_frames: `{camera name: frame_id of its images}`.
            source: `auto`, `tf`, `odometry`, `pose` or `none`.
            topic: Topic of `odometry` or `pose`; empty finds it.
            world: World frame; empty finds it.
            camera_frame: Frame that a PoseStamped is of; empty: the images' own frame.

        Raises:
            SourceError: The wanted kind of pose is not in the recording.
        """
        self._bag = bag
        self._optical = optical_frames
        self._camera_frame = camera_frame
        self._tf = [t for t, kind in bag.topics.items() if kind == names.TF and 'static' not in t]
        self._static = [t for t, kind in bag.topics.items() if kind == names.TF and 'static' in t]
        self._static_messages = list(bag.peek(self._static))
        self._warned: set[str] = set()
        self._moved_by_topic = ''
        self._tree = TransformTree(_CACHE_S)
        self._parents = self._look_ahead()
        self._topic = self._find_topic(source, topic)
        self.source = self._choose(source)
        self._frames = {name: self._frame_of(optical) for name, optical in optical_frames.items()}
        self.world = world.lstrip('/') or self._find_world()
        self.topics = {*self._tf, *([self._topic] if self.source in ('odometry', 'pose') else [])}
        self.topics = set() if self.source == 'none' else self.topics
        self.restart()

    def restart(self) -> None:
        """Forget the past, for reading from the beginning."""
        self._tree = TransformTree(_CACHE_S)
        for message in self._static_messages:
            self.take(message)

    @property
    def gravity_is_known(self) -> bool:
        """Whether z is up in the world by REP-103: it is no frame of a camera."""
        return bool(self.world) and not any(w in self.world for w in ('optical', 'camera'))

    def take(self, message: Message) -> None:
        """Add a message of `topics`; what is malformed is logged once a reason and left out."""
        try:
            content = decode(message)
            if message.type == names.TF:
                for item in content.transforms:
                    self._take_transform(item, message)
            else:
                self._take_pose(content, message)
        except FrameError as error:
            if error.reason not in self._warned:
                self._warned.add(error.reason)
                logger.warning('%s on %s ignored: %s', error.reason, message.topic, error)

    def pose(self, camera: str, stamp_ns: int, extrapolation_s: float) -> NDArray[np.float64]:
        """Return `T_world_camera` of a camera's optical frame.

        Raises:
            FrameError: `no_pose` without any source, or a `tf_...` reason.
        """
        if self.source == 'none' or not self.world:
            raise FrameError(
                'no_pose',
                f'no pose of {self._optical[camera]!r}',
                'no transform leads to it',
                'TF, Odometry or PoseStamped',
                'Set pose_source and world_frame, or require_pose to false.',
            )
        return self._tree.lookup(self.world, self._frames[camera], stamp_ns, extrapolation_s)

    def between(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """Return `T_target_source` of two frames of TF; FrameError where it is not known."""
        return self._tree.lookup(target, source, stamp_ns, 1.0)

    def _take_transform(self, item: Any, message: Message) -> None:
        child = item.child_frame_id.lstrip('/')
        if child == self._moved_by_topic:
            return
        pose = transform_from(item.transform.translation, item.transform.rotation)
        static = message.topic in self._static
        stamp_ns = stamp_of(item.header, message.log_time_ns)
        self._tree.add(item.header.frame_id, child, stamp_ns, pose, static)

    def _take_pose(self, content: Any, message: Message) -> None:
        pose = content.pose if message.type == names.POSE else content.pose.pose
        T = transform_from(pose.position, pose.orientation)
        stamp_ns = stamp_of(content.header, message.log_time_ns)
        parent = content.header.frame_id.lstrip('/') or 'map'
        self._tree.add(parent, self._moved_by_topic, stamp_ns, T)

    def _look_ahead(self) -> dict[str, str]:
        """Return `{child: parent}` of the static and the first moving transforms."""
        for message in self._static_messages:
            self.take(message)
        first = None
        for message in itertools.islice(self._bag.peek(self._tf), _LOOK_AHEAD):
            first = message.log_time_ns if first is None else first
            if message.log_time_ns - first > _LOOK_AHEAD_NS:
                break
            self.take(message)
        return self._tree.parents()

    def _ancestors(self, frame: str) -> list[str]:
        """Return the frames above a frame, up to the root."""
        chain = [frame.lstrip('/')]
        while chain[-1] in self._parents and self._parents[chain[-1]] not in chain:
            chain.append(self._parents[chain[-1]])
        return chain[1:]

    def _find_topic(self, source: str, topic: str) -> str:
        """Return the topic of odometry or poses, or an empty string."""
        types = {'odometry': (names.ODOMETRY,), 'pose': (names.POSE,)}.get(
            source, (names.ODOMETRY, names.POSE)
        )
        if topic:
            return names.find_topic(self._bag, topic, 'pose_topic', types)
        found = [
            t
            for t, kind in self._bag.topics.items()
            if kind in types and self._bag.counts[t] and 'goal' not in t
        ]
        if source in ('odometry', 'pose') and not found:
            raise SourceError(
                f'{self._bag.path.name} has no topic for pose_source {source}',
                f'topics {self._bag.describe_topics()}',
                types[0].rpartition('/')[2],
            )
        return min(found, key=self._suits, default='')

    def _suits(self, topic: str) -> tuple[bool, bool, str]:
        """Order topics: odometry before poses, those in a camera's namespace first."""
        near = any(camera in topic.split('/') for camera in self._optical)
        return self._bag.topics[topic] == names.POSE, not near, topic

    def _choose(self, source: str) -> str:
        if source != 'auto':
            return source
        above = [self._ancestors(frame) for frame in self._optical.values()]
        if any(world in chain for chain in above for world in WORLDS):
            return 'tf'
        if self._topic:
            return 'odometry' if self._bag.topics[self._topic] == names.ODOMETRY else 'pose'
        return 'tf' if any(above) else 'none'

    def _frame_of(self, optical: str) -> str:
        """Return the frame to look up for a camera; learn which frame the topic moves."""
        if self.source not in ('odometry', 'pose'):
            return optical.lstrip('/')
        message = self._bag.first(self._topic)
        content = None if message is None else decode(message)
        moved = getattr(content, 'child_frame_id', '') or self._camera_frame
        # Of the images' own frame: a name that no transform has, as it may have a parent in TF.
        self._moved_by_topic = moved.lstrip('/') or 'pose of the camera'
        return optical.lstrip('/') if moved else self._moved_by_topic

    def _find_world(self) -> str:
        if self.source in ('odometry', 'pose'):
            message = self._bag.first(self._topic)
            return '' if message is None else decode(message).header.frame_id.lstrip('/') or 'map'
        chains = [self._ancestors(frame) for frame in self._optical.values()]
        for world in WORLDS:
            if any(world in chain for chain in chains):
                return world
        return next((chain[-1] for chain in chains if chain), '')
