"""What a view shows of an object, thinned to a bounded number of rays: inside, outside, how deep."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import Array
from recon3d_core.types import View

RAYS = 700  # about as many are kept of a view
_MARGIN = 0.35  # of the mask's box
_NEVER_PX = 1e6


@dataclasses.dataclass(frozen=True)
class RayEvidence:
    """Rays of one view, those left out that say nothing: behind something else, off the image.

    Attributes:
        eye_world_m: (3,) where they begin.
        rays_world: (n, 3) directions, as long as makes their depth 1.
        outline_px: (n,) distance from the mask's outline, negative inside.
        depth_m: (n,) measured depth of rays inside, 0 where there is none.
        focal_px: Focal length.
        box_px: (4,) x0, y0, x1, y1 of the mask's outer edges.
        camera: Intrinsics of the image that the box is in.
        T_world_camera: (4, 4) its pose.
        contact_px: (2,) lowest pixel of the mask above the ground, or None.
    """

    eye_world_m: Array
    rays_world: Array
    outline_px: Array
    depth_m: Array
    focal_px: float
    box_px: Array
    camera: Camera
    T_world_camera: Array
    contact_px: Array | None = None

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which rays (n,) meet the object."""
        return self.outline_px < 0

    @property
    def middle_ray_world(self) -> Array:
        """Direction (3,) of the middle of the mask's box, of depth 1."""
        x0, y0, x1, y1 = self.box_px
        middle = np.array([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2])
        ray: Array = self.T_world_camera[:3, :3] @ self.camera.unproject(middle, np.float64(1.0))
        return ray

    @property
    def has_depth(self) -> bool:
        """Whether depth was measured on the object."""
        return bool((self.depth_m > 0).any())

    @property
    def points_world_m(self) -> Array:
        """Measured points (k, 3) of the object's surface."""
        measured = self.depth_m > 0
        points: Array = self.eye_world_m + self.rays_world[measured] * self.depth_m[measured, None]
        return points


def evidence_of(view: View, contact_px: Array | None = None) -> RayEvidence | None:
    """Return the rays of a view; None where its mask is empty.

    Args:
        view: A view with a pose.
        contact_px: Lowest pixel of the mask above the ground, or None.
    """
    rows, columns = np.flatnonzero(view.mask.any(1)), np.flatnonzero(view.mask.any(0))
    if not len(rows):
        return None
    low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
    margin = np.ceil(_MARGIN * (high - low).max()).astype(int) + 2
    size = np.array([view.frame.camera.width, view.frame.camera.height])
    start, end = np.maximum(low - margin, 0), np.minimum(high + margin, size)
    part = (slice(start[1], end[1]), slice(start[0], end[0]))
    mask = view.mask[part]
    blocked = np.zeros_like(mask) if view.others is None else view.others[part] & ~mask
    outline_px, known = _outline(mask, blocked, cut=(start == 0, end == size))
    step = max(1, int(np.ceil(np.sqrt(mask.size / RAYS))))
    y, x = np.mgrid[step // 2 : mask.shape[0] : step, step // 2 : mask.shape[1] : step]
    chosen = known[y, x]
    y, x = y[chosen], x[chosen]
    camera, pose = view.frame.camera, view.frame.pose
    pixels = np.stack([x + start[0], y + start[1]], -1).astype(np.float64)
    depth = np.zeros(len(x))
    if view.frame.depth_m is not None:
        # Pixels at the border mix the depths of what is before and behind it.
        inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        depth = np.where(inner, view.frame.depth_m[part], 0)[y, x].astype(np.float64)
    rays = camera.unproject(pixels, np.ones(len(pixels)))
    return RayEvidence(
        eye_world_m=pose[:3, 3],
        rays_world=rays @ pose[:3, :3].T,
        outline_px=outline_px[y, x],
        depth_m=depth,
        focal_px=(camera.fx + camera.fy) / 2,
        box_px=np.concatenate([low, high]).astype(np.float64),
        camera=camera,
        T_world_camera=pose,
        contact_px=contact_px,
    )


def _outline(
    mask: NDArray[np.bool_], blocked: NDArray[np.bool_], cut: tuple[Array, Array]
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the distance from the outline (h, w) in pixels, and where it is known.

    Nothing is known behind something else, nor outside where that, or the end of the image, is
    nearer than the mask: the object may go on there.
    """
    inside = cv2.distanceTransform(np.pad(mask, 1, mode='edge').astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    outline = np.where(mask, 0.5 - inside[1:-1, 1:-1], outside - 0.5).astype(np.float64)
    unknown = np.full(mask.shape, _NEVER_PX)
    if blocked.any():
        unknown = cv2.distanceTransform((~blocked).astype(np.uint8), cv2.DIST_L2, 5)
    rows, columns = np.indices(mask.shape)
    low, high = cut
    for reached, distance, touches in (
        (low[0], columns, mask[:, 0]), (low[1], rows, mask[0]),
        (high[0], mask.shape[1] - 1 - columns, mask[:, -1]),
        (high[1], mask.shape[0] - 1 - rows, mask[-1]),
    ):  # fmt: skip
        if reached and touches.any():  # the image's end cuts it off
            unknown = np.minimum(unknown, distance)
    known = ~blocked & (mask | (outside < unknown))
    return outline, known
