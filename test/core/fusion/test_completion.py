"""Completion in use: what was seen stays, its cube holds the object, and it does without weights."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from recon3d_core.errors import InputError, PluginError
from recon3d_core.fusion.evidence_cube import cube_of, evidence_in, resampled
from recon3d_core.fusion.tsdf_completion import TsdfCompletionConfig, TsdfCompletionReconstructor
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.meshing.closed import ClosedMesher
from recon3d_core.models import create_network, weights
from recon3d_core.models.tsdf_completion.evidence import FREE, OBSERVED, RULE, SDF
from recon3d_core.models.weights import save_weights, WeightsCard
from recon3d_core.scene.alignment import surface_of
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from tabletop import birth_grid, TABLE, tabletop
import torch
import trimesh


def on_table(name, count):
    return [dataclasses.replace(view, support=TABLE) for view in tabletop(name).orbit(count)]


@pytest.fixture(scope='module')
def wild(tmp_path_factory):
    """Return weights of a network that was never trained and speaks loudly."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = create_network('tsdf_completion', width=8)
    with torch.no_grad():
        network.fine[-1].weight *= 40
    path = tmp_path_factory.mktemp('weights') / 'wild.safetensors'
    card = WeightsCard(network.name, config=network.config.model_dump())
    save_weights(path, network.state_dict(), card)
    return str(path)


def completed(weights, views, **options):
    reconstructor = TsdfCompletionReconstructor(TsdfCompletionConfig(weights=weights, **options))
    state = reconstructor.start(birth_grid(views[0]))
    for view in views:
        state = reconstructor.observe(state, view)
    return reconstructor, state, reconstructor.shape(state)


def observed_state(views):
    fusion = TsdfObjectReconstructor()
    state = fusion.start(birth_grid(views[0]))
    for view in views:
        state = fusion.observe(state, view)
    return state, fusion.shape(state)


@pytest.mark.parametrize('upsampling', [1, 2])
@pytest.mark.parametrize('name', ['mug', 'box'])
def test_the_seen_surface_stays_and_free_space_is_not_filled(name, upsampling, wild):
    views = on_table(name, 2)
    _, _, shape = completed(wild, views, upsampling=upsampling)
    assert shape.grid.shape == (64 * upsampling,) * 3
    _, seen = observed_state(views)
    mesh, _ = ClosedMesher().mesh(shape, TABLE)
    surface = surface_of(seen).points_m
    surface = surface[surface[:, 2] > 0.005]
    motion = cKDTree(mesh.vertices_m).query(surface)[0]
    assert np.median(motion) < 0.005
    assert shape.completed
    # Free space is that of the fusion, looked up voxel by voxel.
    index = seen.grid.indices(shape.grid.centers_world_m())
    inside = ((index >= 1) & (index < np.array(seen.grid.shape) - 1)).all(-1)
    free = np.zeros(shape.grid.shape, bool)
    empty = seen.free & (seen.sdf_m > 1.5 * seen.grid.voxel_size_m)
    free[inside] = empty[tuple(index[inside].T)]
    assert free.sum() > 1000
    assert (shape.occupancy[free] > 0.5).mean() < 0.01


def test_one_view_places_a_cube_that_holds_the_object():
    for name in ('mug', 'box', 'bottle', 'bowl'):
        view = on_table(name, 1)[0]
        _, seen = observed_state([view])
        back = view.frame.pose[:3, 3] - tabletop(name).solid.bounds.mean(0)
        cube, support = cube_of(seen, TABLE, back / np.linalg.norm(back), 64)
        assert support is TABLE
        inside = cube.contains(tabletop(name).solid.vertices)
        assert inside.mean() > 0.99, name
        assert cube.extent_m[0] < 2 * np.ptp(tabletop(name).solid.vertices, axis=0).max()


def test_a_plane_far_below_what_was_seen_is_no_support():
    view = on_table('box', 1)[0]
    _, seen = observed_state([view])
    floor = dataclasses.replace(TABLE, offset_m=TABLE.offset_m + 0.5)
    cube, support = cube_of(seen, floor, np.zeros(3), 64)
    assert support is None
    vertices = tabletop('box').solid.vertices
    shown = vertices[vertices[:, 2] > vertices[:, 2].max() - 0.01]
    assert cube.contains(shown).mean() > 0.9
    reconstructor = TsdfCompletionReconstructor()
    state = reconstructor.start(birth_grid(view))
    reconstructor.observe(state, dataclasses.replace(view, support=floor))
    assert (reconstructor.shape(state).occupancy > 0.5).sum() > 1000


