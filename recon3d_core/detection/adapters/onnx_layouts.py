"""What the outputs of exported networks mean: their layouts, told from shapes, and their boxes.

YOLO exports give one box per anchor, as columns without objectness (versions 8 and 11) or as rows
with it (version 5), or what remains after suppression as rows of edges, score and class (versions
10 and 26, and exports with `nms`); segmentation adds 32 coefficients per box and as many prototypes.
RT-DETR exports give one box per query.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.detection.boxes import Mask
from recon3d_core.errors import InputError

Layout = Literal['yolo', 'yolo_seg', 'rtdetr']
Array = NDArray[np.float32]
Outputs = Mapping[str, Array]

_MOST_FINAL = 300  # boxes after suppression; before it there are thousands

EXPECTED = (
    'yolo: (1, 4+C, N), (1, N, 5+C) or (1, up to 300, 6); yolo_seg: the same with the coefficients of prototypes '
    '(1, 32, h, w); rtdetr: (1, N, 4) with logits (1, N, C), or with scores (1, N) and labels '
    '(1, N)'
)


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Boxes in the pixels of the network's input.

    Attributes:
        edges_xyxy: (N, 4) edges of boxes.
        scores: (N,) in [0, 1].
        classes: (N,) numbers of classes.
        coefficients: (N, K) of the prototypes; K = 0 without masks.
    """

    edges_xyxy: Array
    scores: Array
    classes: NDArray[np.int64]
    coefficients: Array

    def kept(self, index: NDArray[np.integer]) -> Boxes:
        """Return some of the boxes."""
        return Boxes(
            self.edges_xyxy[index],
            self.scores[index],
            self.classes[index],
            self.coefficients[index],
        )


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where an image lies in the network's input: `input = scale * image + offset`, edges.

    Attributes:
        scale_xy: Of each axis.
        offset_xy: Left and top border, input pixels.
        size: Width and height of the resized image, input pixels.
    """

    scale_xy: tuple[float, float]
    offset_xy: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(
        cls, image_size: tuple[int, int], input_size: tuple[int, int], *, keep: bool
    ) -> Placement:
        """Return where an image goes; sizes are (width, height).

        Args:
            image_size: Of the image.
            input_size: Of the network's input.
            keep: Whether to keep the image's proportions, with borders (letterbox).
        """
        size = input_size
        if keep:
            factor = min(input_size[0] / image_size[0], input_size[1] / image_size[1])
            width, height = (max(1, round(n * factor)) for n in image_size)
            size = (width, height)
        offset = ((input_size[0] - size[0]) // 2, (input_size[1] - size[1]) // 2)
        return cls((size[0] / image_size[0], size[1] / image_size[1]), offset, size)

    def to_image(self, edges_xyxy: Array) -> NDArray[np.float64]:
        """Return boxes (N, 4) of the input in the image."""
        return (edges_xyxy - np.tile(self.offset_xy, 2)) / np.tile(self.scale_xy, 2)


def _shapes(outputs: Outputs) -> str:
    return ', '.join(f'{name} {value.shape}' for name, value in outputs.items())


def _unknown(outputs: Outputs, layout: str) -> InputError:
    what = 'outputs of the model' + ('' if layout == 'auto' else f' as {layout}')
    return InputError(what, _shapes(outputs), EXPECTED, 'Export it anew, or set detector.layout.')


def recognised(outputs: Outputs, layout: str = 'auto') -> Layout:
    """Return the layout of a network's outputs for one image.

    Args:
        outputs: Arrays by name.
        layout: What it is said to be; `auto` tells it from the shapes.

    Raises:
        InputError: They have no known layout, or not the one that they are said to have.
    """
    shapes = [value.shape for value in outputs.values()]
    told: Layout | None = None
    if not shapes or any(shape[:1] != (1,) for shape in shapes):
        raise _unknown(outputs, layout)
    ranks = sorted(len(shape) for shape in shapes)
    if ranks == [3, 4]:
        told = 'yolo_seg'
    elif ranks == [3]:
        told = 'rtdetr' if layout == 'rtdetr' else 'yolo'
    elif ranks in ([3, 3], [2, 2, 3]):
        told = 'rtdetr'
    if told is None or layout not in ('auto', told):
        raise _unknown(outputs, layout)
    _ = decoded(outputs, told, (1, 1))  # its sizes fit, or this raises
    return told


def decoded(outputs: Outputs, layout: Layout, input_size: tuple[int, int]) -> Boxes:
    """Return all boxes of a network's outputs.

    Args:
        outputs: Arrays by name.
        layout: Their layout.
        input_size: Width and height of the network's input.

    Raises:
        InputError: A size does not fit the layout.
    """
    if layout == 'rtdetr':
        return _of_queries(outputs, np.asarray(input_size, np.float32))
    [rows] = [value[0] for value in outputs.values() if value.ndim == 3]
    count = prototypes(outputs).shape[0] if layout == 'yolo_seg' else 0
    if rows.shape[1] == 6 + count and len(rows) <= _MOST_FINAL:
        return Boxes(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), rows[:, 6:])
    objectness = rows.shape[0] > rows.shape[1]
    rows = rows if objectness else rows.T
    first = 5 if objectness else 4
    last = rows.shape[1] - count
    if last <= first:
        raise _unknown(outputs, layout)
    by_class = rows[:, first:last] * (rows[:, 4:5] if objectness else 1)
    classes = by_class.argmax(1)
    scores = by_class[np.arange(len(rows)), classes]
    return Boxes(_edges(rows[:, :4]), scores, classes.astype(np.int64), rows[:, last:])


def prototypes(outputs: Outputs) -> Array:
    """Return the prototypes (K, h, w) of masks."""
    [found] = [value[0] for value in outputs.values() if value.ndim == 4]
    return found


def _edges(middles: Array) -> Array:
    """Return edges (N, 4) of boxes given by middle and size."""
    half = middles[:, 2:] / 2
    return np.concatenate([middles[:, :2] - half, middles[:, :2] + half], 1)


def _of_queries(outputs: Outputs, size: Array) -> Boxes:
    """Return the boxes of an RT-DETR, in any of its three exports."""
    if len(outputs) == 1:  # one row per query: box and scores
        [rows] = [value[0] for value in outputs.values()]
        boxes, by_class = rows[:, :4], rows[:, 4:]
    else:
        fitting = [n for n, value in outputs.items() if value.ndim == 3 and value.shape[2] == 4]
        chosen = next((n for n in fitting if 'box' in n.lower()), fitting[0] if fitting else None)
        if chosen is None:
            raise _unknown(outputs, 'rtdetr')
        boxes = outputs[chosen][0]
        others = {name: value[0] for name, value in outputs.items() if name != chosen}
        if len(others) == 2:
            return _of_labels(outputs, boxes, others)
        [(name, by_class)] = others.items()
        if 'score' not in name.lower() and 'prob' not in name.lower():  # logits
            by_class = 1 / (1 + np.exp(-np.clip(by_class, -50, 50)))
    if by_class.ndim != 2 or by_class.shape[1] == 0 or len(by_class) != len(boxes):
        raise _unknown(outputs, 'rtdetr')
    classes = by_class.argmax(1)
    scores = by_class[np.arange(len(boxes)), classes]
    edges = _edges(boxes) * np.tile(size, 2)
    return Boxes(edges, scores, classes.astype(np.int64), boxes[:, 4:])


def _of_labels(outputs: Outputs, boxes: Array, others: Outputs) -> Boxes:
    """Return boxes that are in pixels already, each with its best class."""
    labels = [n for n in others if 'label' in n.lower() or 'class' in n.lower()]
    if len(labels) != 1 or any(len(value) != len(boxes) for value in others.values()):
        raise _unknown(outputs, 'rtdetr')
    [scores] = [value for name, value in others.items() if name != labels[0]]
    classes = others[labels[0]].astype(np.int64)
    return Boxes(boxes, scores, classes, np.zeros((len(boxes), 0), np.float32))


def suppressed(boxes: Boxes, min_score: float, max_iou: float, most: int) -> Boxes:
    """Return the boxes that remain of those that overlap within a class, the best first.

    Args:
        boxes: All boxes.
        min_score: Lower ones are left out.
        max_iou: Of two that overlap more, the better one stays.
        most: How many boxes at most.
    """
    index = np.flatnonzero(boxes.scores >= min_score)
    index = index[np.argsort(-boxes.scores[index], kind='stable')][:1000]
    edges = boxes.edges_xyxy[index].astype(np.float64)
    rectangles = np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], 1)
    kept = cv2.dnn.NMSBoxesBatched(
        rectangles.tolist(),
        boxes.scores[index].tolist(),
        boxes.classes[index].tolist(),
        0.0,
        max_iou,
    )
    return boxes.kept(index[np.asarray(kept, np.int64)][:most])


def box_mask(
    prototypes: Array,
    coefficients: Array,
    edges_xyxy: NDArray[np.float64],
    placement: Placement,
    input_size: tuple[int, int],
    image_size: tuple[int, int],
) -> Mask:
    """Return the mask (H, W) of a box: where the sum of prototypes is positive, in its box.

    YOLACT (Bolya et al., ICCV 2019), section 3.1; interpolated straight to the image's pixels.

    Args:
        prototypes: (K, h, w) over the network's input.
        coefficients: (K,) of the box.
        edges_xyxy: (4,) box in the image.
        placement: Where the image lies in the input.
        input_size: Width and height of the input.
        image_size: Width and height of the image.
    """
    width, height = image_size
    logits = np.tensordot(coefficients, prototypes, 1).astype(np.float32)
    cells = logits.shape[1] / input_size[0], logits.shape[0] / input_size[1]
    low = np.clip(np.ceil(edges_xyxy[:2] - 0.5), 0, image_size).astype(int)
    high = np.clip(np.ceil(edges_xyxy[2:] - 0.5), 0, image_size).astype(int)
    mask = np.zeros((height, width), bool)
    if (high <= low).any():
        return mask
    # From a pixel of the box to the prototypes; centres are at integers on both sides.
    scale = np.array(placement.scale_xy) * cells
    offset = (0.5 + low) * scale + np.array(placement.offset_xy) * cells - 0.5
    affine = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    part = cv2.warpAffine(
        logits,
        affine,
        tuple((high - low).tolist()),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask[low[1] : high[1], low[0] : high[0]] = part > 0
    return mask
