"""What the networks do with images before they see them: background, size, normalisation."""

from __future__ import annotations

from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
import torch
from torch import Tensor
from torch.nn import functional

PLAIN_GREY = 240 / 255  # behind the objects when the published networks are tested


def check_images(images: Tensor, masks: Tensor | None = None) -> None:
    """Check what a network's `preprocess` is given.

    Args:
        images: (B, V, 3, H, H) RGB in [0, 1].
        masks: (B, V, 1, H, H) coverage by the object in [0, 1]; None where unknown.

    Raises:
        InputError: The images are not square, not RGB or not floats, or the masks do not fit them.
    """
    check_shape('images', images, ('B', 'V', 3, 'H', 'W'))
    batch, count, _, height, width = images.shape
    if height != width or not images.numel():
        raise InputError(
            'images are not square crops', f'{count} of {width}x{height} px',
            'one or more, as wide as high', 'Crop a square, or pad the shorter side.',
        )  # fmt: skip
    if not images.is_floating_point():
        raise InputError('images have the wrong type', images.dtype, 'floats in [0, 1]')
    if masks is not None:
        check_shape('masks', masks, (batch, count, 1, height, width))


def prepare_views(
    images: Tensor, masks: Tensor | None, size: int, background: float = PLAIN_GREY
) -> Tensor:
    """Put the objects before a plain background and resize the images.

    Args:
        images: (B, V, 3, H, H) RGB in [0, 1].
        masks: (B, V, 1, H, H) coverage by the object in [0, 1]; None keeps the background.
        size: Edge of the result in pixels.
        background: Grey of the background in [0, 1].

    Returns:
        (B, V, 3, size, size) RGB in [0, 1].

    Raises:
        InputError: As `check_images`.
    """
    check_images(images, masks)
    batch, count, _, height, _ = images.shape
    if masks is not None:
        images = torch.lerp(torch.full_like(images, background), images, masks.to(images.dtype))
    flat = images.flatten(0, 1)
    if height != size:
        flat = functional.interpolate(
            flat, (size, size), mode='bilinear', align_corners=False, antialias=height > size
        ).clamp(0, 1)
    return flat.reshape(batch, count, 3, size, size)


def check_views(views: Tensor, size: int) -> None:
    """Check that views are as `prepare_views` makes them.

    Raises:
        InputError: They have another shape.
    """
    check_shape('views', views, ('B', 'V', 3, size, size))
    if not views.numel():
        raise InputError('views are empty', tuple(views.shape), 'one object and one view at least')
