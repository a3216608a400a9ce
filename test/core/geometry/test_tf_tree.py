"""The transform tree against a slow obvious reference, and its refusals."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import FrameError
from recon3d_core.geometry.tf_tree import TransformTree
from recon3d_core.geometry.transforms import interpolate, make_transform, rotation_from_quaternion

SECOND = 1_000_000_000


def random_pose(rng: np.random.Generator) -> np.ndarray:
    return make_transform(rotation_from_quaternion(rng.normal(size=4)), rng.normal(size=3))


def slow_lookup(samples, target, source, stamp):
    """Poses of both frames in the root by scanning all samples, joined by a matrix inverse.

    `samples` is `{child: (parent, {stamp: pose} or one static pose)}`.
    """

    def pose_in_root(frame):
        pose = np.eye(4)
        while frame in samples:
            parent, timed = samples[frame]
            if isinstance(timed, dict):
                before = max(t for t in timed if t <= stamp)
                after = min(t for t in timed if t >= stamp)
                share = 0.0 if after == before else (stamp - before) / (after - before)
                link = interpolate(timed[before], timed[after], share)
            else:
                link = timed
            pose, frame = link @ pose, parent
        return pose

    return np.linalg.inv(pose_in_root(target)) @ pose_in_root(source)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_lookup_equals_slow_reference(seed, count):
    rng = np.random.default_rng(seed)
    tree, samples = TransformTree(cache_s=100.0), {}
    for child in range(1, count):
        parent = f'f{rng.integers(child)}'
        if rng.random() < 0.3:
            samples[f'f{child}'] = parent, random_pose(rng)
            tree.add(parent, f'f{child}', 0, samples[f'f{child}'][1], static=True)
            continue
        inner = rng.choice(np.arange(1, 100), size=rng.integers(0, 12), replace=False)
        stamps = rng.permutation([0, *inner, 100]) * (SECOND // 10)  # any order of arrival
        samples[f'f{child}'] = parent, {int(t): random_pose(rng) for t in stamps}
        for stamp, pose in samples[f'f{child}'][1].items():
            assert tree.add(parent, f'f{child}', stamp, pose)
    for _ in range(5):
        target, source = (f'f{rng.integers(count)}' for _ in range(2))
        stamp = int(rng.integers(0, 10 * SECOND + 1))
        got = tree.lookup(target, source, stamp)
        np.testing.assert_allclose(got, slow_lookup(samples, target, source, stamp), atol=1e-9)
        np.testing.assert_allclose(tree.lookup(source, target, stamp) @ got, np.eye(4), atol=1e-9)


def reason_of(call) -> FrameError:
    with pytest.raises(FrameError) as caught:
        call()
    assert '\n' not in str(caught.value)
    return caught.value


def moving(stamps, parent='map', child='camera') -> TransformTree:
    tree = TransformTree(cache_s=5.0)
    for stamp in stamps:
        tree.add(parent, child, stamp, make_transform(translation=(stamp / SECOND, 0, 0)))
    return tree


def test_stamp_beyond_the_samples_says_how_far():
    tree = moving([SECOND, 2 * SECOND])
    error = reason_of(lambda: tree.lookup('map', 'camera', int(2.25 * SECOND)))
    assert error.reason == 'tf_too_new'
    assert '0.250 s after the newest' in str(error)
    error = reason_of(lambda: tree.lookup('map', 'camera', SECOND // 2))
    assert error.reason == 'tf_too_old'
    assert '0.500 s before the oldest' in str(error)
    held = tree.lookup('map', 'camera', int(2.25 * SECOND), extrapolation_s=0.3)
    assert held[0, 3] == 2.0
    assert tree.lookup('map', 'camera', None)[0, 3] == 2.0


def test_unknown_frame_names_the_closest_and_separate_trees_their_roots():
    tree = moving([SECOND])
    error = reason_of(lambda: tree.lookup('map', 'camra', SECOND))
    assert error.reason == 'tf_unknown_frame'
    assert "'camera'" in str(error)
    tree.add('odom', 'base', SECOND, np.eye(4))
    error = reason_of(lambda: tree.lookup('map', 'base', SECOND))
    assert error.reason == 'tf_disconnected'
    assert 'odom' in str(error)
    assert 'map' in str(error)


def test_error_above_the_common_ancestor_does_not_matter():
    tree = moving([SECOND], 'map', 'base')
    tree.add('base', 'left', 0, make_transform(translation=(0, 1, 0)), static=True)
    tree.add('base', 'right', 0, make_transform(translation=(0, -1, 0)), static=True)
    np.testing.assert_array_equal(tree.lookup('left', 'right', 99 * SECOND)[:3, 3], (0, -2, 0))


def test_loop_is_found():
    tree = TransformTree()
    for parent, child in (('a', 'b'), ('b', 'c'), ('c', 'a')):
        tree.add(parent, child, SECOND, np.eye(4))
    tree.add('z', 'y', SECOND, np.eye(4))
    error = reason_of(lambda: tree.lookup('z', 'a', SECOND))
    assert error.reason == 'tf_loop'
    assert '->' in str(error)
    assert tree.lookup('a', 'c', None).shape == (4, 4)


def test_reparenting_uses_the_parent_of_the_time():
    tree = TransformTree(cache_s=100)
    tree.add('table', 'cup', 1 * SECOND, make_transform(translation=(1, 0, 0)))
    tree.add('hand', 'cup', 3 * SECOND, make_transform(translation=(0, 0, 7)))
    tree.add('map', 'table', 0, np.eye(4), static=True)
    tree.add('map', 'hand', 0, make_transform(translation=(0, 5, 0)), static=True)
    np.testing.assert_array_equal(tree.lookup('map', 'cup', 2 * SECOND)[:3, 3], (1, 0, 0))
    np.testing.assert_array_equal(tree.lookup('map', 'cup', 3 * SECOND)[:3, 3], (0, 5, 7))
    assert tree.parents()['cup'] == 'hand'


@pytest.mark.parametrize(
    'damage',
    [
        lambda T: T * np.nan,
        lambda T: np.diag([2.0, 2, 2, 1]),
        lambda T: np.diag([1.0, 1, -1, 1]),
        lambda T: np.eye(3),
    ],
)
def test_bad_matrices_are_refused(damage):
    tree = moving([SECOND])
    before = tree.lookup('map', 'camera', SECOND)
    error = reason_of(lambda: tree.add('map', 'camera', 2 * SECOND, damage(np.eye(4))))
    assert error.reason == 'tf_invalid'
    np.testing.assert_array_equal(tree.lookup('map', 'camera', SECOND), before)
    assert tree.newest_ns('camera') == SECOND


@pytest.mark.parametrize('names', [('', 'a'), ('a', ''), ('a', 'a'), ('/a', 'a')])
def test_bad_names_are_refused(names):
    assert reason_of(lambda: TransformTree().add(*names, 0, np.eye(4))).reason == 'tf_invalid'


def test_rotation_is_made_orthonormal():
    sloppy = make_transform(rotation_from_quaternion((1, 0.2, -0.3, 0.1)) * 1.001)
    tree = TransformTree()
    tree.add('a', 'b', 0, sloppy, static=True)
    rotation = tree.lookup('a', 'b', 0)[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)


def test_memory_is_bounded_by_the_cache_and_old_data_ignored():
    tree = moving(range(0, 60 * SECOND, SECOND // 10))
    assert reason_of(lambda: tree.lookup('map', 'camera', 54 * SECOND)).reason == 'tf_too_old'
    assert len(tree._links['camera'].stamps_ns) <= 52
    assert not tree.add('map', 'camera', 10 * SECOND, np.eye(4))
    tree.add('camera', 'lens', 0, np.eye(4), static=True)
    tree.clear()
    assert tree.frames() == ['camera', 'lens']
    assert tree.add('map', 'camera', SECOND, np.eye(4))


def test_leading_slash_and_same_frame():
    tree = moving([SECOND])
    np.testing.assert_array_equal(
        tree.lookup('/map', '/camera', SECOND), tree.lookup('map', 'camera', SECOND)
    )
    np.testing.assert_array_equal(tree.lookup('camera', 'camera', 0), np.eye(4))


def test_threads_write_and_read_at_once():
    tree = moving([0, SECOND])
    failures = []

    def write(name):
        for step in range(300):
            tree.add('map', name, step * SECOND // 100, np.eye(4))

    def read():
        for _ in range(300):
            try:
                tree.lookup('map', 'camera', SECOND // 2)
                tree.parents()
            except Exception as error:  # noqa: BLE001 - any failure of a race counts
                failures.append(error)

    threads = [threading.Thread(target=write, args=(f'w{i}',)) for i in range(3)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(tree.parents()) == 4
