"""What all detectors made elsewhere share: checks of what they say, classes, masks, detections."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
import dataclasses
import importlib
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from recon3d_core import registry
from recon3d_core.config import option
from recon3d_core.detection.boxes import BoxPx, Mask, mask_in_box
from recon3d_core.detection.surfaces import detection_of
from recon3d_core.errors import ConfigError, FrameError, PluginError
from recon3d_core.interfaces import Detector, DetectorConfig
from recon3d_core.types import Detection, Detections, Frame


class BoxesConfig(DetectorConfig):
    """Options of detectors that give boxes, with or without masks."""

    min_score: float = option(0.5, 'Least score of an object.', ge=0.0, le=1.0, live=True)
    classes: list[str] = option([], 'Labels to keep; empty = all.')
    masks: Literal['auto', 'color', 'box'] = option(
        'auto',
        'Masks of boxes that come without: from depth and colour, from colour alone, or the whole '
        'box.',
        live=True,
    )
    min_pixels: int = option(
        150, 'Fewest pixels of an object.', unit='px', ge=1, le=100000, live=True
    )
    max_objects: int = option(
        50, 'Most objects of a frame, the best first.', ge=1, le=1000, live=True
    )
    max_points: int = option(
        4000, 'Most surface points kept of an object, where there is depth.', ge=10, le=100000
    )


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found in an image.

    Attributes:
        boxes_xyxy: (N, 4) edges of boxes in pixels: 0 is the left edge of the first pixel, whose
            centre is at 0 elsewhere in this library; W is the right edge of the last.
        scores: (N,) in [0, 1].
        labels: What each is.
        masks: Its pixels (H, W), where they are known.
    """

    boxes_xyxy: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    labels: Sequence[str]
    masks: Sequence[Mask] | None = None


def needed(module: str, detector: type[Detector]) -> Any:
    """Import a library that may be missing.

    Args:
        module: Name of the module, which is in one of the detector's `libraries`.
        detector: Who needs it.

    Raises:
        PluginError: It is missing or broken; one line says how to mend it.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken binary may raise anything
        what = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise PluginError(
            f'detector {detector.name} needs {module}',
            what,
            fix=f'Install it: {detector.libraries[module.partition(".")[0]]}',
        ) from error


def given_path(detector: str, option_name: str, path: str, *, folder: bool = False) -> Path:
    """Return a path that the user gave, which must exist.

    Raises:
        ConfigError: It is empty, missing, or a file where it must be a folder, or the reverse.
    """
    found = Path(os.path.expandvars(path)).expanduser()
    if not path or not (found.is_dir() if folder else found.is_file()):
        raise ConfigError(
            f'detector {detector} has nothing to load',
            repr(path),
            f'a {"folder" if folder else "file"} that exists',
            f'Set detector.{option_name}; nothing is downloaded.',
        )
    return found


class BoxesDetector(Detector, abc.ABC):
    """Base: makes detections of boxes, and masks where there are none."""

    Config = BoxesConfig
    needs = frozenset({'rgb', 'intrinsics'})

    def detect(self, frame: Frame) -> Detections:
        """Return the objects of a frame.

        Raises:
            FrameError: What the network says is no detection; the frame is dropped.
        """
        assert frame.rgb is not None
        return self.detections(frame, self.find(frame.rgb))

    def find(self, rgb: NDArray[np.uint8]) -> Found:
        """Return what is in an image (H, W, 3); those below `min_score` may be left out."""
        raise NotImplementedError

    def check_classes(self, names: Mapping[int, str]) -> None:
        """Check that the classes to keep are among the known names, where any are known.

        Raises:
            ConfigError: One is not.
        """
        known = sorted(set(names.values()))
        for label in self.config.classes if known else ():
            if label not in known:
                listed = ', '.join(known[:20]) + (', ...' if len(known) > 20 else '')
                raise ConfigError(
                    f'detector.classes of {self.name}',
                    repr(label),
                    f'of {listed}',
                    registry.closest(label, known),
                )

    def detections(self, frame: Frame, found: Found) -> Detections:
        """Return what was found as detections, the best first.

        Raises:
            FrameError: Numbers are not finite, scores are none, or sizes do not fit.
        """
        boxes, scores = _checked(self.name, frame, found)
        wanted = set(self.config.classes)
        items: list[Detection] = []
        for k in np.argsort(-scores, kind='stable').tolist():
            if scores[k] < self.config.min_score or len(items) >= self.config.max_objects:
                break
            label = found.labels[k]
            if wanted and label not in wanted:
                continue
            mask = self._box_mask(frame, boxes[k]) if found.masks is None else found.masks[k]
            if mask is not None and np.count_nonzero(mask) >= self.config.min_pixels:
                items.append(
                    detection_of(
                        frame,
                        mask,
                        label=label,
                        score=float(scores[k]),
                        max_points=self.config.max_points,
                    )
                )
        return Detections(tuple(items))

    def _box_mask(self, frame: Frame, box: NDArray[np.float64]) -> Mask | None:
        """Return the mask of a box, or None where it is outside the image or too small."""
        x0, y0, x1, y1 = _pixel_box(box, frame.camera.width, frame.camera.height)
        if (x1 - x0 + 1) * (y1 - y0 + 1) < self.config.min_pixels or x1 < x0 or y1 < y0:
            return None
        if self.config.masks != 'box':
            return mask_in_box(frame, (x0, y0, x1, y1), use_depth=self.config.masks == 'auto')
        mask = np.zeros((frame.camera.height, frame.camera.width), bool)
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
        return mask


def _pixel_box(box: NDArray[np.float64], width: int, height: int) -> BoxPx:
    """Return the pixels, both ends inclusive, whose centres an edge box surrounds."""
    low = np.ceil(np.clip(box[:2], 0, (width, height)) - 0.5)
    high = np.ceil(np.clip(box[2:], 0, (width, height)) - 0.5) - 1
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _checked(
    name: str, frame: Frame, found: Found
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return boxes (N, 4) and scores (N,) that are sound.

    Raises:
        FrameError: They are not.
    """

    def refuse(what: str, got: object, expected: str) -> FrameError:
        return FrameError('bad_detections', f'detector {name}: {what}', got, expected)

    scores = np.asarray(found.scores, np.float64)
    boxes = np.asarray(found.boxes_xyxy, np.float64)
    count = len(found.labels)
    if boxes.shape != (count, 4) or scores.shape != (count,):
        raise refuse('boxes and scores', (boxes.shape, scores.shape), f'{(count, 4)}, {(count,)}')
    bad = ~(np.isfinite(boxes).all(1) & np.isfinite(scores))
    if bad.any():
        raise refuse('boxes or scores are not finite', f'{bad.sum()} of {count}', 'none')
    if count and (scores.min() < 0 or scores.max() > 1 + 1e-6):
        raise refuse('scores', f'{scores.min():g} to {scores.max():g}', 'within 0 to 1')
    shape = (frame.camera.height, frame.camera.width)
    for mask in found.masks or ():
        if mask.shape != shape:
            raise refuse('mask', mask.shape, f'{shape} as the image')
    return boxes, np.minimum(scores, 1.0)
