"""Tracks of things that stand still and are known by masks alone: no depth, no identities.

A mask says in which direction something is and how large it looks, not how far away it is. A
track therefore begins as many guesses, points along the ray of its first mask; each further mask
of it makes those guesses likelier whose place and size it shows. When the rays come from places
far enough apart, the guesses give way to the point nearest to all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.interfaces import Tracker, TrackUpdate
from recon3d_core.types import Detection, Detections, Frame, Plane
from scipy.optimize import linear_sum_assignment

_GUESSES = 48
_NEAREST_M, _FARTHEST_M = 0.15, 8.0
_SPREAD = 1e-3  # least eigenvalue of the rays' spread from which their meeting point is known
_OFF_CENTER = 0.35  # of its size: how far the middle of a mask is from where it should be
_OFF_SIZE = 0.4  # of its logarithm
_OFF_COLOR = 60.0  # of 255: how much the mean colour of a thing changes from side to side
_CUT_OFF = 2.0  # times all that, for masks that the image's border cuts off
_UNLIKELY = 1e-3  # what is left of a guess that a mask contradicts
_SAME_PLACE = 0.35  # of their size: two tracks so close are one
_MARGIN_PX = 8

Array = NDArray[np.float64]


class ConesConfig(PluginConfig):
    """Options of `cones`."""

    min_likeness: float = option(
        0.1, 'Least agreement of a mask with a track, in place, size and colour, to match it.',
        ge=0.001, le=1.0, live=True,
    )  # fmt: skip
    hits_to_confirm: int = option(
        3, 'Matches after which a track is an object.', ge=1, le=100, live=True
    )
    misses_to_remove: int = option(
        15, 'Looks in a row at the place of an object that show no mask of it, after which it is '
        'gone.', ge=1, le=1000, live=True,
    )  # fmt: skip
    use_identities: bool = option(
        True, 'Whether identities that the detector gives are believed, and nothing else.'
    )
    max_tracks: int = option(100, 'Most tracks; no more are begun.', ge=1, le=10000)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What a detection says: a ray, how large it looks, its colour.

    `size` is in pixels by the focal length: metres at one metre.
    """

    middle_px: Array
    size: float
    ray: Array
    color: Array | None
    slack: float


@dataclasses.dataclass
class _Track:
    """One track: guesses of its place (H, 3), of its size in metres (H,), and their likelihoods."""

    id: int
    places: Array
    sizes_m: Array
    likely: Array
    support: Plane | None
    instance: int | None
    color: Array | None
    matrix: Array = dataclasses.field(default_factory=lambda: np.zeros((3, 3)))
    vector: Array = dataclasses.field(default_factory=lambda: np.zeros(3))
    labels: Counter[str] = dataclasses.field(default_factory=Counter)
    score: float = 0.0
    hits: int = 0
    misses: int = 0
    misses_in_row: int = 0
    confirmed: bool = False
    camera: str = ''

    @property
    def is_placed(self) -> bool:
        """Whether its place is known."""
        return len(self.places) == 1


