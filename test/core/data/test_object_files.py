"""Mesh files, the collection with a manifest, and folders as sets of objects."""

import json

from hypothesis import given, settings, strategies
import numpy as np
from PIL import Image
import pytest
from recon3d_core.data.objects.base import LONGEST_EDGE, SPLITS
from recon3d_core.data.objects.household import is_household, kind_of
from recon3d_core.data.objects.mesh_files import load_mesh, SUFFIXES
from recon3d_core.data.objects.meshes import FolderObjects, is_closed, ManifestObjects
from recon3d_core.data.rendering.raycast import sample_colors
from recon3d_core.errors import InputError, SourceError
from solid_objects import box
import trimesh

EXTENTS = (0.2, 0.3, 0.7)


@pytest.mark.parametrize('suffix', ['.glb', '.obj', '.ply', '.stl'])
@pytest.mark.parametrize(
    ('up', 'expected'), [('z', (0.2, 0.3, 0.7)), ('y', (0.7, 0.2, 0.3)), ('x', (0.3, 0.7, 0.2))]
)
def test_every_format_and_axis(tmp_path, suffix, up, expected):
    path = tmp_path / f'box{suffix}'
    box(EXTENTS, (1, 2, 3)).export(path)
    mesh = load_mesh(path, up)
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx(expected, abs=1e-5)
    corners = mesh.vertices[mesh.faces].astype(float)
    volume = np.einsum('ni,ni->n', corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(np.prod(EXTENTS), rel=1e-4), 'the axes must stay right-handed'


def test_texture_and_factor(tmp_path):
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, :8] = (200, 0, 0)
    image[:4, 8:] = (0, 0, 100)  # upper right; v = 1 is the upper row
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(image), baseColorFactor=[255, 255, 128, 255]
    )
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    square = trimesh.Trimesh(
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False
    )
    square.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    square.export(tmp_path / 'square.glb')
    mesh = load_mesh(tmp_path / 'square.glb')
    weights = np.array([[0.2, 0.1, 0.7], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]], np.float32)
    colors = sample_colors(mesh, np.zeros(3, np.int64), weights)
    assert colors[0] == pytest.approx((0, 0, 50), abs=1)
    assert colors[1] == pytest.approx((200, 0, 0), abs=1)
    assert colors[2] == pytest.approx((0, 0, 0), abs=1)


def test_parts_keep_their_places_and_colors(tmp_path):
    scene = trimesh.Scene()
    for place, color in ((-1, (255, 0, 0, 255)), (1, (0, 255, 0, 255))):
        part = box((1, 1, 1))
        part.visual.vertex_colors = color
        scene.add_geometry(
            part, transform=trimesh.transformations.translation_matrix([place, 0, 0])
        )
    scene.export(tmp_path / 'two.glb')
    mesh = load_mesh(tmp_path / 'two.glb')
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx((3, 1, 1))
    right = mesh.vertices[:, 0] > 0
    assert (mesh.colors[right] == (0, 255, 0)).all()
    assert (mesh.colors[~right] == (255, 0, 0)).all()


def test_mirrored_part_is_not_turned_inside_out(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(box(EXTENTS), transform=np.diag([-1.0, 1, 1, 1]))
    scene.export(tmp_path / 'mirrored.glb')
    mesh = load_mesh(tmp_path / 'mirrored.glb')
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).volume == pytest.approx(np.prod(EXTENTS))


