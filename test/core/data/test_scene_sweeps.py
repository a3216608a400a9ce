"""Sweeps over composed scenes: the frames, their truth, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.errors import ConfigError, SourceError

SMALL = 'frames=6&width=96&height=72'


@pytest.fixture(scope='module', autouse=True)
def _made_by_rule(tmp_path_factory):
    """Leave the mesh collection out: these scenes are the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RECON3D_DATA', str(tmp_path_factory.mktemp('nothing')))
        yield


@pytest.fixture(scope='module')
def source():
    return load_source(f'scenes:test:0001?{SMALL}&masks=true')


def test_frames_show_the_objects_and_say_which(source):
    frames = list(source)
    assert len(frames) == len(source) == 6
    shown = set()
    for number, frame in enumerate(frames):
        assert frame.rgb.shape == (72, 96, 3)
        assert frame.stamp_ns - frames[0].stamp_ns == 200_000_000 * number
        shown |= set(frame.masks)
        for key, mask in frame.masks.items():
            np.testing.assert_array_equal(mask, frame.truth.instance_mask == key)
            assert frame.labels[key] == source.objects[key].category
        measured = frame.depth_m > 0
        error = np.abs(frame.depth_m - frame.truth.depth_exact_m)[measured]
        assert 0 < np.median(error) < 0.02
        shift = frame.T_world_camera[:3, 3] - frame.truth.T_world_camera[:3, 3]
        assert 0 < np.linalg.norm(shift) < 0.01
    assert shown == set(source.objects)


def test_the_camera_goes_around_and_keeps_off(source):
    eyes = source.T_world_camera[:, :3, 3]
    middle = np.mean([o.T_world_object[:3, 3] for o in source.objects.values()], axis=0)
    angles = np.unwrap(np.arctan2(*(eyes - middle)[:, 1::-1].T))
    assert abs(angles[-1] - angles[0]) > np.deg2rad(60)
    assert min(frame.truth.depth_exact_m.min() for frame in source) > 0.12


def test_a_name_says_all_frames(source):
    again = load_source('scenes:test:1', frames=6, width=96, height=72)
    for index in (0, 5):
        one, two = source.frame(index), again.frame(index)
        np.testing.assert_array_equal(one.rgb, two.rgb)
        np.testing.assert_array_equal(one.depth_m, two.depth_m)
        np.testing.assert_array_equal(one.T_world_camera, two.T_world_camera)
    assert two.masks is None
    with pytest.raises(IndexError):
        source.frame(6)


@pytest.mark.parametrize('uri', ['scenes:', 'scenes:test', 'scenes:all:1', 'scenes:test:-1',
                                 'scenes:test:1234567', 'scenes:test:1?frames'])  # fmt: skip
def test_what_there_is_not_is_one_line(uri):
    with pytest.raises(SourceError) as caught:
        load_source(uri)
    assert '\n' not in str(caught.value)


def test_options_are_checked():
    with pytest.raises(ConfigError, match='frames'):
        load_source('scenes:test:1?frames=0')
