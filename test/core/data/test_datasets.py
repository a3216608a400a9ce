"""Rendered data sets: splits, determinism, cameras, occupancy, and what is kept on disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
import pickle
import subprocess
import sys

import numpy as np
import pytest
from recon3d_core.data.ground_truth import occupancy as true_occupancy
from recon3d_core.data.objects.base import LONGEST_EDGE, ObjectMesh, to_cube
from recon3d_core.data.objects.procedural import SHAPENET13
from recon3d_core.data.sets import load_dataset
from recon3d_core.data.sets.drawn import place
from recon3d_core.data.synth import solids
from recon3d_core.errors import ConfigError, InputError, RunError
from silhouettes import cover, silhouette_iou
import torch

SMALL = {'train_objects': 2, 'val_objects': 1, 'test_objects': 1, 'draws': 1, 'views_per_draw': 4}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('views')


@pytest.fixture(scope='module')
def chairs(folder):
    return load_dataset('procedural:chair,table', cache=str(folder), **SMALL)


def digest(batch):
    parts = (batch.images, batch.masks, batch.cameras.K, batch.cameras.T_camera_cube)
    return hashlib.sha256(b''.join(part.numpy().tobytes() for part in parts)).hexdigest()


def test_names_categories_and_fingerprint(chairs, folder):
    assert chairs.categories == ('chair', 'table')
    assert len(chairs.names('train')) == 4
    assert list(chairs.names('train')) == sorted(chairs.names('train'))
    names = [set(chairs.names(split)) for split in ('train', 'val', 'test')]
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    twin = load_dataset('procedural:chair,table', cache=str(folder), **SMALL)
    assert twin.fingerprint() == chairs.fingerprint()
    other = load_dataset('procedural:chair,table', **{**SMALL, 'image_size': 64})
    assert other.fingerprint() != chairs.fingerprint()


def test_all_shapenet_categories_by_default():
    assert load_dataset('procedural').categories == tuple(sorted(SHAPENET13))


def test_a_batch_is_what_it_says(chairs):
    names = [chairs.names('train')[k] for k in (0, 2, 0)]
    batch = chairs.batch(names, 3, 7)
    assert batch.images.shape == (3, 3, 3, 128, 128)
    assert batch.masks.shape == (3, 3, 1, 128, 128)
    assert batch.occupancy.shape == (3, 32, 32, 32)
    assert batch.names == tuple(names)
    assert batch.categories == ('chair', 'table', 'chair')
    for part in (batch.images, batch.masks):
        assert part.dtype == torch.float32
        assert part.min() >= 0
        assert part.max() <= 1
    assert set(batch.occupancy.unique().tolist()) == {0.0, 1.0}
    # The same object twice: other views, the same truth.
    assert torch.equal(batch.occupancy[0], batch.occupancy[2])
    assert not torch.equal(batch.images[0], batch.images[2])


def test_more_views_than_were_rendered(chairs):
    assert chairs.batch([chairs.names('train')[0]], 9, 0).images.shape[1] == 9


def test_seed_decides(chairs):
    names = list(chairs.names('train'))
    assert digest(chairs.batch(names, 2, 3)) == digest(chairs.batch(names, 2, 3))
    assert digest(chairs.batch(names, 2, 3)) != digest(chairs.batch(names, 2, 4))


SCRIPT = """
import pickle, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from test_datasets import digest
dataset = pickle.loads(bytes.fromhex(sys.argv[2]))
print(digest(dataset.batch(list(dataset.names('train')), 2, 3)))
"""


def test_another_process_draws_and_renders_the_same(chairs, tmp_path):
    """The other process gets the set by pickle, and renders into a folder of its own."""
    twin = load_dataset('procedural:chair,table', cache=str(tmp_path), **SMALL)
    paths = os.pathsep.join(filter(None, sys.path))
    result = subprocess.run(
        [sys.executable, '-c', SCRIPT, str(Path(__file__).parent), pickle.dumps(twin).hex()],
        env={**os.environ, 'PYTHONPATH': paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == digest(chairs.batch(list(chairs.names('train')), 2, 3))


def test_batches_fit_their_cameras(chairs):
    """Jittered crops and all: the projected truth covers the altered masks."""
    names = list(chairs.names('train'))
    calm = {'backgrounds': False, 'occluders': 0, 'masks': 0}
    dataset = load_dataset(
        'procedural:chair,table', cache=chairs.config.cache, augment=calm, **SMALL
    )
    batch = dataset.batch(names, 4, 1)
    for k in range(len(names)):
        view = ViewsOf(batch, k)
        assert cover(view).mean() > 0.93
        assert silhouette_iou(view).mean() > 0.6
        shifted = silhouette_iou(view, np.roll(view.occupancy, 4, 2)).mean()
        assert shifted < silhouette_iou(view).mean() - 0.1
    differences = np.concatenate(
        [
            box_differences(ViewsOf(batch, k), dataset.objects.load(name).mesh.vertices)
            for k, name in enumerate(names)
        ]
    )
    assert len(differences) >= 2 * len(names)
    assert np.abs(differences).max() < 1.2
    left, top, right, bottom = np.mean(differences, 0)
    assert abs(left + right) < 0.5
    assert abs(top + bottom) < 0.5


def box_differences(view, vertices):
    """Return how far the masks' boxes are off the projected vertices', (n, 4) pixels."""
    differences = []
    for mask, K, T in zip(view.masks > 127, view.K, view.T_camera_cube):
        image = (vertices @ T[:3, :3].T + T[:3, 3]) @ K.T
        pixels = image[:, :2] / image[:, 2:] * 128
        low, high = pixels.min(0), pixels.max(0)
        x, y = mask.any(0).nonzero()[0], mask.any(1).nonzero()[0]
        if low.min() > 1 and high.max() < 127:  # others are cut off
            differences.append(
                [x[0] - low[0], y[0] - low[1], x[-1] + 1 - high[0], y[-1] + 1 - high[1]]
            )
    return np.array(differences).reshape(-1, 4)


class ViewsOf:
    """One object of a batch, as `silhouettes` wants it."""

    def __init__(self, batch, k):
        self.masks = (batch.masks[k, :, 0] * 255).numpy().astype(np.uint8)
        self.K = batch.cameras.K[k].numpy()
        self.T_camera_cube = batch.cameras.T_camera_cube[k].numpy()
        self.occupancy = batch.occupancy[k].numpy() > 0


def test_evaluation_views(chairs):
    name = chairs.names('val')[0]
    sample = chairs.sample(name, 6)
    assert sample.images.shape == (6, 128, 128, 3)
    assert sample.images.dtype == np.uint8
    assert sample.depth.shape == (6, 128, 128)
    assert sample.surface.shape == sample.normals.shape
    assert np.allclose(np.linalg.norm(sample.normals, axis=1), 1, atol=1e-3)
    first = chairs.sample(name, 2)
    for key in ('images', 'masks', 'K', 'T_camera_cube', 'depth'):
        assert np.array_equal(getattr(first, key), getattr(sample, key)[:2])
    assert cover(sample).min() > 0.95
    model = chairs.objects.load(name)
    assert np.array_equal(sample.occupancy, true_occupancy(model.mesh, 32))
    assert sample.edge_m == pytest.approx(model.edge_m)
    assert 0 < np.median(sample.depth[sample.depth > 0]) < 5


def test_depth_and_surface_are_in_the_cube(chairs):
    sample = chairs.sample(chairs.names('test')[0], 4)
    rows, columns = np.mgrid[:128, :128] + 0.5
    rays = np.stack([columns / 128, rows / 128, np.ones((128, 128))], -1)
    tree = torch.from_numpy(sample.surface)
    for depth, K, T in zip(sample.depth, sample.K, sample.T_camera_cube):
        camera = (rays @ np.linalg.inv(K).T)[depth > 0] * depth[depth > 0][:, None]
        points = (camera - T[:3, 3]) @ T[:3, :3]
        assert np.abs(points).max() < LONGEST_EDGE / 2 + 1e-3
        nearest = torch.cdist(torch.from_numpy(points[::20]).float(), tree).amin(1)
        assert nearest.median() < 0.02


@pytest.mark.parametrize('views', [0, 25])
def test_wrong_number_of_views(chairs, views):
    with pytest.raises(InputError, match='not so many views'):
        chairs.sample(chairs.names('val')[0], views)


def test_unknown_names_splits_and_options(chairs):
    with pytest.raises(InputError, match='no such procedural object'):
        chairs.sample('procedural/chair/x', 1)
    with pytest.raises(InputError, match='split'):
        chairs.names('dev')
    with pytest.raises(ConfigError, match='augment.blur'):
        load_dataset('procedural', augment={'blur': 2})


def test_files_are_used_again_and_mended(tmp_path):
    dataset = load_dataset('procedural:table', cache=str(tmp_path), **SMALL)
    name = dataset.names('train')[0]
    first = digest(dataset.batch([name], 2, 0))
    (path,) = tmp_path.rglob('*.npy')
    assert not list(tmp_path.rglob('*.part'))
    stamp = path.stat().st_mtime_ns
    assert digest(dataset.batch([name], 2, 0)) == first
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(path.read_bytes()[:1000])
    assert digest(dataset.batch([name], 2, 0)) == first
    assert path.stat().st_mtime_ns != stamp


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('no folder')
    dataset = load_dataset('procedural:table', cache=str(tmp_path / 'file'), **SMALL)
    with pytest.raises(RunError, match='RECON3D_CACHE') as caught:
        dataset.batch([dataset.names('train')[0]], 1, 0)
    assert '\n' not in str(caught.value)


def test_prepare_renders_all_of_a_split(tmp_path):
    dataset = load_dataset('procedural:table', cache=str(tmp_path), **SMALL)
    dataset.prepare('train', workers=1)
    assert len(list(tmp_path.rglob('training/**/*.npy'))) == 2


def test_placed_anew_is_the_same_object():
    mesh = solids.box((0.2, 0.4, 0.6))
    cube, _ = to_cube(ObjectMesh(mesh.vertices_m.astype(np.float32), mesh.faces))
    for upright in (True, False):
        for jitter in (True, False):
            rng = np.random.default_rng(5)
            placed, edge = place(cube, rng, upright, jitter=jitter)
            lengths = np.linalg.norm(placed.vertices - placed.vertices[0], axis=1) * edge
            expected = np.linalg.norm(cube.vertices - cube.vertices[0], axis=1)
            assert np.allclose(lengths, expected, atol=1e-5)
            extent = np.ptp(placed.vertices, axis=0)
            if not jitter:
                assert extent.max() == pytest.approx(1 / 1.1, abs=1e-5)
                assert np.allclose(placed.vertices.max(0), -placed.vertices.min(0), atol=1e-5)
            standing = extent[2] * edge == pytest.approx(LONGEST_EDGE, abs=1e-5)
            assert standing == upright


@pytest.fixture(scope='module')
def household(folder, data_dir):
    options = {'household_families': 2, 'furniture_families': 1, 'draws': 1}
    return load_dataset('household', cache=str(folder), **options)


@pytest.mark.data
def test_household_splits_are_disjoint_and_test_is_the_dev_rows(household):
    splits = {split: set(household.names(split)) for split in ('train', 'val', 'test')}
    assert not splits['train'] & splits['test']
    assert not splits['train'] & splits['val']
    assert not splits['val'] & splits['test']
    rows = household.objects.meshes._rows
    assert all(rows[name]['split'] == 'dev' for name in splits['test'])
    assert not any(rows[name]['split'] == 'dev' for name in splits['train'] if name in rows)
    assert len(splits['test']) > 80
    assert not household.canonical


@pytest.mark.data
def test_household_splits_are_disjoint_by_shape(household):
    """No file of the test split is the twin of one that is trained on, by its extents."""
    rows = household.objects.meshes._rows
    seen = {split: {} for split in ('train', 'test')}
    for split, found in seen.items():
        for name in household.names(split):
            if name in rows:
                row = rows[name]
                found[(row['faces'], *np.round(sorted(row['extent']), 5))] = name
    twins = [
        (name, seen['train'][key]) for key, name in seen['test'].items() if key in seen['train']
    ]
    assert not twins


@pytest.mark.data
def test_household_views_fit(household):
    boxes = [name for name in household.names('test') if name.startswith('ycb/')][:2]
    shapes = [name for name in household.names('test') if 'random' in name][:1]
    for name in boxes + shapes:
        sample = household.sample(name, 4)
        assert cover(sample).min() > 0.97, name
        assert silhouette_iou(sample).mean() > 0.85, name
        extent = np.ptp(np.argwhere(sample.occupancy), axis=0).max() + 1
        assert 28 <= extent <= 31


@pytest.mark.data
def test_household_training_cubes_differ_from_draw_to_draw(household):
    name = next(name for name in household.names('train') if name.startswith('ycb/'))
    many = load_dataset('household', cache=household.config.cache, draws=6, views_per_draw=1)
    record = many.record(name, evaluation=False)[0]
    assert len(set(record['edge_m'].tolist())) == 6
    assert len({draw.tobytes() for draw in record['occupancy']}) == 6
