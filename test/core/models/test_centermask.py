"""The instance network: its losses, from embeddings to masks, learning, and the detector."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from recon3d_core import registry
from recon3d_core.config import validate
from recon3d_core.detection.centermask import CenterMaskDetector
from recon3d_core.errors import InputError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.metrics.instances import instance_ap, match_instances
from recon3d_core.models import create_network
from recon3d_core.models.centermask.grouping import group
from recon3d_core.models.centermask.inputs import network_inputs
from recon3d_core.models.centermask.loss import embedding_loss, lovasz_hinge
from recon3d_core.models.centermask.model import Embedding
from recon3d_core.models.weights import save_weights, WeightsCard
from recon3d_core.types import Frame
import torch

SIZE = (72, 96)
SMALL = {'width': 96, 'height': 72, 'channels': 8}


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an image (72, 96, 3) of things before a plain ground, its depth and instances."""
    rng = np.random.default_rng(seed)
    rgb = np.full((*SIZE, 3), rng.integers(40, 90), np.uint8)
    depth = np.full(SIZE, 1.0, np.float32)
    ids = np.zeros(SIZE, np.uint8)
    for k, (x, y) in enumerate(rng.permutation([(24, 20), (70, 22), (28, 52), (72, 54)])[:3], 1):
        ids = cv2.ellipse(ids, (int(x), int(y)), (16, 12), rng.uniform(0, 180), 0, 360, k, -1)
        rgb[ids == k] = rng.integers(130, 255, 3)
        depth[ids == k] = 0.85
    return rgb, depth, ids


