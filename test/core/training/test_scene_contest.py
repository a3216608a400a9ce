"""Whole scenes judged: scores of known objects, baselines' shapes, rows, and the command."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from recon3d_core.cli.main import exit_code
from recon3d_core.data.scene_sweeps import SceneSweepSource, with_true_masks
from recon3d_core.data.scenes.library import Library
from recon3d_core.data.synth.truth import object_truth
from recon3d_core.errors import InputError
from recon3d_core.meshing.checks import is_watertight, volume_m3
from recon3d_core.meshing.sampling import sample_surface
from recon3d_core.training import scene_scores
from recon3d_core.training.scene_contest import scene_contest, SceneContest
from recon3d_core.training.scene_retrieval import OracleRetrieval
from recon3d_core.training.scene_runs import SceneObject, TrueMasks
from recon3d_core.training.scene_scores import (
    known_objects,
    KnownObject,
    object_scores,
    score_scene,
)
from recon3d_core.training.scene_variants import (
    check_names,
    convex_hull,
    mirrored_cloud,
)
from recon3d_core.types import Mesh
import trimesh


@pytest.fixture(scope='module', autouse=True)
def _made_by_rule(tmp_path_factory):
    """Leave the mesh collection out: these scenes are the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RECON3D_DATA', str(tmp_path_factory.mktemp('nothing')))
        yield


@pytest.fixture(scope='module')
def source():
    return SceneSweepSource('test:13?frames=3&width=240&height=180')


@pytest.fixture(scope='module')
def frames(source):
    return list(source)


@pytest.fixture(scope='module')
def known(frames):
    return known_objects(frames)


def as_mesh(solid: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(solid.vertices, np.float32), np.asarray(solid.faces, np.int32))


def as_found(one: KnownObject, mesh: Mesh | None = None) -> SceneObject:
    truth = one.truth
    return SceneObject(truth.id, 1.0, mesh or truth.mesh, truth.T_world_object, truth.size_m)


@pytest.fixture(scope='module')
def score(frames, known):
    """Return the score of two of three objects, found as they are."""
    found = [as_found(one) for one in known[:2]]
    return score_scene('s', 'table', found, known[:3], frames[1])


def test_the_truth_is_perfect(source, known, score):
    assert len(known) == len(source.objects)
    assert all(0.1 < one.seen.mean() < 0.9 for one in known)
    assert score.matched.precision == 1
    assert score.matched.recall == pytest.approx(2 / 3)
    assert 'iou' not in score.objects[2]
    for row in score.objects[:2]:
        assert row['iou'] == pytest.approx(1, abs=1e-3)
        for part in ('', '_seen', '_unseen'):
            assert row[f'fscore{part}'] == pytest.approx(1, abs=1e-6)
            assert row[f'chamfer{part}_mm'] < 0.01
    assert score.penetration < 2e-3
    assert score.floating_gap_m < 5e-3


def test_points_seen_are_those_in_the_images(frames, known):
    # What lies on the support is hidden from all cameras; some of what faces up is not.
    for one in known:
        height = one.points_world_m[:, 2] - one.points_world_m[:, 2].min()
        top, bottom = height > 0.9 * height.max(), height < 0.05 * height.max()
        assert one.seen[top].mean() > one.seen[bottom].mean()
    few = [
        dataclasses.replace(
            frames[0],
            truth=dataclasses.replace(
                frames[0].truth, instance_mask=np.where(frames[0].truth.instance_mask == 2, 2, 0)
            ),
        )
    ]
    assert [one.truth.id for one in known_objects(few)] == [2]


def test_half_a_box_has_half_the_iou_and_is_off_on_the_unseen_side():
    whole = as_mesh(trimesh.creation.box((0.1, 0.1, 0.2)))
    truth = object_truth(1, 'box', whole)
    points = sample_surface(whole.vertices_m, whole.faces, 4096)[0]
    one = KnownObject(truth, points, points[:, 2] > 0.02)
    upper = as_mesh(trimesh.creation.box(bounds=[[-0.05, -0.05, 0], [0.05, 0.05, 0.1]]))
    scores = object_scores(upper, one)
    assert scores['iou'] == pytest.approx(0.5, abs=0.02)
    assert scores['fscore_seen'] == pytest.approx(1, abs=0.01)
    assert scores['fscore_unseen'] < 0.5
    assert scores['chamfer_unseen_mm'] > scores['chamfer_mm'] > scores['chamfer_seen_mm']
    # What reaches out of the voxels' cube counts against it, too.
    huge = as_mesh(trimesh.creation.box((0.4, 0.4, 0.4)))
    assert object_scores(huge, one)['iou'] == pytest.approx(0.002 / 0.064, rel=0.1)


def front_of(solid: trimesh.Trimesh, eye) -> Mesh:
    """Return the faces that face a place."""
    towards = np.asarray(eye) - solid.triangles_center
    return Mesh(
        np.asarray(solid.vertices, np.float32),
        np.asarray(solid.faces, np.int32)[(solid.face_normals * towards).sum(1) > 0],
    )


def test_hulls_and_mirror_images_of_what_was_seen():
    solid = trimesh.creation.cylinder(0.05, 0.2, sections=64)
    eye = np.array([3.0, 0.5, 1.5])
    seen = front_of(solid, eye)
    hull = convex_hull(seen, eye[None])
    assert is_watertight(hull)
    # Half of the tube and all of the top.
    assert 0.6 < volume_m3(hull) / solid.volume < 0.9
    # The mirror image adds the far side; of what was seen from all sides nothing is missing.
    around = np.stack([[np.cos(a), np.sin(a), 0.3] for a in np.arange(0, 6.28, 0.5)])
    every = as_mesh(solid)
    for mesh in (mirrored_cloud(seen, eye[None]), mirrored_cloud(every, around)):
        assert is_watertight(mesh)
        assert volume_m3(mesh) == pytest.approx(solid.volume, rel=0.15)
    flat = Mesh(seen.vertices_m * np.float32([1, 1, 0]), seen.faces)
    assert convex_hull(flat, around) is None
    assert mirrored_cloud(Mesh(seen.vertices_m, seen.faces[:0]), around) is None


