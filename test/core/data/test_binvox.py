"""Binvox files: what comes back is what was written, turned once."""

from __future__ import annotations

from hypothesis import given, strategies
import numpy as np
import pytest
from recon3d_core.data.binvox import Binvox, read_binvox, write_binvox
from recon3d_core.errors import SourceError


def slow_reading(content):
    """Decode voxel by voxel: x, then z, then y runs fastest; y is up."""
    head, _, data = content.partition(b'\ndata\n')
    dims = [int(word) for word in head.split(b'\n')[1].split()[1:]]
    values = [data[k] for k in range(0, len(data), 2) for _ in range(data[k + 1])]
    grid = np.zeros((dims[0], dims[1], dims[2]), bool)
    for index, value in enumerate(values):
        x, rest = divmod(index, dims[1] * dims[2])
        z, y = divmod(rest, dims[2])
        grid[x, dims[1] - 1 - z, y] = value
    return grid


@given(
    strategies.tuples(*[strategies.integers(1, 9)] * 3),
    strategies.floats(0, 1),
    strategies.integers(0, 2**32 - 1),
)
def test_round_trip_and_slow_reading(tmp_path_factory, shape, share, seed):
    path = tmp_path_factory.mktemp('binvox') / 'model.binvox'
    occupancy = np.random.default_rng(seed).random(shape) < share
    write_binvox(path, Binvox(occupancy, (-0.25, 0.5, -0.125), 1.5))
    back = read_binvox(path)
    assert np.array_equal(back.occupancy, occupancy)
    assert back.translate == (-0.25, 0.5, -0.125)
    assert back.scale == 1.5
    assert np.array_equal(slow_reading(path.read_bytes()), occupancy)


@pytest.mark.parametrize('value', [False, True])
def test_long_runs_are_split(tmp_path, value):
    write_binvox(tmp_path / 'a.binvox', Binvox(np.full((16, 16, 16), value)))
    assert (read_binvox(tmp_path / 'a.binvox').occupancy == value).all()
    runs = (tmp_path / 'a.binvox').read_bytes().partition(b'\ndata\n')[2]
    assert len(runs) == 2 * -(-(16**3) // 255)


GOOD = b'#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x01\x08'


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'no line data'),
        (b'\x89PNG\r\n\x1a\n' + bytes(3000), 'no line data'),
        (GOOD.replace(b'#binvox', b'#tinvox'), 'first line'),
        (GOOD.replace(b'dim 2 2 2', b'dim 2 2'), 'three sizes'),
        (GOOD.replace(b'dim 2 2 2', b'dim 2 2 x'), 'header'),
        (GOOD.replace(b'dim 2 2 2\n', b''), 'header'),
        (GOOD.replace(b'dim 2 2 2', b'dim 99999 99999 99999'), 'three sizes'),
        (GOOD.replace(b'scale 1', b'scale nan'), 'finite'),
        (GOOD.replace(b'scale 1', b'scale -1'), 'scale > 0'),
        (GOOD[:-1], '0 voxels'),
        (GOOD + b'\x01\x01', '9 voxels'),
        (GOOD.replace(b'\x01\x08', b'\x07\x08'), 'voxel value 7'),
    ],
)
def test_broken_files_are_one_line_errors(tmp_path, content, words):
    path = tmp_path / 'broken.binvox'
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words) as caught:
        read_binvox(path)
    assert '\n' not in str(caught.value)
    assert 'broken.binvox' in str(caught.value)


def test_absent_file(tmp_path):
    with pytest.raises(SourceError, match='cannot be read'):
        read_binvox(tmp_path / 'absent.binvox')


@pytest.mark.data
def test_real_files_come_back_bit_by_bit(data_dir, tmp_path):
    paths = sorted(data_dir.glob('r2n2_sample/ShapeNetVox32/*/*/model.binvox'))
    assert paths
    for path in paths:
        grid = read_binvox(path)
        assert grid.occupancy.shape == (32, 32, 32)
        assert np.array_equal(slow_reading(path.read_bytes()), grid.occupancy)
        write_binvox(tmp_path / 'again.binvox', grid)
        assert (tmp_path / 'again.binvox').read_bytes() == path.read_bytes()
