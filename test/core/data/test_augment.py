"""Altered images: range, determinism, untouched input, and that each change does what it says."""

from __future__ import annotations

import pytest
from recon3d_core.data.augment import (
    add_noise,
    alter,
    AugmentOptions,
    blur,
    compose,
    jitter_colors,
    occlude,
    permute_channels,
    random_backgrounds,
    spoil_masks,
    Views,
)
import torch


def disc_views(count=12, size=48):
    """Return red discs, colour times coverage, on black."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij')
    mask = ((x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 3) ** 2).float()
    masks = mask.expand(count, 1, size, size).clone()
    return Views(masks * torch.tensor([0.8, 0.2, 0.1])[:, None, None], masks)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_in_range_deterministic_and_input_untouched():
    views = disc_views()
    before = [part.clone() for part in views]
    first = alter(views, AugmentOptions(), generator())
    again = alter(views, AugmentOptions(), generator())
    other = alter(views, AugmentOptions(), generator(1))
    for part, old, twin, differs in zip(first, before, again, other, strict=True):
        assert part.shape == old.shape
        assert torch.isfinite(part).all()
        assert part.min() >= 0
        assert part.max() <= 1
        assert torch.equal(part, twin)
        assert not torch.equal(part, differs)
    assert all(torch.equal(part, old) for part, old in zip(views, before, strict=True))


def test_global_random_state_is_not_used():
    views = disc_views()
    torch.manual_seed(0)
    first = alter(views, AugmentOptions(), generator())
    torch.manual_seed(1)
    assert torch.equal(first.images, alter(views, AugmentOptions(), generator()).images)


def test_all_off_changes_the_background_only():
    options = AugmentOptions(
        backgrounds=False, occluders=0, colors=0, permute=False, blur=0, noise=0, masks=0
    )
    views = disc_views()
    altered = alter(views, options, generator())
    inside = views.masks.expand_as(views.images) > 0
    assert torch.allclose(altered.images[inside], views.images[inside], atol=1e-6)
    assert torch.equal(altered.masks, views.masks)
    outside = torch.where(inside, torch.nan, altered.images)
    for image in outside:
        assert torch.isfinite(image[:, 0, 0]).all()
        flat = image.flatten(1)
        assert (flat.nan_to_num(0).amax(1) - flat.nan_to_num(1).amin(1)).abs().max() < 1e-6
    assert len(altered.images[:, :, 0, 0].unique(dim=0)) == len(views.images)


def test_compose_at_half_coverage_is_the_mean():
    views = Views(torch.full((1, 3, 2, 2), 0.4), torch.full((1, 1, 2, 2), 0.5))
    assert torch.allclose(compose(views, torch.ones(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 0.9))


def test_backgrounds_are_of_several_kinds():
    images = random_backgrounds(60, 32, generator(), disc_views(60, 32))
    assert images.shape == (60, 3, 32, 32)
    spread = images.flatten(2).std(2).mean(1)
    assert (spread < 1e-6).sum() >= 5
    assert (spread > 0.05).sum() >= 10


def test_occluders_hide_what_masks_lose():
    views = disc_views(40)
    hidden = occlude(views, 0.5, generator())
    changed = (hidden.images != views.images).any(1, keepdim=True)
    touched = changed.flatten(1).any(1)
    assert 10 <= touched.sum() <= 30
    lost = (views.masks > 0) & (hidden.masks == 0)
    assert lost.any()
    assert (hidden.masks <= views.masks).all()
    assert changed[lost].all()
    assert torch.equal(hidden.images[~touched], views.images[~touched])
    assert occlude(views, 0.0, generator()) is views


def test_channels_change_places_and_keep_their_values():
    images = torch.rand(20, 3, 4, 4, generator=generator())
    permuted = permute_channels(images, generator())
    assert torch.equal(images.sort(1).values, permuted.sort(1).values)
    assert not torch.equal(images, permuted)


def test_blur_keeps_brightness_and_lowers_contrast():
    images = torch.rand(6, 3, 40, 40, generator=generator())
    blurred = blur(images, 1.0, generator())
    assert torch.allclose(blurred.mean((2, 3)), images.mean((2, 3)), atol=0.02)
    assert (blurred.std((2, 3)) < images.std((2, 3))).all()
    flat = torch.full((2, 3, 9, 9), 0.3)
    assert torch.allclose(blur(flat, 1.0, generator()), flat, atol=1e-6)


def test_blur_equals_a_plain_convolution():
    image = torch.zeros(1, 1, 15, 15)
    image[0, 0, 7, 7] = 1
    blurred = blur(image, 1.0, generator())[0, 0]
    row, column = blurred.sum(0), blurred.sum(1)
    assert torch.allclose(blurred, column[:, None] * row[None, :], atol=1e-6)
    offsets = torch.arange(-7.0, 8.0)
    for profile in (row, column):
        sigma2 = 1 / (2 * torch.log(profile[7] / profile[8]))
        expected = torch.where(offsets.abs() <= 3, torch.exp(-0.5 * offsets**2 / sigma2), 0.0)
        assert torch.allclose(profile, expected / expected.sum(), atol=1e-5)


def test_noise_has_the_deviation_asked_for():
    noisy = add_noise(torch.full((50, 3, 64, 64), 0.5), 0.05, generator())
    deviations = noisy.flatten(1).std(1)
    assert deviations.max() < 0.055
    assert 0.015 < deviations.mean() < 0.035


def test_spoilt_masks_stay_near():
    views = disc_views(60)
    spoilt = spoil_masks(views.masks, 0.5, generator())
    changed = (spoilt != views.masks).flatten(1).any(1)
    assert 15 <= changed.sum() <= 45
    inter = (spoilt * views.masks).sum((1, 2, 3))
    union = torch.maximum(spoilt, views.masks).sum((1, 2, 3))
    assert (inter / union).min() > 0.3
    assert (spoilt.flatten(1).sum(1) > 0).all()


def test_color_jitter_of_strength_zero_is_nothing():
    images = torch.rand(4, 3, 8, 8, generator=generator())
    assert torch.allclose(jitter_colors(images, 0.0, generator()), images, atol=1e-6)
    assert not torch.allclose(jitter_colors(images, 0.5, generator()), images, atol=0.05)


@pytest.mark.gpu
def test_on_a_gpu():
    views = Views(*(part.cuda() for part in disc_views()))
    drawn = torch.Generator('cuda').manual_seed(0)
    altered = alter(views, AugmentOptions(), drawn)
    assert altered.images.device.type == 'cuda'
    assert torch.isfinite(altered.images).all()
