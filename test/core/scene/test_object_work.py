"""The work on objects where a plugin of others raises: what is lost, and what must not be."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.geometry.cameras import Camera
from recon3d_core.interfaces import Reconstructor, Tracker, TrackUpdate
from recon3d_core.meshing.closed import ClosedMesher
from recon3d_core.scene.options import PipelineConfig
from recon3d_core.scene.timings import Timings
from recon3d_core.scene.work import ObjectWork
from recon3d_core.types import Detection, Detections, Frame
from standing import box_at, estimate_of

UP = np.array([0.0, 0.0, 1.0])
CAMERA = Camera(32, 24, 30.0, 30.0, 15.5, 11.5)


class Remembers(Reconstructor):
    """Its state is the stamps of the views that it took; it cannot take some."""

    name = 'remembers'
    needs = frozenset({'depth', 'mask', 'pose'})
    refused = ()

    def start(self, _):
        return []

    def observe(self, state, view):
        if view.frame.stamp_ns in self.refused:
            raise RuntimeError('out of memory')
        return [*state, view.frame.stamp_ns]

    def shape(self, _):
        raise NotImplementedError


class OneTrack(Tracker):
    """Takes every detection for object 1, which is one after three frames; joins nothing."""

    name = 'one_track'

    def associate(self, frame, detections):
        update = TrackUpdate()
        update.matches = [(1, item) for item in detections.items]
        update.confirmed = [1] if frame.stamp_ns >= 3 else []
        points = np.random.default_rng(0).normal(0, 0.05, (100, 3)).astype(np.float32)
        update.points_world_m, update.supports = {1: points}, {1: None}
        update.labels, update.scores = {1: 'object'}, {1: 1.0}
        return update

    def reset(self):
        """Forget nothing."""


def work_with(reconstructor, **options):
    config = PipelineConfig.model_validate({'alignment': {'enabled': False}, **options})
    return ObjectWork(config, OneTrack(), ClosedMesher(), lambda _: reconstructor, Timings())


def look(work, stamp_ns):
    depth = np.full((24, 32), 0.5, np.float32)
    frame = Frame(stamp_ns, CAMERA, None, depth, np.eye(4))
    mask = np.zeros((24, 32), bool)
    mask[6:18, 8:24] = True
    work.track(frame, Detections((Detection(mask, (8, 6, 23, 17)),)))
    work.observe(None, UP)


@pytest.mark.parametrize('bad', [1, 2, 3, 5])
def test_a_view_that_cannot_be_fused_is_not_in_the_way_of_others(bad):
    reconstructor = Remembers()
    reconstructor.refused = (bad,)
    work = work_with(reconstructor)
    for stamp_ns in range(1, 8):
        look(work, stamp_ns)
    taken = work._book.states[1].state
    assert taken[-1] == 7
    assert len(set(taken)) == len(taken), 'none counts twice'
    assert set(taken) >= {4, 5, 6, 7} - {bad}


class Broken(ClosedMesher):
    """Meshes nothing."""

    def mesh(self, *_):
        raise RuntimeError('out of memory')


@pytest.mark.parametrize('labels', [('cup', 'bowl'), ('cup', 'cup')])
def test_refinement_that_raises_costs_no_object(labels, caplog):
    work = work_with(Remembers(), refinement={'enabled': True, 'looks_to_merge': 1})
    work._mesher = Broken()
    for key, (label, x) in enumerate(zip(labels, (0.0, 0.015)), 1):
        detection = Detection(np.ones((24, 32), bool), (0, 0, 31, 23))
        state = work._book.get(key, detection, 0)
        state.estimate = estimate_of(key, box_at((0.06, 0.05, 0.04), (x, 0, 0)), label=label)
    stays = work.estimates()
    said = [estimate.id for estimate in work._refine([1], False)]
    assert 1 in said
    assert work.estimates() == stays
    assert ('cannot forget' if labels[0] == labels[1] else 'out of memory') in caplog.text
