"""Rays through a volume against a slow march, a sphere's outline and depth, and Eq. 8 and 11."""

from __future__ import annotations

import loss_cases
import numpy as np
import pytest
from recon3d_core import losses
from recon3d_core.errors import InputError
from recon3d_core.losses.rays import event_probabilities, trace
from recon3d_core.models.cameras import ViewCameras
from scipy import ndimage
import torch
from torch.autograd import gradcheck


def random_volume(size, batch=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, size, size, size, generator=generator, dtype=dtype)


def plain_march(volume, K, T_camera_cube, u, v, order):
    """Return occupancies and depths of the samples along the ray of an image point."""
    size = len(volume)
    rotation, origin = T_camera_cube[:3, :3].T, -T_camera_cube[:3, :3].T @ T_camera_cube[:3, 3]
    ray = rotation @ np.linalg.solve(K, (u, v, 1.0))
    fine = np.linspace(0, 4, 200_001)
    inside = fine[(np.abs(origin + fine[:, None] * ray) <= 0.5).all(1)]
    if not len(inside):
        return [], []
    step = 1 / (size * np.linalg.norm(ray))
    depths = np.arange(inside[0] + step / 2, inside[-1], step)
    places = (origin + depths[:, None] * ray + 0.5) * size - 0.5
    return ndimage.map_coordinates(volume, places.T, order=order, mode='nearest'), depths


@pytest.mark.parametrize(('interpolation', 'order'), [('nearest', 0), ('bilinear', 1)])
def test_samples_are_those_of_a_slow_march(interpolation, order):
    volume = random_volume(7)
    cameras = loss_cases.orbit(loss_cases.EYES[:2], (1.1, 1.6), (0.45, 0.6), dtype=torch.float64)
    rays = trace(volume, cameras, 5, 3, interpolation)
    for view, row, column in np.ndindex(2, 5, 3):
        u, v = (column + 0.5) / 3, (row + 0.5) / 5
        values, depths = plain_march(
            volume[0].numpy(), *(x[0, view].numpy() for x in (cameras.K, cameras.T_camera_cube)),
            u, v, order,
        )  # fmt: skip
        assert bool(rays.hits[0, view, row, column]) == bool(len(values))
        count = len(values)
        found = rays.occupancy[0, view, row, column]
        np.testing.assert_allclose(found[:count], values, atol=2e-3)
        np.testing.assert_allclose(rays.depth[0, view, row, column, :count], depths, atol=2e-4)
        assert (found[count:] == 0).all()
    assert 10 < rays.hits.sum() < 30


def exact_outline(cameras, height, width, radius):
    """Return (V, H, W) which rays come nearer to the middle than a sphere's radius."""
    v, u = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width,
                       indexing='ij')  # fmt: skip
    outlines = []
    for K, T in zip(cameras.K[0].numpy(), cameras.T_camera_cube[0].numpy()):
        rays = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(K).T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        nearest = np.linalg.norm(np.cross(rays, T[:3, 3]), axis=-1)
        outlines.append(nearest < radius)
    return np.stack(outlines)


@pytest.mark.parametrize(('operator', 'least'), [('max', 0.97), ('product', 0.94)])
def test_silhouettes_of_a_ball_are_its_outlines(operator, least):
    ball = (loss_cases.sphere(32) >= 0.5).float()
    cameras = loss_cases.orbit(loss_cases.EYES, (1.3, 1.0), (0.52, 0.47))
    drawn = losses.project_silhouettes(ball, cameras, 60, 80, operator)
    assert drawn.shape == (1, 4, 1, 60, 80)
    found = drawn[0, :, 0].numpy() > 0.5
    truth = exact_outline(cameras, 60, 80, 0.35)
    iou = (found & truth).sum((1, 2)) / (found | truth).sum((1, 2))
    assert (iou > least).all(), iou


def test_a_small_ball_is_seen_where_it_projects():
    place = np.array((0.2, -0.1, 0.3))
    volume = loss_cases.sphere(32, 0.08, place)
    cameras = loss_cases.orbit(loss_cases.EYES)
    drawn = losses.project_silhouettes(volume, cameras, 90, 120)[0, :, 0]
    image, _ = cameras.project(torch.from_numpy(place[None]).float())
    v, u = torch.meshgrid((torch.arange(90) + 0.5) / 90, (torch.arange(120) + 0.5) / 120,
                          indexing='ij')  # fmt: skip
    for picture, wanted in zip(drawn, image[0, :, 0]):
        center = torch.stack(((picture * u).sum(), (picture * v).sum())) / picture.sum()
        torch.testing.assert_close(center, wanted, atol=0.01, rtol=0)


