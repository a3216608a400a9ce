"""`factored3d`: frames that face the camera, RoIAlign, losses and poses against plain references."""

import math

import numpy as np
import pytest
from recon3d_core.geometry.transforms import make_transform
from recon3d_core.models import create_network
from recon3d_core.models.factored3d import frames
from recon3d_core.models.factored3d.loss import parse_loss, truths_of
from recon3d_core.models.factored3d.model import box_rays, Factors, log_extent
from recon3d_core.models.factored3d.parsing import place, see_image, tell_objects
from recon3d_core.models.factored3d.rois import roi_align
import torch

SMALL = {'width': 96, 'height': 64, 'channels': 8, 'code': 16}
K = torch.tensor([[80.0, 0, 47.5], [0, 80.0, 31.5], [0, 0, 1]])


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def upright_rotations(count: int, seed: int = 0) -> torch.Tensor:
    """Return rotations of upright objects before a camera that looks down 0 to 80 degrees."""
    rng = np.random.default_rng(seed)
    made = []
    for pitch, yaw in zip(np.deg2rad(rng.uniform(0, 80, count)), rng.uniform(-3, 3, count)):
        # The world's up, and an axis across it, in the camera's frame (x right, y down).
        up = np.array([0, -np.cos(pitch), -np.sin(pitch)])
        across = np.array([1.0, 0, 0])
        x = np.cos(yaw) * across + np.sin(yaw) * np.cross(up, across)
        made.append(np.stack([x, np.cross(up, x), up], 1))
    return torch.tensor(np.stack(made), dtype=torch.float32)


