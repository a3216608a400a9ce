"""Tracks of things that stand still: association by overlap of their surfaces in the world.

Birth and death have hysteresis: a track is confirmed after some hits, a confirmed one is removed
when the camera sees through the place where it was, or when most looks at it found nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
import itertools

import numpy as np
from recon3d_core.config import PluginConfig
from recon3d_core.interfaces import Tracker, TrackUpdate
from recon3d_core.tracking.evidence import extent_m, Look, look_at, look_for_mask, Surface
from recon3d_core.tracking.overlaps import Overlaps, overlaps_of
from recon3d_core.tracking.track import SpatialConfig, Track
from recon3d_core.types import Detection, Detections, Frame
from scipy.optimize import linear_sum_assignment

_SETTLED = 3  # hits after which a track's extent is trusted
_AS_ONE = 12  # looks at most that two must be seen apart, after they were one as often
_APART = 2  # looks that show two as one, against one that shows them apart
_STRANGE = 5  # strange detections in a row that are believed after all


class SpatialTracker(Tracker):
    """Matches detections to tracks by the overlap of surfaces; ids are never used again."""

    name = 'spatial'
    Config = SpatialConfig

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Make a tracker without tracks."""
        super().__init__(config, device)
        self._next_id = 1
        self._tracks: dict[int, Track] = {}
        self._covered: Counter[tuple[int, int]] = Counter()

    def reset(self) -> None:
        """Forget all tracks; ids go on."""
        self._tracks.clear()
        self._covered.clear()

    def forget(self, track_ids: Iterable[int]) -> None:
        """Forget some tracks."""
        for track_id in track_ids:
            self._tracks.pop(track_id, None)

    def join(self, kept_id: int, gone_id: int) -> None:
        """Take two tracks for one, with both surfaces."""
        if kept_id in self._tracks and gone_id in self._tracks:
            gone = self._tracks.pop(gone_id)
            kept = self._tracks[kept_id]
            kept.surface.add(gone.surface.points, self.config.max_points)
            kept.extents_m.clear()

    def associate(self, frame: Frame, detections: Detections) -> TrackUpdate:
        """Match the detections of a frame to tracks; start, merge, split and end tracks."""
        update = TrackUpdate()
        items = list(detections.items)
        # An identity that the detector gives says more than where a surface is.
        unnamed = [track for track in self._tracks.values() if track.instance is None]
        found = overlaps_of(items, unnamed, self.config.radius_m, self.config.max_points)
        ambiguous = self._note_covering(items, found)
        matched = self._assign(items, found, ambiguous)
        seen_together = set(matched.values())
        for index, track_id in matched.items():
            self._tracks[track_id].matched_stamp_ns = frame.stamp_ns
            self._take(frame, self._tracks[track_id], items[index], found.forward[index], update)
        for pair in [p for p in self._covered if seen_together.issuperset(p)]:
            self._covered[pair] -= _APART
            if self._covered[pair] <= 0:
                del self._covered[pair]
        touched = seen_together | {i for ids in ambiguous.values() for i in ids}
        self._note_misses(frame, items, touched)
        for index, detection in enumerate(items):
            if index not in matched and index not in ambiguous:
                self._birth(frame, detection, found.upon[index], seen_together, update)
        self._confirm(update, seen_together)
        self._merge(update)
        self._end(update)
        self._report(update)
        return update

    def _take(
        self,
        frame: Frame,
        track: Track,
        detection: Detection,
        forward: dict[int, float],
        update: TrackUpdate,
    ) -> None:
        """Add a matched detection to its track, unless most of it is news.

        A detection that suddenly is much more than the track's object has swallowed a
        neighbour; only if it stays so, the track was too small.
        """
        if track.whole and track.hits >= _SETTLED and self._is_strange(track, detection, forward):
            track.strange_in_row += 1
            track.absent = track.undetected_in_row = 0
            if track.strange_in_row < _STRANGE:
                return
        more = track.confirmed and not track.whole and not detection.truncated
        if track.strange_in_row or more:
            track.extents_m.clear()
        track.strange_in_row = 0
        track.hit(frame, detection, self.config, forward.get(track.id, 0.0))
        update.matches.append((track.id, detection))

    def _is_strange(self, track: Track, detection: Detection, forward: dict[int, float]) -> bool:
        """Return whether a detection is much more than what its track was so far."""
        if forward.get(track.id, 1.0) < 0.5:
            return True
        points = detection.points_world_m
        if points is None or not len(points) or not track.extents_m:
            return False
        return extent_m(points) > 1.35 * float(np.median(track.extents_m))

    def _note_covering(self, items: list[Detection], found: Overlaps) -> dict[int, list[int]]:
        """Return the detections that cover several confirmed tracks, and count the pairs.

        What only touches a track, or a track that another detection fits better, is not covered.
        """
        ambiguous: dict[int, list[int]] = {}
        for index, back in enumerate(found.own_backward):
            ahead = found.own_forward[index]
            covered = sorted(
                i
                for i, part in back.items()
                if self._tracks[i].confirmed and (part > 0.5 or ahead[i] > 0.35)
            )
            if len(covered) > 1 and items[index].instance is None:
                ambiguous[index] = covered
        for index, covered in list(ambiguous.items()):
            others = [found.backward[j] for j in range(len(items)) if j not in ambiguous]
            # What another detection shows is not what this one covers too.
            free = [i for i in covered if not any(back.get(i, 0.0) > 0.5 for back in others)]
            if len(free) < 2:
                del ambiguous[index]
                continue
            for pair in itertools.combinations(free, 2):  # in order, as they are sorted
                self._covered[pair] += 1
        return ambiguous

    def _assign(
        self,
        items: list[Detection],
        found: Overlaps,
        ambiguous: dict[int, list[int]],
    ) -> dict[int, int]:
        """Return the best one-to-one matching `{detection index: track id}`."""
        by_instance = {t.instance: t.id for t in self._tracks.values() if t.instance is not None}
        matched = {
            index: by_instance[item.instance]
            for index, item in enumerate(items)
            if item.instance is not None and item.instance in by_instance
        }
        ids = [i for i in self._tracks if self._tracks[i].instance is None]
        rows = [i for i in range(len(items)) if i not in ambiguous and items[i].instance is None]
        if not ids or not rows:
            return matched
        value = np.zeros((len(rows), len(ids)))
        for r, index in enumerate(rows):
            for c, track_id in enumerate(ids):
                ahead = found.forward[index].get(track_id, 0.0)
                back = found.backward[index].get(track_id, 0.0)
                # A confirmed track wins over a tentative one that covers the same.
                bonus = 0.5 if self._tracks[track_id].confirmed else 0.0
                if max(ahead, back) >= self.config.min_overlap:
                    value[r, c] = ahead + back + bonus
        for r, c in zip(*linear_sum_assignment(-value)):
            if value[r, c] > 0:
                matched[rows[r]] = ids[c]
        return matched

    def _note_misses(self, frame: Frame, items: list[Detection], touched: set[int]) -> None:
        """Look, in the depth image or among the masks, at the places of tracks not found."""
        for track in self._tracks.values():
            if track.id in touched:
                continue
            if len(track.surface.points):
                look = look_at(frame, track.surface)
            else:
                look = look_for_mask(frame, track.place, [item.mask for item in items])
            if look is Look.THROUGH:
                track.absent += 1
            elif look is Look.SURFACE:
                track.undetected += 1
                track.undetected_in_row += 1
                track.absent = 0

    def _birth(
        self,
        frame: Frame,
        detection: Detection,
        upon: dict[int, float],
        seen: set[int],
        update: TrackUpdate,
    ) -> None:
        """Start a track; of what the image's border cuts off, only where that is asked for."""
        cut = detection.truncated and detection.instance is None
        if cut and not self.config.cut_hits_to_confirm:
            return
        points = detection.points_world_m
        if points is None and detection.instance is None:
            return
        parents = [i for i in seen if upon.get(i, 0.0) > 0.6]
        if cut and any(self._tracks[i].whole for i in parents):
            return  # of what is known as a whole, the border shows parts
        if len(self._tracks) >= self.config.max_tracks and not self._make_room(frame, update):
            return
        empty = np.zeros((0, 3), np.float32)
        track = Track(
            self._next_id,
            Surface(empty if points is None else points, self.config.max_points),
            frame.stamp_ns,
            detection.instance,
            parent=parents[0] if parents else None,
            parent_hits=self._tracks[parents[0]].hits - 1 if parents else 0,
            matched_stamp_ns=frame.stamp_ns,
        )
        self._next_id += 1
        self._tracks[track.id] = track
        track.hit(frame, detection, self.config)
        update.matches.append((track.id, detection))

    def _make_room(self, frame: Frame, update: TrackUpdate) -> bool:
        """Drop a track that this frame does not show; return whether there was one."""
        others = [t for t in self._tracks.values() if t.matched_stamp_ns != frame.stamp_ns]
        tentative = [t for t in others if not t.confirmed]
        if not others:
            return False
        if tentative:
            dropped = min(tentative, key=lambda t: (t.hits, t.id))
        else:
            dropped = min(others, key=lambda t: (t.matched_stamp_ns, t.id))
        del self._tracks[dropped.id]
        update.removed.append(dropped.id)
        return True

    def _confirm(self, update: TrackUpdate, seen: set[int]) -> None:
        """Make objects of tracks that were found often enough."""
        for track in self._tracks.values():
            parent = self._tracks.get(track.parent or 0)
            needed = self.config.hits_to_confirm
            if parent is not None:
                # Half of a known object must be seen apart from it as often as both were one.
                needed = max(2 * needed, min(track.parent_hits, _AS_ONE))
            if not track.whole:
                needed = max(needed, self.config.cut_hits_to_confirm)
            if track.confirmed or track.hits < needed:
                continue
            track.confirmed = True
            if parent is not None and parent.id in seen:
                parent.surface.remove_near(track.surface, self.config.radius_m)
                update.restarted.append(parent.id)
            track.parent = None

    def _merge(self, update: TrackUpdate) -> None:
        """Join tracks that detections cover together again and again."""
        for (a, b), count in sorted(self._covered.items()):
            if count < self.config.looks_to_merge:
                continue
            if a in self._tracks and b in self._tracks:
                # The better known stays: that is the identity that others have relied on.
                kept, gone = sorted(
                    (self._tracks[a], self._tracks[b]),
                    key=lambda t: (-len(t.surface.points), t.id),
                )
                self.join(kept.id, gone.id)
                update.merged[gone.id] = kept.id
                update.removed.append(gone.id)

    def _end(self, update: TrackUpdate) -> None:
        """Remove tracks whose object is gone, or never was one."""
        for track in list(self._tracks.values()):
            if track.is_over(self.config):
                del self._tracks[track.id]
                update.removed.append(track.id)
        alive = self._tracks.keys()
        self._covered = Counter(
            {pair: count for pair, count in self._covered.items() if set(pair) <= alive}
        )

    def _report(self, update: TrackUpdate) -> None:
        """Fill in what is known of every live track."""
        for track in self._tracks.values():
            update.points_world_m[track.id] = track.surface.points
            update.supports[track.id] = track.support
            update.labels[track.id] = track.labels.most_common(1)[0][0]
            certainty = 1.0 - 0.5 ** (track.hits / 2)
            update.scores[track.id] = track.score * certainty * track.hit_ratio**0.5
            if track.confirmed:
                update.confirmed.append(track.id)
