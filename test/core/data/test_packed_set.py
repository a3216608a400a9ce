"""The packed data set: drawn anew in every batch, in the old pose and in any."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from recon3d_core.data import ground_truth
from recon3d_core.data.objects.procedural import make_object
from recon3d_core.data.pack import encode, OCCUPANCY_RESOLUTIONS, PackedObject, write_pack
from recon3d_core.data.rendering.base import Lighting
from recon3d_core.data.rendering.grid_builder import build_grid
from recon3d_core.data.sets import load_dataset
from recon3d_core.data.sets.drawn import place
from recon3d_core.data.sets.packed_placing import place_points, placed_occupancy, Placing
from recon3d_core.errors import ConfigError, InputError, SourceError
from scipy import ndimage
from silhouettes import cover, silhouette_iou
import torch

NAMES = ('procedural/chair/000001', 'procedural/mug/000002', 'procedural/table/800000')
N, M = 96, 48


@pytest.fixture(scope='module')
def pack_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('pack') / 'small.pack'
    objects = []
    for name in NAMES:
        model = make_object(name)
        grid = build_grid(model.mesh, N, M)
        volumes = [ground_truth.occupancy(model.mesh, r) for r in OCCUPANCY_RESOLUTIONS]
        about = PackedObject(name, model.category, model.split, model.edge_m, True, 'Apache-2.0')
        objects.append((about, encode(grid.sdf, grid.colors, volumes)))
    write_pack(path, objects, N, M)
    return path


@pytest.fixture(scope='module')
def small(pack_file):
    return load_dataset(f'pack:{pack_file}', image_size=64)


@pytest.fixture(scope='module')
def turned(pack_file):
    return load_dataset(f'pack:{pack_file}', image_size=64, any_pose=True)


def test_names(small, pack_file):
    assert small.names('train') == NAMES[:2]
    assert small.names('val') == NAMES[2:]
    assert small.categories == ('chair', 'mug', 'table')
    some = load_dataset(f'pack:{pack_file}', only='procedural/mug, procedural/table')
    assert some.names('train') == NAMES[1:2]
    assert some.fingerprint() != small.fingerprint()


@pytest.mark.parametrize('which', ['small', 'turned'])
def test_views_fit_the_occupancy(which, request):
    dataset = request.getfixturevalue(which)
    for name in NAMES:
        sample = dataset.sample(name, 3)
        assert sample.images.shape == (3, 64, 64, 3)
        assert cover(sample).min() > 0.93, name
        right = silhouette_iou(sample).mean()
        assert silhouette_iou(sample, sample.occupancy[:, :, ::-1]).mean() < right - 0.05, name
    assert dataset.canonical == (which == 'small')


@pytest.mark.parametrize('which', ['small', 'turned'])
def test_batches_depend_on_the_seed_only(which, request):
    dataset = request.getfixturevalue(which)
    again = pickle.loads(pickle.dumps(dataset))
    first, twin = dataset.batch(NAMES[:2], 2, 3), again.batch(NAMES[:2], 2, 3)
    other = dataset.batch(NAMES[:2], 2, 4)
    assert first.images.shape == (2, 2, 3, 64, 64)
    for batch_key in ('images', 'masks', 'occupancy'):
        assert torch.equal(getattr(first, batch_key), getattr(twin, batch_key))
    assert torch.equal(first.cameras.K, twin.cameras.K)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(first.occupancy, other.occupancy) == (which == 'small')


def test_canonical_truth_is_the_packed_one(small):
    sample = small.sample(NAMES[0], 1)
    assert np.array_equal(sample.occupancy, small.packed.occupancy(NAMES[0], 32))


def test_turned_truth_is_that_of_the_turned_mesh(turned):
    """The mesh, turned and placed by the same draws, has about the same occupancy."""
    for name in NAMES:
        mesh = make_object(name).mesh
        points = turned._shelf.support(name)
        placing = place_points(points, np.random.default_rng(1), True, jitter=True)
        vertices = (mesh.vertices @ placing.rotation.T - placing.center) / placing.edge
        placed, _ = place(mesh, np.random.default_rng(1), True, jitter=True)
        assert np.abs(placed.vertices - vertices).max() < 0.03
        truth = ground_truth.occupancy(
            type(mesh)(vertices.astype(np.float32), mesh.faces, mesh.colors), 32
        )
        indices, grids = turned._shelf.grids([name])
        found = placed_occupancy(grids, indices, [placing], 32)[0].numpy() > 0
        # Parts as thin as a voxel may be in the next one.
        assert (found & truth).sum() / (found | truth).sum() > 0.65, name
        for one, other in ((found, truth), (truth, found)):
            assert one[ndimage.maximum_filter(other, 3)].sum() > 0.97 * one.sum(), name


def test_placing_keeps_where_points_are_seen():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.4, 0.4, (50, 3))
    placing = place_points(points, rng, False, jitter=True)
    T = np.eye(4)[None].copy()
    T[0, :3, :3] = placing.rotation.T  # any rotation
    T[0, :3, 3] = (0.1, 0.2, 3.0)
    old = placing.old_poses(T)[0]
    new_points = (points @ placing.rotation.T - placing.center) / placing.edge
    by_new = new_points @ T[0, :3, :3].T + T[0, :3, 3]
    by_old = points @ old[:3, :3].T + old[:3, 3]
    assert np.allclose(by_new * placing.edge, by_old)
    light = Lighting(
        np.array([[0, 0, 1]], np.float32), np.ones((1, 3), np.float32), np.ones(3, np.float32)
    )
    assert np.allclose(
        placing.rotation @ placing.old_lighting(light).directions_cube[0], (0, 0, 1), atol=1e-6
    )
    assert np.allclose(Placing().old_poses(T), T)


def test_bad_input(pack_file, tmp_path):
    with pytest.raises(SourceError, match='cannot be read'):
        load_dataset(f'pack:{tmp_path / "absent"}')
    with pytest.raises(InputError, match='no object of the pack is kept'):
        load_dataset(f'pack:{pack_file}', only='boat')
    with pytest.raises(ConfigError, match='resolution'):
        load_dataset(f'pack:{pack_file}', resolution=48)
    with pytest.raises(ConfigError, match='device'):
        load_dataset(f'pack:{pack_file}', device='tpu')
    with pytest.raises(InputError, match='not so many views'):
        load_dataset(f'pack:{pack_file}').sample(NAMES[0], 99)


@pytest.mark.gpu
def test_on_a_gpu(pack_file):
    dataset = load_dataset(f'pack:{pack_file}', device='cuda', any_pose=True)
    batch = dataset.batch(NAMES, 4, 0)
    assert batch.images.device.type == 'cuda'
    assert torch.equal(batch.images, dataset.batch(NAMES, 4, 0).images)
