"""`im2cad`: the right model, in its place; what cannot be matched is told; libraries of all kinds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import open3d as o3d
import pytest
from quick_networks import made, small_library
from recon3d_core.data.objects.base import ObjectMesh, ObjectModel, to_cube
from recon3d_core.data.pack import write_pack
from recon3d_core.data.packing import pack_object, PackOptions
from recon3d_core.errors import InputError, PluginError, SourceError
from recon3d_core.fusion.im2cad import Im2CadConfig, Im2CadReconstructor
from recon3d_core.matching import index as indexing
from recon3d_core.matching.retrieval import Retriever
from recon3d_core.matching.sources import open_library
from tabletop import birth_grid, Scene, TABLE, tabletop
import trimesh


@pytest.fixture(scope='module')
def im2cad() -> Im2CadReconstructor:
    return made('im2cad')


def seen(reconstructor, views, *, depth=True, support=TABLE):
    """Return the state after views, the grid as at birth."""
    state = reconstructor.start(birth_grid(views[0]))
    for view in views:
        frame = view.frame if depth else dataclasses.replace(view.frame, depth_m=None)
        state = reconstructor.observe(
            state, dataclasses.replace(view, frame=frame, support=support)
        )
    return state


def standing(solid: trimesh.Trimesh) -> Scene:
    """Return a scene of a solid alone."""
    rays = o3d.t.geometry.RaycastingScene()
    rays.add_triangles(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.uint32))
    return Scene(solid, rays)


def overlap(shape, solid) -> float:
    inside = solid.contains(shape.grid.centers_world_m().reshape(-1, 3))
    found = (shape.occupancy > 0.5).ravel()
    return (inside & found).sum() / (inside | found).sum()


@pytest.mark.parametrize('depth', [True, False], ids=['depth', 'colour alone'])
def test_a_model_of_the_library_is_found_and_placed(im2cad, depth):
    scene = tabletop('box')
    state = seen(im2cad, scene.orbit(3), depth=depth)
    shape, placed = im2cad.shape(state), state.placed
    assert placed.model.name == 'box.ply'
    assert shape.completed
    center = state.T_world_local[:3, :3] @ placed.theta[1:4] + state.T_world_local[:3, 3]
    np.testing.assert_allclose(center, (0, 0, 0.04), atol=0.004)
    turn = placed.theta[0] % np.pi  # half a turn leaves a box as it is
    assert min(turn, np.pi - turn) < np.deg2rad(4)
    assert overlap(shape, scene.solid) > 0.8
    assert shape.occupancy.max() == pytest.approx(0.5 + placed.agreement / 2, abs=0.03)


def test_what_lies_on_its_side_is_found_lying(im2cad):
    solid = tabletop('cylinder').solid.copy()
    solid.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (0, 1, 0)))
    solid.apply_translation((0, 0, 0.04 - solid.bounds.mean(0)[2]))
    only = im2cad.retriever.index
    kept = only.names[only.owner] == 'cylinder.ply'
    only = dataclasses.replace(
        only, features=only.features[kept], owner=only.owner[kept], turns=only.turns[kept]
    )
    one = Im2CadReconstructor(im2cad.config)
    one._retriever = Retriever(only)
    state = seen(one, standing(solid).orbit(3))
    shape = one.shape(state)
    assert abs(state.placed.model.turn[2, 2]) < 0.1
    assert overlap(shape, solid) > 0.7


def test_what_no_model_agrees_with_is_as_it_was_fused(im2cad):
    picky = Im2CadReconstructor(im2cad.config.model_copy(update={'min_agreement': 0.99}))
    state = seen(picky, tabletop('bowl').orbit(2))
    shape = picky.shape(state)
    assert not shape.completed
    assert shape.sdf_m is not None
    blind = seen(picky, tabletop('bowl').orbit(2), depth=False)
    assert picky.shape(blind).completed  # there is nothing else
    picky.close()
    with pytest.raises(PluginError, match='closed'):
        picky.start(state.grid)


def test_many_views_are_not_matched_at_each(im2cad, monkeypatch):
    state = seen(im2cad, tabletop('box').orbit(5))
    first = im2cad.placed(state)
    monkeypatch.setattr(im2cad, '_matched', None)  # a match would fail
    assert im2cad.placed(state) is first


def test_an_index_is_made_once(im2cad, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(indexing, 'build', None)
    again = Im2CadReconstructor(im2cad.config)
    for name, value in vars(again.retriever.index).items():
        np.testing.assert_array_equal(value, getattr(im2cad.retriever.index, name))
    (tmp_path / 'broken.npz').write_bytes(b'PK but no more')
    assert indexing.read(tmp_path / 'broken.npz') is None


def test_broken_meshes_are_left_out(im2cad, tmp_path, caplog):
    (tmp_path / 'broken.ply').write_text('no mesh')
    (tmp_path / 'box.ply').write_bytes((Path(small_library()) / 'box.ply').read_bytes())
    config = Im2CadConfig(library=str(tmp_path), cache=str(tmp_path / 'cache'))
    found = Im2CadReconstructor(config)
    assert found.retriever.index.names.tolist() == ['box.ply']
    assert 'broken.ply' in caplog.text
    (tmp_path / 'box.ply').unlink()
    with pytest.raises(InputError, match='usable'):
        Im2CadReconstructor(config)


def test_libraries_of_all_kinds(tmp_path, monkeypatch):
    with pytest.raises(SourceError, match='no folder'):
        open_library(str(tmp_path / 'absent'))
    monkeypatch.setenv('RECON3D_DATA', str(tmp_path))
    made_by_rule = open_library('', made=1)  # there is no collection
    assert 'made by rule' in made_by_rule.note
    assert {name.split('/')[0] for name in made_by_rule.names} == {'procedural'}
    solid = trimesh.creation.box((0.3, 0.2, 0.1))
    mesh, edge_m = to_cube(
        ObjectMesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32))
    )
    model = ObjectModel('a/box', 'box', 'train', mesh, edge_m)
    path = tmp_path / 'objects.r3d'
    write_pack(path, [pack_object(model, PackOptions(resolution=32, color_resolution=16))], 32, 16)
    packed = open_library(str(path)).load('a/box')
    assert packed.edge_m == pytest.approx(0.3 * 16 / 15)
    size = np.ptp(np.argwhere(packed.occupancy()), axis=0) + 1
    np.testing.assert_allclose(size, (60, 40, 20), atol=1)
    seen_views = packed.render(indexing.camera_poses()[:2], 32)
    assert 0.2 < (seen_views.masks > 127).mean() < 0.8
