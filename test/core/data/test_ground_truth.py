"""True occupancy and surface samples, against closed formulas and a plain winding number."""

import dataclasses

from hypothesis import given, settings, strategies
import numpy as np
import pytest
from recon3d_core.data.ground_truth import occupancy, surface_samples
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.data.orientation import without_inner_twins
from recon3d_core.errors import InputError
from scipy import ndimage
from solid_objects import box, in_cube, iou, object_mesh, table
import trimesh


def centers(n):
    return np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5] * 3, indexing='ij'), -1)


def plain_winding(mesh, points):
    """Sum the solid angles of all faces (Van Oosterom and Strackee 1983), one point at a time."""
    corners = mesh.vertices[mesh.faces].astype(float)
    result = np.empty(len(points))
    for row, point in enumerate(points):
        a, b, c = np.moveaxis(corners - point, 1, 0)
        la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        top = (a * np.cross(b, c)).sum(1)
        bottom = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        result[row] = np.arctan2(top, bottom).sum() / (2 * np.pi)
    return result


def without_faces(mesh, share, seed=0):
    keep = np.random.default_rng(seed).permutation(len(mesh.faces))[int(share * len(mesh.faces)) :]
    return dataclasses.replace(mesh, faces=mesh.faces[np.sort(keep)])


SOLIDS = {
    'sphere': lambda: trimesh.creation.icosphere(subdivisions=3),
    'torus': lambda: trimesh.creation.torus(1, 0.3, 16, 16),
    'tube': lambda: trimesh.creation.annulus(0.3, 0.5, 1.2),
    'capsule': lambda: trimesh.creation.capsule(1.0, 0.3),
    'cone': lambda: trimesh.creation.cone(0.5, 1.0),
}


@pytest.mark.parametrize('n', [16, 32, 64])
def test_ball(n):
    mesh = in_cube(trimesh.creation.icosphere(subdivisions=5))
    radius = np.linalg.norm(centers(n), axis=-1)
    inside = occupancy(mesh, n)
    sure = np.abs(radius - 15 / 32) > 2e-3
    assert (inside == (radius < 15 / 32))[sure].all()


@settings(max_examples=20)
@given(
    strategies.tuples(*[strategies.floats(0.15, 0.9)] * 3),
    strategies.tuples(*[strategies.floats(-0.04, 0.04)] * 3),
)
def test_boxes(extents, center):
    n = 24
    inside = occupancy(object_mesh(box(extents, center)), n)
    away = np.abs(centers(n) - center) - np.array(extents) / 2
    expected = (away < 0).all(-1)
    sure = (np.abs(away) > 1e-4).all(-1)
    assert (inside == expected)[sure].all()


@pytest.mark.parametrize('name', ['tube', 'torus'])
def test_open_meshes_against_the_plain_winding_number(name):
    mesh = without_faces(in_cube(SOLIDS[name]()), 0.1)
    n = 12
    winding = plain_winding(mesh, centers(n).reshape(-1, 3)).reshape(n, n, n)
    inside = occupancy(mesh, n)
    sure = np.abs(winding - 0.5) > 0.25  # a mean of 20 directions
    assert (inside == (winding > 0.5))[sure].mean() > 0.995


@pytest.mark.parametrize('name', SOLIDS)
@pytest.mark.parametrize('n', [32, 64])
def test_missing_faces_change_little(name, n):
    solid = SOLIDS[name]()
    whole = in_cube(solid.subdivide() if len(solid.faces) < 400 else solid)
    assert iou(occupancy(whole, n), occupancy(without_faces(whole, 0.03), n)) >= 0.98


def test_overlapping_and_inverted_parts_are_solid():
    n = 32
    parts = table().split()
    expected = np.zeros((n, n, n), bool)
    for part in parts:
        expected |= ((centers(n) > part.bounds[0]) & (centers(n) < part.bounds[1])).all(-1)
    parts[1].invert()
    assert iou(occupancy(object_mesh(trimesh.util.concatenate(parts)), n), expected) == 1


def test_sealed_cavity_is_filled_and_an_open_one_is_not():
    inner = box((0.6, 0.6, 0.6))
    inner.invert()
    hollow = trimesh.util.concatenate([box((0.9, 0.9, 0.9)), inner])
    assert occupancy(object_mesh(hollow), 16)[8, 8, 8]
    tube = occupancy(in_cube(trimesh.creation.annulus(0.3, 0.5, 1.2)), 32)
    assert not tube[16, 16].any()
    assert tube.any()


@pytest.mark.parametrize('turn', [0.0, 0.3])
def test_thin_sheet_and_plate_are_kept(turn):
    n = 32
    square = np.array([[-0.4, -0.4, 0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]])
    square = square @ trimesh.transformations.rotation_matrix(turn, (1, 2, 0))[:3, :3].T
    sheet = trimesh.Trimesh(square, [[0, 1, 2], [0, 2, 3]])
    plate = box((0.8, 0.8, 0.3 / n))
    plate.apply_transform(trimesh.transformations.rotation_matrix(turn, (1, 2, 0)))
    for thin in (sheet, plate):
        inside = occupancy(object_mesh(thin), n)
        assert 0.6 * n**2 <= inside.sum() <= 1.7 * n**2
        # No hole: seen from above, every column of the middle is closed.
        assert inside.any(2)[6:26, 6:26].all()


