"""Packed objects: what is written is read, the same bytes each time, and damage is told."""

import lzma

from hypothesis import given, settings, strategies
import numpy as np
import pytest
from recon3d_core.cli.main import exit_code
from recon3d_core.data.objects.base import ObjectModel
from recon3d_core.data.pack import decode, encode, PackedObjects, write_pack
from recon3d_core.data.packing import choose, pack, pack_object, PackOptions
from recon3d_core.errors import InputError, SourceError
from solid_objects import box, in_cube, iou, table
import trimesh

SMALL = PackOptions(resolution=32, color_resolution=16, workers=1)


def model(name, mesh, split='train'):
    return ObjectModel(name, name.split('/')[0], split, in_cube(mesh), 0.25, False)


@pytest.fixture(scope='module')
def models():
    return [
        model('table/2', table()),
        model('box/1', box((0.3, 0.5, 0.4)), 'val'),
        model('ball/3', trimesh.creation.icosphere(subdivisions=3), 'test'),
    ]


@pytest.fixture(scope='module')
def packed(models):
    return [pack_object(each, SMALL) for each in models]


@pytest.fixture
def file(tmp_path, packed):
    path = tmp_path / 'objects.pack'
    write_pack(path, packed, 32, 16)
    return path


@settings(max_examples=10)
@given(strategies.integers(0, 2**32 - 1), strategies.floats(0, 1))
def test_any_arrays_come_back(seed, share):
    rng = np.random.default_rng(seed)
    sdf = rng.integers(-128, 128, (32, 32, 32)).astype(np.int8)
    colors = rng.integers(0, 256, (8, 8, 8, 4)).astype(np.uint8)
    known = rng.random((8, 8, 8)) < share
    colors[..., 3] = np.where(known, 255, 0)
    colors[~known] = 0
    volumes = [rng.random((n, n, n)) < 0.5 for n in (32, 64)]
    got_sdf, got_colors, got_volumes = decode(encode(sdf, colors, volumes), 32, 8)
    assert np.array_equal(got_sdf, sdf)
    assert np.array_equal(got_colors, colors)
    assert all(np.array_equal(a, b) for a, b in zip(got_volumes, volumes))


def test_what_is_written_is_read(file, models, packed):
    objects = PackedObjects(file)
    assert objects.names() == ('ball/3', 'box/1', 'table/2')
    assert objects.splits == {'train': ('table/2',), 'val': ('box/1',), 'test': ('ball/3',)}
    assert objects.describe('box/1') == packed[1][0]
    assert (objects.resolution, objects.color_resolution) == (32, 16)
    grids = objects.load_grids(['table/2', 'box/1'])
    assert grids.sdf.shape == (2, 32, 32, 32)
    one = objects.load_grids(['box/1'])
    assert bool((grids.sdf[1] == one.sdf[0]).all())
    assert bool((grids.colors[1] == one.colors[0]).all())


def test_occupancy_fits_the_distances(file):
    objects = PackedObjects(file)
    for name in objects.names():
        sdf, _, _ = objects.load(name)
        assert iou(objects.occupancy(name, 32), sdf <= 0) > 0.9
        fine = objects.occupancy(name, 64).reshape(32, 2, 32, 2, 32, 2).mean((1, 3, 5))
        assert iou(objects.occupancy(name, 32), fine >= 0.5) > 0.8
    with pytest.raises(InputError, match='resolution'):
        objects.occupancy('box/1', 48)
    with pytest.raises(InputError, match='no such object'):
        objects.occupancy('box/2', 32)
    with pytest.raises(InputError, match='split'):
        objects.names('dev')


def test_same_objects_same_bytes(tmp_path, file, models):
    again = [pack_object(each, SMALL) for each in reversed(models)]
    write_pack(tmp_path / 'again.pack', again, 32, 16)
    assert (tmp_path / 'again.pack').read_bytes() == file.read_bytes()
    assert not list(tmp_path.glob('.*.part'))


