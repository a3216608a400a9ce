"""Networks as ONNX files: exports of YOLO, for boxes and for masks, and of RT-DETR."""

from __future__ import annotations

import ast
from collections.abc import Mapping
import logging
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.detection.adapters import onnx_layouts as layouts
from recon3d_core.detection.adapters.base import (
    BoxesConfig,
    BoxesDetector,
    Found,
    given_path,
    needed,
)
from recon3d_core.errors import ConfigError, FrameError

logger = logging.getLogger(__name__)

_TYPES = {'tensor(float)': np.float32, 'tensor(float16)': np.float16}
_GRAY = 114
"""What YOLO networks are trained to see beside an image."""


class OnnxConfig(BoxesConfig):
    """Options of `onnx`."""

    model: str = option('', 'File of the network, .onnx.')
    layout: Literal['auto', 'yolo', 'yolo_seg', 'rtdetr'] = option(
        'auto', "What the network's outputs mean; `auto` tells it from their shapes."
    )
    names: list[str] = option(
        [], 'Names of the classes in order; empty = those that the file tells.'
    )
    input_size_px: int = option(
        640,
        "Width and height of the network's input, where the file leaves them open.",
        unit='px',
        ge=32,
        le=4096,
    )
    max_iou: float = option(
        0.5,
        'Of two boxes of a class that overlap more, the better one stays; not with RT-DETR.',
        ge=0.0,
        le=1.0,
        live=True,
    )


class OnnxDetector(BoxesDetector):
    """Objects by a network from an ONNX file; with boxes only, masks are made of them."""

    name = 'onnx'
    Config = OnnxConfig
    libraries = {'onnxruntime': 'pip install onnxruntime'}

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network, run it once, and see what its outputs are.

        Raises:
            PluginError: onnxruntime is missing.
            ConfigError: There is no such file, it is no network of a known layout, or it knows
                no class of a name that is to be kept.
        """
        super().__init__(config, device)
        runtime = needed('onnxruntime', type(self))
        path = given_path(self.name, 'model', self.config.model)
        self._session = _session(runtime, str(path), device)
        self._inputs = self._session.get_inputs()
        self._size = _input_size(self._inputs, self.config.input_size_px)
        self._names = _names(self._session, self.config.names)
        try:
            outputs = self._run(np.zeros((self._size[1], self._size[0], 3), np.uint8))
        except Exception as error:
            what = ' '.join(str(error).split())
            raise ConfigError(
                f'{path.name} cannot be run', what, 'a network for images'
            ) from error
        self.layout: layouts.Layout = layouts.recognised(outputs, self.config.layout)
        self.check_classes(self._names)

    def find(self, rgb: NDArray[np.uint8]) -> Found:
        """Return the best boxes of an image (H, W, 3), with masks where the network has them."""
        image_size = (rgb.shape[1], rgb.shape[0])
        letterbox = self.layout != 'rtdetr'
        place = layouts.Placement.of(image_size, self._size, keep=letterbox)
        outputs = self._run(_placed(rgb, place, self._size))
        if not all(np.isfinite(value).all() for value in outputs.values()):
            raise FrameError('bad_detections', f'outputs of detector {self.name} are not finite')
        boxes = layouts.decoded(outputs, self.layout, self._size)
        # A query of RT-DETR finds an object that no other one finds.
        max_iou = self.config.max_iou if letterbox else 1.0
        most = len(boxes.scores) if self.config.classes else self.config.max_objects
        boxes = layouts.suppressed(boxes, self.config.min_score, max_iou, most)
        edges = place.to_image(boxes.edges_xyxy)
        masks = None
        if self.layout == 'yolo_seg':
            kinds = layouts.prototypes(outputs)
            masks = [
                layouts.box_mask(kinds, weights, box, place, self._size, image_size)
                for weights, box in zip(boxes.coefficients, edges)
            ]
        labels = [self._names.get(int(k), f'class_{k}') for k in boxes.classes]
        return Found(edges, boxes.scores, labels, masks)

    def _run(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs, by name, for an image (h, w, 3) of the input's size."""
        first = self._inputs[0]
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        given = {first.name: (planes / np.float32(255)).astype(_TYPES[first.type])}
        for other in self._inputs[1:]:
            # RT-DETR asks for the image's size to scale boxes with; ours stay in the input.
            given[other.name] = np.array([self._size], np.int64)
        names = [output.name for output in self._session.get_outputs()]
        values = self._session.run(names, given)
        return {name: np.asarray(value, np.float32) for name, value in zip(names, values)}


def _session(runtime: Any, path: str, device: str) -> Any:
    """Return the session of a file, on the GPU where one is asked for and onnxruntime has it.

    Raises:
        ConfigError: The file is no network.
    """
    providers: list[Any] = ['CPUExecutionProvider']
    if device.startswith('cuda'):
        if 'CUDAExecutionProvider' in runtime.get_available_providers():
            index = int(device.partition(':')[2] or 0)
            providers.insert(0, ('CUDAExecutionProvider', {'device_id': index}))
        else:
            logger.warning('detector onnx computes on the CPU: install onnxruntime-gpu')
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # Threads that wait by spinning take the cores from the other stages.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        return runtime.InferenceSession(path, options, providers=providers)
    except Exception as error:
        what = ' '.join(str(error).split())
        raise ConfigError('detector.model is no ONNX network', what, 'an .onnx file') from error


def _input_size(inputs: list[Any], default_px: int) -> tuple[int, int]:
    """Return width and height of the network's input.

    Raises:
        ConfigError: It takes no images, or more than an image and its size.
    """
    first = inputs[0]
    # A size that the file leaves open has a name, or none.
    shape = [n if isinstance(n, int) else None for n in first.shape]
    fits = len(shape) == 4 and shape[0] in (1, None) and shape[1] in (3, None)
    rest = all(other.type == 'tensor(int64)' and len(other.shape) == 2 for other in inputs[1:2])
    if not fits or first.type not in _TYPES or len(inputs) > 2 or not rest:
        got = ', '.join(f'{one.name} {one.type} {one.shape}' for one in inputs)
        raise ConfigError('inputs of the model', got, f'{", ".join(_TYPES)} (1, 3, H, W)')
    height, width = (n or default_px for n in shape[2:])
    return width, height


def _names(session: Any, given: list[str]) -> Mapping[int, str]:
    """Return the classes' names: as given, or as the file's metadata have them, or none."""
    if given:
        return dict(enumerate(given))
    text = session.get_modelmeta().custom_metadata_map.get('names', '')
    try:
        found = ast.literal_eval(text) if text else {}
        pairs = found.items() if isinstance(found, dict) else enumerate(found)
        return {int(key): str(name) for key, name in pairs}
    except (ValueError, SyntaxError, TypeError):
        logger.warning("names in the model's metadata cannot be read: %.60s", text)
        return {}


def _placed(
    rgb: NDArray[np.uint8], place: layouts.Placement, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return an image (h, w, 3) of the input's size that shows another one."""
    small = rgb
    if place.size != (rgb.shape[1], rgb.shape[0]):
        small = np.asarray(cv2.resize(rgb, place.size, interpolation=cv2.INTER_LINEAR), np.uint8)
    whole = np.full((size[1], size[0], 3), _GRAY, np.uint8)
    (left, top), (width, height) = place.offset_xy, place.size
    whole[top : top + height, left : left + width] = small
    return whole
