"""Whole outlines of reconstructed objects in an image, what is hidden included.

What no mask can show, the closed mesh does: drawn into a view it gives the amodal mask and box
(Zhu et al., *Semantic Amodal Segmentation*, CVPR 2017), and beside the other objects and the
measured depth, which part of it is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.meshing.render import cast_mesh
from recon3d_core.types import Frame, ObjectEstimate

_NEAR_M = 0.01  # a vertex nearer to the camera has no place in the image
_IN_FRONT_M = 0.02  # depth nearer by so much is something else


@dataclasses.dataclass(frozen=True)
class AmodalView:
    """An object as an image would show it if nothing were in front.

    Attributes:
        box_xyxy: x0, y0, x1, y1 in pixels, both ends inclusive, also beyond the image.
        mask: (H, W) bool, the part of the outline that is in the image.
        visible: (H, W) bool, pixels of `mask` with nothing in front.
    """

    box_xyxy: tuple[int, int, int, int]
    mask: NDArray[np.bool_]
    visible: NDArray[np.bool_]

    @property
    def visible_fraction(self) -> float:
        """Part of the outline inside the image that is seen, in [0, 1]."""
        whole = int(np.count_nonzero(self.mask))
        return int(np.count_nonzero(self.visible)) / max(whole, 1)


def amodal_views(objects: Mapping[int, ObjectEstimate], frame: Frame) -> dict[int, AmodalView]:
    """Return the objects that a frame would show, by id.

    Args:
        objects: Estimates by id; their meshes are in the world's frame.
        frame: A frame with a pose; its depth, where there is some, tells what else is in front.
    """
    depths, boxes = {}, {}
    for number, estimate in objects.items():
        box = _box(estimate, frame)
        if box is None:
            continue
        depth_m = _drawn(estimate, frame, box)
        if (depth_m > 0).any():
            depths[number], boxes[number] = depth_m, box
    if not depths:
        return {}
    nearest = np.min([np.where(depth > 0, depth, np.inf) for depth in depths.values()], axis=0)
    if frame.depth_m is not None:
        measured = np.where(frame.depth_m > 0, frame.depth_m + _IN_FRONT_M, np.inf)
        nearest = np.minimum(nearest, measured)
    return {
        number: AmodalView(boxes[number], depth > 0, (depth > 0) & (depth <= nearest))
        for number, depth in depths.items()
    }


def _box(estimate: ObjectEstimate, frame: Frame) -> tuple[int, int, int, int] | None:
    """Return the box of an object's projection; None behind the camera or beside the image."""
    local = apply(invert(frame.pose), estimate.mesh.vertices_m.astype(np.float64))
    if not len(local) or local[:, 2].min() < _NEAR_M:
        return None
    pixels = frame.camera.project(local)
    (x0, y0), (x1, y1) = np.floor(pixels.min(0) + 0.5), np.floor(pixels.max(0) + 0.5)
    if x1 < 0 or y1 < 0 or x0 >= frame.camera.width or y0 >= frame.camera.height:
        return None
    return int(x0), int(y0), int(x1), int(y1)


def _drawn(
    estimate: ObjectEstimate, frame: Frame, box: tuple[int, int, int, int]
) -> NDArray[np.float32]:
    """Return the depth (H, W) of an object's mesh, 0 beside it."""
    camera = frame.camera
    x0, y0 = max(box[0], 0), max(box[1], 0)
    x1, y1 = min(box[2], camera.width - 1), min(box[3], camera.height - 1)
    part = camera.cropped(x0, y0, x1 - x0 + 1, y1 - y0 + 1)
    depth = np.zeros((camera.height, camera.width), np.float32)
    depth[y0 : y1 + 1, x0 : x1 + 1] = cast_mesh(estimate.mesh, part, frame.pose)
    return depth