@settings(max_examples=25)
@given(strategies.binary(max_size=300), strategies.sampled_from(SUFFIXES))
def test_any_bytes_give_one_line(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp('bytes') / f'x{suffix}'
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_mesh(path)
    assert '\n' not in str(error.value)


def test_broken_files(tmp_path):
    whole = tmp_path / 'whole.glb'
    box(EXTENTS).export(whole)
    cut = tmp_path / 'cut.glb'
    cut.write_bytes(whole.read_bytes()[:-200])
    point = tmp_path / 'point.ply'
    trimesh.Trimesh([[1, 1, 1]] * 3, [[0, 1, 2]], process=False).export(point)
    other = tmp_path / 'mesh.txt'
    other.write_text('hello')
    for path in (cut, point, other, tmp_path / 'absent.glb'):
        with pytest.raises(InputError) as error:
            load_mesh(path)
        assert path.name in str(error.value)
        assert '\n' not in str(error.value)
    with pytest.raises(InputError, match='up axis'):
        load_mesh(whole, 'w')


def test_closed():
    faces = box((1, 1, 1)).faces
    assert is_closed(faces)
    assert not is_closed(faces[1:])
    assert not is_closed(np.concatenate([faces[1:], faces[:1, ::-1]]))


def manifest_row(name, split='train', **more):
    row = {
        'path': f's/{name}.ply',
        'set': 's',
        'name': name,
        'split': split,
        'licence': 'CC0',
        'source': 'a/b',
        'up': 'y',
        'watertight': True,
        'extent': [0.2, 0.3, 0.7],
        'metric': True,
    }
    return {**row, **more}


@pytest.fixture
def collection(tmp_path):
    rows = [manifest_row(f'mug_{number}') for number in range(60)]
    rows += [manifest_row(f'cup_{number}', 'dev') for number in range(3)]
    rows += [manifest_row('road'), manifest_row('table', extent=[9.0, 1, 1])]
    rows += [manifest_row('Chair', metric=False)]
    (tmp_path / 's').mkdir()
    box(EXTENTS).export(tmp_path / 's/mug_0.ply')
    box(EXTENTS).export(tmp_path / 's/Chair.ply')
    (tmp_path / 'manifest.json').write_text(json.dumps(rows))
    return tmp_path


def test_manifest(collection):
    objects = ManifestObjects(collection)
    named = {split: objects.names(split) for split in SPLITS}
    assert named['test'] == ('s/cup_0', 's/cup_1', 's/cup_2')
    assert not {'s/road', 's/table'} & {name for names in named.values() for name in names}
    assert len(ManifestObjects(collection, household=False).names('train')) > len(named['train'])
    assert not set(named['train']) & set(named['val'])
    assert 1 <= len(named['val']) <= 12
    model = objects.load('s/mug_0')
    assert (model.category, model.metric, model.watertight) == ('cup', True, True)
    assert model.edge_m == pytest.approx(0.7 / LONGEST_EDGE)
    assert model.mesh.vertices.max() == pytest.approx(LONGEST_EDGE / 2)
    assert objects.load('s/Chair').edge_m == pytest.approx(0.9 / LONGEST_EDGE)
    with pytest.raises(InputError, match="Did you mean 's/mug_0'"):
        objects.load('s/mug0')
    with pytest.raises(InputError, match='cannot be read'):
        objects.load('s/mug_1')
    with pytest.raises(InputError, match='split'):
        objects.names('dev')


@pytest.mark.parametrize('content', ['', '{', '{}', '[1]', '[{"path": 3}]'])
def test_broken_manifest(tmp_path, content):
    (tmp_path / 'manifest.json').write_text(content)
    with pytest.raises(SourceError) as error:
        ManifestObjects(tmp_path)
    assert '\n' not in str(error.value)


def test_folder(tmp_path):
    for name in ('mugs/a.ply', 'mugs/b.GLB', 'c.stl'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        box(EXTENTS).export(tmp_path / name, file_type=name[-3:].lower())
    (tmp_path / 'notes.txt').write_text('not a mesh')
    objects = FolderObjects(tmp_path, unit_m=0.001)
    names = [name for split in SPLITS for name in objects.names(split)]
    assert sorted(names) == ['c.stl', 'mugs/a.ply', 'mugs/b.GLB']
    assert objects.category('mugs/a.ply') == 'mugs'
    model = objects.load('mugs/b.GLB')
    assert model.edge_m == pytest.approx(0.0007 / LONGEST_EDGE)
    assert np.ptp(model.mesh.vertices, axis=0).argmax() == 0, 'glTF is y up: z goes to x'
    assert not FolderObjects(tmp_path).load('c.stl').metric
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SourceError, match='no mesh'):
        FolderObjects(tmp_path / 'empty')
    with pytest.raises(SourceError, match='no folder'):
        FolderObjects(tmp_path / 'absent')
    with pytest.raises(InputError, match='unit'):
        FolderObjects(tmp_path, unit_m=float('nan'))


def test_kinds():
    known = {
        'aws_robomaker_residential_KitchenTable_01': 'table',
        '048_hammer': 'tool',
        '050_medium_clamp': 'tool',
        'food_vegetableburger': 'food',
        'tableCoffeeGlass': 'table',
        '065-a_cups': 'cup',
        'CupcakeCherry': 'food',
        'table_bedside': 'table',
        'thing': 'object',
    }
    assert {name: kind_of(name, 'ycb').category for name in known} == known
    assert kind_of('000', 'random_shapes').category == 'random'
    assert not is_household('Pallet_Small', 'kaykit_prototype', None)
    assert not is_household('r2d2', 'cob', 2200.0)
    assert is_household('mug', 'ycb', 0.1)


@pytest.mark.data
def test_collection(data_dir):
    objects = ManifestObjects(data_dir / 'meshes')
    rows = json.loads((data_dir / 'meshes/manifest.json').read_text())
    dev = {f'{row["set"]}/{row["name"]}' for row in rows if row['split'] == 'dev'}
    named = {split: set(objects.names(split)) for split in SPLITS}
    assert named['test'] <= dev
    assert not (named['train'] | named['val']) & dev
    assert not named['train'] & named['val']
    assert sum(map(len, named.values())) > 1400
    for name in sorted(named['test'])[::20]:
        model = objects.load(name)
        assert np.abs(model.mesh.vertices).max() == pytest.approx(LONGEST_EDGE / 2, abs=1e-5)
        assert model.edge_m > 0.01