def test_retrieval_finds_what_it_knows():
    retrieval = OracleRetrieval(Library(), 4)
    mesh = retrieval._known.meshes[2]  # lies in its box: put somewhere else, another size, turned
    size, turn = np.array([0.3, 0.2, 0.1]), trimesh.transformations.rotation_matrix(0.4, [0, 0, 1])
    placed = (mesh.vertices_m * size) @ turn[:3, :3].T + (1, 2, 3)
    truth = object_truth(5, 'thing', Mesh(placed.astype(np.float32), mesh.faces))
    found = retrieval.nearest(truth)
    points = sample_surface(placed.astype(np.float32), mesh.faces, 4096)[0]
    scores = object_scores(found.mesh, KnownObject(truth, points, np.ones(4096, bool)))
    assert scores['fscore'] > 0.9
    assert scores['iou'] > 0.6


class Canned(SceneContest):
    """A contest whose first scene fails, and whose others have the same score."""

    def __init__(self, score) -> None:
        super().__init__(['closing', 'oracle_retrieval'], frames=2)
        self.score = score

    def scenes(self, split, first=0):
        yield from (SceneName(f'{split}:{k}') for k in range(first, 99))

    def judge(self, source, picture=None):
        if source.uri == 'test:7':
            raise InputError('the scene is broken')
        return {name: dataclasses.replace(self.score, scene=source.uri) for name in self.variants}


@dataclasses.dataclass
class SceneName:
    uri: str


def test_what_fails_is_left_out_and_the_rest_is_kept(tmp_path, score):
    document = scene_contest(
        Canned(score), 3, first=7, out=tmp_path, json_path=tmp_path / 'a.json'
    )
    assert json.loads((tmp_path / 'a.json').read_text()) == document
    assert document['failed'] == [{'scene': 'test:7', 'reason': 'the scene is broken'}]
    assert [one['scene'] for one in document['scenes']] == ['test:8', 'test:9']
    row = document['rows'][0]
    assert (row['scenes'], row['objects']) == (2, 6)
    assert row['recall'] == pytest.approx(2 / 3, abs=1e-4)
    assert row['iou'] == pytest.approx(1, abs=1e-3)
    assert row['iou_all'] == pytest.approx(row['recall'], abs=1e-3)
    assert row['box_ap50'] == row['recall']
    assert row['factored']['all'] == pytest.approx(row['recall'], abs=1e-3)
    assert row['mask_ap50'] is None
    text = (tmp_path / 'eval.md').read_text()
    assert '- test:7: the scene is broken' in text
    assert '| closing | all |' in text


def test_objects_of_true_masks_know_what_they_stand_on(frames):
    detections = TrueMasks().detect(with_true_masks(frames[0]))
    support_m = frames[0].truth.support_height_m
    assert detections.planes[0].height_m(np.array([1.0, 2.0, support_m])) == pytest.approx(0)
    for item in detections.items:
        lowest = frames[0].truth.objects[item.instance].mesh.vertices_m[:, 2].min()
        assert (item.support is not None) == (lowest - support_m < 0.01)


def test_the_command_writes_tables_and_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scene_scores, '_VOXELS', 24)  # enough to tell that it runs
    monkeypatch.setattr(scene_scores, '_SAMPLES', 512)
    looks, detect = [], TrueMasks.detect
    monkeypatch.setattr(TrueMasks, 'detect', lambda *a: (looks.append(1), detect(*a))[1])
    common = [
        'eval-scenes',
        '--scenes',
        '1',
        '--frames',
        '3',
        '--size',
        '200x150',
        '--first',
        '13',
    ]
    chosen = ['--variants', 'oracle_masks_closing', '--set', 'frames=3']
    assert exit_code([*common, *chosen]) == 2
    chosen[-1] = 'self_check.views=2'
    assert exit_code([*common, *chosen, '--out', str(tmp_path / 'out')]) == 0
    document = json.loads((tmp_path / 'out' / 'eval.json').read_text())
    assert document['failed'] == []
    [row, of_tables] = document['rows']
    assert (row['kind'], of_tables['kind']) == ('all', 'table')
    assert len(looks) == 3
    assert row['mask_ap50'] > 0.7
    assert row['recall'] > 0.5
    assert row['iou'] > 0.3
    assert {'detect', 'track', 'observe', 'mesh'} <= set(row['timings_ms'])
    assert (tmp_path / 'out' / 'scene_000.png').stat().st_size > 2000
    capsys.readouterr()
    for wrong, word in (
        (['--variants', 'closng'], "Did you mean 'closing'"),
        (['--size', '160'], 'WIDTHxHEIGHT'),
        (['--size', '0x150', '--variants', 'closing'], 'scenes.width'),
        (['--frames', '10001', '--variants', 'closing'], 'scenes.frames'),
        (['--first', '1000000', '--variants', 'closing'], '0 to 999999'),
        (['--split', 'all', '--variants', 'closing'], 'split'),
        (['--set', 'mesh.rate=1', '--variants', 'closing'], 'mesh.rate'),
    ):
        assert exit_code([*common, *wrong]) == 2
        error = capsys.readouterr().err
        assert word in error
        assert error.count('\n') == 1
    with pytest.raises(InputError, match='variants'):
        check_names([])
