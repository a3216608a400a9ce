"""Parts of the closing, each against an obvious answer."""

from __future__ import annotations

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.meshing.closing.envelope import (
    below_solid,
    fill_unseen,
    slice_hulls,
    without_lip,
)
from recon3d_core.meshing.closing.filters import blurred, box_of, dilated, slices
from recon3d_core.meshing.closing.known import Known, largest_part, without_cavities
from recon3d_core.meshing.closing.mirror import complete_by_mirror
from recon3d_core.meshing.closing.revolution import (
    Axis,
    complete_by_revolution,
    fit_axis,
    refine_axis,
)
from recon3d_core.types import Shape
from scipy import ndimage
import trimesh


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([0.4, 0.8, 1.2]),
    st.integers(0, 3),
)
def test_filters_against_scipy(seed, size, sigma, steps):
    rng = np.random.default_rng(seed)
    solid, values = rng.random(size) > 0.9, rng.random(size).astype(np.float32)
    around = np.ones((2 * steps + 1,) * 3, bool)
    np.testing.assert_array_equal(dilated(solid, steps), ndimage.binary_dilation(solid, around))
    expected = ndimage.gaussian_filter(values, sigma, mode='nearest', truncate=3)
    np.testing.assert_allclose(blurred(values, sigma, 3), expected, atol=1e-5)
    box = box_of(solid)
    if box is None:
        assert not solid.any()
    else:
        index = np.argwhere(solid)
        np.testing.assert_array_equal(box, (index.min(0), index.max(0) + 1))
        assert solid[slices(box)].sum() == solid.sum()


@given(st.integers(0, 2**32 - 1))
def test_below_solid_against_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    state = rng.choice(3, (3, 4, 9), p=[0.6, 0.2, 0.2])
    solid, free = state == 1, state == 2
    expected = np.zeros_like(solid)
    for x, y in np.ndindex(3, 4):
        under = False
        for z in reversed(range(9)):
            under = (under or solid[x, y, z]) and not free[x, y, z]
            expected[x, y, z] = under
    np.testing.assert_array_equal(below_solid(solid, free), expected)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_slice_hulls_are_convex_and_hold_the_solid(seed):
    rng = np.random.default_rng(seed)
    solid = rng.random((9, 12, 3)) > 0.93
    hulls = slice_hulls(solid)
    assert hulls[solid].all()
    assert (hulls.any((0, 1)) == solid.any((0, 1))).all()
    for level in np.flatnonzero(solid.any((0, 1))):
        outline = cv2.convexHull(np.argwhere(solid[:, :, level]).astype(np.float32))
        for x, y in np.ndindex(9, 12):
            # Rasterising may add a pixel that the outline only touches.
            distance = cv2.pointPolygonTest(outline, (float(x), float(y)), True)
            assert hulls[x, y, level] >= (distance > 1e-6)
            assert not hulls[x, y, level] or distance > -0.75


def test_a_hollow_with_hidden_floor_stays_hollow_down_to_a_thin_floor():
    solid = np.zeros((12, 12, 10), bool)
    solid[2:10, 2:10, 1:9] = True
    solid[4:8, 4:8] = False
    free = np.zeros_like(solid)
    free[4:8, 4:8, 5:] = True
    filled = fill_unseen(solid, free, lowest=1)
    assert not filled[4:8, 4:8, 3:].any()
    assert filled[4:8, 4:8, 1:3].all()


def test_a_top_that_nobody_saw_is_closed():
    solid = np.zeros((12, 12, 10), bool)
    solid[2:10, 2:10, 1:9] = True
    solid[3:9, 3:9] = False
    filled = fill_unseen(solid, np.zeros_like(solid), lowest=1)
    assert filled[2:10, 2:10, 1:9].all()


def test_a_lip_on_the_support_goes_and_the_foot_stays():
    solid = np.zeros((20, 20, 10), bool)
    solid[6:14, 6:14, 0:9] = True
    lip = solid.copy()
    lip[3:17, 3:17, 0] = True
    cleaned = without_lip(lip, 0)
    assert not cleaned[3:5, :, 0].any()
    assert cleaned[solid].all()


def test_a_flat_object_is_no_lip():
    flat = np.zeros((9, 9, 6), bool)
    flat[2:7, 2:7, 0] = True
    np.testing.assert_array_equal(without_lip(flat, 0), flat)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_cavities_are_filled_as_scipy_fills_them(seed):
    solid = np.random.default_rng(seed).random((7, 8, 6)) > 0.35
    np.testing.assert_array_equal(without_cavities(solid), ndimage.binary_fill_holes(solid))


def cylinder_points(center, radius, angles, rng, noise=0.0):
    angle = rng.uniform(*angles, 800)
    normal = np.stack([np.cos(angle), np.sin(angle), np.zeros(800)], 1)
    points = normal * radius + (*center, 0)
    points[:, 2] = rng.uniform(0, 20, 800)
    return points + noise * rng.standard_normal(points.shape), normal