def test_thin_rod_stays_in_one_piece():
    rod = trimesh.creation.cylinder(0.004, 0.9, sections=8)
    rod.apply_transform(trimesh.transformations.rotation_matrix(0.7, (1, 0.4, 0.2)))
    inside = occupancy(object_mesh(rod), 32)
    _, pieces = ndimage.label(inside, np.ones((3, 3, 3)))
    assert pieces == 1
    assert np.ptp(np.argwhere(inside), axis=0).max() >= 20


def test_doubled_faces():
    solid = box((0.8, 0.8, 0.8)).subdivide()
    doubled = ObjectMesh(
        solid.vertices.astype(np.float32),
        np.concatenate([solid.faces, solid.faces[:, ::-1]]).astype(np.int32),
    )
    n = 32
    assert iou(occupancy(doubled, n), occupancy(object_mesh(solid), n)) == 1
    lid = solid.triangles_center[:, 2] > 0.39
    open_box = solid.faces[~lid]
    sheets = dataclasses.replace(
        doubled, faces=np.concatenate([open_box, open_box[:, ::-1]]).astype(np.int32)
    )
    inside = occupancy(sheets, n)
    assert not inside[8:24, 8:24, 8:].any(), 'an open box of sheets is hollow'
    assert inside[8:24, 8:24, 2:4].any(2).all(), 'its bottom is closed'


def test_inner_twins_go_with_what_is_theirs():
    solid = box((0.8, 0.8, 0.8))
    count = len(solid.faces)
    # The inner faces come first: which is the outer one is not a matter of order.
    mesh = ObjectMesh(
        solid.vertices.astype(np.float32),
        np.concatenate([solid.faces[:, ::-1], solid.faces]).astype(np.int32),
        face_part=np.repeat([0, 1], count).astype(np.int32),
        part_names=('inner', 'outer'),
    )
    kept = without_inner_twins(mesh)
    assert np.array_equal(kept.faces, solid.faces)
    assert (kept.face_part == 1).all()
    plain = object_mesh(solid)
    assert without_inner_twins(plain) is plain


def test_loose_inner_wall_does_not_count():
    solid = box((0.8, 0.8, 0.8))
    wall = trimesh.Trimesh(
        [[0, -0.4, -0.4], [0, 0.4, -0.4], [0, 0.4, 0.4], [0, -0.4, 0.4]], [[0, 1, 2], [0, 2, 3]]
    )
    # Halves that share the wall's corners, as an editor leaves them when it joins two boxes.
    halves = [box((0.4, 0.8, 0.8), (x, 0, 0)) for x in (-0.2, 0.2)]
    kept = [h.faces[np.abs(h.triangles_center[:, 0]) > 1e-6] for h in halves]
    faces = np.concatenate([kept[0], kept[1] + 8, wall.faces + 16])
    vertices = np.concatenate([halves[0].vertices, halves[1].vertices, wall.vertices])
    joined = ObjectMesh(vertices.astype(np.float32), faces.astype(np.int32))
    assert iou(occupancy(joined, 32), occupancy(object_mesh(solid), 32)) == 1


def test_samples_are_on_the_outer_surface_only():
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.3)
    other = ball.copy()
    ball.apply_translation((-0.15, 0, 0))
    other.apply_translation((0.15, 0, 0))
    other.invert()  # its normals point inward and must come out turned
    mesh = object_mesh(trimesh.util.concatenate([ball, other]))
    points, normals = surface_samples(mesh, 4000, np.random.default_rng(0))
    assert points.shape == normals.shape == (4000, 3)
    places = np.array([[-0.15, 0, 0], [0.15, 0, 0]])
    distance = np.linalg.norm(points[:, None] - places, axis=2)
    assert np.abs(distance.min(1) - 0.3).max() < 3e-3
    outward = points - places[distance.argmin(1)]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert (normals * outward).sum(1).min() > 0.95
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1, abs=1e-4)


def test_samples_are_uniform_by_area_and_repeatable():
    mesh = object_mesh(box((0.8, 0.4, 0.2)))
    points, _ = surface_samples(mesh, 20000, np.random.default_rng(1))
    again, _ = surface_samples(mesh, 20000, np.random.default_rng(1))
    assert np.array_equal(points, again)
    face = np.abs(np.abs(points) - np.array([0.4, 0.2, 0.1])).argmin(1)
    areas = np.array([0.4 * 0.2, 0.8 * 0.2, 0.8 * 0.4])
    assert np.bincount(face) / 20000 == pytest.approx(areas / areas.sum(), abs=0.015)
    right = points[face == 2][:, 0] > 0.1
    assert right.mean() == pytest.approx(0.3 / 0.8, abs=0.02)


@pytest.mark.parametrize(
    'mesh',
    [
        ObjectMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)),
        ObjectMesh(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32)),
        ObjectMesh(np.full((3, 3), np.nan, np.float32), np.array([[0, 1, 2]], np.int32)),
        ObjectMesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 5]], np.int32)),
        ObjectMesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32)),
    ],
)
def test_unusable_meshes(mesh):
    with pytest.raises(InputError):
        occupancy(mesh, 16)
    with pytest.raises(InputError):
        surface_samples(mesh, 10, np.random.default_rng(0))


@pytest.mark.data
def test_real_meshes_agree_over_resolutions_and_without_some_faces(data_dir):
    from recon3d_core.data.objects.meshes import ManifestObjects

    objects = ManifestObjects(data_dir / 'meshes')
    names = [name for name in objects.names('train') if name.startswith(('ycb', 'random'))]
    agreement = []
    for name in names[:: len(names) // 8]:
        mesh = objects.load(name).mesh
        agreement.append(iou(occupancy(mesh, 32), occupancy(without_faces(mesh, 0.03), 32)))
    assert np.mean(agreement) >= 0.98
