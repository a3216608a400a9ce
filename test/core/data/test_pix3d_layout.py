"""Pix3D's layout, from files made here: photos with poses, masks and voxels."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from recon3d_core.data.binvox import Binvox, write_binvox
from recon3d_core.data.sets import load_dataset
from recon3d_core.errors import InputError, SourceError
from scipy.io import savemat
from silhouettes import silhouette_iou

N, WIDTH, HEIGHT, FOCAL_MM = 64, 160, 120, 40.0


def l_shape():
    """Return voxels [x, y, z] of the model, y up: low at +x, high at -x, deep along z."""
    voxels = np.zeros((N, N, N), np.uint8)
    voxels[4:60, 8:20, 16:48] = 1
    voxels[4:16, 8:50, 16:48] = 1
    return voxels


def look(yaw, pitch, distance):
    """Return a rotation and translation into a camera with x left, y up, z forward."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    nod = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    # A camera in front of the model sees its x on the left once the model is turned around.
    return nod @ turn, np.array([0.05, -0.03, distance])


def draw(rotation, translation):
    """Draw a silhouette point by point, by the layout's definition."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    points = (np.argwhere(l_shape()) + 0.5) / N - 0.5
    x, y, z = rotation @ points.T + translation[:, None]
    focal = FOCAL_MM / 32 * WIDTH
    columns = np.round((WIDTH - 1) / 2 - focal * x / z).astype(int)
    rows = np.round((HEIGHT - 1) / 2 - focal * y / z).astype(int)
    inside = (columns >= 0) & (columns < WIDTH) & (rows >= 0) & (rows < HEIGHT)
    mask[rows[inside], columns[inside]] = 255
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))


@pytest.fixture
def root(tmp_path):
    rows = []
    rng = np.random.default_rng(0)
    for number in range(12):
        category, model = ('chair', 'table')[number % 2], f'model/m{number // 2}'
        rotation, translation = look(0.5 * number, -0.4, 2.2)
        for folder in ('img', 'mask'):
            (tmp_path / folder / category).mkdir(parents=True, exist_ok=True)
        (tmp_path / model).mkdir(parents=True, exist_ok=True)
        paths = {folder: f'{folder}/{category}/{number:04d}.png' for folder in ('img', 'mask')}
        mask = draw(rotation, translation)
        photo = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        photo[mask > 0] = (20, 60, 200)
        cv2.imwrite(str(tmp_path / paths['img']), photo)
        cv2.imwrite(str(tmp_path / paths['mask']), mask)
        voxel = f'{model}/voxel.mat'
        if number % 4 == 3:
            voxel = f'{model}/model.binvox'
            turned = l_shape().transpose(0, 2, 1)[:, ::-1].astype(bool)
            write_binvox(tmp_path / voxel, Binvox(turned))
        else:
            savemat(tmp_path / voxel, {'voxel': l_shape()})
        rows.append(
            {
                **paths,
                'category': category,
                'model': f'{model}/model.obj',
                'voxel': voxel,
                'rot_mat': rotation.tolist(),
                'trans_mat': translation.tolist(),
                'focal_length': FOCAL_MM,
                'truncated': number == 11,
                'occluded': False,
                'slightly_occluded': False,
            }
        )
    (tmp_path / 'pix3d.json').write_text(json.dumps(rows))
    return tmp_path


def all_names(dataset):
    return [name for split in ('train', 'val', 'test') for name in dataset.names(split)]


def test_names_splits_and_flaws(root):
    dataset = load_dataset(f'pix3d:{root}')
    assert len(all_names(dataset)) == 11
    assert len(all_names(load_dataset(f'pix3d:{root}', whole=False))) == 12
    assert dataset.categories == ('chair', 'table')
    assert dataset.category('pix3d/chair/0004') == 'chair'
    models = json.loads((root / 'pix3d.json').read_text())
    by_split = {
        split: {models[int(name[-4:])]['model'] for name in dataset.names(split)}
        for split in ('train', 'val', 'test')
    }
    assert not by_split['train'] & by_split['test']
    assert not by_split['train'] & by_split['val']
    assert not by_split['val'] & by_split['test']


def test_poses_and_both_kinds_of_voxels_fit_the_masks(root):
    dataset = load_dataset(f'pix3d:{root}')
    for name in all_names(dataset):
        sample = dataset.sample(name, 1)
        assert sample.occupancy.shape == (32, 32, 32)
        assert silhouette_iou(sample).min() > 0.9, name
        assert silhouette_iou(sample, sample.occupancy[::-1]).max() < 0.87, name
        inside = sample.images[0][sample.masks[0] == 255]
        assert np.abs(np.median(inside, 0) - (200, 60, 20)).max() < 3
        tall = np.argwhere(sample.occupancy)
        assert tall[tall[:, 2] > 16][:, 0].max() < 10


def test_batches(root):
    dataset = load_dataset(f'pix3d:{root}')
    names = all_names(dataset)[:3]
    first, again = dataset.batch(names, 2, 1), dataset.batch(names, 2, 1)
    assert first.images.shape == (3, 2, 3, 128, 128)
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images[:, 0], first.images[:, 1])


def change(root, **values):
    rows = json.loads((root / 'pix3d.json').read_text())
    rows[0].update(values)
    (root / 'pix3d.json').write_text(json.dumps(rows))


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda root: (root / 'pix3d.json').unlink(), 'no list of photos'),
        (lambda root: (root / 'pix3d.json').write_text('[]'), 'lists nothing'),
        (lambda root: (root / 'pix3d.json').write_text('[1]'), 'no list of photos'),
        (lambda root: change(root, rot_mat=[[1, 2]]), 'no camera'),
        (lambda root: change(root, trans_mat=[0, float('nan'), 1]), 'no camera'),
        (lambda root: change(root, img=7), 'no text'),
        (lambda root: (root / 'img/chair/0000.png').write_bytes(b'?'), 'cannot be read'),
        (lambda root: (root / 'mask/chair/0000.png').unlink(), 'cannot be read'),
        (lambda root: (root / 'model/m0/voxel.mat').write_bytes(b'?' * 200), 'holds no voxels'),
        (
            lambda root: savemat(root / 'model/m0/voxel.mat', {'voxel': np.zeros((2, 3))}),
            'no cube of voxels',
        ),
    ],
)
def test_broken_files_are_one_line_errors(root, spoil, words):
    spoil(root)
    with pytest.raises(SourceError, match=words) as caught:
        load_dataset(f'pix3d:{root}').sample('pix3d/chair/0000', 1)
    assert '\n' not in str(caught.value)


def test_unknown_name_and_too_many_views(root):
    dataset = load_dataset(f'pix3d:{root}')
    with pytest.raises(InputError, match='no such object'):
        dataset.sample('pix3d/chair/9999', 1)
    with pytest.raises(InputError, match='not so many views'):
        dataset.sample('pix3d/chair/0000', 2)
