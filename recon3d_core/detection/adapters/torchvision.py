"""Mask R-CNN of torchvision, from a file of weights on this machine; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option, PluginConfig
from recon3d_core.detection.adapters.base import (
    BoxesConfig,
    BoxesDetector,
    Found,
    given_path,
    needed,
)
from recon3d_core.errors import ConfigError
from safetensors.torch import load_file
import torch
from torch import Tensor

_LAST_LAYER = 'roi_heads.box_predictor.cls_score.weight'
_ONLY_IN_V2 = 'roi_heads.box_head.5.weight'  # its head begins with four convolutions
_COCO_CLASSES = 91


class TorchvisionConfig(BoxesConfig):
    """Options of `torchvision`."""

    weights: str = option('', 'File of the weights of a Mask R-CNN, .pth or .safetensors.')
    names: list[str] = option(
        [], 'Names of the classes in order, without the background; empty = those of COCO.'
    )


class TorchvisionDetector(BoxesDetector):
    """Instances by Mask R-CNN with a ResNet-50 (He et al., ICCV 2017), or by its second version."""

    name = 'torchvision'
    Config = TorchvisionConfig
    libraries = {'torchvision': 'pip install torchvision'}

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network.

        Raises:
            PluginError: torchvision is missing or does not fit torch.
            ConfigError: There is no such file, it holds other weights, or it knows no class of a
                name that is to be kept.
        """
        super().__init__(config, device)
        library = needed('torchvision.models.detection', type(self))
        path = given_path(self.name, 'weights', self.config.weights)
        state = _weights(path)
        count = len(state[_LAST_LAYER])
        second = _ONLY_IN_V2 in state
        make = library.maskrcnn_resnet50_fpn_v2 if second else library.maskrcnn_resnet50_fpn
        self._network = make(weights=None, weights_backbone=None, num_classes=count)
        try:
            self._network.load_state_dict(state)
        except RuntimeError as error:
            raise _other_weights(path, ' '.join(str(error).split())[:300]) from error
        self._network.eval().to(device)
        names = self.config.names
        if not names and count == _COCO_CLASSES:
            names = library.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta['categories'][1:]
        self._names = dict(enumerate(names, 1))
        self.check_classes(self._names)

    @torch.inference_mode()
    def find(self, rgb: NDArray[np.uint8]) -> Found:
        """Return what is in an image (H, W, 3)."""
        image = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device)
        [said] = self._network([image.permute(2, 0, 1).float() / 255])
        kept = said['scores'] >= self.config.min_score
        masks = said['masks'][kept, 0] > 0.5
        return Found(
            said['boxes'][kept].cpu().double().numpy(),
            said['scores'][kept].cpu().double().numpy(),
            [self._names.get(int(k), f'class_{k}') for k in said['labels'][kept]],
            list(masks.cpu().numpy()),
        )


def _other_weights(path: Path, what: str) -> ConfigError:
    return ConfigError(
        f'detector.weights: {path.name}', what, 'weights of maskrcnn_resnet50_fpn or its _v2'
    )


def _weights(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file by name; reading it runs no code.

    Raises:
        ConfigError: It holds no weights of a Mask R-CNN.
    """
    try:
        state: Any = (
            load_file(path)
            if path.suffix == '.safetensors'
            else torch.load(path, map_location='cpu', weights_only=True)
        )
    except Exception as error:  # a file may hold anything
        raise _other_weights(path, ' '.join(str(error).split())[:300]) from error
    if not isinstance(state, dict) or _LAST_LAYER not in state:
        raise _other_weights(path, f'no {_LAST_LAYER}')
    return state
