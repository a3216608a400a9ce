"""What happens between a clean rendering and a photo: backgrounds, occluders, light, blur, noise.

Everything works on batches of tensors on any device, draws from a `torch.Generator` of that
device, and leaves its input as it was. Random light backgrounds, colour jitter, noise and channel
permutation follow Pix2Vox (Xie et al. 2019, section 4.2); the rest is what real photos have more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from recon3d_core.config import option, Options
import torch
from torch import Generator, Tensor
from torch.nn import functional


class AugmentOptions(Options):
    """How views are altered while training."""

    backgrounds: bool = option(True, 'Gradients, textures and other objects, not plain colours.')
    occluders: float = option(0.15, 'Share of views with something before the object.', ge=0, le=1)
    colors: float = option(0.3, 'Strength of the change of brightness and colours.', ge=0, le=1)
    permute: bool = option(False, 'Whether the colour channels change places.')
    blur: float = option(0.3, 'Share of objects whose views are blurred.', ge=0, le=1)
    noise: float = option(0.03, 'Largest deviation of the noise, of full brightness.', ge=0, le=1)
    masks: float = option(0.3, 'Share of views whose mask is wrong at its rim.', ge=0, le=1)


UNALTERED = {'backgrounds': False, 'occluders': 0, 'colors': 0, 'blur': 0, 'noise': 0, 'masks': 0}
"""Options that leave views as they were rendered, before plain colours."""


class Views(NamedTuple):
    """Images (N, 3, H, W) and masks (N, 1, H, W), float32 in [0, 1].

    Before `compose`, images are of the objects alone: colour times coverage, black elsewhere.
    """

    images: Tensor
    masks: Tensor


def _uniform(generator: Generator, *shape: int, low: float = 0, high: float = 1) -> Tensor:
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def _chosen(generator: Generator, count: int, share: float) -> Tensor:
    return torch.nonzero(_uniform(generator, count) < share)[:, 0]


def plain_backgrounds(count: int, generator: Generator) -> Tensor:
    """Return colours (count, 3, 1, 1): half light greys and pastels, half any, mostly dull."""
    light = 0.6 + 0.4 * _uniform(generator, count, 1) + 0.1 * _uniform(generator, count, 3)
    vivid = _uniform(generator, count, 3)
    dull = vivid.mean(1, keepdim=True)
    anything = torch.lerp(dull, vivid, _uniform(generator, count, 1))
    chosen = torch.where(_uniform(generator, count, 1) < 0.5, light.clamp(max=1), anything)
    return chosen[..., None, None]


def gradients(count: int, size: int, generator: Generator) -> Tensor:
    """Return smooth changes (count, 3, size, size) between the colours of four corners."""
    spread = 0.3 * (_uniform(generator, count, 3, 2, 2) - 0.5)
    corners = (plain_backgrounds(count, generator) + spread).clamp(0, 1)
    place = (torch.arange(size, device=generator.device) + 0.5) / size
    rows = torch.lerp(corners[..., :1], corners[..., 1:], place)
    return torch.lerp(rows[:, :, :1], rows[:, :, 1:], place[:, None])


def textures(count: int, size: int, generator: Generator) -> Tensor:
    """Return noise of three sizes of grain (count, 3, size, size), such as wood, cloth or stone."""
    image = plain_backgrounds(count, generator).expand(count, 3, size, size).clone()
    for cells in (4, 12, 40):
        wide = int(torch.randint(1, 5, (1,), generator=generator, device=generator.device))
        grain = _uniform(generator, count, 1, cells, max(cells // wide, 2)) - 0.5
        tint = 0.2 * (_uniform(generator, count, 1, 1, 1) + _uniform(generator, count, 3, 1, 1))
        image += tint * functional.interpolate(grain, size=(size, size), mode='bilinear')
    return image.clamp(0, 1)


def random_backgrounds(
    count: int, size: int, generator: Generator, renders: Views | None = None
) -> Tensor:
    """Return backgrounds (count, 3, size, size): plain, gradients, textures, other objects.

    Args:
        count: How many.
        size: Their edge, pixels.
        generator: Draws everything.
        renders: Views of objects (count, ...), each used behind another one; may be None.
    """
    kind = _uniform(generator, count)
    images = plain_backgrounds(count, generator).expand(count, 3, size, size).clone()
    smooth = torch.nonzero((kind > 0.3) & (kind <= 0.6))[:, 0]
    images[smooth] = gradients(len(smooth), size, generator)
    textured = torch.nonzero(kind > 0.6)[:, 0]
    images[textured] = textures(len(textured), size, generator)
    crowded = torch.nonzero(kind > 0.9)[:, 0]
    if renders is not None and count > 1 and len(crowded):
        shift = torch.randint(1, count, (1,), generator=generator, device=generator.device)
        other = Views(*(part[(crowded + shift) % count].flip(-1) for part in renders))
        images[crowded] = compose(other, images[crowded])
    return images


def compose(views: Views, backgrounds: Tensor) -> Tensor:
    """Return the objects before backgrounds that broadcast to (N, 3, H, W)."""
    return torch.addcmul(views.images, 1 - views.masks, backgrounds)


def occlude(views: Views, share: float, generator: Generator) -> Views:
    """Return the views with rectangles and ellipses before some; masks lose what they hide.

    Args:
        views: Composed images and their masks.
        share: Of the views that get one.
        generator: Draws everything.
    """
    count, _, height, width = views.images.shape
    chosen = _chosen(generator, count, share)
    if not len(chosen):
        return views
    n = len(chosen)
    center = _uniform(generator, n, 2, 1, 1)
    # From the rim inwards: what stands before an object rarely sits in its middle.
    center = torch.where(center < 0.5, center * 0.6, 1 - (1 - center) * 0.6)
    half = _uniform(generator, n, 2, 1, 1, low=0.05, high=0.25)
    angle = _uniform(generator, n, 1, 1, high=math.pi)
    device = generator.device
    x = (torch.arange(width, device=device) + 0.5) / width - center[:, 0]
    y = (torch.arange(height, device=device)[:, None] + 0.5) / height - center[:, 1]
    along = (x * angle.cos() + y * angle.sin()) / half[:, 0]
    across = (y * angle.cos() - x * angle.sin()) / half[:, 1]
    ellipse = along.square() + across.square() < 1
    rectangle = (along.abs() < 1) & (across.abs() < 1)
    covered = torch.where(_uniform(generator, n, 1, 1) < 0.5, ellipse, rectangle)[:, None]
    images, masks = views.images.clone(), views.masks.clone()
    paint = gradients(n, width, generator)
    images[chosen] = torch.where(covered, paint, images[chosen])
    masks[chosen] = masks[chosen] * ~covered
    return Views(images, masks)


def jitter_colors(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Return images (N, 3, H, W) with other brightness, contrast, saturation and white balance."""
    count = len(images)

    def factor(*shape: int) -> Tensor:
        return torch.exp2(_uniform(generator, count, *shape, low=-1) * strength)

    gain = factor(1, 1) * (1 + (factor(3, 1) - 1) / 3)
    saturation, contrast = factor(1, 1), factor(1, 1)
    eye = torch.eye(3, device=images.device)
    mixing = saturation * eye + (1 - saturation) / 3
    middle = images.mean((1, 2, 3))[:, None, None]
    # All of it is linear in the colours of a pixel.
    flat = torch.baddbmm(
        gain * (1 - contrast) * middle, gain * contrast * mixing, images.flatten(2)
    )
    return flat.view_as(images).clamp_(0, 1)


