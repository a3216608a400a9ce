"""Detectors that cannot look, or fail, are replaced for as long as that lasts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon3d_core import load_source, Pipeline
from recon3d_core.errors import FrameError, WeightsError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.interfaces import Detector
from recon3d_core.scene.detecting import Detecting
from recon3d_core.types import Detections, Frame

S = 1_000_000_000
CAMERA = Camera(8, 6, 8.0, 8.0, 3.5, 2.5)
DEPTH = np.ones((6, 8), np.float32)


def frame(stamp_s, depth=True, name='camera'):
    pose = np.eye(4)
    return Frame(int(stamp_s * S), CAMERA, None, DEPTH if depth else None, pose, camera_name=name)


class Flaky(Detector):
    """Raises what it is told to."""

    name = 'flaky'
    needs = frozenset()
    error: Exception | None = None

    def detect(self, frame):
        if self.error is not None:
            raise self.error
        return Detections(frame.stamp_ns, ())


class WithDepth(Flaky):
    name = 'with_depth'
    needs = frozenset({'depth'})


def test_one_that_fails_is_replaced_and_tried_again():
    first, second = Flaky(), WithDepth()
    both = Detecting([first, second])
    assert both.detect(frame(0)) is not None
    assert both.note is None
    first.error = RuntimeError('CUDA out of memory')
    assert both.detect(frame(1)) is not None
    assert both.note == (
        'detector with_depth instead of flaky, which failed with RuntimeError: CUDA out of memory'
    )
    first.error = None
    both.detect(frame(3))
    assert 'instead of flaky' in both.note, 'it is left alone for some seconds'
    both.detect(frame(7))
    assert both.note is None


def test_where_none_can_look_the_first_says_why():
    first, second = Flaky(), WithDepth()
    both = Detecting([first, second])
    first.error = ValueError('no')
    assert both.detect(frame(0, depth=False)) is None
    assert 'no new objects: detector flaky, which failed with ValueError: no' in both.note
    only = Detecting([second])
    assert only.detect(frame(0, depth=False)) is None
    assert 'with_depth, which waits for depth' in only.note


def test_time_that_goes_back_and_resets_forget_the_failure():
    first = Flaky()
    both = Detecting([first, WithDepth()])
    first.error = ValueError('no')
    both.detect(frame(100))
    first.error = None
    both.detect(frame(1))
    assert both.note is None
    first.error = ValueError('no')
    both.detect(frame(2))
    first.error = None
    both.reset()
    both.detect(frame(3))
    assert both.note is None


def test_an_unusable_frame_is_no_failure_of_the_detector():
    first = Flaky()
    both = Detecting([first, WithDepth()])
    first.error = FrameError('blurred', 'nothing to see')
    with pytest.raises(FrameError):
        both.detect(frame(0))
    first.error = None
    both.detect(frame(0))
    assert both.note is None


def test_each_camera_is_looked_at_in_its_turn():
    one = Detecting([Flaky()])  # five times a second
    assert one.is_due(frame(0))
    one.detect(frame(0))
    assert not one.is_due(frame(0.1))
    assert one.is_due(frame(0.1, name='other'))
    assert one.is_due(frame(0.2))
    assert one.is_due(frame(-1))


def test_a_detector_that_raises_costs_no_frame_and_no_object(monkeypatch):
    options = {'mapper': {'voxel_size_m': 0.03}, 'device': 'cpu'}
    options['detector'] = {'plugin': 'frame_masks', 'rate_hz': 15.0}
    pipeline = Pipeline.from_config('tabletop_rgbd', options)
    source = 'synthetic:tabletop_01?frames=9&width=160&height=120&path=arc&masks=true'
    frames = list(load_source(source))
    for item in frames[:5]:
        pipeline.update(item)
    before = set(pipeline.scene().objects)
    assert before

    def broken(_):
        raise RuntimeError('the driver is gone')

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.detector, 'detect', broken)
        for item in frames[5:7]:
            update = pipeline.update(item)
            assert update.integrated
    assert 'depth_cluster instead of frame_masks' in pipeline.fallback
    for item in frames[7:]:
        pipeline.update(dataclasses.replace(item, stamp_ns=item.stamp_ns + 6 * S))
    assert pipeline.fallback is None
    assert set(pipeline.scene().objects) >= before
    assert not pipeline.dropped


def test_a_reconstructor_that_raises_costs_its_views_only(monkeypatch, caplog):
    options = {'mapper': {'voxel_size_m': 0.03}, 'device': 'cpu', 'detector': {'rate_hz': 30.0}}
    pipeline = Pipeline.from_config('tabletop_rgbd', options)
    frames = list(load_source('synthetic:single_mug?frames=9&width=320&height=240&path=arc'))
    for item in frames[:5]:
        pipeline.update(item)
    pipeline.flush()
    ((number, before),) = pipeline.scene().objects.items()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.reconstructors[0], 'observe', lambda *_: 1 / 0)
        for item in frames[5:7]:
            assert pipeline.update(item).integrated
    assert f'object {number}: a view is left out: ZeroDivisionError' in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.mesher, 'mesh', lambda *_: 1 / 0)
        pipeline.update(frames[7])
        pipeline.flush()
    assert f'object {number} keeps its last mesh' in caplog.text
    assert pipeline.scene().objects[number].revision >= before.revision
    pipeline.update(frames[8])
    pipeline.flush()
    assert pipeline.scene().objects[number].revision > before.revision
    assert not pipeline.dropped


def test_weights_that_this_package_lacks_are_done_without(monkeypatch, tmp_path, caplog):
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(b'not weights')
    held = {'posed_fusion': broken}
    monkeypatch.setattr('recon3d_core.models.weights.shipped_weights', lambda: held)
    made = Pipeline.from_config(
        'tabletop_rgbd',
        {'detector': {'plugin': 'centermask'}, 'reconstructor': {'plugin': 'posed_fusion'}},
    )
    assert made.detector.name == 'depth_cluster'
    assert made.reconstructors[0].name == 'tsdf_object'
    assert 'detector depth_cluster instead of centermask: weights of centermask' in made.fallback
    assert 'reconstructor tsdf_object instead of posed_fusion' in made.fallback
    assert made.fallback.count(';') == 1
    made.reset()
    assert 'centermask' in made.fallback
    with pytest.raises(WeightsError):
        Pipeline.from_config(
            'tabletop_rgbd', {'detector': {'plugin': 'centermask'}, 'fallback_detectors': []}
        )