class ConesTracker(Tracker):
    """Matches masks to tracks by place, size and colour; ids are never used again."""

    name = 'cones'
    Config = ConesConfig
    needs = frozenset({'intrinsics', 'pose'})

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Make a tracker without tracks."""
        super().__init__(config, device)
        self._next_id = 1
        self._tracks: dict[int, _Track] = {}

    def reset(self) -> None:
        """Forget all tracks; ids go on."""
        self._tracks.clear()

    def forget(self, track_ids: Iterable[int]) -> None:
        """Forget some tracks."""
        for track_id in track_ids:
            self._tracks.pop(track_id, None)

    def associate(self, frame: Frame, detections: Detections) -> TrackUpdate:
        """Match the detections of a frame to tracks; start, join and end tracks.

        Raises:
            FrameError: The frame has no pose.
        """
        update = TrackUpdate()
        items = detections.items
        if not self.config.use_identities:
            items = tuple(dataclasses.replace(item, instance=None) for item in items)
        seen = [_look(frame, item) for item in items]
        matched = self._match(frame, items, seen)
        for index, item in enumerate(items):
            track = self._tracks.get(matched.get(index, 0)) or self._birth(
                frame, item, seen[index]
            )
            if track is not None:
                matched[index] = track.id
                _take(frame, track, item, seen[index])
                update.matches.append((track.id, item))
        self._note_misses(frame, items, set(matched.values()))
        self._join(update)
        self._end(update)
        self._report(update)
        return update

    def _match(
        self, frame: Frame, items: tuple[Detection, ...], seen: list[_Seen]
    ) -> dict[int, int]:
        """Return the likeliest one-to-one matching `{detection index: track id}`."""
        value = np.zeros((len(items), len(self._tracks)))
        for column, track in enumerate(self._tracks.values()):
            for row, item in enumerate(items):
                if item.instance is not None or track.instance is not None:
                    value[row, column] = item.instance == track.instance
                else:
                    likeness = float((track.likely * _likeness(frame, track, seen[row])).max())
                    value[row, column] = likeness * (likeness >= self.config.min_likeness)
        ids = list(self._tracks)
        rows, columns = linear_sum_assignment(-value)
        return {int(r): ids[c] for r, c in zip(rows, columns) if value[r, c] > 0}

    def _birth(self, frame: Frame, detection: Detection, seen: _Seen) -> _Track | None:
        """Start a track, unless the detection is cut off by the image's border."""
        cut_off = detection.truncated and detection.instance is None
        if cut_off or len(self._tracks) >= self.config.max_tracks:
            return None
        depths = np.geomspace(_NEAREST_M, _FARTHEST_M, _GUESSES)
        track = _Track(
            self._next_id,
            frame.pose[:3, 3] + depths[:, None] * seen.ray,
            depths * seen.size,
            np.ones(_GUESSES),
            detection.support,
            detection.instance,
            seen.color,
        )
        self._next_id += 1
        self._tracks[track.id] = track
        return track

    def _note_misses(self, frame: Frame, items: tuple[Detection, ...], found: set[int]) -> None:
        for track in self._tracks.values():
            # Of a few looks nobody can tell whether a thing is hidden: it may be born again.
            # Other cameras may look elsewhere.
            same = track.camera == frame.camera_name
            gone = _is_in_view(frame, track, items) if track.confirmed else same
            if track.id not in found and gone:
                track.misses += 1
                track.misses_in_row += 1

    def _join(self, update: TrackUpdate) -> None:
        """Join tracks that turn out to be at one place; the one with more hits stays."""
        placed = [t for t in self._tracks.values() if t.is_placed and t.instance is None]
        placed.sort(key=lambda t: (-t.hits, t.id))
        for index, kept in enumerate(placed):
            for other in placed[index + 1 :]:
                reach_m = _SAME_PLACE * min(kept.sizes_m[0], other.sizes_m[0])
                alive = kept.id in self._tracks and other.id in self._tracks
                if alive and np.linalg.norm(kept.places[0] - other.places[0]) < reach_m:
                    del self._tracks[other.id]
                    update.merged[other.id] = kept.id
                    update.removed.append(other.id)

    def _end(self, update: TrackUpdate) -> None:
        for track in list(self._tracks.values()):
            limit = self.config.misses_to_remove if track.confirmed else 3
            if track.misses_in_row >= limit:
                del self._tracks[track.id]
                update.removed.append(track.id)

    def _report(self, update: TrackUpdate) -> None:
        update.matches = [match for match in update.matches if match[0] in self._tracks]
        for track in self._tracks.values():
            track.confirmed |= track.hits >= self.config.hits_to_confirm
            update.points_world_m[track.id] = np.zeros((0, 3), np.float32)
            update.supports[track.id] = track.support
            update.labels[track.id] = track.labels.most_common(1)[0][0]
            certainty = 1.0 - 0.5 ** (track.hits / 2)
            hit_ratio = track.hits / (track.hits + track.misses)
            update.scores[track.id] = track.score * certainty * hit_ratio**0.5
            if track.confirmed:
                update.confirmed.append(track.id)


