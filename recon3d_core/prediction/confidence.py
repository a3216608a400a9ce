"""How much a predicted shape is to be believed, with reasons for people."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.crops import mask_box
from recon3d_core.fusion._crops import Crop, SOLID
from recon3d_core.meshing.render import cast_mesh
from recon3d_core.types import Mesh
from scipy import ndimage

LOW = 0.5
YAWS = np.arange(24) * (2 * np.pi / 24)
ELEVATIONS = np.deg2rad([0.0, 20.0, 40.0, 60.0])
CELLS = 32  # along the longer side of silhouettes that are compared
MOST_POINTS = 12000


@dataclasses.dataclass(frozen=True)
class Confidence:
    """How sure a shape is; `value` is the product of the others that are known.

    Attributes:
        sharpness: `expected_iou` of the shape under the network's own probabilities.
        masks: Mean confidence of the masks, 1 where they were given.
        agreement: Mean IoU of the shape's silhouettes and the masks, which tells of mistakes that
            the network does not know of. Without poses, from the side at which each fits best:
            then it is an upper bound.
    """

    sharpness: float
    masks: float
    agreement: float

    @property
    def value(self) -> float:
        """Confidence in [0, 1]."""
        return self.sharpness * self.masks * self.agreement

    def advice(self, views: int) -> str:
        """Return one line on why it is low and what to do; empty where it is not."""
        if self.value >= LOW:
            return ''
        reasons = [
            (self.sharpness, 'the network is unsure of the shape', 'give more views'),
            (self.masks, 'the object was hard to tell from its background', 'give masks (--mask)'),
            (
                self.agreement,
                'the outlines of the shape are not those of the object',
                'give more views, check masks and poses, or take a network that knows such things',
            ),
        ]
        _, why, fix = min(reasons)
        return f'low confidence {self.value:.2f} from {in_words(views)}: {why}; {fix}'


def in_words(views: int) -> str:
    """Return how many views, for people."""
    return '1 view' if views == 1 else f'{views} views'


def expected_iou(probabilities: NDArray[np.floating], threshold: float) -> float:
    """Return the IoU that a shape may be expected to have if its probabilities are right.

    With voxels independent and probabilities p, the solid S of those at or above the threshold
    shares sum_S p voxels with the truth in the mean, and both together hold |S| + sum_{not S} p:
    the quotient is 1 where the network is sure of all, and low where much is possible.

    Args:
        probabilities: (N, N, N), recalibrated so that the threshold is 0.5.
        threshold: Of the solid.
    """
    inside = probabilities >= threshold
    union = float(inside.sum()) + float(probabilities[~inside].sum(dtype=np.float64))
    return float(probabilities[inside].sum(dtype=np.float64)) / union if union else 0.0


def likeliest_agreement(inside: NDArray[np.bool_], crops: Sequence[Crop]) -> float:
    """Return the mean IoU of masks and the most alike silhouettes of a solid seen from anywhere.

    For crops without poses: parallel projections from YAWS x ELEVATIONS, boxes brought to one
    size. Of several views each takes the side that fits it best.

    Args:
        inside: (N, N, N) the solid, z up.
        crops: Views of it.
    """
    shell = inside & ~np.asarray(ndimage.binary_erosion(inside))
    places = np.argwhere(shell)[:, None] + np.array(list(np.ndindex(2, 2, 2))) / 2 + 0.25
    points = places.reshape(-1, 3) - len(inside) / 2
    points = points[:: -(-len(points) // MOST_POINTS)]
    drawn = np.stack([_silhouette(points, yaw, rise) for rise in ELEVATIONS for yaw in YAWS])
    best = []
    for crop in crops:
        solid = crop.mask >= SOLID
        x0, y0, x1, y1 = (int(edge) for edge in mask_box(solid))
        mask = _in_square(solid[y0:y1, x0:x1].astype(np.uint8))
        union = (drawn | mask).sum((1, 2))
        best.append(float(((drawn & mask).sum((1, 2)) / union).max()))
    return float(np.mean(best))


def _silhouette(points: NDArray[np.float64], yaw: float, rise: float) -> NDArray[np.bool_]:
    """Return the silhouette (CELLS, CELLS) of voxels' parts seen from a direction."""
    right = points @ np.array([-np.sin(yaw), np.cos(yaw), 0])
    down = points @ np.array(
        [np.sin(rise) * np.cos(yaw), np.sin(rise) * np.sin(yaw), -np.cos(rise)]
    )
    at = np.stack([right - right.min(), down - down.min()], 1)
    at = (at * (CELLS - 1) / max(float(at.max()), 1e-9)).astype(int)
    image = np.zeros((int(at[:, 1].max()) + 1, int(at[:, 0].max()) + 1), np.uint8)
    image[at[:, 1], at[:, 0]] = 1
    return _in_square(cv2.morphologyEx(image, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))


def _in_square(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return a tight mask in the middle of a square, its longer side brought to CELLS."""
    height, width = image.shape
    scale = CELLS / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    fitted = cv2.resize(image * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 127
    square = np.zeros((CELLS, CELLS), bool)
    top, left = (CELLS - size[1]) // 2, (CELLS - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = fitted
    return square


def silhouette_agreement(mesh: Mesh, crops: Sequence[Crop]) -> float:
    """Return the mean IoU of a mesh's silhouettes and the masks of crops with poses."""
    values = []
    for crop in crops:
        camera = crop.camera.scaled(64 / len(crop.mask))
        drawn = cast_mesh(mesh, camera, crop.T_world_camera) > 0
        mask = cv2.resize(crop.mask, (drawn.shape[1], drawn.shape[0]), interpolation=3) >= SOLID
        union = int((drawn | mask).sum())
        values.append(int((drawn & mask).sum()) / union if union else 0.0)
    return float(np.mean(values))