@pytest.mark.parametrize('keep', [0, 5, 16, 100, -1, -2000])
def test_truncated(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SourceError) as error:
        PackedObjects(file)
    assert '\n' not in str(error.value)


def test_every_damaged_byte_is_noticed(file):
    good = file.read_bytes()
    for place in range(0, len(good), max(1, len(good) // 60)):
        bad = bytearray(good)
        bad[place] ^= 0x5A
        file.write_bytes(bytes(bad))
        with pytest.raises(SourceError) as error:
            objects = PackedObjects(file)
            objects.load_grids(objects.names())
        assert '\n' not in str(error.value)
    file.write_bytes(good)
    assert len(PackedObjects(file).load_grids(('box/1',))) == 1


def test_other_files_and_wrong_contents(tmp_path, packed):
    with pytest.raises(SourceError, match='No such file'):
        PackedObjects(tmp_path / 'absent')
    with pytest.raises(SourceError):
        PackedObjects(tmp_path)
    # Sound checksums around a wrong content: of another resolution, and no array at all.
    described = packed[0][0]
    filters = [{'id': lzma.FILTER_LZMA2, 'preset': 6, 'dict_size': 1 << 20}]
    nothing = lzma.compress(b'abc', lzma.FORMAT_RAW, filters=filters)
    for blob in (packed[0][1], nothing, b'', b'xyz'):
        write_pack(tmp_path / 'wrong', [(described, blob)], 48, 16)
        with pytest.raises(SourceError):
            PackedObjects(tmp_path / 'wrong').load(described.name)


def test_spread_over_kinds(tmp_path):
    for number in range(40):
        path = tmp_path / f'meshes/kind_{number % 2}/{number}.ply'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    chosen = choose(('procedural', str(tmp_path / 'meshes')), 100)
    kinds = [kind for kind, _ in chosen]
    assert kinds.count('procedural') == 60
    assert kinds.count(str(tmp_path / 'meshes')) == 40
    assert len(set(chosen)) == len(chosen)
    with pytest.raises(InputError, match='set to pack'):
        choose(('nonsense',), 10)
    for wrong in ({'resolution': 33}, {'count': 0}, {'workers': 0}, {'kinds': ()}):
        with pytest.raises(InputError):
            PackOptions(**wrong)


def test_broken_files_are_left_out(tmp_path, caplog):
    folder = tmp_path / 'meshes'
    folder.mkdir()
    box((1, 2, 3)).export(folder / 'good.ply')
    (folder / 'bad.ply').write_bytes(b'ply nonsense')
    options = PackOptions((str(folder),), 10, 32, 16, workers=1)
    assert pack(tmp_path / 'out.pack', options) == 1
    assert PackedObjects(tmp_path / 'out.pack').names() == ('good.ply',)
    assert 'bad.ply' in caplog.text
    (folder / 'good.ply').unlink()
    with pytest.raises(InputError, match='nothing to pack'):
        pack(tmp_path / 'none.pack', options)
    assert not (tmp_path / 'none.pack').exists()


@pytest.mark.slow
def test_command_with_two_processes(tmp_path, capsys):
    out = tmp_path / 'made.pack'
    arguments = ['pack', '-o', str(out), '--sets', 'procedural', '--count', '6']
    sizes = ['--resolution', '32', '--color-resolution', '16']
    assert exit_code([*arguments, *sizes, '--workers', '2']) == 0
    assert '6 objects written' in capsys.readouterr().out
    first = out.read_bytes()
    assert exit_code([*arguments, *sizes, '--workers', '1']) == 0
    assert out.read_bytes() == first, 'the bytes do not depend on the number of processes'
    assert len(PackedObjects(out).names()) == 6


def test_command_with_bad_usage(tmp_path, capsys):
    assert exit_code(['pack', '-o', str(tmp_path / 'x'), '--sets', 'nonsense']) == 2
    assert exit_code(['pack', '-o', str(tmp_path / 'x'), '--resolution', '33']) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 2
    assert all(line.startswith('error: ') for line in errors)
