"""One track: what it covers, how often it was found, and when it is over."""

from __future__ import annotations

from collections import Counter, deque
import dataclasses

from recon3d_core.config import option, PluginConfig
from recon3d_core.tracking.evidence import extent_m, Place, Surface
from recon3d_core.tracking.grounds import Grounds
from recon3d_core.types import Detection, Frame, Plane

_ALL_KNOWN = 0.97  # overlap from which a detection's surface adds nothing


class SpatialConfig(PluginConfig):
    """Options of `spatial`."""

    radius_m: float = option(
        0.025,
        'Points closer than this count as the same surface.',
        unit='m',
        ge=0.002,
        le=1.0,
        live=True,
    )
    min_overlap: float = option(
        0.25, 'Least overlap of a detection with a track to match it.', ge=0.01, le=1.0, live=True
    )
    hits_to_confirm: int = option(
        3, 'Matches after which a track is an object.', ge=1, le=100, live=True
    )
    cut_hits_to_confirm: int = option(
        0,
        "Matches after which a thing that the image's border cuts off each time is an object as far "
        'as it was seen; 0 = never.',
        ge=0,
        le=100,
        live=True,
    )
    misses_to_remove: int = option(
        5,
        'Looks in a row that see through an object, after which it is gone.',
        ge=1,
        le=1000,
        live=True,
    )
    maskless_to_remove: int = option(
        15,
        'Looks in a row at the place of an object known by masks without depth that show no mask '
        'of it, after which it is gone.',
        ge=1,
        le=1000,
        live=True,
    )
    looks_to_merge: int = option(
        6,
        'Detections that cover two tracks, after which they are one object; each look that shows '
        'them apart makes up for two.',
        ge=2,
        le=1000,
        live=True,
    )
    min_hit_ratio: float = option(
        0.4,
        'A track found in a smaller part of the looks at it is removed.',
        ge=0.0,
        le=1.0,
        live=True,
    )
    max_tracks: int = option(
        100,
        'Most tracks; a tentative one gives way, or else the object not seen for longest.',
        ge=1,
        le=10000,
    )
    max_points: int = option(2000, 'Most surface points kept of a track.', ge=50, le=100000)


@dataclasses.dataclass
class Track:
    """One track; `surface` is all it was seen to cover, `place` where its masks meet.

    It is `whole` once the image's border did not cut it off. A part of another track has that one
    as `parent`, which had been found `parent_hits` times before.
    """

    id: int
    surface: Surface
    first_stamp_ns: int
    instance: int | None = None
    support: Plane | None = None
    parent: int | None = None
    parent_hits: int = 0
    place: Place = dataclasses.field(default_factory=Place)
    grounds: Grounds = dataclasses.field(default_factory=Grounds)
    labels: Counter[str] = dataclasses.field(default_factory=Counter)
    score: float = 0.0
    hits: int = 0
    absent: int = 0
    undetected: int = 0
    undetected_in_row: int = 0
    strange_in_row: int = 0
    matched_stamp_ns: int = 0
    confirmed: bool = False
    whole: bool = False
    extents_m: deque[float] = dataclasses.field(default_factory=lambda: deque(maxlen=9))

    def hit(
        self, frame: Frame, detection: Detection, config: SpatialConfig, known: float = 0.0
    ) -> None:
        """Take a detection in, of whose surface a part is known already."""
        self.hits += 1
        self.whole |= not detection.truncated
        self.absent = self.undetected_in_row = 0
        self.labels[detection.label] += 1
        weight = 1.0 / min(self.hits, 10)
        self.score += weight * (detection.score - self.score)
        points, plane = detection.points_world_m, detection.support
        if points is not None and len(points):
            self.extents_m.append(extent_m(points))
            if known < _ALL_KNOWN:
                self.surface.add(points, config.max_points)
            if plane is not None:
                self.grounds.add(plane, points)
            self.support = self.grounds.best(self.surface.sample())
        elif not len(self.surface.points) and not detection.truncated:
            self.place.add(frame, detection.box_xyxy)

    @property
    def hit_ratio(self) -> float:
        """Part of the looks that found it."""
        return self.hits / (self.hits + self.undetected)

    def is_over(self, config: SpatialConfig) -> bool:
        """Return whether the object is gone, or never was one."""
        if not self.confirmed:
            return self.absent >= 2 or self.undetected_in_row >= 3
        if self.undetected > 3 and self.hit_ratio < config.min_hit_ratio:
            return True
        # Without a surface nothing can be seen through: that masks stay away has to do.
        maskless = not len(self.surface.points)
        gone = maskless and self.undetected_in_row >= config.maskless_to_remove
        return gone or self.absent >= config.misses_to_remove
