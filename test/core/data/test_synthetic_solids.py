"""Solids: closed, oriented outwards, of the volume that a formula gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.data.synth import catalogue, solids
from recon3d_core.data.synth.layout import footprint, place, separation_m
from recon3d_core.errors import RunError
import trimesh

ALL = [*catalogue.TABLETOP, *catalogue.FURNITURE]


def as_trimesh(mesh):
    return trimesh.Trimesh(mesh.vertices_m, mesh.faces, process=False)


@pytest.mark.parametrize('category', ALL)
def test_every_solid_is_closed_and_stands_on_zero(category):
    for seed in range(3):
        mesh = catalogue.make(category, np.random.default_rng(seed))
        solid = as_trimesh(mesh)
        assert solid.is_watertight
        assert solid.is_winding_consistent
        assert solid.volume > 0
        assert solid.area_faces.min() > 0
        assert len(np.unique(mesh.faces)) == len(mesh.vertices_m), 'a vertex without face'
        assert mesh.vertices_m[:, 2].min() == pytest.approx(0, abs=1e-6)
        assert solid.body_count == 1
        longest = solid.extents.max()
        assert 0.03 < longest < (0.4 if category in catalogue.TABLETOP else 1.4)


def test_sizes_vary_with_the_generator_and_repeat_with_its_seed():
    sizes = [
        np.ptp(catalogue.make('box', np.random.default_rng(seed)).vertices_m, axis=0)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(sizes[0], sizes[1])
    assert np.abs(sizes[0] - sizes[2]).max() > 1e-3


def test_a_mug_has_a_cavity_and_a_handle_with_a_hole():
    mesh = catalogue.make('mug', np.random.default_rng(4))
    solid = as_trimesh(mesh)
    assert solid.euler_number == 0, 'one hole, that of the handle'
    assert solid.volume < 0.5 * solid.convex_hull.volume
    assert as_trimesh(catalogue.make('cup', np.random.default_rng(4))).euler_number == 2


def test_volumes_equal_the_formulas():
    cylinder = as_trimesh(solids.revolve([(0, 0), (0.05, 0), (0.05, 0.2), (0, 0.2)], 256))
    assert cylinder.volume == pytest.approx(np.pi * 0.05**2 * 0.2, rel=2e-3)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = np.stack([0.2 + 0.05 * np.cos(angle), 0.05 * np.sin(angle)], 1)
    torus = as_trimesh(solids.revolve(ring, 256, closed=True))
    assert torus.volume == pytest.approx(2 * np.pi**2 * 0.2 * 0.05**2, rel=3e-3)
    line = np.stack([np.linspace(0, 0.5, 9), np.zeros(9)], 1)
    pipe = as_trimesh(solids.tube(line, np.full(9, 0.03), 128))
    assert pipe.volume == pytest.approx(np.pi * 0.03**2 * 0.5, rel=2e-3)


def test_an_implicit_ball_has_its_volume():
    ball = solids.implicit(
        lambda x, y, z: np.sqrt(x * x + y * y + z * z) - 0.05, [-0.06] * 3, [0.06] * 3, 0.002
    )
    solid = as_trimesh(ball)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(4 / 3 * np.pi * 0.05**3, rel=0.01)


edge = st.floats(0.1, 1.0)


@given(st.lists(st.tuples(edge, edge, edge), min_size=1, max_size=4), st.integers(0, 99))
def test_union_of_blocks_has_the_volume_that_points_say(sizes, seed):
    # All hold the origin, so that none touches another along an edge only.
    boxes = [(-np.array(size) * 0.7, np.array(size) * 0.3) for size in sizes]
    union = as_trimesh(solids.blocks(boxes))
    assert union.is_watertight
    assert union.is_winding_consistent
    points = np.random.default_rng(seed).uniform(-0.7, 0.3, (20000, 3))
    inside = np.zeros(len(points), bool)
    for low, high in boxes:
        inside |= ((points >= low) & (points <= high)).all(1)
    expected = inside.mean()
    assert union.volume == pytest.approx(expected, abs=4 * np.sqrt(expected / len(points)) + 1e-6)


def test_separation_of_outlines():
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    assert separation_m(square, square + np.array((1.25, 0))) == pytest.approx(0.25)
    assert separation_m(square, square + np.array((0.9, 0.5))) == pytest.approx(-0.1)
    diamond = np.array([(2.5, 1.5), (3.5, 2.5), (2.5, 3.5), (1.5, 2.5)])
    # Its edge faces the square's corner (1, 1): 4/sqrt(2) - 2/sqrt(2).
    assert separation_m(square, diamond) == pytest.approx(2 / np.sqrt(2))


def test_placed_objects_keep_their_distance():
    rng = np.random.default_rng(0)
    meshes = [catalogue.make(name, rng) for name in ('mug', 'box', 'plate', 'bottle', 'book')]
    poses = place(meshes, (1.0, 2.0, 0.7), (0.35, 0.3), 0.02, rng)
    outlines = [
        footprint(solids.moved(mesh, pose[:3, :3], pose[:3, 3]))
        for mesh, pose in zip(meshes, poses)
    ]
    for i in range(5):
        assert poses[i][2, 3] == 0.7
        for j in range(i):
            gap = separation_m(outlines[i], outlines[j])
            slow = np.linalg.norm(outlines[i][:, None] - outlines[j], axis=2).min()
            assert 0.02 - 1e-6 <= gap <= slow + 1e-6


def test_too_many_objects_are_an_error():
    meshes = [solids.box((0.3, 0.3, 0.1))] * 4
    with pytest.raises(RunError, match='do not fit'):
        place(meshes, (0, 0, 0), (0.1, 0.1), 0.01, np.random.default_rng(0))
