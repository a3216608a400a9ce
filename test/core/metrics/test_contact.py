"""Contact errors on solids whose common volume and distance are known in closed form."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.metrics.contact import (
    floating_gap_m,
    penetration_share,
    penetration_volume_m3,
)
from recon3d_core.metrics.solids import MeshSolid, VoxelSolid
from recon3d_core.types import Mesh, Plane
import trimesh

GROUND = Plane(np.array([0.0, 0.0, 1.0]), 0.0)


def as_mesh(solid: trimesh.Trimesh, place) -> Mesh:
    vertices = (np.asarray(solid.vertices) + place).astype(np.float32)
    return Mesh(vertices, np.asarray(solid.faces, np.int32))


def box(size, center) -> Mesh:
    return as_mesh(trimesh.creation.box(size), center)


def ball(radius, center) -> Mesh:
    return as_mesh(trimesh.creation.icosphere(4, radius), center)


@given(
    st.tuples(*[st.floats(0.02, 0.4)] * 6),
    st.tuples(*[st.floats(-0.4, 0.4)] * 3),
)
def test_boxes_share_the_product_of_their_overlaps(sizes, offset):
    a, b = np.array(sizes[:3]), np.array(sizes[3:])
    common = np.minimum(a / 2, offset + b / 2) - np.maximum(-a / 2, offset - b / 2)
    expected = float(np.prod(np.maximum(common, 0)))
    first, second = box(a, (1, 2, 3)), box(b, np.add(offset, (1, 2, 3)))
    assert penetration_volume_m3(first, second, 6) == pytest.approx(expected, rel=1e-3, abs=1e-8)


def test_spheres_share_a_lens():
    radius, distance = 0.1, 0.12
    lens = np.pi * (4 * radius + distance) * (2 * radius - distance) ** 2 / 12
    a, b = ball(radius, (0, 0, 0)), ball(radius, (distance, 0, 0))
    assert penetration_volume_m3(a, b) == pytest.approx(lens, rel=0.02)
    assert penetration_volume_m3(b, a) == pytest.approx(lens, rel=0.02)
    assert penetration_volume_m3(a, ball(radius, (0.21, 0, 0))) == 0
    # The share is of all that there is.
    volume = 4 / 3 * np.pi * radius**3
    far = ball(radius, (3, 0, 0))
    assert penetration_share([a, b, far]) == pytest.approx(lens / (3 * volume), rel=0.03)
    assert penetration_share([]) == 0


def test_voxels_count_as_meshes_do():
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]
    turn[:3, 3] = (0.2, -0.1, 0.3)
    inside = np.zeros((12, 10, 8), bool)
    inside[2:10, 3:7, 1:6] = True
    solid = VoxelSolid(VoxelGrid(turn, 0.01, inside.shape), inside)
    center = (turn @ (0.06, 0.05, 0.035, 1))[:3]
    same = box((0.04, 0.08, 0.05), center)
    np.testing.assert_allclose(solid.bounds_world_m, MeshSolid(same).bounds_world_m, atol=1e-6)
    assert solid.volume_m3 == pytest.approx(MeshSolid(same).volume_m3, rel=1e-5)
    assert penetration_volume_m3(solid, same) == pytest.approx(solid.volume_m3, rel=1e-3)
    half = box((0.04, 0.08, 0.05), np.add(center, (0.02, 0, 0)))
    assert penetration_volume_m3(solid, half) == pytest.approx(solid.volume_m3 / 2, rel=1e-3)
    nothing = VoxelSolid(solid.grid, np.zeros(inside.shape, bool))
    assert penetration_volume_m3(nothing, same) == 0
    with pytest.raises(InputError, match='inside'):
        VoxelSolid(solid.grid, inside[1:])


def test_parts_of_a_solid_may_overlap_and_be_hollow():
    first, second = box((0.2, 0.2, 0.2), (0, 0, 0)), box((0.2, 0.2, 0.2), (0.1, 0, 0))
    both = Mesh(
        np.concatenate([first.vertices_m, second.vertices_m]),
        np.concatenate([first.faces, second.faces + len(first.vertices_m)]),
    )
    solid = MeshSolid(both)
    assert solid.contains(np.array([[0.05, 0, 0], [-0.05, 0, 0], [0.15, 0, 0]])).all()
    assert not solid.contains(np.array([[0.25, 0, 0], [0.05, 0.15, 0]])).any()
    assert solid.volume_m3 == pytest.approx(0.012, rel=1e-3)
    # A shell whose inner side faces inwards.
    inner = box((0.1, 0.1, 0.1), (0, 0, 0))
    shell = Mesh(
        np.concatenate([first.vertices_m, inner.vertices_m]),
        np.concatenate([first.faces, inner.faces[:, ::-1] + len(first.vertices_m)]),
    )
    assert MeshSolid(shell).volume_m3 == pytest.approx(0.007, rel=1e-3)
    assert penetration_volume_m3(shell, inner) == 0


def test_the_gap_is_the_way_down():
    crate = box((0.2, 0.2, 0.1), (0, 0, 0.05))
    assert floating_gap_m(crate, GROUND) == pytest.approx(0, abs=1e-6)
    assert floating_gap_m(box((0.2, 0.2, 0.1), (0, 0, 0.08)), GROUND) == pytest.approx(0.03)
    assert floating_gap_m(box((0.2, 0.2, 0.1), (0, 0, 0.02)), GROUND) == 0
    # Above the crate, partly beside it; a wide board; a ball, of which one point is lowest.
    above = box((0.1, 0.1, 0.1), (0.1, 0.1, 0.19))
    board = box((1.0, 1.0, 0.02), (0, 0, 0.15))
    for mesh, gap in ((above, 0.04), (board, 0.04), (ball(0.05, (0.03, 0.02, 0.17)), 0.02)):
        assert floating_gap_m(mesh, GROUND, [crate]) == pytest.approx(gap, abs=2e-4)
    assert floating_gap_m(above, GROUND) == pytest.approx(0.14)
    # A nail's head below the board is found from its own vertices.
    nail = as_mesh(trimesh.creation.cone(0.001, 0.03), (0.2134, 0.0511, 0.1))
    assert floating_gap_m(board, GROUND, [crate, nail]) == pytest.approx(0.01, abs=1e-5)
    # Beside, and above it, nothing holds.
    assert floating_gap_m(box((0.1, 0.1, 0.1), (0.3, 0, 0.2)), None, [crate], GROUND.normal_world)
    assert floating_gap_m(crate, None, [above], GROUND.normal_world) == np.inf
    # Sunk into another one it does not float.
    assert floating_gap_m(box((0.1, 0.1, 0.1), (0, 0, 0.13)), GROUND, [crate]) == 0


def test_up_may_be_any_direction():
    wall = Plane(np.array([1.0, 0.0, 0.0]), -2.0)
    mesh = box((0.1, 0.2, 0.3), (2.1, 0, 0))
    assert floating_gap_m(mesh, wall) == pytest.approx(0.05, abs=1e-6)
    between = box((0.02, 1, 1), (2.02, 0, 0))
    assert floating_gap_m(mesh, wall, [between]) == pytest.approx(0.02, abs=1e-5)


def test_what_cannot_be_measured_is_said():
    nothing = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(InputError, match='empty'):
        floating_gap_m(nothing, GROUND)
    with pytest.raises(InputError, match='up'):
        floating_gap_m(box((1, 1, 1), (0, 0, 0)), None)
    with pytest.raises(InputError, match='cells'):
        penetration_volume_m3(box((1, 1, 1), (0, 0, 0)), nothing, 0)
    assert penetration_volume_m3(nothing, box((1, 1, 1), (0, 0, 0))) == 0
    assert floating_gap_m(box((1, 1, 1), (0, 0, 0.5)), GROUND, [nothing]) == 0