def batch_of(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return a batch of two images with solids of random cells."""
    torch.manual_seed(seed)
    poses = torch.eye(4).repeat(count, 1, 1)
    poses[:, :3, :3] = upright_rotations(count, seed)
    poses[:, :3, 3] = torch.rand(count, 3) * torch.tensor([0.4, 0.3, 0.5]) + torch.tensor(
        [-0.2, -0.15, 0.8]
    )
    middle = poses[:, :3, 3] @ K.T
    middle = middle[:, :2] / middle[:, 2:]
    half = 4 + 8 * torch.rand(count, 2)
    return {
        'images': torch.rand(2, 3, 64, 96),
        'K': K.repeat(2, 1, 1),
        'layout': torch.full((2, 16, 24), 0.7),
        'image_of': torch.arange(count) % 2,
        'boxes': torch.cat([middle - half, middle + half], 1),
        'T_camera_object': poses,
        'size_m': 0.05 + 0.2 * torch.rand(count, 3),
        'occupancy': (torch.rand(count, 32, 32, 32) > 0.5).float(),
        'is_round': torch.zeros(count, dtype=torch.bool),
        'is_true': torch.ones(count, dtype=torch.bool),
    }


def test_rotation_and_angle_are_inverse_and_one_turn_faces_the_camera():
    R = upright_rotations(60)
    rays = torch.randn(60, 3) * 0.3 + torch.tensor([0.0, 0, 1])
    yaw = frames.yaw_of(R, rays)
    assert torch.allclose(frames.rotation_of(R[..., 2], rays, yaw), R, atol=1e-5)
    turns = frames.facing_turns(yaw)
    facing = frames.turned_yaw(yaw, turns[:, 0])
    assert facing.abs().max() <= math.pi / 4 + 1e-5
    x = frames.rotation_of(R[..., 2], rays, facing)[..., 0]
    assert (x[:, 2] + -x[:, 1]).min() > 0  # away from the camera: farther, or higher in the image


@pytest.mark.parametrize('turns', [0, 1, 2, 3])
def test_a_turned_description_is_the_same_solid(turns):
    rng = np.random.default_rng(turns)
    shape = torch.tensor(rng.random((1, 8, 8, 8)) > 0.5)
    size = torch.tensor([[0.4, 0.2, 0.1]])
    R = upright_rotations(1, 5)
    rays = torch.tensor([[0.1, 0.05, 1.0]])
    k = torch.tensor([turns])
    turned = frames.turned_shapes(shape.float(), k)[0] > 0.5
    edges = frames.turned_sizes(size, k)[0].numpy()
    yaw = frames.turned_yaw(frames.yaw_of(R, rays), k)
    R_turned = frames.rotation_of(R[..., 2], rays, yaw)[0].numpy()

    def cells(occupancy, rotation, edge):
        at = ((np.argwhere(occupancy) + 0.5) / 8 - 0.5) * edge
        return np.array(sorted(np.round(at @ rotation.T, 4).tolist()))

    found = cells(turned.numpy(), R_turned, edges)
    true = cells(shape[0].numpy(), R[0].numpy(), size[0].numpy())
    assert np.allclose(found, true, atol=2e-4)


def test_bins_give_angles_back():
    yaw = torch.linspace(-0.8, 0.8, 41)
    weights = frames.bin_targets(yaw)
    assert torch.allclose(weights.sum(1), torch.ones(41))
    back = frames.yaw_from_bins((weights + 1e-6).log())
    assert (back - yaw).abs().max() < math.radians(1.5)


def test_roi_align_is_the_mean_of_bilinear_samples():
    torch.manual_seed(0)
    features = torch.rand(2, 3, 6, 10)
    boxes = torch.tensor([[0.12, 0.2, 0.55, 0.9], [0.3, 0.1, 0.8, 0.6], [-0.2, 0.5, 0.3, 1.4]])
    image_of = torch.tensor([1, 0, 1])
    found = roi_align(features, boxes, image_of, 3)
    for n, (box, image) in enumerate(zip(boxes.tolist(), image_of.tolist())):
        for row in range(3):
            for column in range(3):
                total = torch.zeros(3)
                for i in range(2):
                    for j in range(2):
                        x = box[0] + (box[2] - box[0]) * (2 * column + j + 0.5) / 6
                        y = box[1] + (box[3] - box[1]) * (2 * row + i + 0.5) / 6
                        total += bilinear(features[image], 10 * x - 0.5, 6 * y - 0.5)
                assert torch.allclose(found[n, :, row, column], total / 4, atol=1e-5)


def bilinear(features: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Return the features (C,) at a place; 0 beyond the border."""
    result = torch.zeros(len(features))
    for column in (math.floor(x), math.floor(x) + 1):
        for row in (math.floor(y), math.floor(y) + 1):
            if 0 <= row < features.shape[1] and 0 <= column < features.shape[2]:
                weight = (1 - abs(x - column)) * (1 - abs(y - row))
                result += weight * features[:, row, column]
    return result


def test_what_is_taught_gives_the_true_poses_back():
    batch = batch_of(12)
    intrinsics, boxes = batch['K'][batch['image_of']], batch['boxes']
    rays, extent = box_rays(intrinsics, boxes)
    T = batch['T_camera_object']
    for truth in truths_of(batch):
        told = truth.valid
        middle = T[:, :2, 3] / T[:, 2:3, 3]
        factors = Factors(
            truth.occupancy,
            (frames.bin_targets(truth.yaw) + 1e-6).log(),
            truth.log_edges,
            (middle - rays[:, :2]) / extent,
            T[:, 2, 3].log(),
            torch.zeros(12),
        )
        found, size = place(factors, intrinsics, boxes, T[:, :3, 2])
        assert torch.allclose(found[:, :3, 3], T[:, :3, 3], atol=1e-4)
        assert torch.allclose(size.prod(1), batch['size_m'].prod(1), rtol=1e-3)
        # A quarter turn renames axes; up stays, and every axis is one of the true ones.
        cosines = (found[:, :3, :3].transpose(1, 2) @ T[:, :3, :3]).abs().amax(2)
        assert cosines[told].min() > math.cos(math.radians(2))
    assert log_extent(extent).isfinite().all()


def test_a_network_learns_a_batch_and_false_boxes_teach_no_shape():
    torch.manual_seed(0)
    network = create_network('factored3d', **SMALL).train()
    batch = batch_of(4)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = parse_loss(network, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
    batch['is_true'] = torch.tensor([True, True, True, False])
    network.eval()
    before = parse_loss(network, batch)
    batch['occupancy'][3] = 1 - batch['occupancy'][3]
    batch['size_m'][3] *= 3
    assert torch.equal(parse_loss(network, batch), before)


def test_objects_of_an_image_are_told_alone_and_keep_their_image_when_scaled():
    network = create_network('factored3d', **SMALL)
    rgb = np.random.default_rng(0).integers(0, 255, (120, 180, 3)).astype(np.uint8)
    intrinsics = np.array([[150.0, 0, 89.5], [0, 150.0, 59.5], [0, 0, 1]])
    seen = see_image(network, rgb, intrinsics)
    boxes = [(20.0, 30.0, 70.0, 90.0), (100.0, 20.0, 140.0, 60.0)]
    objects = tell_objects(network, seen, boxes)
    alone = tell_objects(network, seen, boxes[1:])[0]
    assert np.allclose(objects[1].probabilities, alone.probabilities, atol=1e-5)
    assert np.allclose(objects[1].T_camera_object, alone.T_camera_object, atol=1e-5)
    assert seen.layout.shape == (16, 24)
    assert (seen.layout > 0).all()
    double = alone.scaled(2.0)
    for one in (alone, double):
        assert np.allclose(one.T_camera_object[:3, :3] @ one.T_camera_object[:3, :3].T, np.eye(3))
    at = [one.T_camera_object[:2, 3] / one.T_camera_object[2, 3] for one in (alone, double)]
    assert np.allclose(*at)
    assert np.allclose(
        double.size_m / double.T_camera_object[2, 3], alone.size_m / alone.T_camera_object[2, 3]
    )
    known_up = make_transform()[:3, 1] * -1.0
    told = tell_objects(network, seen, boxes, known_up)
    assert np.allclose(told[0].T_camera_object[:3, 2], known_up, atol=1e-6)
    assert tell_objects(network, seen, []) == []
