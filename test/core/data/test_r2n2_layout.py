"""The R2N2 layout: read from real files, written and read back."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from recon3d_core.data.objects.base import ObjectMesh, ObjectModel, ObjectSet, to_cube
from recon3d_core.data.sets import load_dataset
from recon3d_core.data.sets.r2n2 import to_resolution
from recon3d_core.data.sets.r2n2_writer import write_r2n2
from recon3d_core.data.synth import solids
from recon3d_core.errors import InputError, SourceError
from silhouettes import cover, silhouette_iou


class Steps(ObjectSet):
    """A flight of two steps for every name: nothing about it is symmetric but left and right."""

    def names(self, split):
        return [f'steps/{split}/0']

    def load(self, name):
        # Broad low step in front (+x), high step behind.
        low, high = solids.box((0.6, 0.8, 0.2)), solids.box((0.3, 0.8, 0.6))
        parts = [
            (low, np.array([0.3, 0, 0])),
            (high, np.array([-0.15, 0, 0])),
        ]
        vertices = np.concatenate([part.vertices_m + offset for part, offset in parts])
        faces = np.concatenate([low.faces, high.faces + len(low.vertices_m)])
        mesh, edge = to_cube(ObjectMesh(vertices.astype(np.float32), faces.astype(np.int32)))
        return ObjectModel(name, 'chair', name.split('/')[1], mesh, edge)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('r2n2')
    objects = Steps()
    write_r2n2(objects, root, {split: objects.names(split) for split in ('train', 'test')})
    return root


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / 'copy')


def test_written_files_are_as_published(written):
    folder = written / 'ShapeNetRendering/03001627/steps-train-0/rendering'
    listed = (folder / 'renderings.txt').read_text().split()
    assert listed == [f'{k:02d}.png' for k in range(24)]
    assert len((folder / 'rendering_metadata.txt').read_text().splitlines()) == 24
    image = cv2.imread(str(folder / '00.png'), cv2.IMREAD_UNCHANGED)
    assert image.shape == (137, 137, 4)
    assert set(np.unique(image[..., 3][[0, -1]])) == {0}
    row = json.loads((written / 'ShapeNet.json').read_text())[0]
    assert row['taxonomy_id'] == '03001627'
    assert row['train'] == ['steps-train-0']


def test_round_trip(written):
    dataset = load_dataset(f'r2n2:{written}')
    assert dataset.names('train') == ('r2n2/03001627/steps-train-0',)
    assert dataset.names('val') == ()
    assert dataset.names('test') == ('r2n2/03001627/steps-test-0',)
    assert dataset.categories == ('chair',)
    sample = dataset.sample('r2n2/03001627/steps-train-0', 8)
    assert sample.occupancy.shape == (32, 32, 32)
    filled = np.argwhere(sample.occupancy)
    top = filled[filled[:, 2] > 20]
    assert filled[:, 0].max() == 30
    assert top[:, 0].max() < 16  # high behind, at -x; low in front; z up
    assert silhouette_iou(sample).min() > 0.9
    assert cover(sample).min() > 0.98


def test_turned_or_mirrored_voxels_do_not_fit(written):
    sample = load_dataset(f'r2n2:{written}').sample('r2n2/03001627/steps-train-0', 4)
    right = silhouette_iou(sample).mean()
    for wrong in (
        sample.occupancy[::-1],
        sample.occupancy[:, :, ::-1],
        sample.occupancy.transpose(1, 0, 2),
        sample.occupancy.transpose(2, 1, 0),
    ):
        assert silhouette_iou(sample, wrong).mean() < right - 0.1


def test_batches_depend_on_the_seed_only(written):
    name = 'r2n2/03001627/steps-train-0'
    first = load_dataset(f'r2n2:{written}').batch([name, name], 3, 5)
    again = load_dataset(f'r2n2:{written}').batch([name, name], 3, 5)
    other = load_dataset(f'r2n2:{written}').batch([name, name], 3, 6)
    assert first.images.shape == (2, 3, 3, 128, 128)
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.cameras.K, again.cameras.K)
    assert not np.array_equal(first.images, other.images)


def test_splits_without_a_file_are_stable(copy):
    (copy / 'ShapeNet.json').unlink()
    dataset = load_dataset(f'r2n2:{copy}')
    found = {split: dataset.names(split) for split in ('train', 'val', 'test')}
    assert sum(map(len, found.values())) == 2
    assert found == {split: load_dataset(f'r2n2:{copy}').names(split) for split in found}


def spoil_json(root, change):
    path = root / 'ShapeNet.json'
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


FOLDER = 'ShapeNetRendering/03001627/steps-train-0/rendering'


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda root: (root / FOLDER / '00.png').write_bytes(b'no image'), 'cannot be read'),
        (lambda root: (root / FOLDER / '00.png').unlink(), 'cannot be read'),
        (
            lambda root: cv2.imwrite(str(root / FOLDER / '00.png'), np.zeros((137, 137, 3))),
            'no alpha',
        ),
        (
            lambda root: cv2.imwrite(str(root / FOLDER / '00.png'), np.zeros((137, 137, 4))),
            'shows nothing',
        ),
        (
            lambda root: (root / FOLDER / 'rendering_metadata.txt').write_text('nan 1 2 3 4\n'),
            'no cameras',
        ),
        (
            lambda root: (root / FOLDER / 'rendering_metadata.txt').write_text('a b\n'),
            'cannot be read',
        ),
        (lambda root: (root / FOLDER / 'rendering_metadata.txt').unlink(), 'cannot be read'),
        (
            lambda root: next(root.glob('ShapeNetVox32/*/steps-train-0/*')).write_bytes(b'x'),
            'binvox',
        ),
        (lambda root: (root / 'ShapeNet.json').write_text('{'), 'no file of splits'),
        (lambda root: (root / 'ShapeNet.json').write_text('[{}]'), 'no file of splits'),
        (
            lambda root: spoil_json(root, lambda rows: rows[0]['val'].append('steps-train-0')),
            'in two splits',
        ),
        (lambda root: shutil.rmtree(root / 'ShapeNetRendering'), 'no renderings'),
    ],
)
def test_broken_files_are_one_line_errors(copy, spoil, words):
    spoil(copy)
    with pytest.raises(SourceError, match=words) as caught:
        load_dataset(f'r2n2:{copy}').sample('r2n2/03001627/steps-train-0', 2)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['r2n2/03001627/none', 'chair', 'r2n2/../..', 'r2n2/../x'])
def test_unknown_names(written, name):
    with pytest.raises(InputError, match='no such object'):
        load_dataset(f'r2n2:{written}').sample(name, 1)


@pytest.mark.parametrize('views', [0, 25])
def test_wrong_number_of_views(written, views):
    with pytest.raises(InputError, match='not so many views'):
        load_dataset(f'r2n2:{written}').sample('r2n2/03001627/steps-train-0', views)


def test_resolutions():
    fine = np.zeros((8, 8, 8), bool)
    fine[5, 2, 7] = True
    coarse = to_resolution(fine, 4)
    assert np.argwhere(coarse).tolist() == [[2, 1, 3]]
    assert to_resolution(coarse, 8).sum() == 8
    assert to_resolution(coarse, 8)[5, 2, 7]
    with pytest.raises(InputError, match='multiple or a divisor'):
        to_resolution(fine, 3)


@pytest.mark.data
def test_real_cameras_fit_real_voxels(data_dir):
    dataset = load_dataset(f'r2n2:{data_dir / "r2n2_sample"}')
    names = [name for split in ('train', 'val', 'test') for name in dataset.names(split)]
    assert len(names) == 2
    for name in names:
        sample = dataset.sample(name, 6)
        assert sample.category == 'chair'
        # The published voxels are thicker than the surface: all is covered, and some more.
        assert cover(sample).min() > 0.99
        iou = silhouette_iou(sample)
        assert iou.mean() > 0.76
        for wrong in (sample.occupancy[::-1], sample.occupancy[:, :, ::-1]):
            assert silhouette_iou(sample, wrong).mean() < iou.mean() - 0.05