@given(st.floats(-5, 25), st.floats(-5, 25), st.floats(4, 20), st.integers(0, 100))
def test_the_axis_of_half_a_cylinder_is_found(x, y, radius, seed):
    rng = np.random.default_rng(seed)
    points, normals = cylinder_points((x, y), radius, (0.0, np.pi), rng, 0.2)
    axis = fit_axis(points, normals)
    refined, spread = refine_axis(axis, points, normals)
    np.testing.assert_allclose(refined.center_voxels, (x, y), atol=0.5)
    assert axis.residual < 0.1
    assert spread < 0.5


def test_refinement_mends_a_start_that_is_off():
    rng = np.random.default_rng(0)
    points, normals = cylinder_points((8, 9), 10, (0.5, 3.0), rng, 0.1)
    refined, _ = refine_axis(Axis(np.array([9.5, 7.5]), 0.1), points, normals)
    np.testing.assert_allclose(refined.center_voxels, (8, 9), atol=0.2)


def test_a_box_and_a_wall_have_no_axis():
    rng = np.random.default_rng(0)
    wall = np.column_stack([rng.uniform(0, 20, 500), np.zeros(500), rng.uniform(0, 9, 500)])
    normal = np.tile([0.0, 1.0, 0.0], (500, 1))
    assert fit_axis(wall, normal) is None
    side = wall[:, [1, 0, 2]]
    both = fit_axis(np.vstack([wall, side]), np.vstack([normal, normal[:, [1, 0, 2]]]))
    assert both is None or both.residual > 0.25


def half_seen(distance, size, seen):
    """Return evidence of a true distance field (voxels), known where `seen`."""
    voxel = 0.01
    grid = VoxelGrid(np.eye(4), voxel, size)
    sdf = (distance * voxel).astype(np.float32)
    near = seen & (np.abs(distance) < 3)
    inside, free = near & (sdf <= 0), seen & (sdf > 0)
    shape = Shape(grid, np.full(size, 0.5, np.float32), sdf, near, free)
    return Known(grid, sdf, near, inside, free, None, 0, shape)


def test_revolution_completes_a_cone_seen_from_one_side():
    size = (40, 40, 24)
    x, y, z = np.indices(size)
    radius = np.hypot(x - 19.5, y - 19.5)
    distance = (radius - (5 + 0.4 * z)) * np.cos(np.arctan(0.4))
    known = half_seen(distance, size, y > 17)
    prior = complete_by_revolution(known)
    assert prior is not None
    told = prior.says & ~known.near & (np.abs(distance) < 2.5)
    assert told.sum() > 3000
    wrong = np.abs(prior.sdf_m[told] / 0.01 - distance[told])
    assert np.median(wrong) < 0.4
    assert (np.sign(prior.sdf_m[told]) == np.sign(distance[told])).mean() > 0.9


def test_a_mirror_completes_a_lens_seen_from_one_side():
    size = (50, 40, 20)
    x, y, _ = np.indices(size)
    # Two arcs that meet in edges: no solid of revolution, and no prism tells of its back.
    front, back = np.hypot(x - 24.5, y - 5.5) - 22, np.hypot(x - 24.5, y - 33.5) - 22
    distance = np.maximum(front, back)
    # From the front and, at the edges, a little of the back.
    known = half_seen(distance, size, (y > 15.5) | (np.abs(x - 24.5) > 17))
    assert complete_by_revolution(known) is None
    prior = complete_by_mirror(known)
    if prior is None:
        pytest.fail('no mirror plane was found')
    told = prior.says & (y < 15)
    assert told.sum() > 500
    assert (np.sign(prior.sdf_m[told]) == np.sign(distance[told])).mean() > 0.9


def test_trimesh_agrees_that_a_filled_solid_is_closed():
    from recon3d_core.meshing.closing.surface import closed_surface, smooth_field

    solid = np.random.default_rng(3).random((12, 9, 10)) > 0.6
    mesh = closed_surface(VoxelGrid(np.eye(4), 0.01, solid.shape), smooth_field(solid, 0.01))
    assert trimesh.Trimesh(mesh.vertices_m, mesh.faces, process=False).is_watertight


def test_the_foot_of_a_lamp_belongs_to_the_shade_that_hides_its_stem():
    solid = np.zeros((40, 36, 40), bool)
    solid[10:26, 10:26, 20:34] = True  # the shade
    foot = np.zeros_like(solid)
    foot[12:24, 12:24, 2:4] = True
    foot[17:19, 17:19, 4:14] = True
    beside = np.zeros_like(solid)
    beside[30:38, 10:26, 2:8] = True
    floating = np.zeros_like(solid)
    floating[14:22, 14:22, 12:16] = True
    floating[16:20, 16:20] = False
    everything = solid | foot | beside
    np.testing.assert_array_equal(largest_part(everything), solid)
    np.testing.assert_array_equal(largest_part(everything, floor=2), solid | foot)
    np.testing.assert_array_equal(largest_part(solid | floating, floor=2), solid)
    standing = solid.copy()
    standing[10:26, 10:26, 2:20] = True  # reaches the floor: it needs no foot
    np.testing.assert_array_equal(largest_part(standing | beside, floor=2), standing)