def permute_channels(images: Tensor, generator: Generator) -> Tensor:
    """Return images (N, 3, H, W) whose channels changed places, in each in another way."""
    order = _uniform(generator, len(images), 3).argsort(1)
    return torch.gather(images, 1, order[..., None, None].expand_as(images))


def blur(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Return images (N, 3, H, W) of which a share lost sharpness: focus, motion, low resolution."""
    chosen = _chosen(generator, len(images), share)
    if not len(chosen):
        return images
    sigma = _uniform(generator, 2, len(chosen), 1, 1, 1, low=0.3, high=1.6)
    blurred = images.clone()
    blurred[chosen] = _smooth(_smooth(images[chosen], sigma[0], 3), sigma[1], 2)
    return blurred


def _smooth(images: Tensor, sigma: Tensor, axis: int) -> Tensor:
    """Return images smoothed along one axis, each by its own Gaussian."""
    radius, length = 3, images.shape[axis]
    pad = [radius, radius, 0, 0] if axis == 3 else [0, 0, radius, radius]
    padded = functional.pad(images, pad, mode='replicate')
    weights = [torch.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    total = torch.zeros_like(images)
    for start, weight in enumerate(weights):
        total.addcmul_(padded.narrow(axis, start, length), weight)
    return total / sum(weights)


def add_noise(images: Tensor, largest: float, generator: Generator) -> Tensor:
    """Return images (N, 3, H, W) with Gaussian noise of a deviation up to `largest` each."""
    count, _, height, width = images.shape
    sigma = _uniform(generator, count, 1, 1, 1, high=largest)
    # Windows of one field: as good as fresh numbers, and much faster to draw.
    field = torch.randn(3, 2 * height, 2 * width, generator=generator, device=images.device)
    corners = torch.randint(0, height, (count, 2), generator=generator, device=images.device)
    windows = [field[:, y : y + height, x : x + width] for y, x in corners.tolist()]
    return torch.addcmul(images, sigma, torch.stack(windows)).clamp_(0, 1)


def spoil_masks(masks: Tensor, share: float, generator: Generator) -> Tensor:
    """Return masks (N, 1, H, W) of which a share grew, shrank or lost a piece, as detectors' do."""
    chosen = _chosen(generator, len(masks), share)
    spoilt = masks.clone()
    for k in chosen.tolist():
        kind, radius = torch.randint(
            1, 4, (2,), generator=generator, device=generator.device
        ).tolist()
        mask = masks[k]
        if kind == 1:
            spoilt[k] = _grown(mask, radius)
        elif kind == 2:
            eroded = 1 - _grown(1 - mask, radius - 1)
            spoilt[k] = eroded if eroded.any() else mask
        else:
            spoilt[k] = occlude(
                Views(mask.expand(1, 3, -1, -1), mask[None]), 1.0, generator
            ).masks[0]
    return spoilt


def _grown(mask: Tensor, radius: int) -> Tensor:
    """Return a mask (1, H, W) grown by a square of pixels."""
    size = 2 * radius + 1
    wide = functional.max_pool2d(mask, (1, size), 1, (0, radius))
    return functional.max_pool2d(wide, (size, 1), 1, (radius, 0))


def alter(views: Views, options: AugmentOptions, generator: Generator) -> Views:
    """Return what cameras might have made of clean renderings.

    Args:
        views: The objects alone.
        options: How much of everything.
        generator: Draws everything; on the views' device.
    """
    count, _, size, _ = views.images.shape
    if options.backgrounds:
        backgrounds = random_backgrounds(count, size, generator, views)
    else:
        backgrounds = plain_backgrounds(count, generator)
    views = occlude(Views(compose(views, backgrounds), views.masks), options.occluders, generator)
    images = jitter_colors(views.images, options.colors, generator)
    if options.permute:
        images = permute_channels(images, generator)
    images = add_noise(blur(images, options.blur, generator), options.noise, generator)
    return Views(images, spoil_masks(views.masks, options.masks, generator))
