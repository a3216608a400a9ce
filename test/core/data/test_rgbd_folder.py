"""RGB-D folders: what is read, what is dropped and counted, what is refused."""

from __future__ import annotations

import logging
import shutil
import threading

import cv2
import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.data.prefetch import prefetch
from recon3d_core.data.rgbd_folder import RgbdFolderSource
from recon3d_core.errors import FrameError, SourceError
from recon3d_core.geometry.transforms import make_transform, rotation_from_quaternion

K = np.array([[60.0, 0, 31.5], [0, 62.0, 23.5], [0, 0, 1]])


def depth_mm(index):
    depth = np.full((48, 64), 1000 + index, np.uint16)
    depth[0, :3] = (0, 65535, 65534)
    return depth


def pose(index):
    return make_transform(rotation_from_quaternion((1, 0.1 * index, 0.2, 0)), (index, 2, 3))


def write_frame(folder, index, color_size=(64, 48)):
    name = folder / f'frame-{index:06d}'
    rgb = np.full((color_size[1], color_size[0], 3), (200, 100, 10 + index), np.uint8)
    cv2.imwrite(f'{name}.color.png', rgb[..., ::-1])
    cv2.imwrite(f'{name}.depth.png', depth_mm(index))
    np.savetxt(f'{name}.pose.txt', pose(index))


@pytest.fixture
def folder(tmp_path):
    for index in (0, 2, 4, 6, 8):
        write_frame(tmp_path, index)
    np.savetxt(tmp_path / 'camera-intrinsics.txt', K)
    np.savetxt(tmp_path / 'gravity-direction.txt', (0, 0, -2.0))
    return tmp_path


def test_frames_hold_what_the_files_hold(folder):
    source = load_source(folder, rate_hz=10.0)
    frames = list(source)
    assert isinstance(source, RgbdFolderSource)
    assert len(source) == len(frames) == 5
    assert [f.stamp_ns for f in frames] == [0, 10**8, 2 * 10**8, 3 * 10**8, 4 * 10**8]
    for index, frame in zip((0, 2, 4, 6, 8), frames):
        np.testing.assert_array_equal(frame.rgb[3, 4], (200, 100, 10 + index))
        np.testing.assert_allclose(frame.depth_m[5, 5], 1 + index / 1000)
        np.testing.assert_allclose(frame.depth_m[0, :3], (0, 0, 65.534))
        np.testing.assert_allclose(frame.T_world_camera, pose(index), atol=1e-12)
        np.testing.assert_array_equal(frame.camera.K, K)
        np.testing.assert_array_equal(frame.gravity_world, (0, 0, -1))
    assert not source.dropped


def test_part_of_the_frames_keeps_their_stamps(folder):
    frames = list(load_source(folder, start=1, stride=2, max=1, rate_hz=10.0, depth_scale=0.0002))
    assert [f.stamp_ns for f in frames] == [10**8]
    np.testing.assert_allclose(frames[0].depth_m[5, 5], 1002 * 0.0002, rtol=1e-6)
    assert len(load_source(folder, start=1, stride=2)) == 2
    assert list(load_source(folder, start=99)) == []


def test_iterating_again_starts_over_and_the_thread_changes_nothing(folder):
    source = load_source(folder)
    twice = [[f.rgb[0, 0, 2] for f in source] for _ in range(2)]
    assert twice[0] == twice[1] == [f.rgb[0, 0, 2] for f in load_source(folder, prefetch=0)]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ('file', 'damage', 'reason'),
    [
        ('color.png', truncate, 'bad_color'),
        ('color.png', lambda path: path.write_bytes(b''), 'bad_color'),
        ('depth.png', truncate, 'bad_depth'),
        (
            'depth.png',
            lambda path: cv2.imwrite(str(path), np.zeros((48, 64), np.uint8)),
            'bad_depth',
        ),
        (
            'depth.png',
            lambda path: cv2.imwrite(str(path), np.ones((48, 50), np.uint16)),
            'size_mismatch',
        ),
        ('pose.txt', lambda path: path.unlink(), 'no_pose'),
        ('pose.txt', lambda path: path.write_text('1 2\n3'), 'bad_pose'),
        ('pose.txt', lambda path: np.savetxt(path, np.full((4, 4), np.nan)), 'bad_pose'),
        ('pose.txt', lambda path: np.savetxt(path, 2 * np.eye(4)), 'bad_pose'),
        ('pose.txt', lambda path: np.savetxt(path, np.diag((1, 1, -1, 1))), 'bad_pose'),
        ('pose.txt', lambda path: path.write_bytes(b'\xff\xfe'), 'bad_pose'),
    ],
)
def test_bad_file_drops_its_frame_only(folder, file, damage, reason, caplog):
    damage(folder / f'frame-000004.{file}')
    source = load_source(folder)
    with caplog.at_level(logging.WARNING):
        kept = [f.rgb[0, 0, 2] for f in source]
    assert kept == [10, 12, 16, 18]
    assert source.dropped == {reason: 1}
    assert len([r for r in caplog.records if reason in r.getMessage()]) == 1
    assert len(list(source)) == 4
    assert source.dropped == {reason: 1}  # counted afresh, not twice