def _look(frame: Frame, detection: Detection) -> _Seen:
    x0, y0, x1, y1 = detection.box_xyxy
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    ray = frame.pose[:3, :3] @ frame.camera.unproject(middle, np.float64(1.0))
    size_px = float(np.sqrt((x1 - x0 + 1) * (y1 - y0 + 1)))
    color = None
    if frame.rgb is not None:
        part = (slice(y0, y1 + 1), slice(x0, x1 + 1))
        color = frame.rgb[part][detection.mask[part]].mean(0, dtype=np.float64)
    slack = _CUT_OFF if detection.truncated else 1.0
    return _Seen(middle, size_px / frame.camera.fx, ray, color, slack)


def _likeness(frame: Frame, track: _Track, seen: _Seen) -> Array:
    """Return how well a detection is what each guess (H,) of a track foretells, in [0, 1]."""
    local = (track.places - frame.pose[:3, 3]) @ frame.pose[:3, :3]
    depth = np.maximum(local[:, 2], 1e-3)
    size = track.sizes_m / depth
    pixels = frame.camera.project(np.where(local[:, 2:] > 1e-3, local, (0, 0, 1e-3)))
    off = np.linalg.norm(pixels - seen.middle_px, axis=1) / (seen.size * frame.camera.fx)
    cost = (off / _OFF_CENTER) ** 2 + (np.log(size / seen.size) / _OFF_SIZE) ** 2
    if seen.color is not None and track.color is not None:
        cost = cost + float(((seen.color - track.color) ** 2).sum()) / _OFF_COLOR**2
    return np.exp(-0.5 * cost / seen.slack**2) * (local[:, 2] > 1e-3)


def _take(frame: Frame, track: _Track, detection: Detection, seen: _Seen) -> None:
    """Take a matched detection into a track."""
    track.hits += 1
    track.misses_in_row = 0
    track.camera = frame.camera_name
    track.labels[detection.label] += 1
    weight = 1.0 / min(track.hits, 10)
    track.score += weight * (detection.score - track.score)
    track.support = detection.support or track.support
    if seen.color is not None and track.color is not None:
        track.color = (track.color + weight * (seen.color - track.color)).astype(np.float64)
    if detection.truncated:
        return
    direction = seen.ray / np.linalg.norm(seen.ray)
    across = np.eye(3) - np.outer(direction, direction)
    track.matrix = track.matrix + across
    track.vector = track.vector + across @ frame.pose[:3, 3]
    if np.linalg.eigvalsh(track.matrix / track.hits)[0] < _SPREAD:
        track.likely = track.likely * np.maximum(_likeness(frame, track, seen), _UNLIKELY)
        track.likely = np.maximum(track.likely / track.likely.max(), _UNLIKELY)
        return
    place = np.linalg.solve(track.matrix, track.vector)
    size_m = seen.size * float((place - frame.pose[:3, 3]) @ frame.pose[:3, 2])
    if size_m <= 0:
        return  # the rays meet behind the camera: one of them was of another thing
    former = float(track.sizes_m[track.likely.argmax()])
    track.places, track.likely = place[None].astype(np.float64), np.ones(1)
    track.sizes_m = np.array([former + weight * (size_m - former)])


def _is_in_view(frame: Frame, track: _Track, items: tuple[Detection, ...]) -> bool:
    """Return whether a track's place is in the image and in no other thing's mask."""
    place = track.places[track.likely.argmax()]
    local = (place - frame.pose[:3, 3]) @ frame.pose[:3, :3]
    if local[2] < 0.05:
        return False
    x, y = np.rint(frame.camera.project(local)).astype(int).tolist()
    width, height = frame.camera.width, frame.camera.height
    inside = _MARGIN_PX <= x < width - _MARGIN_PX and _MARGIN_PX <= y < height - _MARGIN_PX
    return inside and not any(item.mask[y, x] for item in items)