def test_evidence_is_the_fused_one_and_the_true_one():
    view = on_table('box', 1)[0]
    state, seen = observed_state([view])
    cube, _ = cube_of(seen, TABLE, np.zeros(3), 64)
    evidence = evidence_in(cube, seen, state, TABLE)
    centers = cube.centers_world_m()
    index = seen.grid.indices(centers)
    known = ((index >= 0) & (index < seen.grid.shape)).all(-1)
    assert not (evidence[OBSERVED].numpy()[~known]).any()
    near = (evidence[OBSERVED] > 0.5).numpy() & (evidence[SDF].abs() < 0.5).numpy()
    inside = tabletop('box').solid.contains(centers[near])
    agree = inside == (evidence[SDF].numpy()[near] < 0)
    assert agree.mean() > 0.8
    free = (evidence[FREE] > 0.5).numpy()
    assert tabletop('box').solid.contains(centers[free]).mean() < 0.01
    filled = ClosedMesher().fill(seen, TABLE)
    places = filled.grid.indices(centers)
    within = ((places >= 0) & (places < filled.grid.shape)).all(-1)
    rule = evidence[RULE].numpy()
    assert (rule[~within] > 0).all()
    says = filled.sdf_m[tuple(places[within].T)]
    sure = np.abs(says) > 0.5 * filled.grid.voxel_size_m
    assert ((rule[within] < 0) == (says < 0))[sure].mean() > 0.98
    without = evidence_in(cube, seen, state, TABLE, rule=False)
    assert not without[RULE].any()
    without[RULE] = evidence[RULE]
    assert torch.equal(without, evidence)


def test_values_are_looked_up_between_voxels():
    held_on = VoxelGrid(np.eye(4), 0.02, (6, 7, 8))
    centers = held_on.centers_world_m()
    T = np.eye(4)
    T[:3, 3] = 0.013, 0.02, 0.03
    grid = VoxelGrid(T, 0.011, (5, 6, 7))
    ramp = torch.from_numpy(np.moveaxis(centers, -1, 0).copy())
    found = resampled(ramp, held_on, grid).numpy()
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), grid.centers_world_m(), atol=1e-6)
    T[:3, :3] = Rotation.from_rotvec([0.1, -0.05, 0.2]).as_matrix()
    T[:3, 3] = 0.03, 0.03, 0.04
    turned = VoxelGrid(T, 0.006, (3, 4, 5))
    found = resampled(ramp, held_on, turned).numpy()
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), turned.centers_world_m(), atol=1e-6)


def test_asking_twice_computes_once_and_a_closed_one_refuses(wild):
    reconstructor, state, shape = completed(wild, on_table('box', 1))
    assert reconstructor.shape(state) is shape
    reconstructor.close()
    with pytest.raises(PluginError, match='closed'):
        reconstructor.shape(state)


def test_the_weights_of_the_package_complete_what_was_not_seen():
    _, _, shape = completed('default', on_table('box', 1))
    assert shape.completed
    centers = shape.grid.centers_world_m().reshape(-1, 3)
    truth = tabletop('box').solid.contains(centers).reshape(shape.grid.shape)
    inside = shape.occupancy > 0.5
    assert (inside & truth).sum() / (inside | truth).sum() > 0.7


def test_twice_the_voxels_are_the_same_shape_more_finely():
    views = on_table('mug', 2)
    coarse, fine = (completed('default', views, upsampling=n)[2] for n in (1, 2))
    np.testing.assert_allclose(fine.grid.extent_m, coarse.grid.extent_m)
    eights = fine.occupancy.reshape(64, 2, 64, 2, 64, 2).mean((1, 3, 5))
    inside, finely = coarse.occupancy > 0.5, eights > 0.5
    assert (inside & finely).sum() / (inside | finely).sum() > 0.9
    errors = {}
    for shape in (coarse, fine):
        mesh, _ = ClosedMesher().mesh(shape, TABLE)
        errors[shape.grid.voxel_size_m] = np.median(
            np.abs(trimesh.proximity.signed_distance(tabletop('mug').solid, mesh.vertices_m[::20]))
        )
    assert errors[fine.grid.voxel_size_m] < errors[coarse.grid.voxel_size_m]


def test_without_weights_objects_are_closed_by_rule(caplog, monkeypatch):
    monkeypatch.setattr(weights, 'shipped_weights', dict)
    views = on_table('box', 1)
    with caplog.at_level(logging.WARNING):
        _, _, shape = completed('default', views)
    assert len(caplog.records) == 1
    assert 'closed by rule' in caplog.text
    _, seen = observed_state(views)
    np.testing.assert_array_equal(shape.occupancy, seen.occupancy)
    assert not shape.completed


def test_weights_that_are_named_must_be_there():
    with pytest.raises(InputError, match='no file'):
        TsdfCompletionReconstructor(TsdfCompletionConfig(weights='nowhere.safetensors'))