def test_missing_parts_are_optional(folder):
    for path in [
        *folder.glob('*.pose.txt'),
        folder / 'gravity-direction.txt',
        folder / 'frame-000000.color.png',
        folder / 'frame-000002.depth.png',
    ]:
        path.unlink()
    frames = list(load_source(folder, require_pose=False))
    assert frames[0].inputs == {'intrinsics', 'depth'}
    assert frames[1].inputs == {'intrinsics', 'rgb'}
    assert frames[2].inputs == {'intrinsics', 'rgb', 'depth'}
    assert frames[2].gravity_world is None


@pytest.mark.parametrize(
    ('color_size', 'owner', 'factor'),
    [
        ((128, 96), 'auto', 1.0),
        ((32, 24), 'auto', 1.0),
        ((128, 96), 'color', 0.5),
    ],
)
def test_colour_of_another_size_comes_in_the_depths_size(folder, color_size, owner, factor):
    write_frame(folder, 0, color_size)
    frame = next(iter(load_source(folder, intrinsics_of=owner)))
    assert frame.rgb.shape == (48, 64, 3)
    np.testing.assert_array_equal(frame.rgb[7, 9], (200, 100, 10))
    wanted = ((K[0, 2] + 0.5) * factor - 0.5, K[0, 0] * factor)
    np.testing.assert_allclose((frame.camera.cx, frame.camera.fx), wanted)


def test_intrinsics_are_of_the_images_whose_middle_they_name(folder):
    write_frame(folder, 0, (128, 96))
    double = K.copy()
    double[:2] *= 2
    np.savetxt(folder / 'camera-intrinsics.txt', double)
    frame = next(iter(load_source(folder)))
    np.testing.assert_allclose((frame.camera.fx, frame.camera.fy), (60, 62))


@pytest.mark.parametrize(
    'text',
    [
        None,
        '',
        'a b c',
        '1 2 3',
        '0 0 32\n0 60 24\n0 0 1',
        'nan 0 32\n0 60 24\n0 0 1',
        '-60 0 32\n0 60 24\n0 0 1',
        '60 0 32\n0 60 24\n0 0 0',
        '60 0\n0 60 24\n0 0 1',
    ],
)
def test_wrong_intrinsics_are_one_line(folder, text):
    path = folder / 'camera-intrinsics.txt'
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(SourceError, match='intrinsics') as caught:
        load_source(folder)
    assert '\n' not in str(caught.value)


def test_wrong_gravity_is_refused(folder):
    (folder / 'gravity-direction.txt').write_text('0 0 0')
    with pytest.raises(SourceError, match='gravity'):
        load_source(folder)


def test_breaking_off_stops_the_thread(folder):
    frames = iter(load_source(folder, prefetch=1))
    next(frames)
    assert any(t.name == 'recon3d-prefetch' for t in threading.enumerate())
    frames.close()
    assert not any(t.name == 'recon3d-prefetch' for t in threading.enumerate())


def test_prefetch_keeps_order_bounds_its_lead_and_surfaces_errors():
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield number
        raise RuntimeError('disk on fire')

    got = []
    with pytest.raises(RuntimeError, match='disk on fire'):
        for number in prefetch(items(), depth=3):
            got.append(number)
            assert len(made) <= number + 1 + 3 + 1 + 1  # given, queued, in hand, being made
    assert got == list(range(20))


def test_error_in_the_thread_surfaces_from_the_source(folder, monkeypatch):
    source = load_source(folder)
    monkeypatch.setattr(source, '_frame', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(source)


@pytest.mark.data
def test_kitchen_and_its_gravity(tmp_path, kitchen_dir):
    source = load_source(kitchen_dir, start=200, max=10)
    frames = list(source)
    assert len(frames) == 10
    assert not source.dropped
    frame = frames[0]
    # The table fills the lower middle: its plane's normal, by least squares, points against gravity.
    points = frame.camera.points(frame.depth_m)[frame.depth_m > 0]
    world = points.astype(float) @ frame.T_world_camera[:3, :3].T + frame.T_world_camera[:3, 3]
    height = -world @ frame.gravity_world
    counts, edges = np.histogram(height, np.arange(height.min(), height.max(), 0.01))
    table = world[np.abs(height - edges[counts.argmax()] - 0.005) < 0.02]
    normal = np.linalg.svd(table - table.mean(0), full_matrices=False)[2][2]
    normal *= np.sign(normal @ (frame.T_world_camera[:3, 3] - table.mean(0)))
    assert len(table) > 0.2 * len(world)
    assert normal @ frame.gravity_world < -0.995
    for path in sorted(kitchen_dir.iterdir())[:4]:
        shutil.copy(path, tmp_path)
    truncate(tmp_path / 'frame-000000.depth.png')
    broken = load_source(tmp_path)
    assert list(broken) == []
    assert broken.dropped == {'bad_depth': 1}


def test_frame_error_reasons_are_short_keys(folder):
    (folder / 'frame-000000.pose.txt').unlink()
    with pytest.raises(FrameError) as caught:
        load_source(folder)._frame('frame-000000', 0)
    assert caught.value.reason.isidentifier()