def test_events_add_up_to_one_and_end_at_the_surface():
    cameras = loss_cases.orbit(loss_cases.EYES[:2])
    soft = trace(random_volume(9), cameras, 8, 6)
    ends, escapes = event_probabilities(soft)
    torch.testing.assert_close(ends.sum(-1) + escapes, torch.ones_like(escapes))
    assert (ends >= 0).all()
    ball = trace(loss_cases.sphere(32), cameras, 1, 1)
    ends, escapes = event_probabilities(ball)
    expected = (ends * ball.depth).sum(-1)[0, :, 0, 0]
    distance = cameras.T_camera_cube[0, :, :3, 3].norm(dim=1)
    torch.testing.assert_close(expected, distance - 0.35, atol=1.5 / 32, rtol=0)
    assert (escapes < 1e-4).all()


def plain_consistency(volume, cameras, mask, depth):
    """Return Eq. 11 for one view by loops over pixels and samples."""
    rays = trace(volume, cameras, *(mask if mask is not None else depth).shape[-2:])
    costs = []
    for row, column in np.ndindex(*rays.hits.shape[2:]):
        if not rays.hits[0, 0, row, column]:
            continue
        outside = float(rays.exit_depth[0, 0, row, column]) + 1
        clear, cost = 1.0, 0.0
        for p, d in zip(rays.occupancy[0, 0, row, column], rays.depth[0, 0, row, column]):
            cost += clear * float(p) * psi(mask, depth, row, column, float(d), outside, False)
            clear *= 1 - float(p)
        costs.append(cost + clear * psi(mask, depth, row, column, outside, outside, True))
    return np.mean(costs)


def psi(mask, depth, row, column, at, outside, escaped):
    cost = 0.0
    if mask is not None:
        covered = float(mask[0, 0, 0, row, column])
        cost += covered if escaped else 1 - covered
    if depth is not None:
        seen = float(depth[0, 0, 0, row, column])
        cost += abs(at - (seen if seen > 0 else outside))
    return cost


