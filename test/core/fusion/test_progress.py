"""The expected change of a shape: known from two shapes on, and true for a mean of views."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.fusion.progress import ShapeProgress
from recon3d_core.geometry.grids import VoxelGrid

GRID = VoxelGrid(np.eye(4), 0.01, (40, 40, 40))


def ball(radius_voxels, grid=GRID):
    distance = np.linalg.norm(grid.centers_world_m() - 0.2, axis=-1)
    return (distance < radius_voxels * 0.01).astype(np.float32)


def test_one_shape_tells_nothing_and_no_change_is_zero():
    progress = ShapeProgress()
    assert progress.note(ball(10), GRID, 1) is None
    assert progress.note(ball(10), GRID, 1) is None
    assert progress.note(ball(10), GRID, 2) == 0
    assert progress.note(np.zeros(GRID.shape, np.float32), GRID, 3) > 0.4


def test_it_foretells_what_as_many_views_again_change():
    """A ball whose volume tends to its limit as 1 / n."""

    def radius(n):
        return 14 * (1 + 0.5 / n) ** (1 / 3)

    progress = ShapeProgress()
    for n in range(1, 9):
        expected = progress.note(ball(radius(n)), GRID, n)
        if n < 2:
            continue
        now, later = ball(radius(n)) > 0.5, ball(radius(2 * n)) > 0.5
        change = 1 - (now & later).sum() / (now | later).sum()
        assert expected == pytest.approx(change, abs=0.03)


def test_another_grid_is_no_change():
    progress = ShapeProgress()
    progress.note(ball(10), GRID, 4)
    finer = GRID.padded([4, 0, 2], [1, 3, 0])
    assert progress.note(ball(10, finer), finer, 8) == 0
    smaller = GRID.padded([0, 0, 0], [-20, 0, 0])
    assert progress.note(ball(10, smaller), smaller, 16) > 0.1


def test_what_is_kept_is_bounded():
    progress = ShapeProgress()
    for n in range(1, 70):
        progress.note(ball(10), GRID, n)
    assert len(progress._earlier) == 2
