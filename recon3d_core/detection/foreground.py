"""Objects before a plain background, from colour alone: no depth, no network, no weights.

What differs from the background that the image's border shows is an object, once shadows, noise
and thin lines are left out. Objects that cover one another in the image are one region; a region
in which several known objects must lie is left out, so that no object is given another's outline.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option
from recon3d_core.detection.background import background_of
from recon3d_core.detection.identities import Identities
from recon3d_core.interfaces import Detector, DetectorConfig
from recon3d_core.types import Detection, Detections, Frame, Plane

Mask = NDArray[np.bool_]


class ForegroundConfig(DetectorConfig):
    """Options of `foreground`."""

    min_difference: float = option(
        5.0,
        'Least difference from the background, after shadows, in units of CIE Lab.',
        ge=1.0,
        le=60.0,
        live=True,
    )
    min_pixels: int = option(
        400, 'Fewest pixels of an object.', unit='px', ge=20, le=1000000, live=True
    )
    max_part: float = option(
        0.4, 'Largest part of the image that an object takes.', ge=0.01, le=1.0, live=True
    )
    max_hole: float = option(
        0.06,
        'Holes of at most this part of an object are filled; larger ones, as in a ring, stay.',
        ge=0.0,
        le=1.0,
        live=True,
    )
    support_known: bool = option(
        False,
        'Whether objects stand at `support_height_m`: what does not begin there is left out.',
        live=True,
    )
    support_height_m: float = option(
        0.0,
        "Height of the support in the world, along the world's up.",
        unit='m',
        ge=-100.0,
        le=100.0,
        live=True,
    )
    max_distance_m: float = option(
        3.0,
        'Farthest object from the camera, where the support is known.',
        unit='m',
        ge=0.1,
        le=100.0,
        live=True,
    )
    working_width: int = option(
        320, 'Width at which the image is looked at.', unit='px', ge=80, le=1920, live=True
    )


class ForegroundDetector(Detector):
    """Regions that differ from the background; each has an identity that lasts over frames."""

    name = 'foreground'
    Config = ForegroundConfig
    needs = frozenset({'rgb', 'intrinsics'})

    def __init__(self, config: ForegroundConfig | None = None, device: str = 'cpu') -> None:
        """Know no object yet."""
        super().__init__(config, device)
        self._identities: dict[str, Identities] = {}

    def reset(self) -> None:
        """Forget all objects; their numbers do not come back."""
        for known in self._identities.values():
            known.reset()

    def detect(self, frame: Frame) -> Detections:
        """Return the objects of a frame, without those that cannot be told apart."""
        assert frame.rgb is not None
        masks = regions(frame.rgb, self.config)
        support = self._support(frame)
        if support is not None:
            masks = [mask for mask in masks if self._stands(mask, frame, support)]
        items = [_detection(mask, support) for mask in masks]
        first = len(self._identities)
        known = self._identities.setdefault(frame.camera_name, Identities(first))
        named = known.assign(frame, items)
        return Detections(tuple(named), () if support is None else (support,))

    def _support(self, frame: Frame) -> Plane | None:
        if not self.config.support_known or frame.T_world_camera is None:
            return None
        down = frame.gravity_world
        up = np.array([0.0, 0.0, 1.0]) if down is None else -down
        return Plane(up, -float(self.config.support_height_m))

    def _stands(self, mask: Mask, frame: Frame, support: Plane) -> bool:
        """Return whether the foot of a region is on the support, near enough."""
        assert frame.T_world_camera is not None
        T = frame.T_world_camera
        foot = float(np.flatnonzero(mask.any(1))[-1])
        middle = float(np.flatnonzero(mask[int(foot)]).mean())
        local = frame.camera.unproject(np.array([middle, foot]), np.float64(1.0))
        ray = T[:3, :3] @ (local / np.linalg.norm(local))
        towards = -float(ray @ support.normal_world)
        height_m = float(support.height_m(T[:3, 3]))
        # Both change their sign for a camera below the support.
        return towards * height_m > 0 and height_m / towards <= self.config.max_distance_m


def regions(rgb: NDArray[np.uint8], config: ForegroundConfig) -> list[Mask]:
    """Return the masks (H, W) of what stands out of an image (H, W, 3), largest first.

    A region on two or more sides of the image is taken for background.
    """
    height, width = rgb.shape[:2]
    small = _shrunk(rgb, config.working_width)
    differs = background_of(small).difference > config.min_difference
    clean = _cleaned(differs, config.max_hole)
    scale = width * height / clean.size
    count, labels, stats, _ = cv2.connectedComponentsWithStats(clean.astype(np.uint8))
    found: list[tuple[int, Mask]] = []
    for k in range(1, count):
        x, y, w, h, area = stats[k].tolist()
        if not config.min_pixels <= area * scale <= config.max_part * width * height:
            continue
        sides = (x == 0) + (y == 0) + (x + w == clean.shape[1]) + (y + h == clean.shape[0])
        if sides < 2:
            found.append((area, labels == k))
    found.sort(key=lambda pair: -pair[0])
    return [_enlarged(mask, width, height) for _, mask in found]


def _shrunk(rgb: NDArray[np.uint8], working_width: int) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    if width <= working_width:
        return np.ascontiguousarray(rgb)
    size = (working_width, max(1, math.ceil(height * working_width / width)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _cleaned(mask: Mask, max_hole: float) -> Mask:
    """Return a mask without lines and specks, small gaps closed and small holes filled."""
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    solid = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, ball)
    solid = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, ball)
    return filled(solid > 0, max_hole)


def filled(mask: Mask, max_hole: float) -> Mask:
    """Return a mask with those holes filled that are a small part of what is around them."""
    contours, tree = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    if tree is None:
        return mask
    result = mask.astype(np.uint8)
    for contour, (_, _, _, parent) in zip(contours, tree[0]):
        whole = cv2.contourArea(contours[parent]) if parent >= 0 else 0.0
        if parent >= 0 and cv2.contourArea(contour) <= max_hole * whole:
            cv2.drawContours(result, [contour], -1, 1, cv2.FILLED)
    return result > 0


def _enlarged(mask: Mask, width: int, height: int) -> Mask:
    if mask.shape == (height, width):
        return mask
    large = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    grown: Mask = large > 0.5
    return grown


def _detection(mask: Mask, support: Plane | None) -> Detection:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    cut = min(box[:2]) <= 1 or box[2] >= width - 2 or box[3] >= height - 2
    return Detection(mask=mask, box_xyxy=box, support=support, truncated=cut)
