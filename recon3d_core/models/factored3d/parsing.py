"""From an image and boxes to a room and posed objects, as other parts of the library want them."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.models.factored3d import frames
from recon3d_core.models.factored3d.model import box_rays, Factored3d, Factors, log_extent, Scenery
import torch
from torch import Tensor

Array = NDArray[np.float64]
_LEAST_PX = 1.0


@dataclasses.dataclass(frozen=True)
class ParsedObject:
    """An object as one image shows it.

    Attributes:
        box_xyxy: The box that it was told from, outer edges in pixels.
        T_camera_object: (4, 4) pose of its upright box.
        size_m: (3,) edges of that box.
        probabilities: (32, 32, 32) float32 that a cell of that box is inside.
        score: Chance that there is such an object and all of it is about right.
    """

    box_xyxy: tuple[float, float, float, float]
    T_camera_object: Array
    size_m: Array
    probabilities: NDArray[np.float32]
    score: float

    def scaled(self, factor: float) -> ParsedObject:
        """Return the object so many times larger and farther away: the same image."""
        T = self.T_camera_object.copy()
        T[:3, 3] *= factor
        return dataclasses.replace(self, T_camera_object=T, size_m=self.size_m * factor)


@dataclasses.dataclass(frozen=True)
class SeenImage:
    """What the network made of a whole image, ready to tell of boxes in it.

    Attributes:
        scenery: Of a batch of one.
        K: (1, 3, 3) intrinsics at the network's size.
        factors: (2,) pixels of the network's image in one of the original, x and y.
    """

    scenery: Scenery
    K: Tensor
    factors: Tensor

    @property
    def layout(self) -> NDArray[np.float32]:
        """Inverse depth (h, w) of the empty room in 1/m, of the whole image."""
        found: NDArray[np.float32] = self.scenery.layout[0].float().cpu().numpy()
        return found

    @property
    def up(self) -> Array:
        """Unit vector (3,) that points up, in the camera's frame."""
        return np.asarray(self.scenery.up[0].cpu().numpy(), np.float64)


@torch.no_grad()
def see_image(network: Factored3d, rgb: NDArray[np.uint8], K: NDArray[np.floating]) -> SeenImage:
    """Return what a network in `eval` mode makes of an image.

    Args:
        network: The network.
        rgb: (H, W, 3) RGB of any size.
        K: (3, 3) its intrinsics, pixels.
    """
    size = (int(network.config.width), int(network.config.height))
    factors = np.array(size, np.float64) / np.array(rgb.shape[1::-1])
    if rgb.shape[1::-1] != size:
        smooth = cv2.INTER_AREA if factors.min() < 1 else cv2.INTER_LINEAR
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=smooth), np.uint8)
    resized = np.eye(3)
    resized[[0, 1], [0, 1]], resized[[0, 1], 2] = factors, (factors - 1) / 2
    device = network.device
    intrinsics = torch.from_numpy((resized @ K).astype(np.float32))[None].to(device)
    image = torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(2, 0, 1)[None]
    scenery = network.see(network.preprocess(image.float() / 255, intrinsics))
    return SeenImage(scenery, intrinsics, torch.from_numpy(factors).float().to(device))


@torch.no_grad()
def tell_objects(
    network: Factored3d,
    seen: SeenImage,
    boxes_xyxy: Sequence[Sequence[float]],
    up_camera: NDArray[np.floating] | None = None,
) -> list[ParsedObject]:
    """Return the objects of boxes in an image, in the order of the boxes.

    Args:
        network: The network that saw the image, in `eval` mode.
        seen: What it made of the image.
        boxes_xyxy: Boxes of visible pixels, outer edges x0, y0, x1, y1 in pixels.
        up_camera: (3,) direction up in the camera's frame where it is known.
    """
    if not len(boxes_xyxy):
        return []
    original = torch.tensor(np.asarray(boxes_xyxy, np.float32), device=network.device)
    wide = torch.maximum(original[:, 2:], original[:, :2] + _LEAST_PX)
    boxes = torch.cat([original[:, :2], wide], 1) * seen.factors.repeat(2)
    image_of = torch.zeros(len(boxes), dtype=torch.long, device=network.device)
    factors = network.tell(seen.scenery, seen.K, boxes, image_of)
    up = seen.scenery.up[0]
    if up_camera is not None:
        up = torch.as_tensor(np.asarray(up_camera), dtype=up.dtype, device=up.device)
    T, size_m = place(factors, seen.K.expand(len(boxes), -1, -1), boxes, up.expand(len(boxes), -1))
    shapes = factors.shape_logits.sigmoid().cpu().numpy()
    scores = factors.true_logits.sigmoid().cpu().numpy()
    told = zip(original.tolist(), T.cpu().numpy(), size_m.cpu().numpy(), shapes, scores)
    return [
        ParsedObject(tuple(box), _rigid(pose), size.astype(np.float64), shape, float(score))
        for box, pose, size, shape, score in told
    ]


def place(factors: Factors, K: Tensor, boxes: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Return the poses (N, 4, 4) and edges (N, 3) in metres that a network says.

    Args:
        factors: What the network says.
        K: (N, 3, 3) intrinsics.
        boxes: (N, 4) the boxes at its size.
        up: (N, 3) unit vectors that point up, in the camera's frame.
    """
    rays, extent = box_rays(K, boxes)
    depth = factors.log_depth.clamp(-4, 4).exp()
    at = rays[:, :2] + factors.offset.clamp(-2, 2) * extent
    yaw = frames.yaw_from_bins(factors.yaw_logits)
    T = torch.eye(4, device=K.device).repeat(len(boxes), 1, 1)
    T[:, :3, :3] = frames.rotation_of(up, rays, yaw)
    T[:, :2, 3], T[:, 2, 3] = at * depth[:, None], depth
    logs = (
        factors.log_edges.clamp(-4, 3)
        + (factors.log_depth.clamp(-4, 4) + log_extent(extent))[:, None]
    )
    return T, logs.exp()


def _rigid(pose: NDArray[np.float32]) -> Array:
    """Return a pose (4, 4) whose rotation is orthonormal to float64's precision."""
    exact = pose.astype(np.float64)
    u, _, v = np.linalg.svd(exact[:3, :3])
    exact[:3, :3] = u @ v
    return exact