def batch(seeds: range) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rgb, depth, ids = (np.stack(part) for part in zip(*map(drawn, seeds), strict=True))
    images = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
    return images, torch.from_numpy(depth)[:, None], torch.from_numpy(ids).long()


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Train a small network on drawn things for seconds; depth is left out of every second step."""
    torch.manual_seed(0)
    network = create_network('centermask', **SMALL).train()
    optimizer = torch.optim.AdamW(network.parameters(), 6e-3)
    for step in range(50):
        images, depth, ids = batch(range(4 * step, 4 * step + 4))
        loss = network.loss(images, depth * (step % 2), ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = tmp_path_factory.mktemp('weights') / 'centermask.safetensors'
    save_weights(path, network.state_dict(), WeightsCard('centermask', SMALL, 0.4))
    return path


def test_lovasz_hinge_is_the_jaccard_loss_where_it_is_certain():
    truth = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]])
    found = torch.tensor([[1.0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1]])
    # At margins of -1 the hinge is twice the loss: 1 - 2/4, and 0.
    assert lovasz_hinge(2 * found - 1, truth).tolist() == pytest.approx([2 * (1 - 2 / 4), 0])


def test_a_part_of_a_view_is_shown_as_it_is_in_the_whole():
    rng = np.random.default_rng(0)
    ramp = np.indices((96, 128)).sum(0) / 200 + 0.8
    depth = torch.from_numpy(ramp + rng.normal(0, 0.002, ramp.shape)).float()[None, None]
    rgb = torch.from_numpy(rng.random((1, 3, 96, 128), np.float32))
    rows, columns = np.s_[24:72], np.s_[32:96]
    whole = network_inputs(rgb, depth)[..., rows, columns]
    part = network_inputs(rgb[..., rows, columns], depth[..., rows, columns], 128)
    alone = network_inputs(rgb[..., rows, columns], depth[..., rows, columns])
    inner = np.s_[..., 8:-8, 8:-8]
    # Colours, whether there is depth, and slopes; the mean of all depth is another one.
    for channel in (0, 1, 2, 3, 6, 7):
        torch.testing.assert_close(part[:, channel][inner], whole[:, channel][inner])
    assert not torch.allclose(alone[:, 6:][inner], whole[:, 6:][inner], atol=1e-3)


def test_places_of_a_part_are_in_heights_of_the_whole_image():
    network = create_network('centermask', **SMALL).eval()
    with torch.no_grad():
        network.heads.weight.zero_()
        places = [network(torch.zeros(1, 8, *size)).places for size in (SIZE, (36, 48))]
    torch.testing.assert_close(places[1], places[0][..., :18, :24])
    assert places[0][0, 1, -1, 0] == pytest.approx(35 / 36)


def ideal(ids: np.ndarray) -> Embedding:
    """Return the embedding of a network that knows everything."""
    half = ids[::2, ::2]
    y, x = np.mgrid[: half.shape[0], : half.shape[1]] / half.shape[0]
    places = np.stack([x, y]) + 10.0  # the ground points anywhere else
    for k in np.unique(half[half > 0]):
        places[:, half == k] = [[x[half == k].mean()], [y[half == k].mean()]]
    as_tensor = [torch.from_numpy(part).float()[None] for part in (places, (half > 0)[None])]
    return Embedding(as_tensor[0], torch.full((1, 1, *half.shape), 5.0), 20 * as_tensor[1] - 10)


def test_an_ideal_embedding_costs_nothing_and_gives_the_true_masks():
    for seed in range(3):
        ids = drawn(seed)[2]
        loss = embedding_loss(*ideal(ids), torch.from_numpy(ids[None, ::2, ::2].astype(np.int64)))
        assert float(loss) < 1e-3
        found = group(ideal(ids), (4 * SIZE[0], 4 * SIZE[1]))
        large = cv2.resize(ids, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
        match = match_instances(found.masks, found.scores, large.astype(int))
        assert instance_ap([match], 0.85) == 1
        assert found.masks.sum(0).max() == 1


def test_places_are_not_rounded_in_mixed_precision():
    ids = drawn(0)[2]
    truth = torch.from_numpy(ids[None, ::2, ::2].astype(np.int64))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert float(embedding_loss(*ideal(ids), truth)) < 1e-3


def test_an_empty_image_has_no_object_and_a_finite_loss():
    blank = np.zeros(SIZE, np.uint8)
    embedding = ideal(blank)
    assert not len(group(embedding, SIZE).masks)
    loss = embedding_loss(*embedding, torch.zeros(1, 36, 48, dtype=torch.long))
    assert float(loss) < 1e-3


def test_no_depth_is_invalid_depth_and_depth_has_no_unit_of_its_own():
    images, depth, _ = batch(range(2))
    assert torch.equal(network_inputs(images, None), network_inputs(images, 0 * depth))
    with_depth = network_inputs(images, depth)
    assert torch.isfinite(with_depth).all()
    hole = depth.clone()
    hole[..., 10:20, 10:20] = 0
    assert not network_inputs(images, hole)[:, 3:, 10:20, 10:20].any()
    # Twice as far is the same picture, but for the relief, which is in metres.
    same = [0, 1, 2, 3, 4, 6, 7]
    torch.testing.assert_close(
        network_inputs(images, 2 * depth)[:, same], with_depth[:, same], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize('use_depth', [False, True])
def test_a_trained_network_finds_things_at_full_resolution(weights, use_depth):
    config = validate(CenterMaskDetector.Config, {'weights': str(weights), 'use_depth': use_depth})
    detector = CenterMaskDetector(config)
    matches = []
    for seed in range(1000, 1006):
        rgb, depth, ids = (
            cv2.resize(image, (384, 288), interpolation=cv2.INTER_NEAREST) for image in drawn(seed)
        )
        pose = np.eye(4)
        pose[:3, 3] = 0.5, 0, 0
        frame = Frame(0, Camera(384, 288, 350, 350, 191.5, 143.5), rgb, depth, pose)
        items = detector.detect(frame).items
        assert all(item.mask.shape == (288, 384) for item in items)
        for item in items:
            rows, columns = np.nonzero(item.mask)
            box = columns.min(), rows.min(), columns.max(), rows.max()
            assert item.box_xyxy == box
            assert item.points_world_m.dtype == np.float32
            assert len(item.points_world_m) <= detector.config.max_points
        masks = np.stack([item.mask for item in items])
        matches.append(match_instances(masks, [item.score for item in items], ids.astype(int)))
    assert instance_ap(matches, 0.5) > 0.8


def test_folding_for_inference_changes_nothing(weights):
    images, depth, _ = batch(range(1))
    network = create_network('centermask', weights)
    with torch.inference_mode():
        inputs = network.preprocess(images, depth)
        before = network(inputs)
        after = network.optimize_for_inference()(inputs)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert network.threshold == 0.4


def test_missing_weights_are_one_line(tmp_path):
    assert 'rgb' in registry.load('detector', 'centermask').needs
    config = validate(CenterMaskDetector.Config, {'weights': str(tmp_path / 'none.safetensors')})
    with pytest.raises(InputError, match='weights of centermask') as caught:
        CenterMaskDetector(config)
    assert '\n' not in str(caught.value)
