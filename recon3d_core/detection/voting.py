"""Masks of a network and clusters of depth vote for the objects of a frame.

Each knows what the other does not: the network tells things apart that touch, depth tells what
rises from its support and where its surface ends. A mask whose pixels do not rise from the plane
that they lie on is a print or a shadow; a cluster without a mask is a thing that the network does
not know; a cluster with several masks is several things, and so is a mask with several clusters
that each stand on something.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from recon3d_core.config import option, PluginConfig
from recon3d_core.detection.centermask import CenterMaskDetector, MaskOptions
from recon3d_core.detection.depth_cluster import (
    ClusterOptions,
    depth_noise_m,
    DepthClusterDetector,
)
from recon3d_core.detection.footing import foot_is_hidden, ground_at_foot
from recon3d_core.detection.hovering import join_hovering
from recon3d_core.detection.planes import Support, within
from recon3d_core.detection.surfaces import detection_of, world_points
from recon3d_core.interfaces import Detector, DetectorConfig
from recon3d_core.types import Detection, Detections, Frame, Plane

Mask = NDArray[np.bool_]

_MOST = 0.5  # of the one's pixels: then they are about the same thing
_RIM_PX = 7  # pixels of a cluster that no mask has go to one at most so far away
_THIN_PX = 15  # what is as thin as that is no object of its own
_BORDER_PX = 13  # Kinect-like depth has a blind margin
_FLOATS_M = 0.4  # what begins higher above a plane does not belong to it
_RIM_M = 0.02  # things reach over the edge of what carries them
_AROUND_M = 0.3  # how far a support may go on where things hide it
_RESTS_M = 0.05
_FOOT = 0.1  # of its height: so low reaches what stands on something
_BELOW_M = 0.01  # how far noise puts a point of an object below its support
_FOOT_LOW = 0.03  # of the points: below them is noise
_PIERCED_M = 0.015
_SAME_M = 0.01  # levels that differ by less are one
_TOP = 0.9  # of the points: above them is noise
_NOISES = 2.5  # so much of depth's noise does not tell a thing from a print
_FLOOR_M = 0.004  # what is lower is the support itself
_MEASURED = 0.2  # part of a mask that depth must see to have a say
_LEAST_POINTS = 30
_RISES = 0.8  # of a mask's points: what is cut off is not much
_SAMPLES = 400


class VotingConfig(DetectorConfig):
    """Options of `voting`."""

    min_score: float = option(
        0.5, 'Least score of an object when both have voted.', ge=0.0, le=1.0, live=True
    )
    unsupported: float = option(
        0.5,
        'Factor of the score of a mask that rises from no support, while supports are in view. '
        'With no more than `min_score`, only what stands on something is found.',
        ge=0.0,
        le=1.0,
        live=True,
    )
    min_rise_m: float = option(
        0.008,
        'A mask of which less than a tenth rises so far above its support is a print or a shadow.',
        unit='m',
        ge=0.0,
        le=0.2,
        live=True,
    )
    masks: MaskOptions = Field(
        default_factory=MaskOptions, description='Which masks of the network are objects.'
    )
    clusters: ClusterOptions = Field(
        default_factory=ClusterOptions, description='Which clusters of points are objects.'
    )


@dataclasses.dataclass
class _Vote:
    """What one of the two says to be an object, and whether depth confirms it."""

    mask: Mask
    score: float
    support: Plane | None = None
    confirmed: bool = False
    stands: bool = False  # its lowest points are on the support


class VotingDetector(Detector):
    """`centermask` and `depth_cluster` together."""

    name = 'voting'
    Config = VotingConfig
    needs = frozenset({'rgb', 'depth', 'intrinsics', 'pose'})

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network.

        Raises:
            InputError: Its weights are missing, broken, or of another network.
        """
        super().__init__(config, device)
        self._masks = CenterMaskDetector(self.config.masks, device)
        self._clusters = DepthClusterDetector(self.config.clusters, device)
        self._knows_supports = False

    def reset(self) -> None:
        """Forget that there were planes."""
        self._clusters.reset()
        self._knows_supports = False

    def detect(self, frame: Frame) -> Detections:
        """Return the objects of a frame; a pixel belongs to one of them at most."""
        config: VotingConfig = self.config
        clusters, supports = self._clusters.look(frame)
        self._knows_supports = self._clusters.knows_supports(frame)
        found = self._masks.detect(frame).items
        ground = _Ground(frame, supports)
        every = np.sum([item.mask for item in found], axis=0)
        masks = [
            self._on_support(item, every > item.mask, frame, supports, ground) for item in found
        ]
        votes = [
            _Vote(item.mask, item.score, item.support, stands=_stands(item)) for item in clusters
        ]
        kept = [
            vote
            for vote in _count(masks, votes, config.unsupported)
            if vote.score >= config.min_score
            and np.count_nonzero(vote.mask) >= config.masks.min_pixels
        ]
        items = [self._detection(frame, vote) for vote in kept]
        joined = [
            items[first]
            if not more
            else self._detection(frame, _joined([kept[first], *(kept[k] for k in more)]))
            for first, *more in join_hovering(items)
        ]
        return Detections(tuple(joined), tuple(support.plane for support in supports))

    def _detection(self, frame: Frame, vote: _Vote) -> Detection:
        return detection_of(
            frame,
            vote.mask,
            score=vote.score,
            support=vote.support,
            max_points=self.config.masks.max_points,
            border_px=_BORDER_PX,
        )

    def _on_support(
        self,
        item: Detection,
        others: Mask,
        frame: Frame,
        supports: list[Support],
        ground: _Ground,
    ) -> _Vote:
        """Return a mask without what lies on its support, confirmed where most of it rises."""
        x0, y0, x1, y1 = item.box_xyxy
        part = np.s_[y0 : y1 + 1, x0 : x1 + 1]
        mask, depth = item.mask[part], frame.depth[part]
        measured = mask & (depth > 0)
        count = np.count_nonzero(measured)
        glass = count < _MEASURED * np.count_nonzero(mask)  # or a mirror: depth has no say
        if glass and count < _LEAST_POINTS:
            return _Vote(item.mask, item.score, confirmed=True)
        if np.median(depth[measured]) > self.config.clusters.max_range_m:
            return _Vote(item.mask, 0.0)
        points, noise = world_points(frame, measured, (x0, y0)), depth_noise_m(depth[measured])
        few = np.s_[:: max(1, len(points) // _SAMPLES)]
        plane = _carrier(supports, points, points[few])
        if plane is None or np.quantile(plane.height_m(points[few]), _FOOT_LOW) > _RESTS_M:
            plane = ground.at_foot(item.mask, points[few], float(np.median(noise))) or plane
        if glass:
            return _Vote(item.mask, item.score, plane, confirmed=True)
        if plane is None:
            unknown = not self._knows_supports
            unknown = unknown or foot_is_hidden(frame, item.mask, others, ground.up)
            return _Vote(item.mask, item.score, confirmed=unknown)
        height = plane.height_m(points)
        top = np.quantile(height[few], _TOP)
        if top < max(self.config.min_rise_m, _NOISES * float(np.median(noise))):
            return _Vote(item.mask, 0.0)
        whole = item.mask.copy()
        rises = height > np.maximum(_FLOOR_M, 1.5 * noise)
        if rises.mean() >= _RISES:  # else it is as flat as a plate, and the support not level
            whole[part][measured] = rises
        return _Vote(whole, item.score, plane, confirmed=True)


class _Ground:
    """What is seen around the feet of things; those on one level stand on one plane."""

    def __init__(self, frame: Frame, supports: list[Support]) -> None:
        self.frame = frame
        self.planes: list[Plane] = []
        self.up: NDArray[np.float64] | None = None
        if frame.gravity_world is not None:
            self.up = -frame.gravity_world
        elif supports:
            self.up = supports[0].plane.normal_world

    def at_foot(
        self, mask: Mask, points_world_m: NDArray[np.float32], noise_m: float
    ) -> Plane | None:
        if self.up is None:
            return None
        plane = ground_at_foot(self.frame, mask, points_world_m, noise_m, self.up)
        if plane is None:
            return None
        for known in self.planes:
            if abs(known.offset_m - plane.offset_m) < _SAME_M:
                return known
        self.planes.append(plane)
        return plane


def _joined(votes: list[_Vote]) -> _Vote:
    """Return several votes as one, as sure as the surest."""
    score = max(vote.score for vote in votes)
    return dataclasses.replace(
        votes[0], mask=np.any([vote.mask for vote in votes], axis=0), score=score
    )


def _carrier(
    supports: list[Support], points: NDArray[np.float32], few: NDArray[np.float32]
) -> Plane | None:
    """Return the plane that carries a thing; rather one that its surface does not reach through."""
    planes = [s.plane for s in supports if _carries(s, few) and not _is_top(s, points)]
    for plane in planes:
        if np.quantile(plane.height_m(few), _FOOT_LOW) > -_PIERCED_M:
            return plane
    return planes[0] if planes else None


def _carries(support: Support, points: NDArray[np.float32]) -> bool:
    """Return whether points lie over a support, or rest on what goes on unseen around it."""
    height_m = support.plane.height_m(points)
    if np.quantile(height_m, 0.1) < -_RESTS_M:
        return False  # the top of a cabinet does not carry the cabinet
    above = height_m > -_BELOW_M
    over = above & support.covers(points, margin_m=_RIM_M)
    if over.mean() >= _MOST:
        return bool(np.quantile(height_m[over], 0.1) <= _FLOATS_M)
    # A cabinet hides as much of the floor as it is wide.
    wide_m = float(np.ptp(points, axis=0).max())
    near = above & support.covers(points, margin_m=max(_AROUND_M, wide_m))
    if near.mean() < _MOST:
        return False
    foot, top = np.quantile(height_m[near], (0.03, 0.97))
    return bool(foot <= max(_RESTS_M, _FOOT * top))


def _is_top(support: Support, points: NDArray[np.float32]) -> bool:
    """Return whether a support is the level top of the thing that points show."""
    height_m = support.plane.height_m(points)
    if np.quantile(height_m, _TOP) > _RIM_M:
        return False
    xy = points @ support.T_axes[:, :2].astype(np.float32)
    index = np.floor((xy - support.origin_m) / support.cell_size_m).astype(np.int32)
    index = index[within(index, support.area.shape)]
    covered = np.zeros_like(support.area)
    covered[index[:, 0], index[:, 1]] = True
    return bool(np.count_nonzero(covered & support.area) > _MOST * support.area.sum())


def _stands(item: Detection) -> bool:
    """Return whether the lowest points of a cluster are on its support."""
    points = item.points_world_m
    if item.support is None or points is None or not len(points):
        return False
    return bool(np.quantile(item.support.height_m(points), 0.1) <= _RESTS_M)


def _split(vote: _Vote, clusters: list[_Vote]) -> list[_Vote]:
    """Return what a mask holds: each of several clusters that stand, where nothing is between."""
    inside = [
        cluster
        for cluster in clusters
        if cluster.stands
        and np.count_nonzero(vote.mask & cluster.mask) > _MOST * np.count_nonzero(cluster.mask)
    ]
    if len(inside) < 2:
        return [vote]
    # What another thing cuts in two has parts that do not meet in the image.
    _, pieces = cv2.connectedComponents(vote.mask.astype(np.uint8))
    homes = [np.bincount(pieces[vote.mask & cluster.mask]).argmax() for cluster in inside]
    if len(set(homes)) == len(homes):
        return [vote]
    distances = [
        cv2.distanceTransform((~cluster.mask).astype(np.uint8), cv2.DIST_L2, 3)
        for cluster in inside
    ]
    nearest = np.argmin(distances, axis=0)
    return [
        dataclasses.replace(vote, mask=vote.mask & (nearest == number))
        for number in range(len(inside))
    ]


def _count(masks: list[_Vote], clusters: list[_Vote], unsupported: float) -> list[_Vote]:
    """Return what is left when both have voted, the best first; pixels of masks change."""
    masks = [part for vote in masks for part in _split(vote, clusters)]
    for cluster in clusters:
        inside = [vote for vote in masks if _is_about(vote.mask, cluster.mask)]
        for vote in inside:
            vote.support, vote.confirmed = vote.support or cluster.support, True
        _give_rim(cluster.mask, inside)
    found = [
        dataclasses.replace(vote, score=vote.score * (1.0 if vote.confirmed else unsupported))
        for vote in masks
    ]
    for cluster in clusters:
        rest = cluster.mask.copy()
        for vote in masks:
            rest &= ~vote.mask
        if np.count_nonzero(rest) > _MOST * np.count_nonzero(cluster.mask):
            found.append(dataclasses.replace(cluster, mask=rest))
    return sorted(found, key=lambda vote: -vote.score)


def _is_about(mask: Mask, cluster: Mask) -> bool:
    """Return whether most of a mask is in a cluster, or the reverse."""
    least = min(np.count_nonzero(mask), np.count_nonzero(cluster))
    return bool(np.count_nonzero(mask & cluster) > _MOST * least)


def _thick(mask: Mask) -> Mask:
    """Return a mask without its thin parts, such as the stem of a lamp or a handle."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_THIN_PX, _THIN_PX))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc) > 0


def _bridges(thin: Mask, owner: NDArray[np.int32]) -> Mask:
    """Return the connected parts of a mask that are near two owners or more."""
    count, pieces = cv2.connectedComponents(thin.astype(np.uint8))
    around = np.ones((2 * _RIM_PX + 1,) * 2, np.uint8)
    owners = np.zeros(count, np.int32)
    for number in np.unique(owner[owner > 0]):
        reach = cv2.dilate((owner == number).astype(np.uint8), around) > 0
        owners[np.unique(pieces[reach])] += 1
    owners[0] = 0
    return np.asarray(owners[pieces] > 1)


def _give_rim(cluster: Mask, votes: list[_Vote]) -> None:
    """Give pixels of a cluster that no mask has to the nearest of its masks.

    So go those near one, and thin parts that join two, as the stem of a lamp its shade and foot.
    """
    if not votes:
        return
    every = np.any([cluster, *(vote.mask for vote in votes)], axis=0)
    rows, columns = np.flatnonzero(every.any(1)), np.flatnonzero(every.any(0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    owner = np.zeros(every[part].shape, np.int32)
    for number, vote in enumerate(votes, 1):
        owner[vote.mask[part]] = number
    distance, labels = cv2.distanceTransformWithLabels(
        (owner == 0).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Each pixel's label is that of the nearest pixel of a mask.
    owners = np.zeros(labels.max() + 1, np.int32)
    owners[labels[owner > 0]] = owner[owner > 0]
    rest = cluster[part] & (owner == 0)
    near = rest & ((distance <= _RIM_PX) | _bridges(rest & ~_thick(rest), owner))
    for number, vote in enumerate(votes, 1):
        vote.mask[part] |= near & (owners[labels] == number)
