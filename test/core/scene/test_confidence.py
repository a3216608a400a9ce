"""Confidence and covariance: what the views say against an object lowers one and widens the other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import make_transform
from recon3d_core.scene import confidence_table
from recon3d_core.scene.confidence import confidence_of, describe_evidence, training_distance
from recon3d_core.scene.options import SelfCheckOptions
from recon3d_core.scene.pose_covariance import pose_covariance
from recon3d_core.scene.self_check import self_check
from recon3d_core.types import Mesh, SelfCheck, Shape
from scipy.spatial.transform import Rotation
from tabletop import tabletop
import trimesh

GOOD = SelfCheck(0.95, 0.002, True, 0.01)
GRID = VoxelGrid(np.eye(4), 0.004, (16, 16, 16))
SHAPE = Shape(GRID, np.zeros(GRID.shape, np.float32), views_used=5)


def box(size_m, seen=lambda center: np.ones(len(center), bool)):
    solid = trimesh.creation.box(size_m).subdivide().subdivide().subdivide()
    vertices, faces = solid.vertices.astype(np.float32), solid.faces.astype(np.int32)
    return Mesh(vertices, faces, face_observed=seen(vertices[faces].mean(1)))


def test_a_solid_that_is_too_large_was_seen_to_be_empty():
    views, solid = tabletop('box').orbit(4), tabletop('box').solid
    middle = solid.bounds.mean(0)

    def check(scale, views=views):
        vertices = ((solid.vertices - middle) * scale + middle).astype(np.float32)
        return self_check(Mesh(vertices, solid.faces.astype(np.int32)), views, SelfCheckOptions())

    assert check(1.0).free_share < 0.02
    assert check(1.4).free_share > 0.1
    blind = dataclasses.replace(views[0], frame=dataclasses.replace(views[0].frame, depth_m=None))
    assert np.isnan(check(1.0, [blind]).free_share)


@pytest.mark.parametrize('change', [
    {'silhouette_iou': 0.4}, {'depth_residual_m': 0.03}, {'free_share': 0.3},
])  # fmt: skip
def test_what_speaks_against_an_object_lowers_its_confidence(change):
    mesh = box((0.1, 0.08, 0.12))
    worse = dataclasses.replace(GOOD, **change)
    good, bad = (confidence_of(check, mesh, SHAPE, 0.6) for check in (GOOD, worse))
    assert 0 < bad < good < 1
    nothing = SelfCheck(0.9, float('nan'), True)
    assert 0 < confidence_of(nothing, mesh, SHAPE, 0.6) < 1


def test_evidence_unlike_the_training_data_is_far():
    n, mean = 32, np.array(confidence_table.MEAN)
    shape = Shape(VoxelGrid(np.eye(4), 0.01, (n,) * 3), np.zeros((n,) * 3, np.float32))
    assert training_distance(shape) == 0  # nothing is known of its evidence
    sdf = np.full((n,) * 3, 0.04, np.float32)
    sdf[2:4, 2:30, 25:31] = 0.0
    flags = np.zeros((n,) * 3, bool)
    flags[2:4, 2:30, 25:31] = True
    odd = dataclasses.replace(shape, sdf_m=sdf, observed=flags, free=~flags)
    assert describe_evidence(odd)[2] < 0.25 < describe_evidence(odd)[0]
    assert training_distance(odd) > 1.5
    assert len(mean) == len(describe_evidence(odd)) == len(confidence_table.PRECISION)
    assert len(confidence_table.WEIGHTS) == len(confidence_table.FEATURES)


def test_the_side_that_nobody_saw_is_the_uncertain_one():
    mesh = box((0.2, 0.1, 0.12), lambda center: center[:, 1] < 0.01)
    covariance = pose_covariance(np.eye(4), mesh, SHAPE, GOOD)
    np.testing.assert_allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0
    x, y, z = np.diag(covariance)[:3]
    assert y > 3 * max(x, z)
    assert 0.004 < np.sqrt(y) < 0.03
    whole = pose_covariance(np.eye(4), box((0.2, 0.1, 0.12)), SHAPE, GOOD)
    assert np.trace(whole[:3, :3]) < 0.5 * np.trace(covariance[:3, :3])
    shell = pose_covariance(np.eye(4), mesh, SHAPE, GOOD, closed=False)
    assert np.trace(shell[:3, :3]) > np.trace(covariance[:3, :3])


def test_it_turns_with_the_object():
    mesh = box((0.2, 0.1, 0.12), lambda center: center[:, 1] < 0.01)
    turn = Rotation.from_euler('z', 0.7).as_matrix()
    turned = dataclasses.replace(mesh, vertices_m=(mesh.vertices_m @ turn.T).astype(np.float32))
    found = pose_covariance(make_transform(turn), turned, SHAPE, GOOD)
    both = np.kron(np.eye(2), turn)
    expected = both @ pose_covariance(np.eye(4), mesh, SHAPE, GOOD) @ both.T
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_a_square_footprint_does_not_tell_the_yaw():
    square, long = (pose_covariance(np.eye(4), box(size), SHAPE, GOOD)[5, 5] for size in (
        (0.1, 0.1, 0.12), (0.2, 0.1, 0.12)))  # fmt: skip
    assert np.sqrt(square) > np.deg2rad(20)
    assert np.sqrt(long) < np.deg2rad(6)


def test_doubtful_ends_of_a_completed_shape_widen_it():
    mesh = box((0.06, 0.04, 0.05))
    grid = VoxelGrid(make_transform(None, (-0.05, -0.05, -0.05)), 0.005, (20, 20, 20))
    occupancy = np.zeros(grid.shape, np.float32)
    occupancy[4:16, 6:14, 5:15] = 0.9
    sure = Shape(grid, occupancy.copy(), completed=True)
    occupancy[4:16, 14:18, 5:15] = 0.5
    unsure = Shape(grid, occupancy, completed=True)
    a, b = (pose_covariance(np.eye(4), mesh, shape, GOOD)[1, 1] for shape in (sure, unsure))
    assert b > 2 * a