@pytest.mark.parametrize('kinds', ['mask', 'depth', 'both'])
def test_consistency_equals_the_sum_of_events(kinds):
    volume = random_volume(5)
    cameras = loss_cases.orbit(loss_cases.EYES[:1], dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    mask = torch.rand(1, 1, 1, 4, 6, generator=generator, dtype=torch.float64)
    depth = 2 * torch.rand(1, 1, 1, 4, 6, generator=generator, dtype=torch.float64)
    depth[..., ::2] = 0
    mask, depth = (None if kinds == 'depth' else mask), (None if kinds == 'mask' else depth)
    found = losses.ray_consistency(volume, cameras, mask, depth)
    assert float(found) == pytest.approx(plain_consistency(volume, cameras, mask, depth), rel=1e-4)


def test_the_true_volume_is_most_consistent():
    ball = loss_cases.sphere(24)
    cameras = loss_cases.orbit(loss_cases.EYES)
    rays = trace(ball, cameras, 24, 32)
    ends, escapes = event_probabilities(rays)
    masks = (escapes < 0.5).float()[:, :, None]
    depths = torch.where(masks[:, :, 0] > 0, (ends * rays.depth).sum(-1) / ends.sum(-1), 0)
    observed = {'masks': masks, 'depths': depths.nan_to_num()[:, :, None]}
    others = [torch.zeros_like(ball), torch.ones_like(ball), loss_cases.sphere(24, 0.25),
              loss_cases.sphere(24, 0.35, (0.1, 0, 0))]  # fmt: skip
    for name, values in observed.items():
        best = losses.ray_consistency(ball, cameras, **{name: values})
        for other in others:
            assert losses.ray_consistency(other, cameras, **{name: values}) > 2 * best
        assert best < 0.05


@pytest.mark.parametrize('operator', ['max', 'product'])
@pytest.mark.parametrize('distance', ['l2', 'iou', 'bce'])
def test_gradients_of_silhouettes_are_right(distance, operator):
    volume = (random_volume(3) * 0.8 + 0.1).requires_grad_()
    cameras = loss_cases.orbit(loss_cases.EYES[:2], dtype=torch.float64)
    masks = random_volume(4)[:, :2, None, :, :3]
    loss = losses.silhouette_loss
    assert gradcheck(lambda v: loss(v, masks, cameras, distance, operator), (volume,))


def test_gradients_of_consistency_are_right():
    volume = (random_volume(3) * 0.8 + 0.1).requires_grad_()
    cameras = loss_cases.orbit(loss_cases.EYES[:2], dtype=torch.float64)
    masks = random_volume(4)[:, :2, None, :, :3]
    assert gradcheck(lambda v: losses.ray_consistency(v, cameras, masks, 2 * masks), (volume,))


def test_full_volumes_keep_finite_gradients():
    volume = torch.ones(1, 4, 4, 4, requires_grad=True)
    cameras = loss_cases.orbit(loss_cases.EYES)
    masks = torch.zeros(1, 4, 1, 6, 6)
    for loss in (losses.silhouette_loss(volume, masks, cameras),
                 losses.silhouette_loss(volume, masks, cameras, 'bce', 'product'),
                 losses.ray_consistency(volume, cameras, masks)):  # fmt: skip
        (gradient,) = torch.autograd.grad(loss, volume)
        assert gradient.isfinite().all()
        assert gradient.max() > 0  # what is full by mistake can still be emptied


@pytest.mark.parametrize('kind', ['max', 'product', 'rays'])
def test_a_ball_grows_from_its_masks_alone(kind):
    truth = loss_cases.sphere(12, 0.3)
    angles = np.linspace(0, 2 * np.pi, 7)[:6]
    eyes = [(2 * np.cos(a), 2 * np.sin(a), 0.7 * (-1) ** k) for k, a in enumerate(angles)]
    cameras = loss_cases.orbit([*eyes, (0.2, 0, 2.2)])
    masks = (losses.project_silhouettes(truth, cameras, 24, 24) > 0.5).float()
    logits = torch.full((1, 12, 12, 12), -3.0, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.5)
    for _ in range(30):
        optimizer.zero_grad()
        volume = logits.sigmoid()
        if kind == 'rays':
            loss = losses.ray_consistency(volume, cameras, masks)
        else:
            loss = losses.silhouette_loss(volume, masks, cameras, 'bce', kind)
        loss.backward()
        optimizer.step()
    solid = (logits.detach() > 0).float()
    drawn = losses.project_silhouettes(solid, cameras, 24, 24)
    outlines = drawn.flatten(0, 1) >= 0.5, masks.flatten(0, 1)
    assert 1 - losses.negative_iou(outlines[0].float(), outlines[1]) > 0.85
    # It may be hollow, but little may stick out.
    assert (solid * (truth < 0.5)).sum() < 0.25 * truth.sum()


def test_views_that_see_nothing_cost_nothing():
    volume = torch.rand(1, 4, 4, 4, requires_grad=True)
    away = loss_cases.orbit(loss_cases.EYES[:2])
    turned = away.T_camera_cube.clone()
    turned[..., :3, 3] *= -1  # the cube is behind the cameras
    away = ViewCameras(away.K, turned)
    drawn = losses.project_silhouettes(volume, away, 5, 5)
    assert (drawn == 0).all()
    loss = losses.ray_consistency(volume, away, torch.ones(1, 2, 1, 5, 5))
    loss.backward()
    assert loss == 0
    assert (volume.grad == 0).all()


def test_cameras_inside_the_cube_look_forward_only():
    volume = torch.zeros(1, 8, 8, 8)
    volume[:, 6:] = 1  # full where x is large
    cameras = loss_cases.orbit([(-0.01, 0, 0), (0.01, 0, 0)])  # looks at +x, looks at -x
    drawn = losses.project_silhouettes(volume, cameras, 1, 1)
    assert drawn[0, 0] > 0.99
    assert drawn[0, 1] < 0.01


def test_bad_rays_are_refused():
    volume, masks = torch.rand(1, 4, 4, 4), torch.ones(1, 4, 1, 5, 6)
    cameras = loss_cases.orbit(loss_cases.EYES)
    with pytest.raises(InputError, match='neither masks nor depths'):
        losses.ray_consistency(volume, cameras)
    with pytest.raises(InputError, match=r'masks has the wrong shape, got \(1, 4, 5, 6\)'):
        losses.silhouette_loss(volume, masks[:, :, 0], cameras)
    with pytest.raises(InputError, match=r'probabilities has the wrong shape'):
        losses.project_silhouettes(volume[0], cameras, 4, 4)
    with pytest.raises(InputError, match='distance'):
        losses.silhouette_loss(volume, masks, cameras, 'l1')
    with pytest.raises(InputError, match='operator'):
        losses.silhouette_loss(volume, masks, cameras, operator='sum')
    with pytest.raises(InputError, match='depths has values that are not finite'):
        losses.ray_consistency(volume, cameras, depths=masks * torch.nan)
    with pytest.raises(InputError, match='T_camera_cube has values that are not finite'):
        broken = ViewCameras(cameras.K, cameras.T_camera_cube * torch.nan)
        losses.silhouette_loss(volume, masks, broken)
    with pytest.raises(InputError, match='K has no inverse, got 4'):
        losses.silhouette_loss(volume, masks, ViewCameras(cameras.K * 0, cameras.T_camera_cube))
    with pytest.raises(InputError, match='masks are no probabilities'):
        losses.ray_consistency(volume, cameras, masks * 255)
    with pytest.raises(InputError, match='masks are empty'):
        losses.silhouette_loss(volume, masks[..., :0], cameras)


@pytest.mark.gpu
def test_gpu_agrees_on_rays():
    cameras = loss_cases.orbit(loss_cases.EYES)
    ball, masks = loss_cases.sphere(16), torch.rand(1, 4, 1, 20, 20)
    on_gpu = losses.ray_consistency(ball.cuda(), cameras.to('cuda'), masks.cuda()).cpu()
    torch.testing.assert_close(on_gpu, losses.ray_consistency(ball, cameras, masks))
