"""A tree of named frames that move against each other: what tf2 keeps, in numpy.

`T_parent_child` maps coordinates in the child to the parent, as everywhere in this library and
as in geometry_msgs/TransformStamped (header.frame_id is the parent).
"""

from __future__ import annotations

import bisect
import threading

import numpy as np
from numpy.typing import NDArray
from recon3d_core import registry
from recon3d_core.checks import check_transform
from recon3d_core.errors import FrameError, InputError
from recon3d_core.geometry.transforms import (
    interpolate,
    invert,
    quaternion_from_rotation,
    rotation_from_quaternion,
)

Array = NDArray[np.float64]
_MAX_FRAMES = 4096
_MAX_SAMPLES = 50_000


class _Link:
    """The pose of one child in its parents over time, in order of time; no stamps if static."""

    def __init__(self, static: bool) -> None:
        self.static = static
        self.stamps_ns: list[int] = []
        self.parents: list[str] = []
        self.poses: list[Array] = []

    def insert(self, stamp_ns: int, parent: str, pose: Array, cache_ns: int) -> bool:
        """Store a sample; False where it is older than the cache reaches."""
        if self.static:
            self.stamps_ns, self.parents, self.poses = [stamp_ns], [parent], [pose]
            return True
        if self.stamps_ns and stamp_ns < self.stamps_ns[-1] - cache_ns:
            return False
        index = bisect.bisect_left(self.stamps_ns, stamp_ns)
        if index < len(self.stamps_ns) and self.stamps_ns[index] == stamp_ns:
            self.parents[index], self.poses[index] = parent, pose
            return True
        self.stamps_ns.insert(index, stamp_ns)
        self.parents.insert(index, parent)
        self.poses.insert(index, pose)
        old = bisect.bisect_left(self.stamps_ns, self.stamps_ns[-1] - cache_ns)
        old = max(old, len(self.stamps_ns) - _MAX_SAMPLES)
        if old > 0:
            del self.stamps_ns[:old], self.parents[:old], self.poses[:old]
        return True

    def at(self, stamp_ns: int) -> tuple[str, Array]:
        """Return parent and pose at a stamp within the samples' range."""
        after = bisect.bisect_left(self.stamps_ns, stamp_ns)
        if self.static or len(self.stamps_ns) == 1 or after == 0:
            return self.parents[0], self.poses[0]
        if self.stamps_ns[after] == stamp_ns:
            return self.parents[after], self.poses[after]
        before = after - 1
        if self.parents[before] != self.parents[after]:  # reparented: the old parent still holds
            return self.parents[before], self.poses[before]
        span = self.stamps_ns[after] - self.stamps_ns[before]
        fraction = (stamp_ns - self.stamps_ns[before]) / span
        return self.parents[before], interpolate(self.poses[before], self.poses[after], fraction)


