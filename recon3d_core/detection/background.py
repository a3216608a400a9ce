"""What belongs to the background of a colour image: what its border shows, shadows included.

Under light of the same colour, k times as strong, every linear colour is k times as large. In
CIE Lab that scales the vector (L + 16, a, b) by the cube root of k: what lies in shadow has the
direction of what does not, which is how shadows are told from things.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

CLUSTERS = 8
RING = 0.03  # of the shorter side: width of the border from which the colours come
SHARE = 0.10  # of the border, from which a colour is the background's
SHARE_OF_SIDES = 0.015  # the same, where it is on several sides of the image
SIDES_SEEN = 2
SHADOW = 0.62  # least scale of a vector in shadow: a quarter of the light
LIGHT = 1.12  # largest scale
ALIKE = 2.5  # residual up to which two colours are one in different light
CONNECTED = 6.0  # residual up to which neighbouring pixels belong together
REACH = 0.16  # of the image's width: how far a background is expected around where it was seen
LEAST_NEAR = 0.02  # of the pixels in reach
_SAMPLES = 4000
_SIDE_PIXELS = 0.006  # of the border's pixels, from which a colour is on a side
_FAR = np.float32(100)

Vectors = NDArray[np.float32]
Scalars = NDArray[np.float32]


def light_vectors(rgb: NDArray[np.uint8]) -> Vectors:
    """Return (L + 16, a, b) of an image (H, W, 3) uint8 RGB, float32."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab *= np.array([100 / 255, 1, 1], np.float32)
    lab += np.array([16, -128, -128], np.float32)
    return lab


def residual(dot: Scalars, own: Scalars, reference: Scalars | float) -> Scalars:
    """Return what is left of vectors after taking a reference scaled within [SHADOW, LIGHT].

    Args:
        dot: Products of the vectors with the reference.
        own: Their squared lengths.
        reference: Squared length of the reference.
    """
    scale = np.clip(dot / np.maximum(reference, 1e-6), SHADOW, LIGHT)
    return np.sqrt(np.maximum(own - scale * (2 * dot - scale * reference), 0))


@dataclasses.dataclass(frozen=True)
class Background:
    """The background of an image.

    Attributes:
        difference: (H, W) float32, how far each pixel's colour is from the background that is
            near it, in units of Lab; shadows and gradual changes of light do not count.
        explained: Part of the image's border that it takes, in [0, 1].
    """

    difference: Scalars
    explained: float


def background_of(rgb: NDArray[np.uint8]) -> Background:
    """Return what the border of an image shows, and how far other pixels are from that.

    Colours of the border are grouped; a group is background where it takes a good part of the
    border or is on several sides of the image: an object that the border cuts is on one side as
    a rule. What is connected to the border in one of these colours is background for sure. Its
    local mean is what pixels around are compared to, so that a white thing on a table stays one
    where there is a white wall elsewhere.

    Args:
        rgb: (H, W, 3) uint8; some 320 pixels wide are enough.
    """
    image = light_vectors(cv2.medianBlur(rgb, 3))
    own = np.einsum('ijk,ijk->ij', image, image)
    colors, explained = _border_colors(image)
    difference = np.full(own.shape, _FAR)
    radius = max(2, round(REACH * image.shape[1]))
    for color in colors:
        rest = residual(image @ color, own, float(color @ color))
        region = connected_to_border(rest < CONNECTED)
        mean, near = _local_mean(image, region, radius)
        dot = np.einsum('ijk,ijk->ij', image, mean)
        rest = residual(dot, own, np.einsum('ijk,ijk->ij', mean, mean))
        np.minimum(difference, np.where(near, rest, _FAR), out=difference)
    return Background(difference, explained)


def connected_to_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the parts of a mask (H, W) that touch the image's border."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    touching = np.zeros(int(labels.max()) + 1, bool)
    touching[rim] = True
    touching[0] = False
    found: NDArray[np.bool_] = touching[labels]
    return found


def _border_colors(image: Vectors) -> tuple[list[Vectors], float]:
    """Return the colours (3,) of the background, and which part of the border they take."""
    ring, side = _ring(image)
    step = max(1, len(ring) // _SAMPLES)
    ring, side = np.ascontiguousarray(ring[::step]), side[::step]
    groups = min(CLUSTERS, len(ring))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 0.5)
    cv2.setRNGSeed(0)  # k-means of OpenCV takes no generator
    labels, centers = cv2.kmeans(ring, groups, None, stop, 1, cv2.KMEANS_PP_CENTERS)[1:]
    members = [labels.ravel() == k for k in range(groups)]
    order = sorted(range(groups), key=lambda k: -int(members[k].sum()))
    joined: list[tuple[Vectors, NDArray[np.bool_]]] = []
    for k in order:
        alike = [i for i, (color, _) in enumerate(joined) if _gap(centers[k], color) < ALIKE]
        if alike:
            joined[alike[0]] = joined[alike[0]][0], joined[alike[0]][1] | members[k]
        else:
            joined.append((centers[k], members[k]))
    kept = [pair for i, pair in enumerate(joined) if i == 0 or _is_background(pair[1], side)]
    return [color for color, _ in kept], float(sum(member.mean() for _, member in kept))


def _gap(a: Vectors, b: Vectors) -> float:
    return float(residual(np.float32(a @ b), np.float32(a @ a), float(b @ b)))


def _is_background(member: NDArray[np.bool_], side: NDArray[np.int64]) -> bool:
    share = float(member.mean())
    sides = (np.bincount(side[member], minlength=4) > _SIDE_PIXELS * len(member)).sum()
    return share >= SHARE or (share >= SHARE_OF_SIDES and int(sides) >= SIDES_SEEN)


def _ring(image: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
    """Return the border's pixels (N, 3), and on which side (0..3) each lies."""
    height, width = image.shape[:2]
    wide = max(1, round(RING * min(height, width)))
    parts = (image[:wide], image[-wide:], image[wide:-wide, :wide], image[wide:-wide, -wide:])
    flat = [part.reshape(-1, 3) for part in parts]
    return np.concatenate(flat), np.repeat(np.arange(4), [len(part) for part in flat])


def _local_mean(
    image: Vectors, region: NDArray[np.bool_], radius_px: int
) -> tuple[Vectors, NDArray[np.bool_]]:
    """Return the mean (H, W, 3) of a region around every pixel, and where there is enough of it."""
    size = (2 * radius_px + 1, 2 * radius_px + 1)
    weight = cv2.blur(region.astype(np.float32), size)
    total = cv2.blur(image * region[..., None], size)
    return total / np.maximum(weight, 1e-6)[..., None], weight > LEAST_NEAR
