"""Completion judged: scores of known volumes, calibration, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from quick_networks import weights_of
from recon3d_core.cli.main import exit_code
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.training.completion import iou_of, surface_places, unseen_chamfer
from recon3d_core.training.completion_contest import cavity
import trimesh


def box(low, high, n=32):
    solid = np.zeros((n, n, n), bool)
    solid[tuple(slice(a, b) for a, b in zip(low, high))] = True
    return solid


def test_what_is_outside_of_the_cube_counts_as_missed():
    truth = box((0, 0, 0), (8, 8, 8))
    assert iou_of(truth, truth, 0) == 1
    assert iou_of(truth, truth, 512) == 0.5
    assert iou_of(~truth & ~truth, truth, 0) == 0


def test_the_cavity_of_a_cup_and_of_no_box():
    cup = box((8, 8, 4), (20, 20, 20))
    cup[10:18, 10:18, 6:20] = False
    found = cavity(cup)
    np.testing.assert_array_equal(found, box((10, 10, 6), (18, 18, 20)))
    assert not cavity(box((8, 8, 4), (20, 20, 20))).any()


def test_unseen_chamfer_measures_the_far_side_only():
    truth, cube = box((8, 8, 8), (24, 24, 24)), VoxelGrid(np.eye(4), 0.002, (32, 32, 32))
    front = surface_places(truth)
    front = (front[front[:, 0] == 23] + 0.5) * 0.002
    assert unseen_chamfer(truth, surface_places(truth), front, cube) == 0
    short = box((12, 8, 8), (24, 24, 24))
    found = unseen_chamfer(short, surface_places(truth), front, cube)
    # The back is 4 voxels off, sides none: between no and all of 8 mm.
    assert 1 < found < 8
    worse = box((16, 8, 8), (24, 24, 24))
    assert unseen_chamfer(worse, surface_places(truth), front, cube) > found


@pytest.fixture
def collection(tmp_path):
    solid = trimesh.creation.box((0.1, 0.06, 0.15))
    solid.export(tmp_path / 'box.ply')
    row = {
        'path': 'box.ply', 'set': 's', 'name': 'cereal_box', 'split': 'dev', 'licence': 'CC0',
        'source': 'a/b', 'up': 'z', 'watertight': True, 'metric': True,
        'extent': solid.extents.tolist(),
    }  # fmt: skip
    (tmp_path / 'manifest.json').write_text(json.dumps([row]))
    return tmp_path


def test_the_command_writes_a_table_with_baselines(collection, capsys):
    model = f'tsdf_completion={weights_of("tsdf_completion")}'
    common = ['--data', f'partial:{collection}', '--set', 'views=2']
    out = collection / 'out'
    small = ['--set', 'test_vessels=0', '--views', '1,2', '--out', str(out)]
    assert exit_code(['eval', model, *common, *small]) == 0
    document = json.loads((out / 'eval.json').read_text())
    rows = {(row['model'], row['views']): row for row in document['rows'] if
            row['category'] == 'all'}  # fmt: skip
    assert {name for name, _ in rows} == {
        'tsdf_completion',
        'closing',
        'convex_hull',
        'mirrored_cloud',
    }
    assert all(0 <= row['iou'] <= 1 for row in rows.values())
    # A box is what the rules are good at.
    assert rows['closing', 2]['iou'] > 0.6
    assert rows['convex_hull', 2]['iou'] > 0.3
    assert 0 <= document['reliability']['tsdf_completion']['ece'] <= 1
    assert (out / 'eval.md').is_file()
    assert (out / 'reliability.png').is_file()
    assert exit_code(['eval', 'pix2vox_s', *common]) == 2
    assert 'tsdf_completion' in capsys.readouterr().err
    assert exit_code(['eval', model, *common, '--views', '9']) == 2
