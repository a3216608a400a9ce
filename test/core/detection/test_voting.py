"""Masks and clusters vote: what both say, what one says alone, and what touches."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.detection.voting import _count, _Vote


def mask(*boxes):
    """Return a mask (40, 60) of boxes y0, y1, x0, x1."""
    made = np.zeros((40, 60), bool)
    for y0, y1, x0, x1 in boxes:
        made[y0:y1, x0:x1] = True
    return made


def test_what_both_see_counts_fully_and_reaches_where_depth_ends():
    (found,) = _count(
        [_Vote(mask((12, 28, 12, 28)), 0.9)], [_Vote(mask((10, 30, 10, 30)), 0.6)], 0.5
    )
    assert found.score == 0.9
    np.testing.assert_array_equal(found.mask, mask((10, 30, 10, 30)))


def test_a_cluster_with_two_masks_is_two_things():
    cluster = mask((10, 30, 10, 50))
    left, right = mask((10, 30, 12, 28)), mask((10, 30, 31, 48))
    found = _count([_Vote(left, 0.9), _Vote(right, 0.8)], [_Vote(cluster, 0.6)], 0.5)
    assert [vote.score for vote in found] == [0.9, 0.8]
    assert not (found[0].mask & found[1].mask).any()
    np.testing.assert_array_equal(found[0].mask | found[1].mask, cluster)
    first = found[0].mask[10:30]
    assert first[:, 28].all(), 'the gap is shared'
    assert not first[:, 30].any()


def test_what_no_support_carries_counts_less_and_clusters_count_alone():
    seen, measured = mask((5, 15, 5, 15)), mask((20, 36, 30, 50))
    standing = _Vote(mask((5, 15, 30, 40)), 0.7, confirmed=True)
    found = _count([_Vote(seen, 0.8), standing], [_Vote(measured, 0.6)], 0.5)
    assert [vote.score for vote in found] == pytest.approx([0.7, 0.6, 0.4])
    np.testing.assert_array_equal(found[1].mask, measured)


def test_the_rest_of_a_cluster_is_a_thing_only_if_it_is_most_of_it():
    cluster, small = mask((10, 30, 10, 50)), mask((10, 30, 10, 22))
    found = _count([_Vote(small, 0.8)], [_Vote(cluster, 0.6)], 0.5)
    assert len(found) == 2
    assert not (found[0].mask & found[1].mask).any()
    (alone,) = _count([_Vote(mask((10, 30, 10, 40)), 0.8)], [_Vote(cluster, 0.6)], 0.5)
    assert alone.mask[:, 46].sum() == 20, 'some of the rim'
    assert not alone.mask[:, 48].any()
