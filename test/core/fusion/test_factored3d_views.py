"""Reconstructor `factored3d` and mapper `room_layout`: places, masks, frames, bad input."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from quick_networks import made, weights_of
from recon3d_core import Pipeline, registry
from recon3d_core.data import load_source
from recon3d_core.errors import FrameError, PluginError, WeightsError
from recon3d_core.fusion.factored3d import at_depth
from recon3d_core.fusion.visual_hull import initial_grid_from_views
from recon3d_core.geometry.transforms import apply
from recon3d_core.models.factored3d import parsing
from recon3d_core.models.factored3d.parsing import ParsedObject
from tabletop import TABLE, tabletop


@pytest.fixture(scope='module')
def reconstructor():
    return made('factored3d')


@pytest.fixture(scope='module')
def views():
    return tabletop('box').orbit(4)


@pytest.fixture(scope='module')
def grid(views):
    return initial_grid_from_views(views, 32, TABLE)


def told_of(view, solid):
    """Return the true solid as an ideal network would tell it at half its true distance."""
    T_world_object = np.eye(4)
    T_world_object[:3, 3] = solid.bounds.mean(0)
    T = np.linalg.inv(view.frame.T_world_camera) @ T_world_object
    full = np.ones((32, 32, 32), np.float32)
    return ParsedObject((0.0, 0.0, 1.0, 1.0), T, np.ptp(solid.bounds, axis=0), full, 1.0).scaled(
        0.5
    )


def test_what_is_told_right_is_put_in_its_place_by_the_poses(
    reconstructor, views, grid, monkeypatch
):
    solid = tabletop('box').solid
    state = reconstructor.start(grid)
    for view in views[:3]:
        monkeypatch.setattr(reconstructor, '_tell', lambda *_, view=view: told_of(view, solid))
        state = reconstructor.observe(state, view)
    inside = reconstructor.shape(state).occupancy > 0.5
    assert 0.8 < inside.sum() * grid.voxel_size_m**3 / solid.volume < 1.3
    points = apply(grid.T_world_grid, (np.argwhere(inside) + 0.5) * grid.voxel_size_m)
    assert np.abs(points.mean(0) - solid.bounds.mean(0)).max() < 0.03


def test_another_depth_keeps_the_image(views):
    told = told_of(views[0], tabletop('box').solid)
    near = at_depth(told, 0.3)
    assert np.isclose(near.T_camera_object[2, 3], 0.3)
    assert np.allclose(near.size_m / 0.3, told.size_m / told.T_camera_object[2, 3])


def test_what_lies_outside_of_the_masks_is_free(reconstructor, views, grid):
    state = reconstructor.start(grid)
    for view in views:
        nowhere = np.zeros_like(view.mask)
        x0, y0, x1, y1 = view.box_xyxy
        nowhere[y0 : y1 + 1, x0 : (x0 + x1) // 2] = True
        half = dataclasses.replace(view, mask=view.mask & nowhere)
        state = reconstructor.observe(state, half)
    whole = reconstructor.start(grid)
    for view in views:
        whole = reconstructor.observe(whole, view)
    assert (state.evidence.outside > whole.evidence.outside).any()
    covered = dataclasses.replace(views[0], others=~views[0].mask)
    hidden = reconstructor.observe(reconstructor.start(grid), covered)
    assert not hidden.evidence.outside.any(), 'what hides the object says nothing of it'


def test_masks_of_many_directions_outvote_the_network_and_those_of_one_do_not(reconstructor, grid):
    orbit = tabletop('box').orbit(8)
    for seen, outvoted in ((orbit, True), ([orbit[0]] * 8, False)):
        state = reconstructor.start(grid)
        for view in seen:
            state = reconstructor.observe(state, view)
        state.evidence.log_odds[:] = -1.0 * state.evidence.views  # "empty", rather sure
        solid = reconstructor.shape(state).occupancy > 0.5
        assert solid.any() == outvoted
        state.evidence.log_odds[:] = -3.8 * state.evidence.views  # a hollow, very sure
        assert not (reconstructor.shape(state).occupancy > 0.5).any()


def test_an_image_is_looked_at_once_for_all_of_its_objects(
    reconstructor, views, grid, monkeypatch
):
    looks = []
    real = parsing.see_image
    monkeypatch.setattr(
        'recon3d_core.fusion.factored3d.see_image',
        lambda *given: looks.append(1) or real(*given),
    )
    fresh = [dataclasses.replace(view, frame=dataclasses.replace(view.frame)) for view in views]
    states = [reconstructor.start(grid) for _ in range(3)]
    for view in fresh:
        states = [reconstructor.observe(state, view) for state in states]
    assert len(looks) == len(fresh)


def test_bad_views_are_told_and_a_closed_one_is_of_no_use(views, grid):
    reconstructor = made('factored3d')
    blind = dataclasses.replace(views[0], frame=dataclasses.replace(views[0].frame, rgb=None))
    with pytest.raises(FrameError, match='colour'):
        reconstructor.observe(reconstructor.start(grid), blind)
    empty = dataclasses.replace(views[0], mask=np.zeros_like(views[0].mask))
    assert reconstructor.observe(reconstructor.start(grid), empty).views == 0
    reconstructor.close()
    with pytest.raises(PluginError, match='closed'):
        reconstructor.observe(reconstructor.start(grid), views[0])


def test_a_stream_of_colour_gives_objects_and_a_room():
    source = 'synthetic:single_box?masks=true&depth=false&frames=6&width=160&height=120&rate_hz=5'
    weights = weights_of('factored3d')
    options = {
        'detector': {'plugin': 'frame_masks'},
        'reconstructor': {'weights': weights},
        'mapper': {'weights': weights},
    }
    pipeline = Pipeline.from_config('room_rgb', options)
    for frame in load_source(source):
        assert pipeline.update(frame).integrated
    pipeline.flush()
    scene = pipeline.scene(mesh=True)
    (estimate,) = scene.objects.values()
    assert estimate.watertight
    assert len(scene.mesh.faces), 'the room'
    pipeline.close()


def test_a_room_needs_colour():
    kind = registry.load('mapper', 'room_layout')
    mapper = kind(kind.Config(weights=weights_of('factored3d')))
    frame = next(iter(load_source('synthetic:single_box?frames=1&width=64&height=48')))
    with pytest.raises(FrameError, match='rgb and pose'):
        mapper.integrate(dataclasses.replace(frame, rgb=None))


def test_without_weights_outlines_have_to_do_and_the_room_stays_unknown(monkeypatch, caplog):
    def lacking(*_):
        raise WeightsError('weights of factored3d', 'none in this package')

    for module in ('fusion.factored3d', 'mapping.room_layout'):
        monkeypatch.setattr(f'recon3d_core.{module}.create_network', lacking)
    pipeline = Pipeline.from_config('room_rgb', {'detector': {'plugin': 'frame_masks'}})
    source = 'synthetic:single_box?masks=true&depth=false&frames=2&width=64&height=48'
    for frame in load_source(source):
        notes = pipeline.update(frame).notes
    assert any('visual_hull instead of factored3d' in note for note in notes)
    assert 'leaves the map empty' in caplog.text
    assert not len(pipeline.scene(mesh=True).mesh.faces)
    pipeline.close()
