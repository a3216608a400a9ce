"""What the page shows, read from the files of a run, and the colours of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from recon3d_core.errors import SourceError
from recon3d_core.meshing.export import write_ply
from recon3d_core.types import Mesh
from recon3d_core.viewer.colors import PHOTO, SEEN, solid
from recon3d_core.viewer.content import is_result, read_result, without_objects
from recon3d_core.viewer.ply import read_mesh
import trimesh


def ball(radius_m=0.1, center=(0.0, 0.0, 0.0), colors=True, observed=True):
    made = trimesh.creation.icosphere(2, radius_m)
    vertices = (made.vertices + center).astype(np.float32)
    faces = made.faces.astype(np.int32)
    rgb = np.tile(np.uint8((200, 100, 50)), (len(vertices), 1)) if colors else None
    seen = vertices[faces].mean(1)[:, 2] > center[2] if observed else None
    return Mesh(vertices, faces, rgb, seen)


def entry(number, **values):
    made = {
        'id': number,
        'label': 'mug',
        'score': 0.8,
        'T_world_object': np.eye(4).tolist(),
        'size_m': [0.2, 0.2, 0.2],
        'views_used': 7,
        'watertight': True,
        'volume_m3': 0.004,
        'seen_fraction': 0.5,
        'self_check': {'silhouette_iou': 0.9, 'depth_residual_m': None, 'passed': True},
        'published': 'complete',
    }
    return {**made, **values}


def write_result(folder, *entries):
    folder.mkdir(exist_ok=True)
    for item in entries:
        write_ply(folder / f'objects/{item["id"]}.ply', ball())
    write_ply(folder / 'scene.ply', ball(1.0, observed=False))
    summary = {'schema': 1, 'frames': {'read': 5}, 'objects': list(entries)}
    (folder / 'summary.json').write_text(json.dumps(summary))
    return folder


@pytest.mark.parametrize('colors', [True, False])
@pytest.mark.parametrize('observed', [True, False])
def test_a_mesh_is_read_as_it_was_written(colors, observed, tmp_path):
    mesh = ball(colors=colors, observed=observed)
    write_ply(tmp_path / 'a.ply', mesh)
    got = read_mesh(tmp_path / 'a.ply')
    np.testing.assert_array_equal(got.vertices_m, mesh.vertices_m)
    np.testing.assert_array_equal(got.faces, mesh.faces)
    for name in ('colors', 'face_observed'):
        if getattr(mesh, name) is None:
            assert getattr(got, name) is None
        else:
            np.testing.assert_array_equal(getattr(got, name), getattr(mesh, name))


def test_an_empty_mesh_is_read(tmp_path):
    write_ply(tmp_path / 'a.ply', Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)))
    assert len(read_mesh(tmp_path / 'a.ply').faces) == 0


def test_a_result_is_read(tmp_path):
    folder = write_result(tmp_path / 'run', entry(1), entry(4, published='observed_surface_only'))
    assert is_result(folder)
    content = read_result(folder)
    assert list(content.objects) == [1, 4]
    assert '2 objects from 5 frames' in content.status
    assert len(content.scene_mesh.faces) == len(ball().faces)
    text = content.objects[4].describe()
    for words in ('4 mug', '20.0 × 20.0 × 20.0 cm', '0.80', '50%', 'seen surface only'):
        assert words in text


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda d: (d / 'objects/1.ply').unlink(), '1.ply'),
        (lambda d: (d / 'objects/1.ply').write_bytes(b'ply\nrubbish'), '1.ply'),
        (lambda d: (d / 'scene.ply').write_bytes(b'\x00' * 90), 'scene.ply'),
        (lambda d: (d / 'summary.json').write_text('{'), 'summary.json'),
        (lambda d: (d / 'summary.json').write_text('[1]'), 'summary.json'),
        (lambda d: (d / 'summary.json').write_text('{"objects": [{}]}'), 'summary.json'),
    ],
)
def test_a_broken_result_names_the_file(spoil, words, tmp_path):
    folder = write_result(tmp_path / 'run', entry(1))
    spoil(folder)
    with pytest.raises(SourceError, match=words):
        read_result(folder)


@pytest.mark.parametrize(
    'change', [{'T_world_object': [[1]]}, {'size_m': [1, 2]}, {'score': 'high'}, {'id': None}]
)
def test_a_broken_entry_is_refused(change, tmp_path):
    folder = write_result(tmp_path / 'run', entry(1))
    summary = {'frames': {'read': 5}, 'objects': [entry(1, **change)]}
    (folder / 'summary.json').write_text(json.dumps(summary))
    with pytest.raises(SourceError, match=r'summary\.json'):
        read_result(folder)


def test_colours_tell_seen_from_completed():
    mesh = ball()
    shown = solid(mesh, SEEN)
    assert len(shown.faces) == len(mesh.faces)
    np.testing.assert_allclose(shown.triangles, mesh.vertices_m[mesh.faces], atol=1e-7)
    rgb = np.asarray(shown.visual.vertex_colors)[shown.faces[:, 0], :3]
    assert len(np.unique(rgb[mesh.face_observed], axis=0)) == 1
    assert len(np.unique(rgb[~mesh.face_observed], axis=0)) == 1
    assert (rgb[mesh.face_observed][0] != rgb[~mesh.face_observed][0]).any()


def test_photographed_colours_are_linear_as_gltf_wants():
    rgb = np.asarray(solid(ball(), PHOTO).visual.vertex_colors)[0, :3]
    share = np.array([200, 100, 50]) / 255
    wanted = 255 * ((share + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(rgb, wanted, atol=0.51)
    assert len(solid(ball(colors=False, observed=False), SEEN).faces)


def test_the_scenes_surface_gives_way_to_objects(tmp_path):
    item = read_result(write_result(tmp_path / 'run', entry(1))).objects[1]
    x, y = np.meshgrid(np.linspace(-0.3, 0.3, 31), np.linspace(-0.3, 0.3, 31))
    plane = trimesh.PointCloud(np.stack([x, y, 0 * x], -1).reshape(-1, 3)).vertices
    index = np.arange(31 * 31).reshape(31, 31)
    faces = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, :-1]], -1).reshape(-1, 3)
    for height, kept in ((0.05, False), (-0.1, True), (0.2, True)):
        scene = Mesh((plane + np.array((0, 0, height))).astype(np.float32), faces.astype(np.int32))
        left = without_objects(scene, [item])
        middle = left.vertices_m[left.faces].mean(1)
        inside = (np.abs(middle[:, :2]) < 0.09).all(1)
        assert inside.any() == kept
        assert (np.abs(middle[:, :2]) > 0.2).any()


def test_labels_are_shown_as_they_are_and_never_run(tmp_path):
    label = 'a {alert(1)} <b>|`x`\n\nimport z'
    (item,) = read_result(write_result(tmp_path / 'run', entry(1, label=label))).objects.values()
    title = item.describe().splitlines()[0]
    assert title == r'| **1 a \{alert\(1\)\} \<b\>\|\`x\` import z** | |'
