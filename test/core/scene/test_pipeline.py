"""The whole pipeline on rendered scenes, with inputs that go missing, and on real frames."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recon3d_core import load_source, Pipeline
from recon3d_core.errors import ConfigError, FrameError
from recon3d_core.interfaces import TrackUpdate
from recon3d_core.meshing.checks import is_finite, is_watertight, volume_m3
from recon3d_core.metrics.scene import match_objects
from recon3d_core.scene.options import load_config, PipelineConfig
from recon3d_core.tracking.spatial import SpatialTracker
from recon3d_core.types import Detections, Frame, SceneUpdate
import trimesh

SMALL = {'mapper': {'voxel_size_m': 0.03}, 'device': 'cpu', 'detector': {'rate_hz': 5.0}}


def _frames(scene: str = 'tabletop_01', count: int = 15, **options: Any) -> list[Frame]:
    source = load_source(f'synthetic:{scene}', frames=count, width=480, height=360,
                         path='arc', **options)  # fmt: skip
    return list(source)


@pytest.fixture(scope='module')
def frames() -> list[Frame]:
    return _frames()


@pytest.fixture(scope='module')
def done(frames: list[Frame]) -> tuple[Pipeline, list[SceneUpdate]]:
    pipeline = Pipeline.from_config('tabletop_rgbd', SMALL)
    updates = [pipeline.update(frame) for frame in frames]
    pipeline.flush()
    return pipeline, updates


def test_finds_the_objects_of_a_table(done: Any, frames: list[Frame]) -> None:
    pipeline, _ = done
    objects = pipeline.scene().objects
    result = match_objects(objects.values(), frames[0].truth.objects.values(), 0.5)
    assert result.precision >= 0.75
    assert result.recall >= 0.6


def test_every_mesh_is_closed_finite_and_solid(done: Any) -> None:
    for estimate in done[0].scene().objects.values():
        assert is_watertight(estimate.mesh) == estimate.watertight
        assert is_watertight(estimate.mesh)
        assert is_finite(estimate.mesh)
        assert volume_m3(estimate.mesh) == pytest.approx(estimate.volume_m3)
        assert estimate.volume_m3 > 0
        assert 0 < estimate.seen_fraction <= 1
        assert 0 <= estimate.score <= 1


def test_updates_tell_what_changed(done: Any) -> None:
    pipeline, updates = done
    assert [update.frame_index for update in updates] == list(range(len(updates)))
    assert all(update.integrated for update in updates)
    looked = [update.detections is not None for update in updates]
    assert looked[:7] == [True, False, False, True, False, False, True]  # 5 Hz of 15 Hz
    changed = {estimate.id for update in updates for estimate in update.changed}
    assert changed >= set(pipeline.scene().objects)
    assert {'integrate', 'detect', 'track'} <= set(updates[0].timings_ms)


def test_two_runs_are_equal(frames: list[Frame]) -> None:
    runs = []
    for _ in range(2):
        pipeline = Pipeline.from_config('tabletop_rgbd', SMALL)
        for frame in frames[:8]:
            pipeline.update(frame)
        pipeline.flush()
        runs.append(pipeline.scene().objects)
    assert runs[0].keys() == runs[1].keys()
    for key in runs[0]:
        np.testing.assert_array_equal(runs[0][key].mesh.vertices_m, runs[1][key].mesh.vertices_m)


def test_saves_what_the_contract_names(done: Any, tmp_path: Path) -> None:
    pipeline, _ = done
    summary = pipeline.save(tmp_path / 'out', {'bad_depth': 2})
    assert summary == json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['schema'] == 1
    assert summary['frames'] == {'read': 17, 'integrated': 15, 'dropped': {'bad_depth': 2}}
    for item in summary['objects']:
        mesh = trimesh.load(tmp_path / 'out' / 'objects' / f'{item["id"]}.ply')
        assert mesh.is_watertight == item['watertight']
        glb = trimesh.load(tmp_path / 'out' / 'objects' / f'{item["id"]}.glb', force='mesh')
        np.testing.assert_allclose(glb.bounds, mesh.bounds, atol=1e-5)
        with np.load(tmp_path / 'out' / 'objects' / f'{item["id"]}.npz') as volume:
            assert volume['occupancy'].ndim == 3
            assert volume['T_world_grid'].shape == (4, 4)
            assert volume['voxel_size_m'] > 0
        assert set(item['self_check']) >= {'silhouette_iou', 'depth_residual_m'}
    for name in ('scene.ply', 'scene_points.ply', 'preview.png'):
        assert (tmp_path / 'out' / name).stat().st_size > 1000


def test_saving_again_removes_objects_of_before(done: Any, tmp_path: Path) -> None:
    (tmp_path / 'objects').mkdir()
    (tmp_path / 'objects' / '99.ply').touch()
    (tmp_path / 'objects' / 'model.ply').touch()
    done[0].save(tmp_path)
    assert not (tmp_path / 'objects' / '99.ply').exists()
    assert (tmp_path / 'objects' / 'model.ply').exists(), 'which no run wrote'


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'T_world_camera': None}, 'no_pose'),
        ({'T_world_camera': np.full((4, 4), np.nan)}, 'bad_pose'),
        ({'T_world_camera': 2 * np.eye(4)}, 'bad_pose'),
        ({'depth_m': np.zeros((10, 10), np.float32)}, 'size_mismatch'),
        ({'depth_m': np.zeros((360, 480), np.uint16)}, 'bad_depth'),
        ({'rgb': np.zeros((360, 480, 3), np.float32)}, 'bad_color'),
    ],
)
def test_bad_frames_are_counted_and_change_nothing(
    frames: list[Frame], change: dict[str, Any], reason: str
) -> None:
    pipeline = Pipeline.from_config('tabletop_rgbd', SMALL)
    with pytest.raises(FrameError) as caught:
        pipeline.update(dataclasses.replace(frames[0], **change))
    assert caught.value.reason == reason
    assert pipeline.dropped == {reason: 1}
    assert pipeline.scene(cloud=True).cloud.points_m.shape == (0, 3)
    pipeline.update(frames[0])
    assert pipeline.stats()['frames_integrated'] == 1


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({}, 'centermask instead of voting'),
        ({'fallback_detectors': []}, 'no new objects'),
    ],
)
def test_depth_that_drops_out_loses_nothing(
    frames: list[Frame], options: dict[str, Any], says: str
) -> None:
    often = {'detector': {'rate_hz': 15.0}}
    pipeline = Pipeline.from_config('tabletop_rgbd', {**SMALL, **often, **options})
    for frame in frames[:9]:
        pipeline.update(frame)
    before = pipeline.scene().objects
    assert before
    for frame in frames[9:13]:
        update = pipeline.update(dataclasses.replace(frame, depth_m=None))
    assert says in (pipeline.fallback or '')
    assert 'waits for depth' in (pipeline.fallback or '')
    assert update.notes == (pipeline.fallback,)
    assert pipeline.scene().objects.keys() >= before.keys()
    for frame in frames[13:]:
        pipeline.update(frame)
    assert pipeline.fallback is None


def test_masks_without_depth_fall_back_to_the_hull() -> None:
    pipeline = Pipeline.from_config(
        'tabletop_rgbd', {**SMALL, 'detector': {'plugin': 'frame_masks', 'rate_hz': 15.0}}
    )
    frames = _frames(count=10, masks=True, depth=False)
    for frame in frames:
        pipeline.update(frame)
    pipeline.flush()
    assert 'visual_hull instead of tsdf_completion' in (pipeline.fallback or '')
    objects = pipeline.scene().objects
    assert len(objects) >= 3
    assert all(is_watertight(estimate.mesh) for estimate in objects.values())
    assert {estimate.label for estimate in objects.values()} & {'mug', 'box', 'can', 'bowl'}


def test_when_depth_comes_back_outlines_become_measured_objects() -> None:
    pipeline = Pipeline.from_config(
        'tabletop_rgbd', {**SMALL, 'detector': {'plugin': 'frame_masks', 'rate_hz': 15.0}}
    )
    frames = _frames(count=14, masks=True)
    for frame in frames[:8]:
        pipeline.update(dataclasses.replace(frame, depth_m=None))
    pipeline.flush()
    outlined = pipeline.scene().objects
    assert outlined
    for frame in frames[8:]:
        pipeline.update(frame)
    assert pipeline.fallback is None
    pipeline.flush()
    measured = pipeline.scene().objects
    assert measured.keys() >= outlined.keys()
    for key, before in outlined.items():
        assert measured[key].revision > before.revision
        assert measured[key].shape.sdf_m is not None, 'which only depth gives'


def test_an_object_that_turns_out_to_be_two_is_taken_back() -> None:
    class Restarting(SpatialTracker):
        restarts = False

        def associate(self, frame: Frame, detections: Detections) -> TrackUpdate:
            update = super().associate(frame, detections)
            update.restarted += update.confirmed[:1] if self.restarts else []
            return update

    pipeline = Pipeline.from_config('tabletop_rgbd', SMALL)
    pipeline.tracker = Restarting()
    pipeline.reset()
    frames = _frames(count=10)
    for frame in frames[:9]:
        pipeline.update(frame)
    pipeline.flush()
    first, *_ = before = pipeline.scene().objects
    pipeline.tracker.restarts = True
    update = pipeline.update(frames[9])
    assert update.detections is not None
    assert update.removed == (first,)
    after = pipeline.scene().objects.keys()
    assert first not in after
    assert after >= before.keys() - {first}


def test_a_time_budget_delays_work_but_loses_none(frames: list[Frame]) -> None:
    pipeline = Pipeline.from_config('tabletop_rgbd', {**SMALL, 'budget_ms': 1.0})
    for frame in frames:
        pipeline.update(frame)
    waiting = pipeline.stats()['waiting_views']
    pipeline.flush()
    assert waiting > 0
    assert pipeline.stats()['waiting_views'] == 0
    free = Pipeline.from_config('tabletop_rgbd', SMALL)
    for frame in frames:
        free.update(frame)
    assert pipeline.scene().objects.keys() == free.scene().objects.keys()


def test_live_options(frames: list[Frame]) -> None:
    pipeline = Pipeline.from_config('tabletop_rgbd', SMALL)
    pipeline.set_option('find_objects', False)
    assert pipeline.update(frames[0]).detections is None
    pipeline.set_option('find_objects', True)
    assert pipeline.update(frames[1]).detections is not None
    for path, value in (('detector.rate_hz', -1), ('mapper.voxel_size_m', 0.1), ('nonsense', 1)):
        with pytest.raises(ConfigError):
            pipeline.set_option(path, value)
    assert pipeline.config.detector.config.rate_hz == 5.0


def test_reset_forgets(frames: list[Frame]) -> None:
    pipeline = Pipeline.from_config('tabletop_rgbd', SMALL)
    for frame in frames[:8]:
        pipeline.update(frame)
    pipeline.reset()
    scene = pipeline.scene(mesh=True, cloud=True, occupancy_grid=True)
    assert scene.objects == {}
    assert scene.occupancy_grid is None
    assert len(scene.mesh.faces) == len(scene.cloud.points_m) == 0


def test_cameras_in_step_all_have_their_turn(frames: list[Frame]) -> None:
    pipeline = Pipeline.from_config('tabletop_rgbd', {**SMALL, 'map_scene': False})
    turns = []
    for frame in frames[:7]:
        for name in ('left', 'right'):
            update = pipeline.update(dataclasses.replace(frame, camera_name=name))
            turns += [name] * (update.detections is not None)
    assert turns.count('left') == turns.count('right') >= 2


def test_without_gravity_the_support_tells_where_up_is(frames: list[Frame]) -> None:
    pipeline = Pipeline.from_config('tabletop_rgbd', SMALL)
    up_camera = frames[0].pose[:3, :3].T @ -frames[0].gravity_world
    for frame in frames[:3]:
        pipeline.update(dataclasses.replace(frame, T_world_camera=np.eye(4), gravity_world=None))
    grid = pipeline.scene(occupancy_grid=True).occupancy_grid
    assert grid is not None
    assert grid.T_world_grid[:3, 2] @ up_camera > np.cos(np.radians(5))


def test_more_things_than_tracks_do_no_harm(frames: list[Frame]) -> None:
    bound = {'tracker': {'max_tracks': 2, 'hits_to_confirm': 5}}
    pipeline = Pipeline.from_config('tabletop_rgbd', {**SMALL, **bound, 'map_scene': False})
    for frame in frames:
        pipeline.update(frame)
    assert pipeline.stats()['tracks'] <= 2


def test_mapping_only(frames: list[Frame]) -> None:
    pipeline = Pipeline.from_config('tabletop_rgbd', {**SMALL, 'find_objects': False})
    for frame in frames[:3]:
        assert set(pipeline.update(frame).timings_ms) <= {'integrate', 'observe'}
    scene = pipeline.scene(mesh=True, cloud=True, occupancy_grid=True)
    assert len(scene.mesh.faces) > 1000
    assert (scene.occupancy_grid.cells == 100).any()


def test_default_configuration_is_the_tables() -> None:
    assert isinstance(load_config(), PipelineConfig)
    assert load_config().reconstructor.plugin == 'tsdf_completion'


@pytest.mark.parametrize('name', ['gpu', 'cuda:99'])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError):
        Pipeline.from_config('tabletop_rgbd', {'device': name})


def test_a_plugin_may_be_registered_by_another_name(monkeypatch):
    target = 'recon3d_core.detection.depth_cluster:DepthClusterDetector'
    monkeypatch.setenv('RECON3D_PLUGINS', f'detector:mine={target}')
    pipeline = Pipeline.from_config('tabletop_rgbd', {'detector': {'plugin': 'mine'}})
    assert pipeline.detector.name == 'depth_cluster'
    assert pipeline.fallback is None
