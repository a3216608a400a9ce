"""Colour, masks and poses alone: the pipeline with the configuration `tabletop_rgb`."""

from __future__ import annotations

import dataclasses
import json

import pytest
from quick_networks import weights_of
from recon3d_core import Pipeline
from recon3d_core.data import load_source
from recon3d_core.errors import InputError
from recon3d_core.fusion.posed_fusion import PosedFusionReconstructor
from recon3d_core.fusion.visual_hull import VisualHullReconstructor

SOURCE = (
    'synthetic:single_box?masks=true&depth=false&frames=8&width=320&height=240&rate_hz=5&noise=0'
)


@pytest.fixture(scope='module')
def frames():
    return list(load_source(SOURCE))


def pipeline(**options):
    weights = {'reconstructor': {'weights': weights_of('posed_fusion')}}
    return Pipeline.from_config('tabletop_rgb', {**weights, **options})


def test_objects_get_closed_meshes_that_tell_how_settled_they_are(frames, tmp_path):
    made = pipeline(detector={'plugin': 'frame_masks'})
    for frame in frames:
        made.update(frame)
    made.flush()
    (estimate,) = made.scene().objects.values()
    assert estimate.watertight
    assert estimate.volume_m3 > 0
    assert estimate.views_used >= 5
    assert 0 <= estimate.expected_change <= 1
    assert estimate.mesh.colors is not None
    truth = next(iter(frames[0].truth.objects.values()))
    assert abs(estimate.T_world_object[:3, 3] - truth.T_world_object[:3, 3]).max() < 0.05
    assert isinstance(made.reconstructors[0], PosedFusionReconstructor)
    made.save(tmp_path)
    (entry,) = json.loads((tmp_path / 'summary.json').read_text())['objects']
    assert entry['views_used'] == estimate.views_used
    assert entry['expected_change'] == pytest.approx(estimate.expected_change, abs=1e-4)
    assert made.stats()['objects_unsettled'] in (0, 1)
    made.close()


def test_without_colour_outlines_have_to_do(frames):
    made = pipeline(detector={'plugin': 'frame_masks'})
    notes = set()
    for frame in frames:
        notes.update(made.update(dataclasses.replace(frame, rgb=None)).notes)
    made.flush()
    assert any('visual_hull instead of posed_fusion: no rgb' in note for note in notes)
    (estimate,) = made.scene().objects.values()
    assert estimate.watertight
    assert any(isinstance(r, VisualHullReconstructor) for r in made.reconstructors)


def test_missing_weights_are_told_before_the_first_frame():
    with pytest.raises(InputError, match='no file'):
        pipeline(reconstructor={'weights': 'missing.safetensors'})


def test_a_camera_that_stands_still_holds_nothing_up(frames):
    made = Pipeline.from_config('rgb_hull', {'objects': {'min_views': 2}})
    still = [dataclasses.replace(frames[0], stamp_ns=k * 10**9) for k in range(1, 11)]
    moving = [dataclasses.replace(f, stamp_ns=(20 + k) * 10**9) for k, f in enumerate(frames)]
    for frame in still:
        made.update(frame)
    assert not made.scene().objects
    for frame in moving:
        made.update(frame)
    made.flush()
    assert len(made.scene().objects) == 1
    assert not made.dropped


class _Failing(VisualHullReconstructor):
    broken = 0

    def observe(self, state, view):
        if _Failing.broken == 1:
            raise InputError('a view')
        return super().observe(state, view)

    def shape(self, state):
        if _Failing.broken == 2:
            raise RuntimeError('no memory')
        return super().shape(state)


@pytest.mark.parametrize('broken', [1, 2])
def test_an_object_that_fails_keeps_no_frame_from_its_turn(frames, broken, monkeypatch, caplog):
    made = Pipeline.from_config('rgb_hull', {'objects': {'min_views': 2}})
    made.reconstructors[0] = _Failing()
    monkeypatch.setattr(_Failing, 'broken', broken)
    for frame in frames:
        made.update(frame)
    assert not made.scene().objects
    told = {1: 'a view is left out: a view', 2: 'keeps its last mesh: RuntimeError: no memory'}
    assert told[broken] in caplog.text
    assert broken == 1 or not made.unfinished, 'it would be tried for ever'
    monkeypatch.setattr(_Failing, 'broken', 0)
    for k, frame in enumerate(frames):
        made.update(dataclasses.replace(frame, stamp_ns=frame.stamp_ns + (k + 10) * 10**9))
    made.flush()
    assert len(made.scene().objects) == 1
