"""Bad input to `recon3d predict`: one line, the right code, nothing run, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from pathlib import Path
import resource
import struct

import numpy as np
from predict_breakage import (
    bomb,
    huge_jpeg,
    Inputs,
    malicious,
    malicious_torch,
    mirrored,
    nan_weights,
    other_tensors,
    same_place,
    scaled_rotation,
    set_K,
    set_pose,
    turned_away,
    with_cube,
)
from predict_inputs import random_weights, save_rgb
import pytest
from recon3d_core.cli.main import exit_code
import torch

CASES: dict[str, tuple[Callable[[Inputs], list[object]], str]] = {
    # Images
    'no image': (lambda i: [], 'IMAGE'),
    'missing file': (lambda i: i.one(i.folder / 'nothing.png'), 'nothing.png'),
    'empty file': (lambda i: i.one(i.file('a.png', b'')), 'empty file'),
    'zeros': (lambda i: i.one(i.file('a.png', bytes(1000))), 'no image'),
    'text named png': (lambda i: i.one(i.file('a.png', b'hello world\n' * 9)), 'no image'),
    'text named jpg': (lambda i: i.one(i.file('a.jpg', b'hello')), 'no image'),
    'folder': (lambda i: i.one(i.folder), 'folder'),
    'device': (lambda i: i.one('/dev/zero'), 'no image'),
    'name with NUL': (lambda i: i.one('a\0b.png'), 'null byte'),
    'name too long': (lambda i: i.one('x' * 300), 'cannot be read'),
    'gif': (lambda i: i.one(i.file('a.gif', b'GIF89a' + bytes(99))), 'JPEG or PNG'),
    'webp': (lambda i: i.one(i.file('a.webp', b'RIFF\0\0\0\0WEBPVP8 ')), 'JPEG or PNG'),
    'zip named png': (lambda i: i.one(bomb(i)), 'no image'),
    'signature of png only': (lambda i: i.one(i.file('a.png', b'\x89PNG\r\n\x1a\n')), 'no image'),
    'start of jpeg only': (lambda i: i.one(i.file('a.jpg', b'\xff\xd8\xff\xe0')), 'no image'),
    'png cut in half': (
        lambda i: i.one(i.file('a.png', i.image.read_bytes()[: i.image.stat().st_size // 2])),
        'cut off',
    ),
    'jpeg cut in half': (
        lambda i: i.one(i.file('a.jpg', i.jpeg.read_bytes()[: i.jpeg.stat().st_size // 2])),
        'cut off',
    ),
    'png with broken pixels': (lambda i: i.one(i.changed(41, b'\xff' * 60)), 'damaged'),
    'png of no width': (lambda i: i.one(i.changed(16, bytes(4))), '0x90'),
    'png of 4 billion pixels': (
        lambda i: i.one(i.changed(16, struct.pack('>II', 65000, 65000))),
        'too large',
    ),
    'jpeg of 4 billion pixels': (lambda i: i.one(huge_jpeg(i)), 'too large'),
    'one good and one bad': (lambda i: i.one(i.image, i.file('b.png', b'x')), 'b.png'),
    'too many images': (lambda i: i.one(*[i.image] * 65), '1 to 64'),
    'fully transparent': (
        lambda i: i.one(save_rgb(i.folder / 't.png', np.zeros((50, 50, 4), np.uint8))),
        'transparent',
    ),
    # Masks
    'mask of another size': (lambda i: i.one(i.image, '--mask', i.mask(50, 60)), '60x50'),
    'mask turned': (lambda i: i.one(i.image, '--mask', i.mask(120, 90)), '90x120'),
    'empty mask': (lambda i: i.one(i.image, '--mask', i.mask(90, 120, 0)), 'covers nothing'),
    'faint mask': (lambda i: i.one(i.image, '--mask', i.mask(90, 120, 100)), 'covers nothing'),
    'mask of one pixel column missing': (
        lambda i: i.one(i.image, '--mask', i.mask(90, 119)),
        '119x90',
    ),
    'missing mask': (lambda i: i.one(i.image, '--mask', i.folder / 'no.png'), 'no.png'),
    'text as mask': (
        lambda i: i.one(i.image, '--mask', i.file('m.png', b'white')),
        'no image',
    ),
    'folder as mask': (lambda i: i.one(i.image, '--mask', i.folder), 'folder'),
    'fewer masks than images': (
        lambda i: i.one(i.image, i.jpeg, '--mask', i.mask(90, 120)),
        '1 masks',
    ),
    'more masks than images': (
        lambda i: i.one(i.image, '--mask', i.mask(90, 120), '--mask', i.mask(90, 120)),
        '2 masks',
    ),
    # Poses
    'missing poses': (lambda i: i.with_poses(i.folder / 'no.json'), 'no.json'),
    'empty poses': (lambda i: i.pose_text(''), 'cannot be read'),
    'poses that are no JSON': (lambda i: i.pose_text('K = 1'), 'cannot be read'),
    'poses in binary': (lambda i: i.pose_text(b'\xff\xfe\x00\x01'), 'cannot be read'),
    'poses nested without end': (lambda i: i.pose_text('[' * 100000), 'cannot be read'),
    'a list of poses': (lambda i: i.pose_text('[]'), 'no list "views"'),
    'views of numbers': (lambda i: i.pose_text('{"views": [1, 2]}'), 'no list "views"'),
    'no views': (lambda i: i.pose_text('{"views": []}'), '0 views'),
    'too few poses': (lambda i: i.posed(lambda c: c['views'].pop() and None), '1 views'),
    'too many poses': (
        lambda i: i.posed(lambda c: c['views'].append(c['views'][0])),
        '3 views',
    ),
    'poses of other images': (
        lambda i: i.posed(lambda c: [v.update(image='other.png') for v in c['views']] and None),
        'no view of',
    ),
    'NaN in a pose': (lambda i: i.posed(set_pose(0, 3, float('nan'))), 'not finite'),
    'infinity in a pose': (lambda i: i.posed(set_pose(2, 2, float('inf'))), 'not finite'),
    'null in a pose': (lambda i: i.posed(set_pose(0, 0, None)), 'not finite'),
    'word in a pose': (lambda i: i.posed(set_pose(0, 0, 'one')), 'no matrix'),
    'scaled rotation': (lambda i: i.posed(scaled_rotation), 'not a rigid transform'),
    'mirrored rotation': (lambda i: i.posed(mirrored), 'not a rigid transform'),
    'last row of a pose': (lambda i: i.posed(set_pose(3, 3, 2.0)), 'not a rigid transform'),
    'pose of 3x4': (
        lambda i: i.posed(lambda c: c['views'][0]['T_world_camera'].pop() and None),
        'wrong shape',
    ),
    'pose missing': (
        lambda i: i.posed(lambda c: c['views'][0].pop('T_world_camera') and None),
        'T_world_camera of view 0',
    ),
    'ragged K': (lambda i: i.posed(lambda c: c['views'][0]['K'][0].pop() and None), 'no matrix'),
    'NaN in K': (lambda i: i.posed(set_K(0, 0, float('nan'))), 'not finite'),
    'focal length of 0': (lambda i: i.posed(set_K(0, 0, 0.0)), 'above 0'),
    'negative focal length': (lambda i: i.posed(set_K(1, 1, -300.0)), 'above 0'),
    'last row of K': (lambda i: i.posed(set_K(2, 2, 5.0)), 'last row'),
    'cameras that look away': (lambda i: i.posed(turned_away), ''),
    'cameras in one place': (lambda i: i.posed(same_place), 'one direction'),
    'cube without edge': (
        lambda i: i.posed(lambda c: c.update(cube={'center': [0, 0, 0]})),
        'cube',
    ),
    'cube of edge 0': (lambda i: i.posed(with_cube(edge=0)), 'edge'),
    'cube of edge NaN': (lambda i: i.posed(with_cube(edge=float('nan'))), 'not finite'),
    'cube of two coordinates': (lambda i: i.posed(with_cube(center=[0, 0])), 'wrong shape'),
    'cube with up of 0': (lambda i: i.posed(with_cube(up=[0, 0, 0])), 'up'),
    'a folder without poses': (lambda i: i.with_poses(i.folder), 'pose'),
    # Models and weights
    'unknown model': (lambda i: i.weights('default', 'pix2vox_x'), 'pix2vox_x'),
    'posed model without poses': (
        lambda i: i.weights(random_weights('posed_fusion'), 'posed_fusion'),
        '--poses',
    ),
    'no such weights': (lambda i: i.weights(i.folder / 'no.safetensors'), 'no file'),
    'weights of another network': (
        lambda i: i.weights(random_weights('posed_fusion')),
        'of posed_fusion',
    ),
    'text as weights': (lambda i: i.weights(i.file('w.safetensors', b'hello')), 'cannot be read'),
    'image as weights': (lambda i: i.weights(i.image), 'cannot be read'),
    'folder as weights': (lambda i: i.weights(i.folder), 'no file'),
    'weights that lack a tensor': (
        lambda i: i.weights(other_tensors(i, lambda s: s.pop(sorted(s)[0]) is None)),
        'lacks',
    ),
    'weights with one more': (
        lambda i: i.weights(other_tensors(i, lambda s: s.update(extra=torch.zeros(1)))),
        'extra',
    ),
    'weights with an unknown option': (
        lambda i: i.weights(other_tensors(i, lambda s: None, config={'wings': 2})),
        'wings',
    ),
    'pickle with code': (lambda i: i.weights(malicious(i, 'bad.pkl')), 'cannot be read'),
    'pickle with code named safetensors': (
        lambda i: i.weights(malicious(i, 'bad.safetensors')),
        'cannot be read',
    ),
    'checkpoint with code': (lambda i: i.weights(malicious_torch(i)), 'cannot be read'),
    'pickle with code as image': (lambda i: i.one(malicious(i, 'bad.png')), 'no image'),
    'pickle with code as poses': (
        lambda i: i.with_poses(malicious(i, 'bad.json')),
        'cannot be read',
    ),
    # Options
    'threshold of 0': (lambda i: i.one(i.image, '--threshold', 0), '--threshold'),
    'threshold of 1.5': (lambda i: i.one(i.image, '--threshold', 1.5), '--threshold'),
    'threshold NaN': (lambda i: i.one(i.image, '--threshold', 'nan'), '--threshold'),
    'threshold in words': (lambda i: i.one(i.image, '--threshold', 'half'), '--threshold'),
    'device of no kind': (lambda i: i.one(i.image, '--device', 'tpu'), '--device'),
    'device that is not there': (lambda i: i.one(i.image, '--device', 'cuda:99'), '--device'),
    'unknown option': (lambda i: i.one(i.image, '--treshold', 0.5), '--treshold'),
    'out below a file': (lambda i: i.one(i.image, '--out', i.image / 'x'), '--out'),
    'out is a file': (lambda i: i.one(i.image, '--out', i.jpeg), '--out'),
    'out where nothing can be': (lambda i: i.one(i.image, '--out', '/proc/recon3d'), '--out'),
    'out with NUL': (lambda i: i.one(i.image, '--out', 'a\0b'), '--out'),
}


def run(inputs: Inputs, arguments: list[object], capfd: pytest.CaptureFixture[str]) -> tuple:
    words = ['predict', *map(str, arguments), '--device', 'cpu']
    if '--device' in map(str, arguments):
        words = words[:-2]
    if '--out' not in words:
        words += ['--out', str(inputs.out)]
    code = exit_code(words)
    return code, capfd.readouterr()


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob('*'))


# torch tells so of every pickle that it did not write itself.
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('name', CASES)
def test_one_line_and_2_and_nothing_left(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, word = CASES[name]
    inputs = Inputs(tmp_path)
    arguments = make(inputs)
    before = listing(tmp_path)
    code, printed = run(inputs, arguments, capfd)
    assert code == 2, printed
    [line] = printed.err.splitlines()
    assert line.startswith('error: ')
    assert len(line) < 600
    assert word in line
    assert printed.out == ''
    assert listing(tmp_path) == before


def test_weights_of_nan_fail_and_leave_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inputs = Inputs(tmp_path)
    arguments = inputs.weights(other_tensors(inputs, nan_weights))
    before = listing(tmp_path)
    code, printed = run(inputs, arguments, capfd)
    assert code == 1
    assert len(printed.err.splitlines()) == 1
    assert 'not finite' in printed.err
    assert listing(tmp_path) == before


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """Let no file grow beyond some kilobytes, as on a disk that is full.

    No fixture: pytest's own output must not fall under it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_was_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inputs = Inputs(tmp_path)
    arguments = inputs.one(inputs.image)
    assert run(inputs, arguments, capfd)[0] == 0
    before = {path: path.read_bytes() for path in inputs.out.iterdir()}
    names = listing(tmp_path)
    with small_disk():
        code, printed = run(inputs, arguments, capfd)
    assert code == 1
    [line] = [line for line in printed.err.splitlines() if line.startswith('error')]
    assert 'cannot be written' in line
    assert listing(tmp_path) == names
    assert {path: path.read_bytes() for path in inputs.out.iterdir()} == before
