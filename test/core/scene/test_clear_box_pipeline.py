"""A part of the scene is forgotten, with its objects; a map goes to a file and comes back."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core import load_source, Pipeline
from recon3d_core.errors import InputError, PluginError
from recon3d_core.geometry.regions import Box
from recon3d_core.interfaces import Mapper, Tracker

SMALL = {'mapper': {'voxel_size_m': 0.03}, 'device': 'cpu', 'detector': {'rate_hz': 30.0}}


@pytest.fixture(scope='module')
def frames():
    return list(load_source('synthetic:tabletop_01?frames=8&width=320&height=240&path=arc'))


@pytest.fixture
def pipeline(frames):
    made = Pipeline.from_config('tabletop_rgbd', SMALL)
    for frame in frames:
        made.update(frame)
    made.flush()
    return made


def test_objects_in_the_box_are_gone_and_are_found_again(pipeline, frames):
    objects = pipeline.scene().objects
    first = next(iter(objects))
    chosen = objects[first]
    box = Box(chosen.T_world_object, chosen.size_m + 0.02)
    assert pipeline.clear_box(box) == [first]
    scene = pipeline.scene(cloud=True)
    assert set(scene.objects) == set(objects) - {first}
    assert not box.contains(scene.cloud.points_m, -0.03).any()
    for frame in frames:
        update = pipeline.update(frame)
        assert first not in {item.id for item in update.changed}
    pipeline.flush()
    again = [o for k, o in pipeline.scene().objects.items() if k not in objects]
    assert any(box.contains(o.T_world_object[:3, 3]) for o in again), 'not found again'


def test_a_map_goes_to_a_file_and_comes_back(pipeline, frames, tmp_path):
    path = tmp_path / 'maps/table.npz'
    before = pipeline.scene(cloud=True).cloud.points_m
    pipeline.save_map(path)
    other = Pipeline.from_config('tabletop_rgbd', SMALL)
    other.load_map(path)
    np.testing.assert_array_equal(
        np.sort(other.scene(cloud=True).cloud.points_m, axis=0), np.sort(before, axis=0)
    )
    other.update(frames[0])
    path.write_bytes(b'no map')
    with pytest.raises(InputError, match='not a saved map'):
        other.load_map(path)
    assert len(other.scene(cloud=True).cloud.points_m)


def test_a_frame_that_makes_a_plugin_raise_is_counted_once(pipeline, frames, monkeypatch):
    read = pipeline.frames_read
    monkeypatch.setattr(pipeline.mapper, 'integrate', lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pipeline.update(frames[0])
    assert pipeline.frames_read == read + 1
    assert pipeline.dropped['internal_error'] == 1


def test_plugins_that_cannot_forget_a_part_say_so():
    class Other(Mapper):
        name = 'other'
        integrate = mesh = cloud = reset = save = load = stats = None

    class Plain(Tracker):
        name = 'plain'
        associate = reset = None

    with pytest.raises(PluginError, match='mapper other'):
        Other().clear_box(None)
    with pytest.raises(PluginError, match='tracker plain'):
        Plain().forget([1])
