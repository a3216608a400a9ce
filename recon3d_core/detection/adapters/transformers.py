"""Networks of the library transformers, from a folder on this machine; nothing is downloaded."""

from __future__ import annotations

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
import torch

# Networks of instances, of which a kind of network belongs to one; the first that fits is taken.
_OF_MASKS = (
    'AutoModelForInstanceSegmentation',
    'AutoModelForUniversalSegmentation',
    'AutoModelForImageSegmentation',
)


class TransformersConfig(BoxesConfig):
    """Options of `transformers`."""

    model: str = option(
        '', 'Folder of the network: config.json, preprocessor_config.json and its weights.'
    )


class TransformersDetector(BoxesDetector):
    """Objects by a network of transformers: of boxes, such as DETR, or of instances."""

    name = 'transformers'
    Config = TransformersConfig
    libraries = {'transformers': 'pip install transformers'}

    def __init__(self, config: PluginConfig | None = None, device: str = 'cpu') -> None:
        """Load the network.

        Raises:
            PluginError: transformers is missing.
            ConfigError: There is no such folder, it holds no network that finds objects, or it
                knows no class of a name that is to be kept.
        """
        super().__init__(config, device)
        library = needed('transformers', type(self))
        folder = given_path(self.name, 'model', self.config.model, folder=True)
        try:
            self._processor = library.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True
            )
            self._network, self._has_masks = _network(library, str(folder))
        except Exception as error:  # a folder may hold anything
            what = ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
            raise ConfigError(
                f'detector.model: {folder.name} cannot be loaded',
                what,
                'a network of transformers that finds objects or instances',
            ) from error
        self._network.eval().to(device)
        self._names = {int(k): str(v) for k, v in self._network.config.id2label.items()}
        self.check_classes(self._names)

    @torch.inference_mode()
    def find(self, rgb: NDArray[np.uint8]) -> Found:
        """Return what is in an image (H, W, 3)."""
        inputs = self._processor(
            images=rgb, return_tensors='pt', input_data_format='channels_last'
        )
        outputs = self._network(**inputs.to(self.device))
        least = self.config.min_score
        sizes = [rgb.shape[:2]]
        if self._has_masks:
            # Its own parts below 0.5 of a mask are left out before the score is looked at.
            [said] = self._processor.post_process_instance_segmentation(
                outputs, threshold=least, target_sizes=sizes
            )
            return self._instances(said, rgb.shape[:2])
        [said] = self._processor.post_process_object_detection(
            outputs, threshold=least, target_sizes=sizes
        )
        return Found(
            said['boxes'].cpu().double().numpy(),
            said['scores'].cpu().double().numpy(),
            [self._label(int(k)) for k in said['labels']],
        )

    def _instances(self, said: dict[str, Any], shape: tuple[int, int]) -> Found:
        """Return the instances of a map of their numbers; where there are none, it is -1."""
        numbers = np.asarray(said['segmentation'].cpu())
        parts = said['segments_info']
        masks = [numbers == part['id'] for part in parts]
        whole = np.array([0.0, 0.0, shape[1], shape[0]])  # the masks tell the boxes
        return Found(
            np.tile(whole, (len(parts), 1)),
            np.array([part['score'] for part in parts], np.float64),
            [self._label(part['label_id']) for part in parts],
            masks,
        )

    def _label(self, number: int) -> str:
        return self._names.get(number, f'class_{number}')


def _network(library: Any, folder: str) -> tuple[Any, bool]:
    """Return the network of a folder, and whether it makes masks.

    Raises:
        ValueError: It is of a kind that finds no objects.
    """
    config = library.AutoConfig.from_pretrained(folder, local_files_only=True)
    segments = any('Segmentation' in name for name in config.architectures or ())
    kinds = _OF_MASKS if segments else ('AutoModelForObjectDetection',)
    for name in kinds:
        kind = getattr(library, name, None)
        if kind is not None and type(config) in kind._model_mapping:
            return kind.from_pretrained(folder, local_files_only=True), segments
    raise ValueError(f'{config.model_type} finds no objects')
