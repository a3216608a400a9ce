"""How much of detections and tracks is the same surface, and whose it is where things touch."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from recon3d_core.tracking.evidence import Surface
from recon3d_core.tracking.track import Track
from recon3d_core.types import Detection

_UPON = 1 / 3  # of the radius: what is nearer does not only touch a surface, it lies on it

Parts = list[dict[int, float]]
"""Per detection, `{id of a track: part in [0, 1]}`."""


@dataclasses.dataclass(frozen=True)
class Overlaps:
    """Parts of detections and of tracks that are the same surface.

    Attributes:
        forward: Part of the detection near the track.
        backward: Part of the track near the detection.
        upon: Part of the detection so near that it lies on the track's surface.
        own_forward: Part of the detection near the track, and nearer than to other confirmed ones.
        own_backward: Part of the track near the detection, and nearer than to other detections.
    """

    forward: Parts
    backward: Parts
    upon: Parts
    own_forward: Parts
    own_backward: Parts


def overlaps_of(
    items: Sequence[Detection], tracks: Sequence[Track], radius_m: float, max_points: int
) -> Overlaps:
    """Compare detections with tracks; those without surface points overlap nothing.

    Args:
        items: Detections.
        tracks: Tracks.
        radius_m: Points closer than this count as the same surface.
        max_points: Most points of a detection's surface.
    """
    found = Overlaps(*(_nothing(items) for _ in dataclasses.fields(Overlaps)))
    nearest_item = {track.id: np.full(len(track.surface.sample()), np.inf) for track in tracks}
    backward_m: list[dict[int, np.ndarray]] = [{} for _ in items]
    for index, item in enumerate(items):
        if item.points_world_m is None or not len(item.points_world_m):
            continue
        surface = Surface(item.points_world_m, max_points)
        near = [track for track in tracks if surface.may_touch(track.surface, radius_m)]
        away = {track.id: surface.distances_m(track.surface, radius_m) for track in near}
        rivals = [away[track.id] for track in near if track.confirmed]
        least = np.min(rivals, axis=0) if rivals else np.full(len(surface.sample()), np.inf)
        for track in near:
            ahead, back = away[track.id], track.surface.distances_m(surface, radius_m)
            found.forward[index][track.id] = float(np.isfinite(ahead).mean())
            found.backward[index][track.id] = float(np.isfinite(back).mean())
            found.upon[index][track.id] = float((ahead < _UPON * radius_m).mean())
            own = np.isfinite(ahead) & (ahead <= least)
            found.own_forward[index][track.id] = float(own.mean())
            backward_m[index][track.id] = back
            nearest_item[track.id] = np.minimum(nearest_item[track.id], back)
    for index, distances in enumerate(backward_m):
        for key, back in distances.items():
            own = np.isfinite(back) & (back <= nearest_item[key])
            found.own_backward[index][key] = float(own.mean())
    return found


def _nothing(items: Sequence[Detection]) -> Parts:
    return [{} for _ in items]
