"""Parsed images against the truth, as Factored3D's protocol (`metrics.parsing`) wants them."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.sets.parses_alter import Parse
from recon3d_core.metrics.parsing import box_iou_2d, PosedObject, rotation_error_rad
from recon3d_core.models.factored3d.parsing import ParsedObject

Array = NDArray[np.float64]

_SQUARE = 1.25  # ratio of edges up to which it is no mistake to take one for the other
_ROUND_TURNS = 24


def quarter_turn(turns: int) -> Array:
    """Return the rotation (3, 3) by quarter turns about z."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns % 4]
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float64)


def renamed(posed: PosedObject, turns: int) -> PosedObject:
    """Return the same object with its axes renamed by quarter turns about z."""
    T = posed.T_camera_object.copy()
    T[:3, :3] = T[:3, :3] @ quarter_turn(turns)
    size = np.asarray(posed.size_m)[[1, 0, 2] if turns % 2 else [0, 1, 2]]
    shape = np.ascontiguousarray(np.rot90(posed.occupancy, -turns, (0, 1)))
    return dataclasses.replace(posed, T_camera_object=T, size_m=size, occupancy=shape)


def true_objects(view: Parse) -> list[PosedObject]:
    """Return the objects of a view; round ones look the same after any turn about up."""
    angles = 2 * np.pi * np.arange(_ROUND_TURNS) / _ROUND_TURNS
    c, s, zero, one = np.cos(angles), np.sin(angles), np.zeros(len(angles)), np.ones(len(angles))
    any_turn = np.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    return [
        PosedObject(
            _inclusive(view.box_xyxy[k]),
            _rigid(view.T_camera_object[k]),
            view.size_m[k].astype(np.float64),
            view.occupancy[k],
            same=any_turn if view.is_round[k] else np.eye(3)[None],
        )
        for k in range(len(view.box_xyxy))
    ]


def found_objects(
    objects: Sequence[ParsedObject], threshold: float, true: Sequence[PosedObject]
) -> list[PosedObject]:
    """Return what was found with axes named as those of the true object that is in the box.

    A box has no front: its four names are one answer. Which of its sides is the longer one tells
    them apart, unless both are nearly equal.

    Args:
        objects: What was found.
        threshold: Probability from which a cell is inside.
        true: The true objects.
    """
    posed = [
        PosedObject(
            _inclusive(np.asarray(one.box_xyxy)),
            one.T_camera_object,
            one.size_m,
            one.probabilities > threshold,
            one.score,
        )
        for one in objects
    ]
    return [_named_like(one, true) for one in posed]


def _named_like(found: PosedObject, true: Sequence[PosedObject]) -> PosedObject:
    if not true:
        return found
    like = max(true, key=lambda one: box_iou_2d(found.box_xyxy, one.box_xyxy))
    square = min(_aspect(found), _aspect(like)) < _SQUARE
    turned = (found.size_m[0] < found.size_m[1]) != (like.size_m[0] < like.size_m[1])
    turns = range(4) if square else (1, 3) if turned else (0, 2)
    return min(
        (renamed(found, turn) for turn in turns), key=lambda one: rotation_error_rad(one, like)
    )


def _aspect(posed: PosedObject) -> float:
    return float(max(posed.size_m[:2]) / min(posed.size_m[:2]))


def _inclusive(box: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """Return a box of outer edges as one of pixels, both ends inside."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1 - 1, y1 - 1


def _rigid(pose: NDArray[np.float32]) -> Array:
    exact = pose.astype(np.float64)
    u, _, v = np.linalg.svd(exact[:3, :3])
    exact[:3, :3] = u @ v
    return exact
