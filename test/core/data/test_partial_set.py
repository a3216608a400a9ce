"""Objects of which a part was seen: masks, placing, truth, and the set that keeps them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from recon3d_core.data.partial.drawing import observe, placed_grid, Setting
from recon3d_core.data.partial.masks import imperfect
from recon3d_core.data.partial.truth import true_occupancy
from recon3d_core.data.sets.partial import PartialConfig, PartialSet
from recon3d_core.data.synth.truth import ray_scene
from recon3d_core.errors import InputError
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.models.tsdf_completion.evidence import BELOW, FREE, OBSERVED, REACH, SDF
from recon3d_core.scene.objects import ObjectState
from recon3d_core.scene.options import ObjectOptions
from recon3d_core.types import Mesh
import trimesh

N = 32
BOX_M = (0.1, 0.06, 0.15)
OPTIONS = {
    'resolution': N, 'views': 2, 'household_families': 0, 'furniture_families': 0,
    'test_vessels': 1,
}  # fmt: skip


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Return a collection with a box to test on."""
    folder = tmp_path_factory.mktemp('collection')
    rows = []
    solids = {'can': trimesh.creation.cylinder(0.04, 0.12), 'box': trimesh.creation.box(BOX_M)}
    for name, solid in solids.items():
        solid.export(folder / f'{name}.ply')
    for name in ('can_a', 'can_b', 'can_c', 'cereal_box'):
        kind = name[:3] if name[:3] in solids else 'box'
        rows.append({
            'path': f'{kind}.ply', 'set': 's', 'name': name, 'licence': 'CC0', 'source': 'a/b',
            'split': 'train' if kind == 'can' else 'dev', 'up': 'z', 'watertight': True,
            'metric': True, 'extent': solids[kind].extents.tolist(),
        })  # fmt: skip
    (folder / 'manifest.json').write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope='module')
def data(root, tmp_path_factory):
    cache = str(tmp_path_factory.mktemp('cache'))
    return PartialSet(str(root), PartialConfig(**OPTIONS, cache=cache))


def ball(radius_m=0.05, center_m=(0, 0, 0)):
    solid = trimesh.creation.icosphere(4, radius_m)
    return (solid.vertices + center_m).astype(np.float32), solid.faces.astype(np.int32)


@pytest.mark.parametrize('shift', [0.0, 0.05])
def test_the_truth_of_a_ball_is_its_volume_also_beyond_the_cube(shift):
    T = np.eye(4)
    T[:3, 3] = -0.06
    cube = VoxelGrid(T, 0.12 / N, (N, N, N))
    inside, outside = true_occupancy(*ball(0.05, (shift, 0, 0)), cube)
    exact = 4 / 3 * np.pi * 0.05**3 / cube.voxel_size_m**3
    assert inside.sum() + outside == pytest.approx(exact, rel=0.03)
    expected = np.linalg.norm(cube.centers_world_m() - (shift, 0, 0), axis=-1) < 0.05
    assert (inside != expected).mean() < 0.005
    assert (outside > 0) == (shift > 0)


def test_of_an_object_that_the_cube_shows_hardly_anything_of_there_is_no_truth():
    cube = VoxelGrid(np.eye(4), 0.002 / N, (N, N, N))
    with pytest.raises(InputError, match='at most'):
        true_occupancy(*ball(0.05), cube)


def test_grids_are_placed_as_the_pipeline_places_them():
    points = np.random.default_rng(0).normal((0, 0, 0.1), (0.03, 0.05, 0.02), (500, 3))
    points = points.astype(np.float32)
    state = ObjectState(1, TsdfObjectReconstructor(), 0, 0)
    state.points_world_m = points
    expected = state._place_volume(ObjectOptions(), np.array((0.0, 0.0, 1.0)))
    found = placed_grid(points, ObjectOptions().resolution)
    np.testing.assert_allclose(found.extent_m.prod(), expected.extent_m.prod(), rtol=1e-6)
    assert found.voxel_size_m == pytest.approx(expected.voxel_size_m)
    middles = [g.centers_world_m().mean((0, 1, 2)) for g in (found, expected)]
    np.testing.assert_allclose(*middles, atol=1e-6)


def test_masks_are_nearly_right_and_leak_on_one_side():
    y, x = np.indices((120, 160))
    mask = (x - 80) ** 2 + (y - 60) ** 2 < 30**2
    support = ~mask & (y > 60)
    overlaps, leaks = [], 0
    for seed in range(60):
        found = imperfect(mask, np.zeros_like(mask), support, 1.0, np.random.default_rng(seed))
        overlaps.append((found & mask).sum() / (found | mask).sum())
        leaks += bool((found & support).sum() > 250)
    assert min(overlaps) > 0.6
    assert np.median(overlaps) > 0.85
    assert 1 <= leaks <= 20
    again = imperfect(mask, np.zeros_like(mask), support, 1.0, np.random.default_rng(59))
    assert (found == again).all()


def test_what_was_seen_agrees_with_the_truth(data):
    near, free, below = [], [], []
    for row in data.observed('s/cereal_box', evaluation=True):
        evidence, truth = row.evidence.numpy(), row.truth
        distance = evidence[SDF] * REACH
        sure = (evidence[OBSERVED] > 0) & (np.abs(distance) > 0.7) & (np.abs(distance) < 2)
        near.append(((distance < 0) == truth)[sure].mean())
        free.append(truth[evidence[FREE] > 0].mean())
        below.append(truth[evidence[BELOW] > 0].any())
        assert row.outside < 0.02 * truth.sum()
    assert min(near) > 0.8
    assert max(free) < 0.02
    assert not any(below)


def test_records_give_back_what_was_seen(data):
    rows = data.observed('s/cereal_box', evaluation=True)
    for views, row in enumerate(rows, 1):
        sample = data.sample('s/cereal_box', views)
        np.testing.assert_allclose(sample.evidence(), row.evidence, atol=0.005)
        np.testing.assert_array_equal(sample.occupancy, row.truth)
        assert (sample.outside, sample.views) == (row.outside, views)
    with pytest.raises(InputError, match='so many views'):
        data.sample('s/cereal_box', 3)


def test_batches_depend_on_their_seed_alone_and_turn_both_alike(data, root, tmp_path):
    again = PartialSet(str(root), PartialConfig(**OPTIONS, cache=str(tmp_path)))
    name = data.names('train')[0]
    first, second = data.batch([name] * 6, 1, 3), again.batch([name] * 6, 1, 3)
    assert first.evidence.equal(second.evidence)
    assert first.occupancy.equal(second.occupancy)
    assert not first.evidence.equal(data.batch([name] * 6, 1, 4).evidence)
    # Turned any way, observed surfaces lie at the border of the solid.
    distance = first.evidence[:, SDF] * REACH
    inside = (first.evidence[:, OBSERVED] > 0) & (distance < -0.7) & (distance > -2)
    assert first.occupancy[inside].mean() > 0.8


def test_no_object_is_in_two_splits(data):
    names = [set(data.names(split)) for split in ('train', 'val', 'test')]
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    assert 's/cereal_box' in names[2]
    assert 'mug' in {data.category(name) for name in names[2]}


def test_an_object_too_small_to_be_seen_is_an_error_of_one_line():
    vertices, faces = ball()
    tiny = ray_scene(Mesh(vertices * np.float32(1e-3), faces))
    setting = Setting('ball', 'toy', vertices, faces, tiny)
    with pytest.raises(InputError, match='hardly visible') as caught:
        list(observe(setting, 1, 48, np.random.default_rng(0)))
    assert '\n' not in str(caught.value)
