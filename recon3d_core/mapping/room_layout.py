"""The mapper `room_layout`: the empty room from colour alone, as `factored3d` tells it.

Each image with a pose gives the inverse depth of the room without its objects. These are
integrated like measurements, so that what several images agree on remains. Scale is the
network's belief: one image does not tell it. Where this package has no weights, a warning says so
and the map stays empty.
"""

from __future__ import annotations

import dataclasses
import logging

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.config import option
from recon3d_core.errors import FrameError, WeightsError
from recon3d_core.mapping.tsdf import TsdfConfig, TsdfMapper
from recon3d_core.models import create_network
from recon3d_core.models.factored3d.model import Factored3d
from recon3d_core.models.factored3d.parsing import see_image
from recon3d_core.types import Frame

logger = logging.getLogger(__name__)

_STEP = 2  # pixels of the image in one of the room's depth, which is smooth


class RoomLayoutConfig(TsdfConfig):
    """Options of the mapper `room_layout`."""

    weights: str = option(
        'default', 'Weights of the network: `default` for those of this package, or a file.'
    )


class RoomLayoutMapper(TsdfMapper):
    """The surface of the empty room, guessed from colour images with poses."""

    name = 'room_layout'
    Config = RoomLayoutConfig
    needs = frozenset({'rgb', 'intrinsics', 'pose'})

    def __init__(self, config: RoomLayoutConfig | None = None, device: str = 'cpu') -> None:
        """Load the network and make an empty map.

        Raises:
            InputError: A weights file that is named is missing, broken, or of another network.
        """
        super().__init__(config, device)
        self._network: Factored3d | None = None
        try:
            network = create_network('factored3d', self.config.weights, device)
        except WeightsError as error:
            logger.warning('mapper room_layout leaves the map empty: %s', error)
            return
        assert isinstance(network, Factored3d)
        self._network = network.optimize_for_inference()

    def integrate(self, frame: Frame) -> None:
        """Add the room that a frame with colour and pose shows.

        Raises:
            FrameError: It has no colour or pose.
        """
        if frame.rgb is None or frame.T_world_camera is None:
            reason = 'no_color' if frame.rgb is None else 'no_pose'
            raise FrameError(reason, 'a frame to map', sorted(frame.inputs), 'rgb and pose')
        if self._network is None:
            return
        frame = frame.checked()
        assert frame.rgb is not None
        small = frame.camera.scaled(1 / _STEP)
        size = (small.width, small.height)
        room = dataclasses.replace(
            frame,
            camera=small,
            rgb=np.asarray(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), np.uint8),
            depth_m=_room_depth(self._network, frame, size),
            masks=None,
            truth=None,
        )
        super().integrate(room)


def _room_depth(network: Factored3d, frame: Frame, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the depth (h, w) of the empty room at a size (w, h)."""
    assert frame.rgb is not None
    layout = see_image(network, frame.rgb, frame.camera.K).layout
    inverse = cv2.resize(layout, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / np.maximum(inverse, np.float32(1e-3)), np.float32)
