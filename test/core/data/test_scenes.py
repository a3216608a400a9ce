"""Composed scenes: how things lie, that nothing is within another, and the views as data."""

from __future__ import annotations

from itertools import permutations
import pickle

import numpy as np
import open3d as o3d
import pytest
from recon3d_core.data.scenes.composer import compose, draw_view, scene_name
from recon3d_core.data.scenes.library import Library, Shares
from recon3d_core.data.scenes.resting import draw_resting, is_within, resting_poses
from recon3d_core.data.sets import load_dataset
from recon3d_core.data.sets.scenes_alter import altered, AlterOptions, SceneImages
from recon3d_core.errors import InputError, SourceError
import torch

BOX = np.array([[x, y, z] for x in (0, 0.1) for y in (0, 0.2) for z in (0, 0.4)])
TOUCH_M = 0.003


@pytest.fixture(scope='module')
def library(tmp_path_factory) -> Library:
    """Return objects made by rule only: the collection is not needed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RECON3D_DATA', str(tmp_path_factory.mktemp('nothing')))
        found = Library()
        assert found.collection is None
    return found


@pytest.fixture(scope='module')
def scenes(library):
    return [compose(scene_name('train', k), library) for k in (0, 3, 5)]


def lowest(vertices: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    turned = vertices @ rotation.T
    return turned[turned[:, 2] < turned[:, 2].min() + 1e-6]


def test_a_box_lies_on_each_face_and_mostly_on_the_largest():
    poses = resting_poses(BOX)
    assert len(poses) == 6
    assert sum(pose.share for pose in poses) == pytest.approx(1)
    areas = [np.ptp(lowest(BOX, pose.rotation)[:, :2], axis=0).prod() for pose in poses]
    assert areas == sorted(areas, reverse=True)
    assert sum(pose.upright for pose in poses) == 1
    for pose in poses:
        np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose.rotation) == pytest.approx(1)
        assert len(lowest(BOX, pose.rotation)) == 4


def test_what_would_fall_over_does_not_stand():
    # Its foot is far off its middle: upright it falls.
    leaning = BOX.copy()
    leaning[BOX[:, 2] > 0, 0] += 0.6
    assert not any(pose.upright for pose in resting_poses(leaning))
    # A cone lies on its base or its side, never on its tip.
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    cone = np.concatenate([rim, [[0, 0, 2.0]]])
    assert all(len(lowest(cone, pose.rotation)) >= 3 for pose in resting_poses(cone))
    turned = draw_resting(resting_poses(cone), 1.0, np.random.default_rng(0))
    assert len(lowest(cone, turned)) == 24
    with pytest.raises(InputError, match='solid'):
        resting_poses(rim)


def test_a_place_is_within_an_outline_or_not():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]], float)
    assert is_within(square, np.array([0.1, 0.5]))
    assert not is_within(square, np.array([0.1, 0.5]), 0.2)
    assert not is_within(square, np.array([1.1, 0.5]))
    assert not is_within(square[:2], np.array([0.5, 0.0]))


def inside(truth, points: np.ndarray) -> np.ndarray:
    """Return which points (n, 3) have an odd number of faces on all sides."""
    votes = []
    for direction in np.concatenate([np.eye(3), -np.eye(3)]):
        rays = np.concatenate([points, np.tile(direction + 0.01, (len(points), 1))], 1)
        tensor = o3d.core.Tensor.from_numpy(rays.astype(np.float32))
        votes.append(truth.scene.count_intersections(tensor).numpy() % 2 == 1)
    return np.all(votes, 0)


def test_objects_rest_on_their_support_or_on_one_another_and_none_is_in_another(scenes):
    for scene in scenes:
        support = scene.surroundings.support_m
        assert 3 <= len(scene.objects) <= 12
        floors = [float(o.mesh.vertices_m[:, 2].min()) - support for o in scene.objects.values()]
        assert min(floors) > -1e-3
        assert min(floors) < 1e-3
        for a, b in permutations(scene.objects.values(), 2):
            points = a.mesh.vertices_m
            box = b.mesh.vertices_m
            near = points[((points > box.min(0)) & (points < box.max(0))).all(1)]
            deep = near[inside(b, near)] if len(near) else near
            if len(deep):
                tensor = o3d.core.Tensor.from_numpy(np.ascontiguousarray(deep))
                assert b.scene.compute_distance(tensor).numpy().max() < TOUCH_M


def test_a_name_says_all_of_a_scene_and_its_number_all_of_a_view(scenes, library):
    again = compose(scenes[0].name, library)
    for one, two in zip(scenes[0].placed, again.placed, strict=True):
        assert one.item.name == two.item.name
        np.testing.assert_array_equal(one.T_world_object, two.T_world_object)
    first, second = (draw_view(scene, 1, (96, 72)) for scene in (scenes[0], again))
    np.testing.assert_array_equal(first.rgb, second.rgb)
    np.testing.assert_array_equal(first.depth_m, second.depth_m)
    other = draw_view(again, 2, (96, 72))
    assert not np.array_equal(first.T_world_camera, other.T_world_camera)
    assert len(np.unique(first.seen.instances)) >= 3
    frame = first.frame(again)
    measured = frame.depth_m > 0
    error = np.abs(frame.depth_m - first.seen.depth_m)[measured]
    assert measured.mean() > 0.5
    assert 0 < np.median(error) < 0.02


def test_splits_share_no_object(library):
    rng = np.random.default_rng(0)
    drawn = {
        split: {library.draw(split, Shares(), (0.05, 0.4), rng).name for _ in range(8)}
        for split in ('train', 'val', 'test')
    }
    numbers = {split: [int(n[-6:]) for n in names] for split, names in drawn.items()}
    assert max(numbers['train']) < 800_000 <= min(numbers['val'])
    assert max(numbers['val']) < 900_000 <= min(numbers['test'])


def test_training_can_go_on_with_scenes_that_are_new():
    data = load_dataset('scenes', first_scene=1800, train_scenes=2, val_scenes=1)
    assert data.names('train') == ['scenes/train/001800', 'scenes/train/001801']
    assert data.names('val') == ['scenes/val/000000']


def test_the_set_gives_the_same_batch_in_every_process(tmp_path, monkeypatch):
    monkeypatch.setenv('RECON3D_DATA', str(tmp_path / 'nothing'))
    options = {'width': 96, 'height': 72, 'train_scenes': 2, 'views': 2, 'cache': str(tmp_path)}
    data = load_dataset('scenes', **options)
    names = data.names('train')
    batch = data.batch(names, 1, 5)
    assert batch.images.shape == (2, 3, 72, 96)
    assert batch.depth_m.shape == (2, 1, 72, 96)
    assert batch.instances.dtype == torch.int64
    again = pickle.loads(pickle.dumps(data)).batch(names, 1, 5)
    for key in ('images', 'depth_m', 'instances'):
        assert torch.equal(getattr(batch, key), getattr(again, key)), key
    assert not torch.equal(batch.images, data.batch(names, 1, 6).images)
    kept = data.images(names[0], 0)
    copy = [image.copy() for image in kept]
    changed = altered(kept, AlterOptions(no_depth=1.0), np.random.default_rng(0))
    assert not changed.depth_m.any()
    for before, after in zip(copy, kept, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ('part', 'shown', 'size'),
    [(1.0, (243, 323), (244, 324)), (0.5, (240, 320), (120, 160)), (0.1, (240, 320), (24, 32))],
)
def test_a_part_of_a_view_has_an_even_size_and_only_what_the_view_has(part, shown, size):
    rng = np.random.default_rng(0)
    ids = (np.indices(shown).sum(0) // 40 % 5).astype(np.uint8)
    view = SceneImages(np.dstack([ids * 50] * 3), ids + np.float32(1), ids)
    for _ in range(30):
        options = AlterOptions(part=part, colors=0, blur=0, noise=0, no_depth=0, holes=1)
        made = altered(view, options, rng)
        assert made.instances.shape == made.depth_m.shape == made.rgb.shape[:2] == size
        seen = made.depth_m > 0
        np.testing.assert_array_equal(made.depth_m[seen], made.instances[seen] + 1.0)


def test_what_there_is_not_is_said(library, tmp_path):
    for name in ('scenes/train/12', 'scenes/nowhere/000001', 'objects/train/000001'):
        with pytest.raises(InputError, match='no such scene'):
            compose(name, library)
    with pytest.raises(InputError, match='split'):
        load_dataset('scenes').names('all')
    with pytest.raises(SourceError, match='manifest'):
        load_dataset(f'scenes:{tmp_path}').fingerprint()
