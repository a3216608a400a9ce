"""Average precision of instance masks without classes, as COCO defines it for one class.

Detections of all images are taken in the order of their scores; each is true where its IoU with
an object of its image that no better detection took is at least the threshold. The result is the
area below the precision, made monotone, over the recall (Lin et al. 2014; all points, not 101).
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import InputError

Masks = NDArray[np.bool_]
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class InstanceMatch:
    """What was found in one image.

    Attributes:
        scores: (P,) scores of the predictions.
        ious: (P, T) IoU with each object.
        elsewhere: (P,) share of each prediction that lies in regions that do not count.
    """

    scores: Array
    ious: Array
    elsewhere: Array


def mask_ious(predicted: Masks, truth: Masks) -> Array:
    """Return the IoU (P, T) of masks (P, H, W) and (T, H, W).

    Raises:
        InputError: The images differ in size.
    """
    if predicted.ndim != 3 or truth.ndim != 3 or predicted.shape[1:] != truth.shape[1:]:
        raise InputError('masks', predicted.shape, f'(P, H, W) as the truth {truth.shape}')
    # Sums of float32 ones are exact up to 2^24 pixels.
    pixels = int(np.prod(truth.shape[1:]))
    a = predicted.reshape(len(predicted), pixels).astype(np.float32)
    b = truth.reshape(len(truth), pixels).astype(np.float32)
    common = (a @ b.T).astype(np.float64)
    union = a.sum(1, dtype=np.float64)[:, None] + b.sum(1, dtype=np.float64) - common
    return np.asarray(common / np.maximum(union, 1))


def match_instances(
    predicted: Masks,
    scores: Sequence[float] | Array,
    instances: NDArray[np.integer],
    least_px: int = 1,
) -> InstanceMatch:
    """Compare the predictions of an image with its objects.

    Args:
        predicted: (P, H, W) masks.
        scores: Their P scores.
        instances: (H, W) object of each pixel, 0 = background, below 0 = does not count.
        least_px: Objects with fewer pixels do not count, nor do predictions that lie on them.

    Raises:
        InputError: The sizes or counts do not fit.
    """
    if len(scores) != len(predicted):
        raise InputError('scores', len(scores), f'{len(predicted)}, one for each mask')
    ids, counts = np.unique(instances, return_counts=True)
    counted = ids[(ids > 0) & (counts >= least_px)]
    truth = np.stack([instances == k for k in counted]) if len(counted) else _none(instances)
    aside = (instances != 0) & ~np.isin(instances, counted)
    areas = predicted.sum((1, 2))
    elsewhere = (predicted & aside).sum((1, 2)) / np.maximum(areas, 1)
    return InstanceMatch(np.asarray(scores, np.float64), mask_ious(predicted, truth), elsewhere)


def _none(instances: NDArray[np.integer]) -> Masks:
    return np.zeros((0, *instances.shape), bool)


def instance_ap(matches: Sequence[InstanceMatch], threshold: float = 0.5) -> float:
    """Return the average precision over images; NaN where no object counts.

    Args:
        matches: As `match_instances` returns them, one for each image.
        threshold: IoU from which a prediction is true, in (0, 1].

    Raises:
        InputError: The threshold is none.
    """
    if not 0 < threshold <= 1:
        raise InputError('IoU threshold', threshold, 'in (0, 1]')
    scores, hits = verdicts(matches, threshold)
    total = sum(match.ious.shape[1] for match in matches)
    if total == 0:
        return float('nan')
    order = np.argsort(-scores, kind='stable')
    true = np.cumsum(hits[order])
    precision = true / np.arange(1, len(true) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((precision * hits[order]).sum() / total)


def instance_f1(matches: Sequence[InstanceMatch], threshold: float, score: float) -> float:
    """Return 2 TP / (predictions + objects) of the predictions with at least a score."""
    scores, hits = verdicts(matches, threshold)
    kept = scores >= score
    total = sum(match.ious.shape[1] for match in matches)
    return float(2 * hits[kept].sum() / max(1, int(kept.sum()) + total))


def verdicts(
    matches: Sequence[InstanceMatch], threshold: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Return scores and whether each prediction is true, without those that do not count."""
    scores, hits = [np.zeros(0)], [np.zeros(0, bool)]
    for match in matches:
        hit = np.zeros(len(match.scores), bool)
        free = np.ones(match.ious.shape[1], bool)
        for k in np.argsort(-match.scores, kind='stable'):
            overlaps = np.where(free, match.ious[k], -1.0)
            best = int(overlaps.argmax()) if len(overlaps) else -1
            if best >= 0 and overlaps[best] >= threshold:
                hit[k], free[best] = True, False
        counts = hit | (match.elsewhere <= 0.5)
        scores.append(match.scores[counts])
        hits.append(hit[counts])
    return np.concatenate(scores), np.concatenate(hits)