class TransformTree:
    """Poses of frames over time; safe to use from several threads.

    Attributes:
        cache_s: How much of the past is kept, counted from each frame's newest sample.
        extrapolation_s: How far beyond its samples a pose is held still.
    """

    def __init__(self, cache_s: float = 10.0, extrapolation_s: float = 0.0) -> None:
        """Make an empty tree.

        Raises:
            InputError: A time is negative.
        """
        if cache_s < 0 or extrapolation_s < 0:
            raise InputError('transform tree', f'{cache_s} s, {extrapolation_s} s', '0 or more')
        self.cache_s = cache_s
        self.extrapolation_s = extrapolation_s
        self._links: dict[str, _Link] = {}
        self._roots: set[str] = set()
        self._lock = threading.Lock()

    def add(
        self, parent: str, child: str, stamp_ns: int, T_parent_child: Array, static: bool = False
    ) -> bool:
        """Store the pose of a frame in another.

        Args:
            parent: Frame in which the pose is given; a leading slash is dropped.
            child: Frame whose pose it is.
            stamp_ns: When it holds; ignored where static.
            T_parent_child: (4, 4); its rotation is made exactly orthonormal.
            static: Whether it holds at all times.

        Returns:
            False where the sample is older than the cache reaches, and so was ignored.

        Raises:
            FrameError: `tf_invalid` for NaN, a matrix that is not rigid, or bad names.
        """
        parent, child = parent.lstrip('/'), child.lstrip('/')
        if not parent or not child or parent == child:
            raise FrameError(
                'tf_invalid',
                'transform between impossible frames',
                f'{parent!r} -> {child!r}',
                'two different names',
            )
        try:
            check_transform(f'transform {parent!r} -> {child!r}', T_parent_child, 1e-2)
        except InputError as error:
            raise FrameError('tf_invalid', str(error)) from error
        pose = np.array(T_parent_child, np.float64)
        pose[:3, :3] = rotation_from_quaternion(quaternion_from_rotation(pose[:3, :3]))
        with self._lock:
            link = self._links.get(child)
            if link is None or link.static != static:
                if link is None and len(self._links) >= _MAX_FRAMES:
                    raise FrameError('tf_invalid', 'too many frames', child, f'<= {_MAX_FRAMES}')
                link = self._links[child] = _Link(static)
            if parent not in self._links:
                self._remember_root(parent)
            self._roots.discard(child)
            return link.insert(stamp_ns, parent, pose, int(self.cache_s * 1e9))

    def _remember_root(self, parent: str) -> None:
        if len(self._roots) > _MAX_FRAMES:
            self._roots.clear()  # only used for messages; parents of links are found by walking
        self._roots.add(parent)

    def lookup(
        self, target: str, source: str, stamp_ns: int | None, extrapolation_s: float | None = None
    ) -> Array:
        """Return `T_target_source`, the pose of `source` in `target`, at a stamp.

        Args:
            target: Frame to map to.
            source: Frame to map from.
            stamp_ns: Time; None takes the newest time at which all links are known.
            extrapolation_s: Replaces the tree's own bound.

        Raises:
            FrameError: `tf_unknown_frame`, `tf_disconnected`, `tf_loop`, or `tf_too_new` and
                `tf_too_old` where the stamp is beyond the samples.
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        bound = self.extrapolation_s if extrapolation_s is None else extrapolation_s
        with self._lock:
            for name in (target, source):
                self._check_known(name)
            if target == source:
                return np.eye(4)
            if stamp_ns is None:
                stamp_ns, bound = self._latest_common(target, source), float('inf')
            return self._connect(target, source, stamp_ns, int(min(bound, 1e9) * 1e9))

    def parents(self) -> dict[str, str]:
        """Return `{child: parent}` by the newest samples."""
        with self._lock:
            return {child: link.parents[-1] for child, link in self._links.items()}

    def frames(self) -> list[str]:
        """Return the sorted names of all frames."""
        with self._lock:
            return sorted(self._known())

    def newest_ns(self, child: str) -> int | None:
        """Return the stamp of a moving frame's newest sample; None where static or unknown."""
        with self._lock:
            link = self._links.get(child.lstrip('/'))
            return None if link is None or link.static else link.stamps_ns[-1]

    def clear(self, keep_static: bool = True) -> None:
        """Forget the samples, for a clock that went back; static ones are kept by default."""
        with self._lock:
            self._links = {
                child: link for child, link in self._links.items() if keep_static and link.static
            }
            self._roots = {p for link in self._links.values() for p in link.parents}
            self._roots -= set(self._links)

    def _known(self) -> set[str]:
        named = {parent for link in self._links.values() for parent in set(link.parents)}
        return named | set(self._links) | self._roots

    def _check_known(self, name: str) -> None:
        if name in self._links or name in self._roots:
            return
        known = sorted(self._known())
        if name not in known:
            shown = ', '.join(known[:12]) + (', ...' if len(known) > 12 else '')
            raise FrameError(
                'tf_unknown_frame',
                f'no transform names the frame {name!r}',
                f'frames {shown}' if known else 'no transforms at all',
                None,
                registry.closest(name, known),
            )

    def _step(self, child: str, stamp_ns: int, bound_ns: int) -> tuple[str, Array]:
        """Return parent and pose of a child; FrameError where the stamp is out of reach."""
        link = self._links[child]
        if link.static:
            return link.at(0)
        oldest, newest = link.stamps_ns[0], link.stamps_ns[-1]
        if oldest - bound_ns <= stamp_ns <= newest + bound_ns:
            return link.at(min(max(stamp_ns, oldest), newest))
        late = stamp_ns > newest
        distance_s = (stamp_ns - newest if late else oldest - stamp_ns) / 1e9
        raise FrameError(
            'tf_too_new' if late else 'tf_too_old',
            f'stamp {stamp_ns} ns is beyond the transforms {link.parents[-1]!r} -> {child!r}',
            f'{distance_s:.3f} s {"after the newest" if late else "before the oldest"}',
            f'at most {bound_ns / 1e9:g} s',
        )

    def _climb(
        self, start: str, stop: dict[str, Array] | str, stamp_ns: int, bound_ns: int
    ) -> tuple[dict[str, Array], FrameError | None]:
        """Return `{ancestor: T_ancestor_start}` up to a frame in `stop`, and what ended it."""
        chain = {start: np.eye(4)}
        frame = start
        stops = {stop} if isinstance(stop, str) else stop
        while frame not in stops and frame in self._links:
            try:
                parent, pose = self._step(frame, stamp_ns, bound_ns)
            except FrameError as error:
                return chain, error
            if parent in chain:
                ring = ' -> '.join([*list(chain)[list(chain).index(parent) :], parent])
                raise FrameError('tf_loop', 'the transforms form a loop', ring, 'a tree')
            chain[parent] = pose @ chain[frame]
            frame = parent
        return chain, None

    def _connect(self, target: str, source: str, stamp_ns: int, bound_ns: int) -> Array:
        up, up_error = self._climb(source, target, stamp_ns, bound_ns)
        if target in up:
            return up[target]
        down, down_error = self._climb(target, up, stamp_ns, bound_ns)
        common = list(down)[-1]
        if common in up:
            result: Array = invert(down[common]) @ up[common]
            return result
        raise (
            up_error
            or down_error
            or FrameError(
                'tf_disconnected',
                f'{target!r} and {source!r} are in separate trees',
                f'roots {common!r} and {list(up)[-1]!r}',
                'one tree',
                'Publish the transform that joins them.',
            )
        )

    def _latest_common(self, target: str, source: str) -> int:
        """Return the newest stamp that all moving links between two frames have."""
        ancestors = []
        for start in (target, source):
            chain, frame = [start], start
            while frame in self._links and self._links[frame].parents[-1] not in chain:
                frame = self._links[frame].parents[-1]
                chain.append(frame)
            ancestors.append(chain)
        shared = next((frame for frame in ancestors[0] if frame in ancestors[1]), None)
        children = [
            f for chain in ancestors for f in (chain[: chain.index(shared)] if shared else chain)
        ]
        moving = [self._links[f] for f in children if f in self._links]
        return min((link.stamps_ns[-1] for link in moving if not link.static), default=0)
