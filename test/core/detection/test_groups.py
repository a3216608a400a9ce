"""Groups without a dense grid are those of the dense one, in the same order."""

from hypothesis import given, settings, strategies
import numpy as np
from recon3d_core.detection._groups import sparse_groups
from recon3d_core.detection.clusters import connected_groups
from recon3d_core.geometry.transforms import frame_from_normal


@settings(max_examples=40, deadline=None)
@given(
    seed=strategies.integers(0, 2**32 - 1),
    extent_m=strategies.sampled_from([0.03, 0.1, 0.3]),
    least=strategies.integers(1, 5),
)
def test_equals_the_dense_grid(seed, extent_m, least):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, extent_m, (9, 14, 3)).astype(np.float32)
    chosen = rng.random((9, 14)) < 0.8
    axes = frame_from_normal(rng.normal(size=3))
    expected = connected_groups(points, chosen, axes, 0.014, least)
    found = sparse_groups(points, chosen, axes, 0.014, least)
    assert len(found) == len(expected)
    for group, other in zip(found, expected):
        np.testing.assert_array_equal(group, other)


def test_nothing_chosen_is_no_group():
    points = np.zeros((4, 5, 3), np.float32)
    assert sparse_groups(points, np.zeros((4, 5), bool), np.eye(3), 0.01) == []


def test_neighbours_do_not_wrap_around_the_grid():
    # The last voxel of one column and the first of the next follow each other in memory.
    corners = np.array([[0, 0, 0.095], [0, 0.015, 0.005], [0.095, 0.095, 0.005]], np.float32)
    points = np.concatenate([corners, np.zeros((1, 3), np.float32)])[None]
    groups = sparse_groups(points, np.ones((1, 4), bool), np.eye(3), 0.01, least=1)
    assert sorted(sorted(columns.tolist()) for _, columns in groups) == [[0], [1, 3], [2]]
